"""What COPY writes in its binary format is what it writes as CSV."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    select,
)

from fraud_pipeline.adapters.database import binary_copy
from fraud_pipeline.adapters.database.bulk import copy_frame, stage_frame
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.core.errors import InvalidDataError

TYPES: dict[str, Any] = {
    "number": BigInteger,
    "word": Text,
    "value": Double,
    "small": SmallInteger,
    "medium": Integer,
    "yes": Boolean,
    "day": Date,
    "other word": Text,
    "moment": DateTime(timezone=True),
}
TABLE = Table("kinds", MetaData(), *(Column(name, kind) for name, kind in TYPES.items()))
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
ROWS = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1),
        TEXTS,
        st.none() | st.floats(allow_nan=False),
        st.integers(-(2**15), 2**15 - 1),
        st.integers(-(2**31), 2**31 - 1),
        st.booleans(),
        st.none() | st.dates(date(1, 1, 1)),
        st.none() | TEXTS,
        st.none() | st.datetimes(pd.Timestamp("1700-01-01"), pd.Timestamp("2250-01-01")),
    ),
    min_size=1,
    max_size=30,
)


def framed(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(TYPES))
    frame["moment"] = pd.to_datetime(frame["moment"], utc=True).astype("datetime64[us, UTC]")
    return frame.astype({"word": "str", "other word": "str", "value": "float64", "yes": "bool"})


@given(ROWS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_value_comes_back_as_it_was_written(database: Database, rows: list[tuple[object, ...]]) -> None:
    frame = framed(rows)
    binary = binary_copy.encode(pa.Table.from_pandas(frame, preserve_index=False), TABLE)
    assert (binary is None) == frame["day"].isna().all()  # a column of nothing has no type
    with database.begin() as connection:
        staging = stage_frame(connection, TABLE, frame)
        found = connection.execute(select(staging)).all()
    expected = [tuple(None if pd.isna(value) else value for value in row) for row in frame.itertuples(index=False)]
    assert [tuple(row) for row in found] == expected


@pytest.mark.parametrize(
    ("column", "values"),
    [("small", [1, 2**15]), ("number", ["1", "2"]), ("number", [1.0, 2.0]), ("yes", ["t", "f"]), ("day", [1, 2])],
)
def test_values_of_another_type_or_size_are_left_to_csv(column: str, values: list[object]) -> None:
    assert binary_copy.encode(pa.table({column: values}), TABLE) is None


def test_types_without_a_binary_form_are_left_to_csv() -> None:
    money = Table("money", MetaData(), Column("amount", Numeric(18, 4)))
    assert binary_copy.encode(pa.table({"amount": [1.5]}), money) is None


def test_number_too_large_for_its_column_is_refused_with_the_words_of_the_database(database: Database) -> None:
    frame = framed([(1, "w", 1.0, 1, 1, True, date(2026, 1, 1), "o", None)]).assign(small=40_000)
    with (
        pytest.raises(InvalidDataError, match='value "40000" is out of range for type smallint'),
        database.begin() as connection,
    ):
        stage_frame(connection, TABLE, frame)


def test_more_rows_than_one_copy_takes_keep_their_nulls_wherever_they_are(database: Database) -> None:
    frame = pd.DataFrame({"number": np.arange(120_000), "value": np.arange(120_000) / 4})
    frame.loc[60_000, "value"] = np.nan
    table = Table("many", MetaData(), Column("number", BigInteger), Column("value", Double))
    with database.begin() as connection:
        table.create(connection)
        copy_frame(connection, table, frame)
        found = pd.DataFrame(connection.execute(select(table).order_by(table.c.number)).all()).astype("float64")
        table.drop(connection)
    pd.testing.assert_frame_equal(found, frame.astype("float64"), check_names=False)
