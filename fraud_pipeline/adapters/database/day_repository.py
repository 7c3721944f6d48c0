"""Tables that hold one partition day after the other, each day replaced whole."""

from datetime import date, timedelta

import pandas as pd
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from fraud_pipeline.adapters.database.bulk import copy_frame, require_frame, stage_frame
from fraud_pipeline.adapters.database.engine import Database, lock_until_commit
from fraud_pipeline.adapters.database.partitions import create_partitions, is_partitioned
from fraud_pipeline.adapters.database.runs_repository import record_written
from fraud_pipeline.core.errors import InvalidDataError


def replace_day(
    database: Database,
    table: Table,
    day: date,
    frame: pd.DataFrame,
    *,
    run_id: str,
    asset: str,
    owned: ColumnElement[bool] | None = None,
) -> None:
    """Make the rows of a day exactly those of a frame, and record the run, in one transaction.

    The same frame twice leaves the same rows, also when two callers replace the same day at once:
    they take turns. Other days are not touched: a transaction that two days deliver is a row of both.
    The month of a partitioned table is made where it is missing.

    Parameters
    ----------
    database : Database
        With the current schema.
    table : Table
        The first column of its primary key is the day; the whole key is among the columns of the frame.
    day : date
        The partition day.
    frame : DataFrame
        The columns of the table in any order, the day may be left out; missing values
        become NULL. No rows at all empties the day.
    run_id : str
        Run that writes, for the table ``pipeline_runs``.
    asset : str
        What it writes.
    owned : ColumnElement, optional
        Condition on the rows that are replaced, where the day holds rows of somebody else as well.

    Raises
    ------
    InvalidDataError
        The columns are not those of the table, a key is there twice, a row belongs to another
        day, or PostgreSQL refuses a value; nothing was written.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    key = [column.name for column in table.primary_key]
    day_column = key[0]
    required = {column.name for column in table.columns} - {day_column}
    require_frame(table, frame, required, {day_column}, key[1:])
    _require_day(table, frame, day, day_column)
    rows = _in_key_order(table, frame.assign(**{day_column: day}), key[1:])
    of_day = table.c[day_column] == day
    with database.begin() as connection:
        lock_until_commit(connection, table.name, day)
        if is_partitioned(table):
            create_partitions(connection, day, day)
        # By the key, and not by EXISTS, for which PostgreSQL may read a month from end to end.
        any_row = select(table.c[key[-1]]).where(of_day).order_by(*(table.c[name] for name in key)).limit(1)
        if connection.execute(any_row).first() is not None:
            _merge(connection, table, rows, of_day if owned is None else and_(of_day, owned))
        else:
            copy_frame(connection, table, rows)
        record_written(connection, run_id, asset, day, len(frame))


def _merge(connection: Connection, table: Table, rows: pd.DataFrame, owned: ColumnElement[bool]) -> None:
    """Delete the owned rows that are no more, change those that changed, insert the new ones."""
    key = [column.name for column in table.primary_key]
    rest = [column.name for column in table.columns if column.name not in key]
    staging = stage_frame(connection, table, rows)
    # Statistics of a table that has just been filled may say that it is empty, and a loop over the rows of both
    # tables would take hours then; a hash of one of them takes seconds whatever they say.
    connection.execute(select(func.set_config("enable_nestloop", "off", True)))
    same_row = and_(*(staging.c[name] == table.c[name] for name in key))
    connection.execute(delete(table).where(owned, ~exists().where(same_row)))
    upsert = insert(table).from_select(staging.columns.keys(), select(staging))
    new = upsert.excluded
    connection.execute(
        upsert.on_conflict_do_update(
            index_elements=key,
            set_={name: new[name] for name in rest},
            # An unchanged row is not written again.
            where=tuple_(*(table.c[name] for name in rest)).is_distinct_from(tuple_(*(new[name] for name in rest))),
        )
    )


def _in_key_order(table: Table, frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Sort by the key, which fills its index a good deal faster."""
    try:
        return frame.sort_values(key, ignore_index=True)
    except TypeError as error:
        raise InvalidDataError(f"The frame for the table {table.name} mixes types in {', '.join(key)}.") from error


def _require_day(table: Table, frame: pd.DataFrame, day: date, day_column: str) -> None:
    foreign = pd.Series(False, index=frame.index)
    if day_column in frame:
        foreign |= pd.to_datetime(frame[day_column]) != pd.Timestamp(day)
    if "event_time" in frame and day_column == "event_day":
        # The day is one of the deployment's time zone, which lies within 14 hours of UTC.
        start, zone = pd.Timestamp(day, tz="UTC"), timedelta(hours=14)
        foreign |= ~frame["event_time"].between(start - zone, start + timedelta(days=1) + zone)
    if foreign.any():
        row = frame.loc[foreign].iloc[0]
        name = " ".join(str(row[column.name]) for column in table.primary_key if column.name != day_column)
        raise InvalidDataError(
            f"{int(foreign.sum())} rows for the table {table.name} are not of the day {day}, the first is {name}: "
            "write each day by itself."
        )
