from datetime import date

import pandas as pd
import pytest
from sqlalchemy import select

from fraud_pipeline.adapters.database.bulk import copy_frame, read_frame
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.label_repository import replace_day_labels
from fraud_pipeline.adapters.database.partitions import create_partitions
from fraud_pipeline.adapters.database.reject_repository import replace_day_rejects
from fraud_pipeline.adapters.database.tables import fraud_labels, rejected_transactions
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.transactions import validate

DAY = date(2026, 3, 1)


def labels(*transaction_ids: str, **values: object) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "transaction_id": list(transaction_ids),
            "user_id": "u1",
            "merchant_id": "m1",
            "event_time": pd.Timestamp("2026-02-10 10:00Z").as_unit("us"),
            "event_day": date(2026, 2, 10),
            "is_fraud": True,
            "label_source": "chargeback_file",
            "label_known_at": pd.Timestamp("2026-03-01 12:00Z").as_unit("us"),
            **values,
        }
    )


def stored(database: Database) -> list[tuple[object, ...]]:
    columns = ("transaction_id", "label_source", "is_fraud", "run_id")
    statement = select(*(fraud_labels.c[name] for name in columns)).order_by(fraud_labels.c.transaction_id)
    with database.begin() as connection:
        return [tuple(row) for row in connection.execute(statement)]


@pytest.fixture
def decided(database: Database) -> Database:
    """Give a database with a label that an analyst left on the day."""
    with database.begin() as connection:
        create_partitions(connection, DAY, DAY)
        analysts = labels("a1", label_source="analyst", is_fraud=False).assign(known_day=DAY)
        copy_frame(connection, fraud_labels, analysts)
    return database


def test_labels_of_a_day_are_replaced_and_those_of_analysts_stay(decided: Database) -> None:
    replace_day_labels(decided, DAY, labels("t1", "t2"), run_id="first")
    replace_day_labels(decided, DAY, labels("t2", "t3"), run_id="second")
    assert stored(decided) == [
        ("a1", "analyst", False, None),
        ("t2", "chargeback_file", True, "second"),
        ("t3", "chargeback_file", True, "second"),
    ]


def test_a_run_takes_no_label_of_an_analyst_from_its_frame(decided: Database) -> None:
    frame = labels("a1", "t1", label_source=["analyst", "unreported"], is_fraud=False)
    replace_day_labels(decided, DAY, frame, run_id="run")
    assert stored(decided) == [("a1", "analyst", False, None), ("t1", "unreported", False, "run")]


def test_two_sources_may_label_a_transaction_on_one_day(decided: Database) -> None:
    replace_day_labels(decided, DAY, labels("a1"), run_id="run")
    assert [row[1] for row in stored(decided)] == ["analyst", "chargeback_file"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label_source": "rumour"}, "ck_fraud_labels_label_source"),
        ({"label_source": "unreported"}, "ck_fraud_labels_unreported"),
    ],
)
def test_labels_that_mean_nothing_are_refused(database: Database, change: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidDataError, match=reason):
        replace_day_labels(database, DAY, labels("t1", **change), run_id="run")
    assert stored(database) == []


def rejected(*amounts: str | None) -> pd.DataFrame:
    raw = pd.DataFrame(
        {
            "transaction_id": [f"t{number}" for number in range(len(amounts))],
            "user_id": "u\x00",
            "merchant_id": "m1",
            "event_time": "2026-03-01T10:00:00Z",
            "amount": amounts,
            "time_zone": "UTC",
            "currency": "EUR",
            "source_name": "bank",
            "source_file": "bank/transactions/day.csv",
            "row_number": range(1, len(amounts) + 1),
            "file_sha256": "ab" * 32,
        }
    )
    return validate(raw, DAY, "UTC")[1]


def test_rejected_rows_keep_what_was_received_and_why_it_is_unusable(database: Database) -> None:
    for _ in range(2):
        replace_day_rejects(database, DAY, rejected("12,5", None, "5"), run_id="run")
    with database.begin() as connection:
        rows = read_frame(connection, select(rejected_transactions).order_by(rejected_transactions.c.row_number))
    assert rows["reason"].tolist() == ["user_id holds a control character"] * 3
    assert rows["raw"].iloc[0] == {
        "transaction_id": "t0",
        "user_id": "u\u2400",
        "merchant_id": "m1",
        "event_time": "2026-03-01T10:00:00Z",
        "amount": "12,5",
    }
    assert rows["raw"].iloc[1]["amount"] is None
    assert rows["row_number"].tolist() == [1, 2, 3]


def test_day_without_rejects_empties_them(database: Database) -> None:
    replace_day_rejects(database, DAY, rejected("x"), run_id="run")
    replace_day_rejects(database, DAY, rejected("x").iloc[:0], run_id="run")
    with database.begin() as connection:
        assert connection.execute(select(rejected_transactions)).all() == []
