"""What waits for an analyst, what belongs together, and what was decided.

A decision is a row of ``review_decisions`` and stays, and a trigger makes a label of it. One on a transaction with an
alert closes the alert, whose trigger writes the row; one on any other transaction is written here.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import pandas as pd
from sqlalchemy import ColumnElement, Connection, and_, case, func, insert, literal, or_, select, text

from fraud_pipeline.adapters.database.alert_tables import alerts, review_decisions
from fraud_pipeline.adapters.database.bulk import read_frame
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import anomaly_scores, transactions
from fraud_pipeline.adapters.database.workflow_repository import (
    close_alerts,
    is_awake,
    lock_alerts,
    read_alert,
    require_version,
    sign,
)
from fraud_pipeline.core import workflow
from fraud_pipeline.core.errors import InvalidDataError

RELATED_DAYS: Final = 7
"""How far from an alert's transaction the card's and the merchant's other transactions are offered."""

_NAMED: Final = 10


def open_reviews(database: Database, day: date | None = None, limit: int = 50) -> pd.DataFrame:
    """List what waits and is not snoozed: alerts, most urgent first, then what was drawn at random, oldest first.

    Parameters
    ----------
    database : Database
        With the current schema.
    day : date, optional
        Only transactions of this partition day.
    limit : int
        Most alerts to list; random reviews are few, and measure only if all of them are decided.

    Returns
    -------
    DataFrame
        All columns of the table ``alerts``; ``selection`` tells which is which.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    waiting = select(alerts).where(*_waiting(day))
    urgent = (
        waiting.where(alerts.c.selection == "threshold")
        .order_by(alerts.c.current_priority, alerts.c.anomaly_score.desc(), alerts.c.alert_id)
        .limit(limit)
    )
    drawn = waiting.where(alerts.c.selection == "random_sample").order_by(alerts.c.event_time, alerts.c.alert_id)
    with database.begin() as connection:
        return pd.concat([read_frame(connection, urgent), read_frame(connection, drawn)], ignore_index=True)


def count_open(database: Database, day: date | None = None) -> dict[str, int]:
    """Count what waits and is not snoozed, by ``selection``; 0 where nothing does.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    statement = select(alerts.c.selection, func.count()).where(*_waiting(day))
    with database.begin() as connection:
        found = dict(connection.execute(statement.group_by(alerts.c.selection)).tuples().all())
    return {"threshold": 0, "random_sample": 0} | found


def related_transactions(database: Database, alert_id: int) -> pd.DataFrame:
    """List the transactions of the same card and at the same merchant, within `RELATED_DAYS` of an alert's.

    Parameters
    ----------
    database : Database
        With the current schema.
    alert_id : int

    Returns
    -------
    DataFrame
        ``transaction_id``, ``user_id``, ``merchant_id``, ``event_time``, ``amount``, ``same_card``, ``same_merchant``,
        ``anomaly_score`` (missing if not scored), ``outcome`` of the newest decision (missing if there is none);
        those of the card first, then by score, highest first. Without the alert's own transaction.

    Raises
    ------
    NotFoundError
        There is no such alert.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    with database.begin() as connection:
        return _related(connection, read_alert(connection, alert_id))


def close_alert(
    database: Database,
    alert_id: int,
    outcome: str,
    by: str,
    *,
    expected_version: int | None = None,
    at: datetime | None = None,
) -> pd.DataFrame:
    """Close an alert, or change the outcome of a closed one, and offer what is related to it.

    An open alert is taken first, and a closed one re-opened, so each of these moves is in its history.

    Parameters
    ----------
    database : Database
        With the current schema.
    alert_id : int
    outcome : str
        One of ``workflow.OUTCOMES``.
    by : str
        Who decides.
    expected_version : int, optional
        Refuse if the alert was changed since it had this version.
    at : datetime, optional
        When it was decided, with a time zone, for a replay of the past; the present by default. Labels of a day that
        was run already are not touched in the lake.

    Returns
    -------
    DataFrame
        As from :func:`related_transactions`.

    Raises
    ------
    NotFoundError
        There is no such alert.
    ConflictError
        The alert has another version.
    InvalidDataError
        No such outcome or person.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    workflow.require_outcome(outcome)
    with database.begin() as connection:
        sign(connection, by, at=at)
        alert = read_alert(connection, alert_id, lock=True)
        require_version("Alert", alert_id, alert["version"], expected_version)
        close_alerts(connection, alerts.c.alert_id == alert_id, outcome, by)
        return _related(connection, alert)


def record_decisions(
    database: Database, transaction_ids: Sequence[str], outcome: str, by: str, *, at: datetime | None = None
) -> int:
    """Decide on many transactions at once; those with an alert are closed with the same outcome.

    Parameters
    ----------
    database : Database
        With the current schema.
    transaction_ids : sequence of str
        Known ones; repeated ones count once.
    outcome, by, at
        As for :func:`close_alert`.

    Returns
    -------
    int
        Number of new decisions: an alert that was closed with this very outcome already gives none.

    Raises
    ------
    InvalidDataError
        A transaction is unknown, or there is no such outcome or person; nothing was written.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    workflow.require_outcome(outcome)
    wanted = list(dict.fromkeys(transaction_ids))
    with database.begin() as connection:
        sign(connection, by, at=at)
        _require_known(connection, wanted)
        mine = alerts.c.transaction_id.in_(wanted)
        lock_alerts(connection, mine)
        with_alert = set(connection.scalars(select(alerts.c.transaction_id).where(mine)))
        closed = close_alerts(connection, mine, outcome, by)
        rows = [
            {"transaction_id": name, "outcome": outcome, "decided_by": by, "origin": "bulk"}
            | ({} if at is None else {"decided_at": at})
            for name in wanted
            if name not in with_alert
        ]
        if rows:
            connection.execute(insert(review_decisions), rows)
        return closed + len(rows)


def decisions_between(database: Database, start: datetime, end: datetime) -> pd.DataFrame:
    """Read the decisions from one instant until before another.

    Returns
    -------
    DataFrame
        ``decision_id``, ``transaction_id``, ``outcome``, ``decided_at``, ``decided_by``, ``origin``, in the order in
        which they were decided.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    columns = [column for column in review_decisions.c if column.name != "alert_id"]
    statement = (
        select(*columns)
        .where(review_decisions.c.decided_at >= start, review_decisions.c.decided_at < end)
        .order_by(review_decisions.c.decided_at, review_decisions.c.decision_id)
    )
    with database.begin() as connection:
        return read_frame(connection, statement)


def _waiting(day: date | None) -> list[ColumnElement[bool]]:
    waiting = [alerts.c.status != "closed", is_awake(func.now())]
    return waiting if day is None else [*waiting, alerts.c.event_day == day]


def _related(connection: Connection, alert: dict[str, Any]) -> pd.DataFrame:
    newest = (
        select(review_decisions.c.outcome)
        .where(review_decisions.c.transaction_id == transactions.c.transaction_id)
        .order_by(review_decisions.c.decided_at.desc(), review_decisions.c.decision_id.desc())
        .limit(1)
        .scalar_subquery()
    )
    same_card = transactions.c.user_id == alert["user_id"]
    same_merchant = transactions.c.merchant_id == alert["merchant_id"]
    reach, days = timedelta(days=RELATED_DAYS), timedelta(days=RELATED_DAYS + 1)
    score = anomaly_scores.c.anomaly_score
    statement = (
        select(
            *(transactions.c[name] for name in ("transaction_id", "user_id", "merchant_id", "event_time", "amount")),
            case((same_card, literal(True)), else_=literal(False)).label("same_card"),
            case((same_merchant, literal(True)), else_=literal(False)).label("same_merchant"),
            score,
            newest.label("outcome"),
        )
        .outerjoin(
            anomaly_scores,
            and_(
                anomaly_scores.c.event_day == transactions.c.event_day,
                anomaly_scores.c.transaction_id == transactions.c.transaction_id,
            ),
        )
        .where(
            or_(same_card, same_merchant),
            transactions.c.event_time.between(alert["event_time"] - reach, alert["event_time"] + reach),
            # So that PostgreSQL reads the months of these days alone; a day more, where the clocks change.
            transactions.c.event_day.between(alert["event_day"] - days, alert["event_day"] + days),
            transactions.c.transaction_id != alert["transaction_id"],
        )
        .order_by(text("same_card DESC"), score.desc().nulls_last(), transactions.c.transaction_id)
    )
    return read_frame(connection, statement)


def _require_known(connection: Connection, names: Sequence[str]) -> None:
    known = set(
        connection.scalars(select(transactions.c.transaction_id).where(transactions.c.transaction_id.in_(names)))
    )
    unknown = [name for name in names if name not in known]
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise InvalidDataError(
            f"There is no transaction {', '.join(unknown[:_NAMED])}{more}, so nothing was decided: correct the ids."
        )
