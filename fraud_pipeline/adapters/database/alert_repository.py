"""Alerts: written once by the pipeline, read by reports; the analysts' columns are never touched.

What was drawn at random for review shares the table and its queue, but is no alert: nothing here reads it.
"""

from datetime import date
from typing import Final

import pandas as pd
from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.dialects.postgresql import insert

from fraud_pipeline.adapters.database.alert_tables import alerts
from fraud_pipeline.adapters.database.bulk import read_frame, require_frame, stage_frame
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.core.schema import EVENT_KEYS, LINEAGE_COLUMNS, RISK_LEVELS

ALERT_COLUMNS: Final = (
    *EVENT_KEYS,
    "event_day",
    "amount",
    "anomaly_score",
    "score_percentile",
    "confidence",
    "risk_level",
    "priority",
    "reasons",
    "reason_text",
    *LINEAGE_COLUMNS,
)
"""The columns that the pipeline writes. It may add ``raised_at``, which else is the time of the insert, and
``selection``, which else is ``threshold``."""

_IS_ALERT: Final = alerts.c.selection == "threshold"


def insert_new(database: Database, frame: pd.DataFrame) -> int:
    """Insert the alerts whose transaction has none yet; an existing alert is left exactly as it is.

    Parameters
    ----------
    database : Database
        With the current schema.
    frame : DataFrame
        ``ALERT_COLUMNS`` and perhaps ``raised_at`` and ``selection``; ``reasons`` holds lists of dicts.

    Returns
    -------
    int
        Number of new alerts.

    Raises
    ------
    InvalidDataError
        Other columns, a transaction twice, or a value that PostgreSQL refuses; nothing was written.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    require_frame(alerts, frame, ALERT_COLUMNS, {"raised_at", "selection"}, ["transaction_id"])
    with database.begin() as connection:
        staging = stage_frame(connection, alerts, frame)
        # Known ones are left out first, so that a re-run uses up no numbers; ON CONFLICT is for
        # a caller that inserts the same transaction at the same moment.
        known = exists().where(alerts.c.transaction_id == staging.c.transaction_id)
        rows = select(staging).where(~known).order_by(staging.c.event_time, staging.c.transaction_id)
        statement = insert(alerts).from_select(staging.columns.keys(), rows)
        result = connection.execute(
            statement.on_conflict_do_nothing(index_elements=["transaction_id"]),
            execution_options={"preserve_rowcount": True},
        )
        return result.rowcount


def most_urgent(
    database: Database, limit: int, first_day: date | None = None, last_day: date | None = None
) -> pd.DataFrame:
    """List the alerts to look at first: by priority, then by anomaly score, without the closed ones.

    Parameters
    ----------
    database : Database
        With the current schema.
    limit : int
        Most rows to return.
    first_day, last_day : date, optional
        Only alerts of these days, both included.

    Returns
    -------
    DataFrame
        All columns of the table, most urgent first.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    statement = (
        select(alerts)
        .where(alerts.c.status != "closed", _IS_ALERT, *_between(first_day, last_day))
        .order_by(alerts.c.priority, alerts.c.anomaly_score.desc(), alerts.c.alert_id)
        .limit(limit)
    )
    with database.begin() as connection:
        return read_frame(connection, statement)


def count_by_risk(database: Database, first_day: date, last_day: date) -> dict[str, int]:
    """Count the alerts at each risk level, whatever their status.

    Parameters
    ----------
    database : Database
        With the current schema.
    first_day, last_day : date
        Only alerts of these days, both included.

    Returns
    -------
    dict of str to int
        Every risk level, from LOW to CRITICAL, 0 where it has no alerts.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    statement = (
        select(alerts.c.risk_level, func.count())
        .where(_IS_ALERT, *_between(first_day, last_day))
        .group_by(alerts.c.risk_level)
    )
    with database.begin() as connection:
        found = dict(connection.execute(statement).tuples().all())
    return {level: found.get(level, 0) for level in RISK_LEVELS}


def alerts_of_day(database: Database, day: date) -> pd.DataFrame:
    """Read all alerts of a day, in the order of their transactions.

    Parameters
    ----------
    database : Database
        With the current schema.
    day : date
        The partition day.

    Returns
    -------
    DataFrame
        All columns of the table, ordered by ``event_time`` and ``transaction_id``.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    of_day = select(alerts).where(alerts.c.event_day == day, _IS_ALERT)
    statement = of_day.order_by(alerts.c.event_time, alerts.c.transaction_id)
    with database.begin() as connection:
        return read_frame(connection, statement)


def _between(first_day: date | None, last_day: date | None) -> list[ColumnElement[bool]]:
    conditions = []
    if first_day is not None:
        conditions.append(alerts.c.event_day >= first_day)
    if last_day is not None:
        conditions.append(alerts.c.event_day <= last_day)
    return conditions
