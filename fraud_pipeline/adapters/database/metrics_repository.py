"""Metrics of the models, day by day."""

from datetime import date

import numpy as np
import pandas as pd

from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import model_metrics


def replace_day_metrics(database: Database, day: date, frame: pd.DataFrame) -> None:
    """Make the metrics of a day exactly those of a frame, in one transaction.

    Parameters
    ----------
    database : Database
        With the current schema.
    day : date
        The partition day that was scored.
    frame : DataFrame
        One row a model version and metric: ``model_version``, ``metric``, ``value`` (missing where
        too few labels are known), ``computed_as_of``, and perhaps the interval ``low``, ``high``.

    Raises
    ------
    InvalidDataError
        Other columns, a metric twice, or a value that PostgreSQL refuses; nothing was written.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    interval = {name: np.nan for name in ("low", "high") if name not in frame}
    replace_day(database, model_metrics, day, frame.assign(**interval))
