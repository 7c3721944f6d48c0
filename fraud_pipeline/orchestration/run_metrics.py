"""Figures of runs, rows and durations for Prometheus.

They are counted anew from what is on record, so no process has to live for them: runs from the command line and
those of a daemon that was restarted count like any other.
"""

from collections.abc import Iterator
from typing import Final

import dagster as dg

from fraud_pipeline.adapters import clock
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.status_repository import newest_days, waiting_alerts
from fraud_pipeline.adapters.metrics_file import Gauge, Labels, write_metrics
from fraud_pipeline.settings import Settings

FILE: Final = "fraud_pipeline.prom"
INTERVAL_SECONDS: Final = 60
_STATUSES: Final = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.QUEUED,
)


def build_metrics_sensor(settings: Settings) -> dg.SensorDefinition:
    """Declare ``metrics_written``; it is on by default."""

    @dg.sensor(
        name="metrics_written",
        minimum_interval_seconds=max(INTERVAL_SECONDS, settings.sensor_interval_seconds),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes the figures of runs, rows and durations for Prometheus below HOME/metrics.",
    )
    def metrics_written(
        context: dg.SensorEvaluationContext, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.SkipReason]:
        file = settings.home / "metrics" / FILE
        repository = context.repository_def
        jobs = [] if repository is None else [job for job in repository.job_names if not job.startswith("__")]
        write_metrics(file, [*run_metrics(context.instance, jobs), *data_metrics(database)])
        yield dg.SkipReason(f"wrote {file}")

    return metrics_written


def run_metrics(instance: dg.DagsterInstance, jobs: list[str]) -> Iterator[Gauge]:
    """Count the runs of each job by their state, and take the newest that succeeded."""
    counts: dict[Labels, float] = {}
    seconds: dict[Labels, float] = {}
    ended: dict[Labels, float] = {}
    for job in jobs:
        for status in _STATUSES:
            found = instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=[status]))
            counts[("job", job), ("status", status.value.lower())] = float(found)
        succeeded = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
        for record in instance.get_run_records(succeeded, limit=1):
            if record.start_time and record.end_time:
                seconds[(("job", job),)] = record.end_time - record.start_time
                ended[(("job", job),)] = record.end_time
    # Runs leave a state and are deleted by hand, so these numbers may fall.
    yield Gauge("runs", "Runs on record by job and state.", counts)
    yield Gauge("last_success_duration_seconds", "How long the newest successful run took.", seconds)
    yield Gauge("last_success_timestamp_seconds", "When the newest successful run ended.", ended)
    yield Gauge("metrics_timestamp_seconds", "When this was written.", {(): clock.utc_now().timestamp()})


def data_metrics(database: Database) -> Iterator[Gauge]:
    """Take rows and day of the newest day of each asset, and the alerts that wait."""
    written = newest_days(database)
    by_asset: dict[str, Labels] = {each.asset: (("asset", each.asset),) for each in written}
    yield Gauge(
        "newest_day_rows",
        "Rows of the newest day of an asset.",
        {by_asset[each.asset]: float(each.rows) for each in written},
    )
    yield Gauge(
        "newest_day_age_days",
        "Days since the newest day of an asset, by the calendar in UTC.",
        {by_asset[each.asset]: float((clock.utc_now().date() - each.day).days) for each in written},
    )
    waiting = waiting_alerts(database, clock.utc_now())
    for name, text in (("open", "Alerts that are not closed"), ("overdue", "Alerts past their due time")):
        values: dict[Labels, float] = {
            (("priority", str(each.priority)),): float(getattr(each, name)) for each in waiting
        }
        yield Gauge(f"alerts_{name}", f"{text}, by priority.", values)
