"""What the Dagster instance says of itself: its daemon, its sensors and schedules, its last runs."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus

from fraud_pipeline.adapters.health import Check
from fraud_pipeline.orchestration.partitions import days_text

LAST_RUNS: Final = 5


@dataclass(frozen=True)
class RunSummary:
    """A run, in short.

    Parameters
    ----------
    run_id, job, status : str
    days : str
        Its day, or the first and last of its range; empty without partitions.
    started_at : datetime or None
    seconds : float or None
        How long it took, or None while it has not ended.
    """

    run_id: str
    job: str
    status: str
    days: str
    started_at: datetime | None
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """Render it for programs."""
        return asdict(self) | {"started_at": self.started_at.isoformat() if self.started_at else None}


def last_runs(instance: dg.DagsterInstance, limit: int = LAST_RUNS) -> list[RunSummary]:
    """List the newest runs, newest first."""
    return [_summary(record) for record in instance.get_run_records(limit=limit)]


def active_runs(instance: dg.DagsterInstance, since: datetime | None = None) -> list[RunSummary]:
    """List the runs that are at work now, or also those that were since a moment, newest first."""
    at_work = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    filters = [dg.RunsFilter(statuses=at_work)] + ([dg.RunsFilter(updated_after=since)] if since else [])
    found = {record.dagster_run.run_id: record for each in filters for record in instance.get_run_records(each)}
    return [_summary(record) for record in found.values()]


def daemon(instance: dg.DagsterInstance) -> Check:
    """Look whether the daemon, without which nothing runs by itself, was there a moment ago."""
    required = [each for each in instance.get_daemon_statuses().values() if each.required]
    silent = [each.daemon_type.lower() for each in required if not each.healthy]
    if not silent:
        return Check("daemon", "ok", f"all {len(required)} parts sent a heartbeat a moment ago")
    never = all(each.last_heartbeat is None for each in required)
    detail = "it does not run" if len(silent) == len(required) else f"no heartbeat of {', '.join(sorted(silent))}"
    # Who runs everything by commands has no daemon, and need not have one.
    return Check("daemon", "warning" if never else "failed", detail, "Start it: `fraud-pipeline ui`, or see its log.")


def instigators(instance: dg.DagsterInstance) -> Check:
    """Look whether the newest evaluation of any sensor or schedule failed, or somebody stopped one."""
    states = instance.all_instigator_state()
    stopped = [state.instigator_name for state in states if state.status == InstigatorStatus.STOPPED]
    failing = []
    for state in states:
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        if ticks and ticks[0].status == TickStatus.FAILURE:
            error = ticks[0].error
            message = error.cause.message if error and error.cause else error.message if error else "no message"
            failing.append(f"{state.instigator_name}: {message.strip()}")
    name = "sensors and schedules"
    if failing:
        return Check(name, "failed", "; ".join(failing), "The page Automation of the UI shows the ticks.")
    if stopped:
        return Check(name, "warning", f"stopped: {', '.join(sorted(stopped))}", "Start them on the page Automation.")
    return Check(name, "ok", f"{len(states)} were evaluated, none failed the last time")


def _summary(record: dg.RunRecord) -> RunSummary:
    run = record.dagster_run
    started = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else None
    seconds = record.end_time - record.start_time if record.end_time and record.start_time else None
    return RunSummary(run.run_id, run.job_name, run.status.value, days_text(run), started, seconds)
