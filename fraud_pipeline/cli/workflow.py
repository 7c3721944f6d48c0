"""Work on alerts and cases on the command line: take, give, comment, snooze, re-open, escalate, and what happened."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from fraud_pipeline.adapters.clock import utc_now
from fraud_pipeline.adapters.database import case_repository, workflow_repository
from fraud_pipeline.cli.console import console
from fraud_pipeline.cli.reviews import minute, review_database, rows_of, table_of, text_of
from fraud_pipeline.core import workflow
from fraud_pipeline.core.errors import ConfigurationError, InvalidMoveError
from fraud_pipeline.core.workflow import ALLOWED_MOVES, AlertChange
from fraud_pipeline.settings import Settings

Alert = dict[str, Any]


def take(settings: Settings, alert_id: int, by: str, version: int | None) -> None:
    """Move an alert to ``investigating`` and assign it."""

    def change(alert: Alert) -> AlertChange:
        if alert["status"] == "closed":
            raise InvalidMoveError(
                f"Alert {alert_id} is closed: re-open it with `fraud-pipeline review reopen {alert_id} --by …`.",
                ALLOWED_MOVES["closed"],
            )
        return AlertChange(status="investigating", assignee=by)

    taken = _change(settings, alert_id, change, by, version)
    console.print(f"Alert {alert_id} is {taken['assignee']}'s now; {_version(taken)}.")


def assign(settings: Settings, alert_id: int, to: str, by: str, version: int | None) -> None:
    """Give an alert to somebody, or to nobody."""
    given = _change(settings, alert_id, lambda _: AlertChange(assignee=to.strip() or None), by, version)
    console.print(f"Alert {alert_id} is with {given['assignee'] or 'nobody'} now; {_version(given)}.")


def comment(settings: Settings, alert_id: int, text: str, by: str) -> None:
    """Add a comment."""
    _change(settings, alert_id, lambda _: AlertChange(comment=text), by, None)
    console.print(f"Noted; next: fraud-pipeline review history {alert_id}")


def snooze(settings: Settings, alert_id: int, until: str, by: str, version: int | None) -> None:
    """Leave an alert out of the queue for a while, or wake it."""
    end = _instant(until, settings.time_zone) if until.strip() else None
    snoozed = _change(settings, alert_id, lambda _: AlertChange(snoozed_until=end), by, version)
    told = f"comes back at {end:%Y-%m-%d %H:%M %Z}" if end else "is in the queue"
    console.print(f"Alert {alert_id} {told}; {_version(snoozed)}.")


def reopen(settings: Settings, alert_id: int, by: str, version: int | None) -> None:
    """Open a closed alert again."""

    def change(alert: Alert) -> AlertChange:
        if alert["status"] != "closed":
            raise InvalidMoveError(
                f"Alert {alert_id} is {alert['status']}, so there is nothing to re-open.",
                ALLOWED_MOVES[alert["status"]],
            )
        return AlertChange(status="investigating")

    opened = _change(settings, alert_id, change, by, version)
    case_id = opened["case_id"]
    in_case = "" if case_id is None else f" in case {case_id}"
    console.print(f"Alert {alert_id} is investigated again{in_case}; {_version(opened)}.")


def escalate(settings: Settings, alert_id: int | None, by: str, version: int | None) -> None:
    """Make one alert, or all that are overdue, more urgent."""
    if alert_id is None:
        with review_database(settings) as database:
            number = workflow_repository.escalate_overdue(database, utc_now(), settings.sla_hours, actor=by)
        console.print(f"{number:,} overdue alerts are more urgent now.")
        return

    def change(alert: Alert) -> AlertChange:
        return AlertChange(priority=workflow.escalated(alert["current_priority"]))

    raised = _change(settings, alert_id, change, by, version)
    due = minute(raised["due_at"])
    console.print(f"Alert {alert_id} has priority {raised['current_priority']}, due {due} UTC; {_version(raised)}.")


def case(settings: Settings, case_id: int, outcome: str, assignee: str | None, by: str, version: int | None) -> None:
    """Print a case and its alerts, after it was given to somebody or closed."""
    with review_database(settings) as database:
        if assignee is not None:
            given = case_repository.assign_case(database, case_id, assignee.strip() or None, by, version)
            version = version and given["version"]
        if outcome:
            case_repository.close_case(database, case_id, outcome, by, version)
        found = case_repository.case_alerts(database, case_id)
        with database.begin() as connection:
            now = case_repository.read_case(connection, case_id)
    table = table_of("Alert", "Priority", "Due (UTC)", "State", "Outcome", "With", "Score", "Merchant", "Reasons")
    for row in rows_of(found):
        work = (minute(row.due_at), row.status, text_of(row.outcome), text_of(row.assignee))
        event = (f"{row.anomaly_score:.4f}", row.merchant_id, row.reason_text)
        table.add_row(str(row.alert_id), str(row.current_priority), *work, *event)
    console.print(table, soft_wrap=False)
    state = f"closed as {now['outcome']}" if now["outcome"] else "open"
    console.print(
        f"Case {case_id} of card {now['user_id']} is {state}, with {now['assignee'] or 'nobody'}, "
        f"priority {now['priority']}; {_version(now)}."
    )


def history(settings: Settings, number: int, of_case: bool) -> None:
    """Print what happened to an alert or a case."""
    read = case_repository.case_history if of_case else workflow_repository.alert_history
    with review_database(settings) as database:
        events = read(database, number)
    table = table_of("At (UTC)", "Who", *(["Alert"] if of_case else []), "What", "Change", "Run")
    for row in rows_of(events):
        subject = [text_of(row.alert_id)] if of_case else []
        table.add_row(
            f"{row.at:%Y-%m-%d %H:%M:%S}",
            row.actor,
            *subject,
            row.event_type,
            _difference(row),
            text_of(row.run_id)[:8],
        )
    console.print(table, soft_wrap=False)
    if not len(events):
        console.print("Nothing was recorded yet: it is older than the history.")


def _change(
    settings: Settings, alert_id: int, change: Callable[[Alert], AlertChange], by: str, version: int | None
) -> Alert:
    """Change an alert as it was read: whoever changes it in between wins, and this is refused."""
    with review_database(settings) as database:
        with database.begin() as connection:
            alert = workflow_repository.read_alert(connection, alert_id)
        return workflow_repository.change_alert(
            database,
            alert_id,
            change(alert),
            actor=by,
            expected_version=alert["version"] if version is None else version,
            sla_hours=settings.sla_hours,
        )


def _instant(text: str, time_zone: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigurationError(f"--until {text!r} is no instant: give YYYY-MM-DD or YYYY-MM-DDTHH:MM.") from error
    return instant if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(time_zone))


def _version(row: Alert) -> str:
    return f"version {row['version']}"


def _difference(event: Any) -> str:  # noqa: ANN401 - a row of a frame
    """Say in one line what a change changed; of a new row nothing, for the alert shows it."""
    if not pd.isna(event.comment):
        return str(event.comment)
    if event.before is None or event.after is None:
        return ""
    names = [name for name in event.after if name not in {"version", "updated_at"}]
    return "; ".join(
        f"{name} {_plain(event.before.get(name))} → {_plain(event.after[name])}"
        for name in names
        if event.before.get(name) != event.after[name]
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
