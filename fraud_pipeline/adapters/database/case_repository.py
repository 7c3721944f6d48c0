"""Cases: the alerts of a card holder that are investigated together."""

from typing import Any

import pandas as pd
from sqlalchemy import Connection, select, update

from fraud_pipeline.adapters.database.alert_tables import alert_events, alerts, cases
from fraud_pipeline.adapters.database.bulk import read_frame
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.workflow_repository import close_alerts, lock_alerts, require_version, sign
from fraud_pipeline.core import workflow
from fraud_pipeline.core.errors import ConflictError, InvalidMoveError, NotFoundError


def read_case(connection: Connection, case_id: int) -> dict[str, Any]:
    """Read all columns of a case.

    Raises
    ------
    NotFoundError
        There is no such case.
    """
    found = connection.execute(select(cases).where(cases.c.case_id == case_id)).one_or_none()
    if found is None:
        raise NotFoundError(f"There is no case {case_id}: `fraud-pipeline review queue` shows the case of each alert.")
    return dict(found._mapping)


def case_alerts(database: Database, case_id: int) -> pd.DataFrame:
    """Read the alerts of a case, the most urgent first.

    Returns
    -------
    DataFrame
        All columns of the table ``alerts``.

    Raises
    ------
    NotFoundError
        There is no such case.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    statement = select(alerts).where(alerts.c.case_id == case_id)
    with database.begin() as connection:
        read_case(connection, case_id)
        return read_frame(connection, statement.order_by(alerts.c.current_priority, alerts.c.alert_id))


def case_history(database: Database, case_id: int) -> pd.DataFrame:
    """Read what happened to a case and to its alerts, in the order in which it happened.

    Returns
    -------
    DataFrame
        All columns of the table ``alert_events``.

    Raises
    ------
    NotFoundError
        There is no such case.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    statement = select(alert_events).where(alert_events.c.case_id == case_id).order_by(alert_events.c.event_id)
    with database.begin() as connection:
        read_case(connection, case_id)
        return read_frame(connection, statement)


def close_case(
    database: Database, case_id: int, outcome: str, actor: str, expected_version: int | None
) -> dict[str, Any]:
    """Close all alerts of a case that are not closed, with one outcome, which closes the case.

    Parameters
    ----------
    database : Database
        With the current schema.
    case_id : int
    outcome : str
        Of these alerts; alerts of the case that are closed already keep theirs, so that of the case may be another.
    actor : str
        Who decides.
    expected_version : int or None
        The version that the decision was made from; None for any.

    Returns
    -------
    dict of column to value
        The case as it is now.

    Raises
    ------
    NotFoundError
        There is no such case.
    ConflictError
        Somebody changed it since, or an alert joins it at this moment.
    InvalidMoveError
        It is closed already.
    InvalidDataError
        There is no such outcome, or nobody signs for it.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    workflow.require_outcome(outcome)
    with database.begin() as connection:
        sign(connection, actor)
        waiting = (alerts.c.case_id == case_id) & (alerts.c.status != "closed")
        locked = lock_alerts(connection, waiting)
        # Its case is locked now, so nothing joins it; what did so just before is not what was decided on.
        case = _open_case(connection, case_id, expected_version)
        joined = connection.scalars(select(alerts.c.alert_id).where(waiting, alerts.c.alert_id.not_in(locked))).all()
        if joined:
            raise ConflictError(
                f"Alert {joined[0]} joined case {case_id} at this moment, so it was not closed: look at it again.",
                case["version"],
            )
        close_alerts(connection, alerts.c.alert_id.in_(locked), outcome, actor)
        return read_case(connection, case_id)


def assign_case(
    database: Database, case_id: int, assignee: str | None, actor: str, expected_version: int | None
) -> dict[str, Any]:
    """Give an open case, its alerts that are not closed, and those that will join it, to somebody, or to nobody.

    Parameters
    ----------
    database : Database
        With the current schema.
    case_id : int
    assignee : str or None
    actor : str
        Who decides so.
    expected_version : int or None
        The version that the decision was made from; None for any.

    Returns
    -------
    dict of column to value
        The case as it is now.

    Raises
    ------
    NotFoundError, ConflictError, InvalidMoveError, InvalidDataError, DatabaseError
        As from :func:`close_case`.
    """
    if assignee is not None:
        workflow.require_actor(assignee)
    with database.begin() as connection:
        sign(connection, actor)
        numbers = lock_alerts(connection, (alerts.c.case_id == case_id) & (alerts.c.status != "closed"))
        _open_case(connection, case_id, expected_version)
        connection.execute(update(alerts).where(alerts.c.alert_id.in_(numbers)).values(assignee=assignee))
        connection.execute(update(cases).where(cases.c.case_id == case_id).values(assignee=assignee))
        return read_case(connection, case_id)


def _open_case(connection: Connection, case_id: int, expected_version: int | None) -> dict[str, Any]:
    found = read_case(connection, case_id)
    require_version("Case", case_id, found["version"], expected_version)
    if found["status"] == "closed":
        raise InvalidMoveError(f"Case {case_id} is closed: re-open one of its alerts first.", ())
    return found
