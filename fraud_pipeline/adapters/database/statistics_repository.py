"""What became of alerts: how they were worked on, and what they were worth."""

from datetime import date
from typing import Final

import pandas as pd
from sqlalchemy import BigInteger, Date, Double, Text, column, func, select, table

from fraud_pipeline.adapters.database.bulk import read_frame
from fraud_pipeline.adapters.database.engine import Database

# Columns of views as far as they are read here; migrations/views/ has the definitions.
_alerts_by_day = table(
    "alerts_by_day", column("event_day", Date), column("risk_level", Text), column("alerts", BigInteger)
)
_FIGURES: Final = {
    "alert_precision": "alert_precision",
    "alert_false_positive_ratio": "false_positive_ratio",
    "alert_value_detected": "value_detected",
    "hours_to_first_touch_median": "hours_to_first_touch_median",
    "hours_to_first_touch_p90": "hours_to_first_touch_p90",
    "hours_to_close_median": "hours_to_close_median",
    "hours_to_close_p90": "hours_to_close_p90",
    "sla_met_share": "sla_met_share",
}
_alert_statistics_by_day = table(
    "alert_statistics_by_day",
    column("event_day", Date),
    column("model_version", Text),
    *(column(name, Double) for name in _FIGURES.values()),
)
ALERT_METRICS: Final = tuple(_FIGURES)
"""The names that figures about the work on alerts have in the table ``model_metrics``."""


def alert_figures(database: Database, first: date, last: date) -> pd.DataFrame:
    """Read the figures about the alerts of days, by the model version that raised them.

    Parameters
    ----------
    database : Database
        With the current schema.
    first, last : date
        The days, both included.

    Returns
    -------
    DataFrame
        ``event_day``, ``model_version``, ``computed_as_of`` and `ALERT_METRICS`, in the order of days and versions; a
        figure without a denominator is NaN, a day without alerts has no row.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    view = _alert_statistics_by_day.c
    statement = (
        select(
            view.event_day,
            view.model_version,
            func.now().label("computed_as_of"),
            *(view[name].label(metric) for metric, name in _FIGURES.items()),
        )
        .where(view.event_day.between(first, last))
        .order_by(view.event_day, func.length(view.model_version), view.model_version)
    )
    with database.begin() as connection:
        return read_frame(connection, statement)


def alert_counts(database: Database, first: date, last: date) -> dict[str, dict[date, int]]:
    """Count the alerts of days by risk level, whatever became of them.

    Parameters
    ----------
    database : Database
        With the current schema.
    first, last : date
        The days, both included.

    Returns
    -------
    dict of risk level to dict of day to int
        Without levels and days that have none.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    view = _alerts_by_day.c
    statement = select(view.risk_level, view.event_day, view.alerts).where(view.event_day.between(first, last))
    counts: dict[str, dict[date, int]] = {}
    with database.begin() as connection:
        for level, day, alerts in connection.execute(statement):
            counts.setdefault(level, {})[day] = alerts
    return counts
