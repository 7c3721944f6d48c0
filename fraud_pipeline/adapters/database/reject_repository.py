"""Rows that could not be used."""

from datetime import date

import pandas as pd

from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import rejected_transactions
from fraud_pipeline.core.schema import ORIGIN_COLUMNS, TRANSACTION_FIELDS

_NO_NUL = str.maketrans({"\x00": "\u2400"})


def replace_day_rejects(database: Database, day: date, frame: pd.DataFrame, *, run_id: str) -> None:
    """Make the rejected rows of a day those of a frame, in one transaction.

    Parameters
    ----------
    database : Database
        With the current schema.
    day : date
        The partition day of their files.
    frame : DataFrame
        One row each: the fields as received, as text or missing, where each came from, and ``reason``. The fields
        become one JSON object; PostgreSQL cannot hold the character NUL, which is shown as its symbol there.
    run_id : str
        Run that rejected them.

    Raises
    ------
    InvalidDataError
        Other columns, a row of a file twice, or a value that PostgreSQL refuses; nothing was written.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    raw = [
        {name: text.translate(_NO_NUL) if isinstance(text, str) else None for name, text in row.items()}
        for row in frame[list(TRANSACTION_FIELDS)].to_dict("records")
    ]
    rows = frame[[*ORIGIN_COLUMNS, "reason"]].assign(raw=pd.Series(raw, index=frame.index, dtype=object), run_id=run_id)
    replace_day(database, rejected_transactions, day, rows, run_id=run_id, asset="rejected_transactions")
