"""The newest profile of each card holder."""

from datetime import date

import pandas as pd
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from fraud_pipeline.adapters.database.bulk import require_frame, stage_frame
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.runs_repository import record_written
from fraud_pipeline.adapters.database.tables import user_profiles


def upsert_profiles(database: Database, frame: pd.DataFrame, as_of_day: date, *, run_id: str) -> None:
    """Store profiles; a profile of a later day stays, one of the same or an earlier day is replaced.

    So days may be filled in any order. Card holders that the frame does not name stay as they are.

    Parameters
    ----------
    database : Database
        With the current schema.
    frame : DataFrame
        One row a card holder: ``user_id``, ``n``, ``mean_amount``, ``std_amount`` (missing where
        undefined), ``first_event_time``, ``last_event_time``.
    as_of_day : date
        Last day that the profiles include.
    run_id : str
        Run that merged them.

    Raises
    ------
    InvalidDataError
        Other columns, a card holder twice, or a value that PostgreSQL refuses; nothing was written.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    columns = set(user_profiles.columns.keys()) - {"as_of_day"}
    require_frame(user_profiles, frame, columns, (), ["user_id"])
    with database.begin() as connection:
        staging = stage_frame(connection, user_profiles, frame.assign(as_of_day=as_of_day))
        # In the order of the key, so that two days written at once cannot lock each other out.
        rows = select(staging).order_by(staging.c.user_id)
        upsert = insert(user_profiles).from_select(staging.columns.keys(), rows)
        new = upsert.excluded
        connection.execute(
            upsert.on_conflict_do_update(
                index_elements=["user_id"],
                set_={name: new[name] for name in (*columns, "as_of_day") if name != "user_id"},
                where=new.as_of_day >= user_profiles.c.as_of_day,
            )
        )
        record_written(connection, run_id, "user_profiles", as_of_day, len(frame))
