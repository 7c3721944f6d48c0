"""Alerts: written once by the pipeline, read by reports; the analysts' columns are never touched.

What was drawn at random for review shares the table and its queue, but is no alert: no report here reads it.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

import pandas as pd
from sqlalchemy import ColumnElement, Connection, Table, and_, case, cast, exists, func, literal, null, select, text
from sqlalchemy.dialects.postgresql import insert

from fraud_pipeline.adapters.database.alert_tables import alerts, cases
from fraud_pipeline.adapters.database.bulk import read_frame, require_frame, stage_frame
from fraud_pipeline.adapters.database.columns import TIME
from fraud_pipeline.adapters.database.engine import Database, lock_until_commit
from fraud_pipeline.adapters.database.runs_repository import record_written
from fraud_pipeline.adapters.database.workflow_repository import PIPELINE, is_awake, record_rescores
from fraud_pipeline.core.schema import EVENT_KEYS, LINEAGE_COLUMNS, RISK_LEVELS
from fraud_pipeline.core.workflow import PRIORITIES, VERDICT, changed_verdicts

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


class RaisedDay(NamedTuple):
    """What a scored day left in ``alerts``: new ones, and those about which it would have said something else."""

    new: int
    rescored: int


def insert_new(
    database: Database,
    frame: pd.DataFrame,
    *,
    sla_hours: Sequence[float] | None = None,
    run_id: str | None = None,
) -> int:
    """Insert the alerts whose transaction has none yet; an existing alert is left exactly as it is.

    An alert joins the open case of its card holder, which is opened where there is none, and goes to whoever has that
    case. What was drawn at random belongs to no case and is never due.

    Parameters
    ----------
    database : Database
        With the current schema.
    frame : DataFrame
        ``ALERT_COLUMNS`` and perhaps ``raised_at`` and ``selection``; ``reasons`` holds lists of dicts.
    sla_hours : sequence of float, optional
        Hours within which an alert of priority 1 to 5 is due; without them no time is set.
    run_id : str, optional
        Run that raises them, for the history; by default the one that the frame names.

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
    _require_alerts(frame)
    with database.begin(actor=PIPELINE, run_id=run_id) as connection:
        return _insert(connection, frame, sla_hours)


def raise_day(
    database: Database,
    day: date,
    frame: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    sla_hours: Sequence[float],
    run_id: str,
) -> RaisedDay:
    """Insert the new alerts of a scored day, and note in the history of the others what its scores say of them.

    Parameters
    ----------
    database : Database
        With the current schema.
    day : date
        The partition day.
    frame : DataFrame
        As for :func:`insert_new`, all of this day.
    scores : DataFrame
        ``transaction_id``, the verdict and its lineage of all transactions of the day.
    sla_hours : sequence of float
        Hours within which an alert of priority 1 to 5 is due.
    run_id : str
        Run that scored the day.

    Returns
    -------
    RaisedDay
        Number of new alerts, and of changes that were not noted before.

    Raises
    ------
    InvalidDataError, DatabaseError
        As from :func:`insert_new`; nothing was written.
    """
    _require_alerts(frame)
    verdict = [alerts.c[name] for name in VERDICT if name in alerts.c]
    of_day = select(alerts.c.alert_id, alerts.c.transaction_id, alerts.c.selection, *verdict)
    with database.begin(actor=PIPELINE, run_id=run_id) as connection:
        new = _insert(connection, frame, sla_hours)
        known = read_frame(connection, of_day.where(alerts.c.event_day == day).order_by(alerts.c.alert_id))
        rescored = record_rescores(connection, changed_verdicts(known, scores))
        record_written(connection, run_id, "alerts", day, int((known["selection"] == "threshold").sum()))
    return RaisedDay(new, rescored)


def most_urgent(
    database: Database, limit: int, first_day: date | None = None, last_day: date | None = None
) -> pd.DataFrame:
    """List the alerts to look at first: by their priority now, then by anomaly score, without closed and snoozed ones.

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
        .where(alerts.c.status != "closed", is_awake(func.now()), _IS_ALERT, *_between(first_day, last_day))
        .order_by(alerts.c.current_priority, alerts.c.anomaly_score.desc(), alerts.c.alert_id)
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


def _require_alerts(frame: pd.DataFrame) -> None:
    require_frame(alerts, frame, ALERT_COLUMNS, {"raised_at", "selection"}, ["transaction_id"])


def _insert(connection: Connection, frame: pd.DataFrame, sla_hours: Sequence[float] | None) -> int:
    """Insert what is new; runs take turns, so that none opens a case for an alert that another one inserts."""
    lock_until_commit(connection, "new alerts")
    staging = stage_frame(connection, alerts, frame)
    # Known ones are left out first, so that a re-run uses up no numbers; ON CONFLICT is for
    # another program that inserts the same transaction at the same moment.
    is_new = ~exists().where(alerts.c.transaction_id == staging.c.transaction_id)
    is_alert = staging.c.selection == "threshold" if "selection" in staging.c else literal(True)
    raised_at = staging.c.raised_at if "raised_at" in staging.c else func.now()
    _open_cases(connection, staging, and_(is_new, is_alert), raised_at)
    due_at: ColumnElement[Any] = cast(null(), TIME)
    if sla_hours is not None:
        due_at = raised_at + case(_waits(sla_hours), value=staging.c.priority)
    rows = (
        select(staging, cases.c.case_id, cases.c.assignee, case((is_alert, due_at)).label("due_at"))
        .outerjoin(cases, and_(is_alert, cases.c.user_id == staging.c.user_id, cases.c.status == "open"))
        .where(is_new)
        .order_by(staging.c.event_time, staging.c.transaction_id)
    )
    statement = insert(alerts).from_select([*staging.columns.keys(), "case_id", "assignee", "due_at"], rows)
    result = connection.execute(
        statement.on_conflict_do_nothing(index_elements=["transaction_id"]),
        execution_options={"preserve_rowcount": True},
    )
    return result.rowcount


def _open_cases(
    connection: Connection, staging: Table, which: ColumnElement[bool], raised_at: ColumnElement[Any]
) -> None:
    """Open a case for every card holder without one; one that is joined gets the next version."""
    holders = (
        select(staging.c.user_id, func.min(staging.c.priority), func.min(raised_at))
        .where(which)
        .group_by(staging.c.user_id)
        .order_by(staging.c.user_id)
    )
    statement = insert(cases).from_select(["user_id", "priority", "opened_at"], holders)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["user_id"],
            # As text: a statement that the driver prepares has a parameter there, which names no index.
            index_where=text("status = 'open'"),
            set_={
                "version": cases.c.version + 1,
                "priority": func.least(cases.c.priority, statement.excluded.priority),
            },
        )
    )


def _waits(sla_hours: Sequence[float]) -> dict[int, timedelta]:
    return {priority: timedelta(hours=sla_hours[priority - 1]) for priority in PRIORITIES}


def _between(first_day: date | None, last_day: date | None) -> list[ColumnElement[bool]]:
    conditions = []
    if first_day is not None:
        conditions.append(alerts.c.event_day >= first_day)
    if last_day is not None:
        conditions.append(alerts.c.event_day <= last_day)
    return conditions
