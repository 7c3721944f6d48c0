"""Sensors that tell people: of runs that failed, and of alerts that nobody closed in time."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import dagster as dg

from fraud_pipeline.adapters import clock
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.status_repository import Waiting, waiting_alerts
from fraud_pipeline.adapters.notifier import Notifier
from fraud_pipeline.core import errors
from fraud_pipeline.orchestration.checks import failed_check
from fraud_pipeline.orchestration.partitions import days_text
from fraud_pipeline.settings import Settings

REMIND_AFTER: Final = timedelta(hours=1)


def build_alarms(settings: Settings) -> list[dg.SensorDefinition]:
    """Declare ``run_failed`` and ``alert_backlog``; both are on by default."""

    @dg.run_failure_sensor(
        name="run_failed",
        monitor_all_code_locations=False,
        minimum_interval_seconds=settings.sensor_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people of every failed run that will not be tried again.",
    )
    def run_failed(context: dg.RunFailureSensorContext, notifier: dg.ResourceParam[Notifier]) -> None:
        run = context.dagster_run
        if run.tags.get("dagster/will_retry") == "true":
            return  # a SkipReason would end the tick before the next failed run
        causes = failed_check(context.instance, run.run_id) or " <- ".join(_causes(context))
        notifier.notify(
            f"run {run.run_id} of {run.job_name} ({days_text(run) or 'no partition'}) failed",
            causes or context.failure_event.message or "no message",
        )

    @dg.sensor(
        name="alert_backlog",
        minimum_interval_seconds=max(60, settings.sensor_interval_seconds),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people of alerts past their due time: once an hour, and at once when it gets worse.",
    )
    def alert_backlog(
        context: dg.SensorEvaluationContext,
        database: dg.ResourceParam[Database],
        notifier: dg.ResourceParam[Notifier],
    ) -> dg.SensorResult | dg.SkipReason:
        now = clock.utc_now()
        waiting = waiting_alerts(database, now)
        overdue = {each.priority: each.overdue for each in waiting if each.overdue}
        if not overdue:
            return dg.SensorResult(skip_reason="no alert is overdue", cursor="{}")
        if not is_news(overdue, context.cursor, now):
            return dg.SkipReason("people were told less than an hour ago, and it did not get worse")
        notifier.notify(f"{sum(overdue.values())} alerts are overdue", backlog_text(waiting))
        told = {"at": now.isoformat(), "overdue": overdue}
        return dg.SensorResult(skip_reason=f"told of {sum(overdue.values())} overdue alerts", cursor=json.dumps(told))

    return [run_failed, alert_backlog]


def is_news(overdue: dict[int, int], cursor: str | None, now: datetime) -> bool:
    """Tell whether people are to hear of a backlog.

    Parameters
    ----------
    overdue : dict of int to int
        Overdue alerts by priority, at least one.
    cursor : str or None
        What was told last and when; nothing if none was overdue since.
    now : datetime

    Returns
    -------
    bool
        Whether it was an hour ago, or since then a more urgent priority is overdue, or twice as many alerts.
    """
    told = json.loads(cursor or "{}")
    if not told:
        return True
    before = {int(priority): count for priority, count in told["overdue"].items()}
    return (
        now - datetime.fromisoformat(told["at"]) >= REMIND_AFTER
        or min(overdue) < min(before)
        or sum(overdue.values()) >= 2 * sum(before.values())
    )


def backlog_text(waiting: Sequence[Waiting]) -> str:
    """Say how many alerts of each priority are overdue, and where to begin."""
    lines = [f"priority {each.priority}: {each.overdue} of {each.open} open alerts overdue" for each in waiting]
    return "\n".join([*lines, "`fraud-pipeline review queue` lists them, the most urgent first."])


def _causes(context: dg.RunFailureSensorContext) -> Iterator[str]:
    """Give for each failed step the sentence of the pipeline's own error, or else what the last cause says."""
    for event in context.get_step_failure_events():
        messages = []
        error = event.step_failure_data.error
        while error is not None:
            messages.append(error.message.strip())
            error = error.cause
        own = [message for message in messages if message.startswith(f"{errors.__name__}.")]
        yield own[0].partition(": ")[2] if own else messages[-1]
