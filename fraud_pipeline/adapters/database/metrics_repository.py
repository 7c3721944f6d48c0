"""Metrics of the models, day by day."""

from datetime import date

import numpy as np
import pandas as pd

from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import model_metrics


def replace_day_metrics(
    database: Database, day: date, frame: pd.DataFrame, *, run_id: str, asset: str = "model_metrics"
) -> None:
    """Make those metrics of a day that a frame names exactly those of the frame, in one transaction.

    Metrics of other names belong to another asset and stay as they are.

    Parameters
    ----------
    database : Database
        With the current schema.
    day : date
        The partition day that was scored.
    frame : DataFrame
        One row a model version and metric: ``model_version``, ``metric``, ``value`` (missing where
        too few labels are known), ``computed_as_of``, and perhaps the interval ``low``, ``high``.
    run_id : str
        Run that measured.
    asset : str
        What it measured for.

    Raises
    ------
    InvalidDataError
        Other columns, a metric twice, or a value that PostgreSQL refuses; nothing was written.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    interval = {name: np.nan for name in ("low", "high") if name not in frame}
    owned = model_metrics.c.metric.in_(frame["metric"].unique().tolist())
    replace_day(database, model_metrics, day, frame.assign(**interval), run_id=run_id, asset=asset, owned=owned)
