"""Tables that hold one partition day after the other, each day replaced whole."""

from datetime import date, timedelta

import pandas as pd
from sqlalchemy import Table, delete, exists, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from fraud_pipeline.adapters.database.bulk import require_frame, stage_frame
from fraud_pipeline.adapters.database.engine import Database, lock_until_commit
from fraud_pipeline.core.errors import InvalidDataError


def replace_day(database: Database, table: Table, day: date, frame: pd.DataFrame) -> None:
    """Make the rows of a day exactly those of a frame, in one transaction.

    The same frame twice leaves the same rows, also when two callers replace the same day at once:
    they take turns. A row whose key another day holds moves to this day.

    Parameters
    ----------
    database : Database
        With the current schema.
    table : Table
        Has a column ``event_day`` and a primary key of columns of the frame.
    day : date
        The partition day.
    frame : DataFrame
        The columns of the table in any order, ``event_day`` may be left out; missing values
        become NULL. No rows at all empties the day.

    Raises
    ------
    InvalidDataError
        The columns are not those of the table, a key is there twice, a row belongs to another
        day, or PostgreSQL refuses a value; nothing was written.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    key = [column.name for column in table.primary_key]
    required = {column.name for column in table.columns} - {"event_day"}
    require_frame(table, frame, required, {"event_day"}, [name for name in key if name != "event_day"])
    _require_day(table, frame, day)
    rest = [column.name for column in table.columns if column.name not in key]
    with database.begin() as connection:
        lock_until_commit(connection, table.name, day)
        staging = stage_frame(connection, table, frame.assign(event_day=day))
        same_row = tuple_(*(staging.c[name] for name in key)) == tuple_(*(table.c[name] for name in key))
        connection.execute(delete(table).where(table.c.event_day == day, ~exists().where(same_row)))
        # In the order of the key, so that two days that exchange rows cannot lock each other out.
        rows = select(staging).order_by(*(staging.c[name] for name in key))
        upsert = insert(table).from_select(staging.columns.keys(), rows)
        new = upsert.excluded
        connection.execute(
            upsert.on_conflict_do_update(
                index_elements=key,
                set_={name: new[name] for name in rest},
                # An unchanged row is not written again.
                where=tuple_(*(table.c[name] for name in rest)).is_distinct_from(tuple_(*(new[name] for name in rest))),
            )
        )


def _require_day(table: Table, frame: pd.DataFrame, day: date) -> None:
    foreign = pd.Series(False, index=frame.index)
    if "event_day" in frame:
        foreign |= pd.to_datetime(frame["event_day"]) != pd.Timestamp(day)
    if "event_time" in frame:
        # The day is one of the deployment's time zone, which lies within 14 hours of UTC.
        start, zone = pd.Timestamp(day, tz="UTC"), timedelta(hours=14)
        foreign |= ~frame["event_time"].between(start - zone, start + timedelta(days=1) + zone)
    if foreign.any():
        row = frame.loc[foreign].iloc[0]
        name = " ".join(str(row[column.name]) for column in table.primary_key if column.name in row)
        raise InvalidDataError(
            f"{int(foreign.sum())} rows for the table {table.name} are not of the day {day}, the first is {name}: "
            "write each day by itself."
        )
