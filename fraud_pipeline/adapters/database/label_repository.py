"""What became known of transactions: the pipeline's own labels, beside those that analysts leave."""

from datetime import date

import pandas as pd

from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import fraud_labels
from fraud_pipeline.core.labels import ANALYST


def replace_day_labels(database: Database, day: date, frame: pd.DataFrame, *, run_id: str) -> None:
    """Make the labels of files and of maturity that became known on a day those of a frame, in one transaction.

    The labels of analysts belong to whoever decides: they are neither taken from the frame nor touched.

    Parameters
    ----------
    database : Database
        With the current schema.
    day : date
        The partition day on which the labels became known.
    frame : DataFrame
        One row a label: ``transaction_id``, ``user_id``, ``merchant_id``, ``event_time``, ``event_day`` (of the
        transaction), ``is_fraud``, ``label_source``, ``label_known_at``.
    run_id : str
        Run that merged them.

    Raises
    ------
    InvalidDataError
        Other columns, a label twice, or a value that PostgreSQL refuses; nothing was written.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    own = frame[frame["label_source"] != ANALYST].assign(run_id=run_id)
    replace_day(
        database,
        fraud_labels,
        day,
        own,
        run_id=run_id,
        asset="fraud_labels",
        owned=fraud_labels.c.label_source != ANALYST,
    )
