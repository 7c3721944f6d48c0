"""Moving whole frames in and out of PostgreSQL.

Rows go in through COPY, in its binary format where every column has a form in it, else as CSV, which pyarrow writes
in C++: only JSON columns cost a Python loop over their rows.
"""

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pandas as pd
import psycopg
from psycopg import sql
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    Select,
    Table,
    Text,
    func,
    select,
)

from fraud_pipeline.adapters.database import binary_copy
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.schema import TIME_DTYPE

if TYPE_CHECKING:
    import pyarrow as pa

_Chunk = tuple[list[str], str, tuple[bytes | memoryview, ...]]
"""Columns, format of COPY, and the bytes of some rows."""
_ROWS_PER_CHUNK: Final = 50_000
_FRAME_DTYPES: Final = ((Text, "str"), (Numeric, "float64"), (Integer, "int64"), (Boolean, "bool"))


def require_frame(
    table: Table, frame: pd.DataFrame, required: Collection[str], optional: Collection[str], key: list[str]
) -> None:
    """Check that a frame fits a table before anything is written.

    Parameters
    ----------
    table : Table
        Where the frame shall go.
    frame : DataFrame
        Any number of rows.
    required, optional : collection of str
        Columns that the frame must have, and those that it may have besides.
    key : list of str
        Columns whose values together name one row.

    Raises
    ------
    InvalidDataError
        Columns are missing or unknown, or two rows have the same key.
    """
    present = set(frame.columns)
    if missing := sorted(set(required) - present):
        raise InvalidDataError(f"The frame for the table {table.name} lacks the column {', '.join(missing)}.")
    if unknown := sorted(map(str, present - set(required) - set(optional))):
        raise InvalidDataError(f"The table {table.name} has no place for the column {', '.join(unknown)}.")
    repeated = frame.duplicated(key)
    if repeated.any():
        values = ", ".join(f"{name} {value}" for name, value in frame.loc[repeated, key].iloc[0].items())
        raise InvalidDataError(f"The frame for the table {table.name} has two rows with {values}: remove one.")


def copy_frame(connection: Connection, table: Table, frame: pd.DataFrame) -> None:
    """Append a frame to a table through COPY.

    Parameters
    ----------
    connection : Connection
        The rows belong to its transaction.
    table : Table
        Has at least the columns of the frame; columns that the frame lacks get their default.
    frame : DataFrame
        Missing values become NULL, and times without a zone are those of UTC. In a JSON column lists, dicts and
        arrays are written as JSON, and a text is taken for JSON already.

    Raises
    ------
    InvalidDataError
        A column mixes types, or a value has no JSON form.
    """
    import pyarrow as pa

    names = [str(name) for name in frame.columns]
    frame = frame.assign(
        **{name: _as_json(table, frame[name]) for name in names if isinstance(table.c[name].type, JSON)}
    )
    # For the times in the text, which are those of UTC.
    connection.execute(select(func.set_config("TimeZone", "UTC", True)))
    session = cast("psycopg.Connection[Any]", connection.connection.driver_connection)

    def encoded(start: int) -> _Chunk:
        try:
            rows = pa.Table.from_pandas(frame.iloc[start : start + _ROWS_PER_CHUNK], preserve_index=False)
        except pa.ArrowException as error:
            raise InvalidDataError(f"The frame for the table {table.name} cannot be written: {error}.") from error
        binary = binary_copy.encode(rows, table)
        if binary is None:
            return names, "csv", (_as_csv(rows),)
        columns, body = binary
        return columns, "binary", (binary_copy.HEADER, body, binary_copy.TRAILER)

    for columns, form, data in _one_ahead(encoded, range(0, len(frame), _ROWS_PER_CHUNK)):
        _copy(session, table, columns, form, *data)


def _one_ahead(work: Callable[[int], _Chunk], items: Iterable[int]) -> Iterator[_Chunk]:
    """Do the work on each item while the result of the one before is in use."""
    with ThreadPoolExecutor(1) as thread:
        last: Future[_Chunk] | None = None
        for item in items:
            following = thread.submit(work, item)
            if last is not None:
                yield last.result()
            last = following
        if last is not None:
            yield last.result()


def _copy(
    session: "psycopg.Connection[Any]", table: Table, columns: list[str], form: str, *data: bytes | memoryview
) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT {})").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(form)
    )
    with session.cursor() as cursor, cursor.copy(statement) as copy:
        for part in data:
            copy.write(part)


def _as_csv(rows: "pa.Table") -> memoryview:
    """Print rows as CSV, times as those of UTC."""
    import pyarrow as pa
    from pyarrow import csv

    for position, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            # Writing times with a zone would take as long as all other columns together.
            rows = rows.set_column(position, field.name, rows[position].cast(pa.timestamp(field.type.unit)))
    sink = pa.BufferOutputStream()
    csv.write_csv(rows, sink, csv.WriteOptions(include_header=False))
    return memoryview(sink.getvalue())


def stage_frame(connection: Connection, table: Table, frame: pd.DataFrame) -> Table:
    """Copy a frame into a temporary table that is gone at the end of the transaction.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    table : Table
        Its columns, as far as the frame has them, are those of the temporary table.
    frame : DataFrame
        As for ``copy_frame``.

    Returns
    -------
    Table
        The temporary table, without constraints and indexes.
    """
    staging = Table(
        f"staging_{table.name}",
        MetaData(),
        *(Column(name, table.c[name].type) for name in frame.columns),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )
    staging.create(connection, checkfirst=False)
    copy_frame(connection, staging, frame)
    return staging


def read_frame(connection: Connection, statement: Select[Any]) -> pd.DataFrame:
    """Rows of a SELECT as a frame with the types that frames have in this pipeline.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    statement : Select
        Its columns are named and typed.

    Returns
    -------
    DataFrame
        Text as ``str``, numbers as float64 or int64 (Int64 where the column may be NULL), times as
        ``datetime64[us, UTC]``, dates and JSON as objects; the same types when there are no rows.
    """
    columns = statement.selected_columns
    frame = pd.DataFrame(connection.execute(statement).all(), columns=[column.name for column in columns], dtype=object)
    for column in columns:
        values = frame[column.name]
        if isinstance(column.type, DateTime):
            frame[column.name] = pd.to_datetime(values, utc=True).astype(TIME_DTYPE)
        for sql_type, dtype in _FRAME_DTYPES:
            if isinstance(column.type, sql_type):
                # A whole number that may be missing: the type goes by the column, not by what happens to be in it.
                can_miss = sql_type is Integer and getattr(column, "nullable", False)
                frame[column.name] = values.astype("Int64" if can_miss else dtype)
    return frame


def _as_json(table: Table, values: pd.Series) -> pd.Series:
    try:
        return values.map(_json_text).astype(object)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(
            f"The column {values.name} for the table {table.name} has a value without a JSON form: {error}."
        ) from error


def _json_text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return json.dumps(value, allow_nan=False, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    # Lists come back from Parquet as arrays, and their numbers as numpy scalars.
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{value!r} is a {type(value).__name__}")
