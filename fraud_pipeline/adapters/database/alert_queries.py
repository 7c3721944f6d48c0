"""What the API reads of alerts: pages of the list, one alert with its history, statistics, freshness."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, literal, or_, select, text, tuple_

from fraud_pipeline.adapters.database.alert_tables import alert_events, alerts, cases
from fraud_pipeline.adapters.database.api_tables import DUE
from fraud_pipeline.adapters.database.columns import TIME

LISTED: Final = (
    "alert_id",
    "transaction_id",
    "user_id",
    "merchant_id",
    "event_time",
    "event_day",
    "amount",
    "anomaly_score",
    "score_percentile",
    "confidence",
    "risk_level",
    "priority",
    "current_priority",
    "selection",
    "status",
    "outcome",
    "assignee",
    "case_id",
    "raised_at",
    "due_at",
    "snoozed_until",
    "first_touched_at",
    "closed_at",
    "updated_at",
    "reason_text",
    "model_version",
    "threshold_version",
    "feature_set_version",
    "version",
)
"""Columns of an alert in a list."""
_LAST_EVENTS: Final = 1000
_FRESHNESS: Final = text("SELECT max(event_day) FROM pipeline_runs WHERE asset = 'alerts'")
_DAILY_STATISTICS: Final = text(
    "SELECT * FROM alert_statistics_by_day WHERE event_day BETWEEN :first AND :last ORDER BY event_day, model_version"
)
# The view's figures of a day do not add up to medians and shares of a range.
_TOTAL: Final = text(
    """
    SELECT
        count(*) AS alerts,
        count(*) FILTER (WHERE status = 'open') AS open,
        count(*) FILTER (WHERE status = 'investigating') AS investigating,
        count(*) FILTER (WHERE status = 'closed') AS closed,
        count(*) FILTER (WHERE outcome = 'confirmed_fraud') AS confirmed_frauds,
        count(*) FILTER (WHERE outcome = 'false_positive') AS false_positives,
        count(*) FILTER (WHERE outcome = 'inconclusive') AS inconclusive,
        (count(*) FILTER (WHERE outcome = 'confirmed_fraud'))::double precision
            / nullif(count(*) FILTER (WHERE outcome IN ('confirmed_fraud', 'false_positive')), 0) AS alert_precision,
        coalesce(sum(abs(amount)), 0)::double precision AS amount,
        coalesce(sum(abs(amount)) FILTER (WHERE outcome = 'confirmed_fraud'), 0)::double precision AS value_detected,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY hours_to_first_touch) AS hours_to_first_touch_median,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY hours_to_close) AS hours_to_close_median,
        count(*) FILTER (WHERE sla = 'met') AS sla_met,
        count(*) FILTER (WHERE sla = 'breached') AS sla_breached,
        count(*) FILTER (WHERE sla = 'open') AS sla_open
    FROM alert_details WHERE selection = 'threshold' AND event_day BETWEEN :first AND :last
    """
)


@dataclass(frozen=True)
class AlertFilter:
    """Which alerts to list; what is empty or None does not restrict.

    Parameters
    ----------
    selection : str
        ``threshold`` or ``random_sample``.
    statuses, risk_levels : sequence of str
        Any of these.
    priorities : sequence of int
        Any of these, as they are now.
    user_id, merchant_id, assignee : str or None
    case_id : int or None
    first_day, last_day : date or None
        Days of the transactions, both included.
    """

    selection: str = "threshold"
    statuses: Sequence[str] = ()
    risk_levels: Sequence[str] = ()
    priorities: Sequence[int] = ()
    user_id: str | None = None
    merchant_id: str | None = None
    assignee: str | None = None
    case_id: int | None = None
    first_day: date | None = None
    last_day: date | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """As conditions on the table of alerts."""
        table = alerts.c
        listed = ((table.status, self.statuses), (table.risk_level, self.risk_levels))
        equal = (
            (table.user_id, self.user_id),
            (table.merchant_id, self.merchant_id),
            (table.assignee, self.assignee),
            (table.case_id, self.case_id),
        )
        found: list[ColumnElement[bool]] = [table.selection == self.selection]
        found += [column.in_(values) for column, values in listed if values]
        found += [table.current_priority.in_(self.priorities)] if self.priorities else []
        found += [column == value for column, value in equal if value is not None]
        found += [table.event_day >= self.first_day] if self.first_day is not None else []
        found += [table.event_day <= self.last_day] if self.last_day is not None else []
        return found


@dataclass(frozen=True)
class Place:
    """Where a page ended: what its last alert is ordered by."""

    current_priority: int
    due: datetime
    alert_id: int


def list_alerts(
    connection: Connection, which: AlertFilter, limit: int, after: Place | None = None
) -> tuple[list[dict[str, Any]], Place | None]:
    """Read a page of alerts: the most urgent first, of these what is due first.

    An alert that does not change while somebody pages through comes once and only once, whatever is
    raised meanwhile.

    Parameters
    ----------
    connection : Connection
    which : AlertFilter
    limit : int
        Most alerts of the page, at least 1.
    after : Place, optional
        Where the page before ended.

    Returns
    -------
    list of dict, Place or None
        ``LISTED`` of each alert, and where this page ended if there is another one.
    """
    conditions = which.conditions()
    place = (alerts.c.current_priority, DUE, alerts.c.alert_id)
    if after is not None:
        last = (literal(after.current_priority), literal(after.due, TIME), literal(after.alert_id))
        conditions.append(tuple_(*place) > tuple_(*last))
    columns = [alerts.c[name] for name in LISTED]
    statement = select(*columns, DUE.label("due")).where(*conditions).order_by(*place).limit(limit + 1)
    rows = [dict(row) for row in connection.execute(statement).mappings()]
    page = rows[:limit]
    dues = [row.pop("due") for row in page]
    if len(rows) <= limit:
        return page, None
    return page, Place(page[-1]["current_priority"], dues[-1], page[-1]["alert_id"])


def alert_detail(connection: Connection, alert_id: int) -> dict[str, Any] | None:
    """Read one alert with its reasons, its case and what happened to both; None if there is none.

    Returns
    -------
    dict or None
        ``LISTED``, ``reasons``, ``run_id``, ``artefact_sha256``, ``case`` (dict or None) and ``events``
        (list of dict, oldest first, the last thousand).
    """
    names = (*LISTED, "reasons", "run_id", "artefact_sha256")
    statement = select(*(alerts.c[name] for name in names)).where(alerts.c.alert_id == alert_id)
    alert = connection.execute(statement).mappings().one_or_none()
    if alert is None:
        return None
    case = connection.execute(select(cases).where(cases.c.case_id == alert["case_id"])).mappings().one_or_none()
    table = alert_events.c
    of_case = table.case_id == alert["case_id"]
    newest = (
        select(alert_events)
        .where(or_(table.alert_id == alert_id, of_case & table.alert_id.is_(None)))
        .order_by(table.event_id.desc())
        .limit(_LAST_EVENTS)
    )
    events = [dict(row) for row in connection.execute(newest).mappings()]
    return {**alert, "case": None if case is None else dict(case), "events": events[::-1]}


def alert_statistics(connection: Connection, first: date, last: date) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read how the alerts of a range of days were worked on: over all, and by day and model version.

    Parameters
    ----------
    connection : Connection
    first, last : date
        Days of the transactions, both included.
    """
    days = {"first": first, "last": last}
    total = connection.execute(_TOTAL, days).mappings().one()
    by_day = connection.execute(_DAILY_STATISTICS, days).mappings()
    return dict(total), [dict(row) for row in by_day]


def newest_alert_day(connection: Connection) -> date | None:
    """Day of the newest transactions that were scored and searched for alerts, None before the first."""
    newest: date | None = connection.execute(_FRESHNESS).scalar_one()
    return newest
