"""Changes of alerts, one at a time with a version or many at once, and the history that they leave.

Whoever changes alerts locks them by number first and their cases by card holder then, so that nobody locks another out.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import pandas as pd
from sqlalchemy import ColumnElement, Connection, and_, case, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert

from fraud_pipeline.adapters.database.alert_tables import alert_events, alerts, cases, deployment_settings
from fraud_pipeline.adapters.database.bulk import read_frame
from fraud_pipeline.adapters.database.engine import Database, say_until_commit
from fraud_pipeline.core import workflow
from fraud_pipeline.core.errors import ConflictError, NotFoundError
from fraud_pipeline.core.workflow import UNSET
from fraud_pipeline.core.workflow import AlertChange as AlertChange  # callers need it with the functions below

PIPELINE: Final = "pipeline"
"""The actor of everything that a run does."""


def sign(connection: Connection, actor: str, *, run_id: str | None = None, at: datetime | None = None) -> None:
    """Say who changes alerts and cases in a transaction, and perhaps in which run and when.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    actor : str
        Name of a person or a program.
    run_id : str, optional
        Run that makes the changes.
    at : datetime, optional
        When they happen, with a time zone, for a replay of the past; the present by default. The events have the
        present all the same.

    Raises
    ------
    InvalidDataError
        The name is empty.
    """
    workflow.require_actor(actor)
    say_until_commit(connection, actor=actor, run_id=run_id, now=at.isoformat() if at else None)


def read_alert(connection: Connection, alert_id: int, *, lock: bool = False) -> dict[str, Any]:
    """Read all columns of an alert, and keep others from changing it until the transaction ends if it is locked.

    Raises
    ------
    NotFoundError
        There is no such alert.
    """
    statement = select(alerts).where(alerts.c.alert_id == alert_id)
    found = connection.execute(statement.with_for_update(key_share=True) if lock else statement).one_or_none()
    if found is None:
        raise NotFoundError(f"There is no alert {alert_id}: `fraud-pipeline review queue` lists those that are open.")
    return dict(found._mapping)


def change_alert(
    database: Database,
    alert_id: int,
    change: AlertChange,
    *,
    actor: str,
    expected_version: int | None,
    now: datetime | None = None,
    sla_hours: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Change an alert in a transaction of its own; the arguments are those of :func:`change_alert_in`.

    Raises
    ------
    NotFoundError, ConflictError, InvalidMoveError, InvalidDataError
        As from :func:`change_alert_in`; nothing was written.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    with database.begin() as connection:
        return change_alert_in(
            connection,
            alert_id,
            change,
            actor=actor,
            expected_version=expected_version,
            now=now,
            sla_hours=sla_hours,
        )


def change_alert_in(
    connection: Connection,
    alert_id: int,
    change: AlertChange,
    *,
    actor: str,
    expected_version: int | None,
    now: datetime | None = None,
    sla_hours: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Change an alert within the transaction of the caller.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    alert_id : int
    change : AlertChange
    actor : str
        Who changes it.
    expected_version : int or None
        The version that the change was made from; None for any.
    now : datetime, optional
        When it happens, with a time zone, for a replay of the past; the present by default.
    sla_hours : sequence of float, optional
        Hours for priority 1 to 5: with a new priority the alert is due anew, else it stays due when it was.

    Returns
    -------
    dict of column to value
        The alert as it is now; one that was changed has a higher version, one that was commented on only has not.

    Raises
    ------
    NotFoundError
        There is no such alert.
    ConflictError
        It has another version by now.
    InvalidMoveError
        The workflow does not allow the move.
    InvalidDataError
        A value makes no sense, or nobody signs for it.
    """
    sign(connection, actor, at=now)
    before = read_alert(connection, alert_id, lock=True)
    require_version("Alert", alert_id, before["version"], expected_version)
    values: dict[str, Any] = workflow.plan_change(before["status"], change)
    values = {name: value for name, value in values.items() if value != before[name]}
    if sla_hours is not None and "current_priority" in values and before["due_at"] is not None:
        values["due_at"] = workflow.due_at(
            values["current_priority"], now or connection.execute(select(func.now())).scalar_one(), sla_hours
        )
    if values:
        connection.execute(update(alerts).where(alerts.c.alert_id == alert_id).values(values))
    if change.comment is not UNSET:
        connection.execute(select(func.add_alert_comment(alert_id, change.comment)))
    return read_alert(connection, alert_id)


def require_version(what: str, number: int, version: int, expected: int | None) -> None:
    """Check that nobody changed an alert or case since it was read.

    Raises
    ------
    ConflictError
        It has another version.
    """
    if expected is not None and version != expected:
        raise ConflictError(
            f"{what} {number} has version {version}, not {expected}: somebody changed it since you looked; "
            "look at it again.",
            version,
        )


def lock_alerts(connection: Connection, which: ColumnElement[bool]) -> list[int]:
    """Lock alerts in the order of their numbers, then their cases in the order of the card holders.

    Returns
    -------
    list of int
        The alerts that still are what was asked for once they are locked.
    """
    found = connection.execute(
        select(alerts.c.alert_id, alerts.c.case_id)
        .where(which)
        .order_by(alerts.c.alert_id)
        .with_for_update(key_share=True)
    ).all()
    connection.execute(
        select(cases.c.case_id)
        .where(cases.c.case_id.in_([row.case_id for row in found if row.case_id is not None]))
        .order_by(cases.c.user_id, cases.c.case_id)
        .with_for_update(key_share=True)
    )
    return [row.alert_id for row in found]


def close_alerts(connection: Connection, which: ColumnElement[bool], outcome: str, by: str) -> int:
    """Close alerts with an outcome by the moves that lead there, except those that have it already.

    An open alert is taken first, by ``by`` if it is nobody's; a closed one is re-opened first.

    Parameters
    ----------
    connection : Connection
        Inside a transaction that is signed (:func:`sign`).
    which : condition
        On the table ``alerts``.
    outcome : str
    by : str

    Returns
    -------
    int
        Number of alerts that got this outcome now.

    Raises
    ------
    InvalidDataError
        There is no such outcome.
    """
    workflow.require_outcome(outcome)
    numbers = lock_alerts(connection, and_(which, alerts.c.outcome.is_distinct_from(outcome)))
    mine = alerts.c.alert_id.in_(numbers)
    taken = {"status": "investigating", "assignee": func.coalesce(alerts.c.assignee, by)}
    connection.execute(update(alerts).where(mine, alerts.c.status != "investigating").values(taken))
    connection.execute(update(alerts).where(mine).values(status="closed", outcome=outcome))
    return len(numbers)


def escalate_overdue(
    database: Database, now: datetime, sla_hours: Sequence[float], *, actor: str = PIPELINE, run_id: str | None = None
) -> int:
    """Make every alert that is past due one step more urgent, and due anew.

    Closed and snoozed alerts are left alone, and so is what is most urgent already: it stays overdue. Alerts without
    a due time, which are older than due times, get one.

    Parameters
    ----------
    database : Database
        With the current schema.
    now : datetime
        With a time zone.
    sla_hours : sequence of float
        Hours for priority 1 to 5.
    actor : str
    run_id : str, optional

    Returns
    -------
    int
        Number of alerts that are more urgent now.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    waiting = and_(alerts.c.status != "closed", alerts.c.selection == "threshold")
    overdue = and_(waiting, is_awake(now), alerts.c.due_at < now, alerts.c.current_priority > workflow.PRIORITIES[0])
    due_at = {priority: workflow.due_at(priority, now, sla_hours) for priority in workflow.PRIORITIES}
    raised = {priority: workflow.escalated(priority) for priority in workflow.PRIORITIES}
    with database.begin() as connection:
        sign(connection, actor, run_id=run_id, at=now)
        numbers = lock_alerts(connection, or_(overdue, and_(waiting, alerts.c.due_at.is_(None))))
        mine = alerts.c.alert_id.in_(numbers)
        priority = alerts.c.current_priority
        escalated = connection.execute(
            update(alerts)
            .where(mine, alerts.c.due_at.is_not(None))
            .values(
                current_priority=case(raised, value=priority),
                due_at=case({each: due_at[raised[each]] for each in raised}, value=priority),
            )
        )
        connection.execute(
            update(alerts).where(mine, alerts.c.due_at.is_(None)).values(due_at=case(due_at, value=priority))
        )
        return escalated.rowcount


def is_awake(now: ColumnElement[datetime] | datetime) -> ColumnElement[bool]:
    """Condition on ``alerts``: not snoozed at an instant."""
    return or_(alerts.c.snoozed_until.is_(None), alerts.c.snoozed_until <= now)


def record_rescores(connection: Connection, changed: dict[int, dict[str, Any]]) -> int:
    """Note in the history of alerts what another verdict would have changed; what is noted already is no news.

    Parameters
    ----------
    connection : Connection
        Inside a transaction that is signed (:func:`sign`).
    changed : dict of alert_id to dict
        As from ``workflow.changed_verdicts``.

    Returns
    -------
    int
        Number of new events.
    """
    given = func.jsonb_each(cast(json.loads(json.dumps(changed)), JSONB)).table_valued("key", "value").alias("changed")
    number, verdict = cast(given.c.key, alerts.c.alert_id.type), cast(given.c.value, JSONB)
    statement = select(func.count()).select_from(given).where(func.record_rescore(number, verdict))
    return int(connection.execute(statement).scalar_one())


def alert_history(database: Database, alert_id: int) -> pd.DataFrame:
    """Read what happened to an alert, in the order in which it happened.

    Returns
    -------
    DataFrame
        All columns of the table ``alert_events``.

    Raises
    ------
    NotFoundError
        There is no such alert.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    statement = select(alert_events).where(alert_events.c.alert_id == alert_id).order_by(alert_events.c.event_id)
    with database.begin() as connection:
        read_alert(connection, alert_id)
        return read_frame(connection, statement)


def keep_time_zone(database: Database, time_zone: str) -> None:
    """Tell the database in which zone the days of the deployment begin, unless it knows.

    Raises
    ------
    InvalidDataError
        PostgreSQL does not know the zone.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    statement = insert(deployment_settings).values(time_zone=time_zone)
    with database.begin() as connection:
        if connection.scalar(select(deployment_settings.c.time_zone)) != time_zone:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["is_only_row"], set_={"time_zone": time_zone})
            )
