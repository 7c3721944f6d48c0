"""What has to be run again because an earlier day changed.

A run that changed a past day says so in a tag (``file_sensors.CHANGED``). Once it has succeeded, the days that
look back on what it wrote, and were made before that, are requested again as ranges: features first, then, when these
have succeeded, the scores of those days that had some.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import dagster as dg

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.core import features
from fraud_pipeline.orchestration.checks import held_days
from fraud_pipeline.orchestration.file_sensors import CHANGED, FEATURES, LABELS, TRANSACTIONS
from fraud_pipeline.orchestration.jobs import MEASURE, REFRESH_FEATURES, REFRESH_SCORES
from fraud_pipeline.orchestration.partitions import days_between, neighbouring, range_request
from fraud_pipeline.settings import Settings

RUNS_PER_TICK: Final = 1000


@dataclass(frozen=True)
class LookBack:
    """An asset that reads earlier days of another.

    Parameters
    ----------
    written, reader : str
        What is read, and by what.
    first, last : int
        Which days of the reader have read a day: those from so many days after it to so many.
    there : str
        Lake dataset of the days that the reader has; others are never run.
    job : str
        What makes the reader anew.
    inputs : tuple of str
        What the reader reads of its own day, and the job does not make: a day on which a blocking check of one failed
        is left alone until it was run again.
    """

    written: str
    reader: str
    first: int
    last: int
    there: str
    job: str
    inputs: tuple[str, ...]

    def stale(self, instance: dg.DagsterInstance, changed: Set[date], there: Set[date]) -> dict[date, int]:
        """Give the days of the reader that are older than what they read, with the event that made them so."""
        written = _events(instance, self.written, changed)
        touched: dict[date, int] = {}
        for day, event in written.items():
            for after in range(self.first, self.last + 1):
                later = day + timedelta(days=after)
                if later in there:
                    touched[later] = max(event, touched.get(later, 0))
        made = _events(instance, self.reader, touched.keys())
        stale = {day: event for day, event in touched.items() if made.get(day, 0) < event}
        held = set().union(*(held_days(instance, asset, stale) for asset in self.inputs))
        return {day: event for day, event in stale.items() if day not in held}


def look_backs(settings: Settings) -> dict[str, list[LookBack]]:
    """List who looks back on what a run changed, by the tag of the run."""
    matured = settings.label_maturity_days
    # What happened matures into a label, which later features read.
    reach = max(features.days_back(settings.baseline_days), matured + features.LABEL_CALENDAR_DAYS - 1)
    valid, own, scores = "validated_transactions", "transaction_features", "anomaly_scores"
    remade = (own, REFRESH_FEATURES, (valid,))
    return {
        TRANSACTIONS: [LookBack(valid, own, 1, reach, *remade)],
        LABELS: [
            LookBack("fraud_labels", own, 0, features.LABEL_CALENDAR_DAYS - 1, *remade),
            LookBack("fraud_labels", "model_metrics", -matured - 1, 0, scores, MEASURE, (scores,)),
        ],
        FEATURES: [LookBack(own, scores, 0, 0, scores, REFRESH_SCORES, (valid, own))],
    }


def build_follow_up_sensor(settings: Settings, jobs: Mapping[str, Any]) -> dg.SensorDefinition:
    """Declare ``past_day_changed``; it is on by default."""
    readers = look_backs(settings)

    @dg.sensor(
        name="past_day_changed",
        jobs=[jobs[name] for name in (REFRESH_FEATURES, REFRESH_SCORES, MEASURE)],
        minimum_interval_seconds=settings.sensor_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests again what looks back on a past day that has changed.",
    )
    def past_day_changed(
        context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> dg.SensorResult | dg.SkipReason:
        handled = int(context.cursor or 0)
        tagged = context.instance.get_run_records(dg.RunsFilter(tags={CHANGED: list(readers)}), limit=RUNS_PER_TICK)
        new = [record for record in tagged if record.storage_id > handled]
        if not new:
            return dg.SkipReason("no run has changed a past day")
        # Together they are one range; and what is made of half of the changes would be made twice.
        unfinished = sum(not record.dagster_run.is_finished for record in new)
        if unfinished:
            return dg.SkipReason(f"{unfinished} runs that change past days are not finished")
        changed: dict[str, set[date]] = {}
        for record in new:
            if record.dagster_run.is_success:
                changed.setdefault(record.dagster_run.tags[CHANGED], set()).update(days_of_run(record.dagster_run))
        stale: dict[str, dict[date, int]] = {}
        for kind, days in changed.items():
            for reader in readers[kind]:
                found = reader.stale(context.instance, days, lake.days(reader.there))
                stale[reader.job] = {**stale.get(reader.job, {}), **found}
        requests = [
            range_request(
                job,
                days,
                # The same change is followed up once, even if the cursor is lost.
                str(max(events[day] for day in days)),
                {CHANGED: FEATURES} if job == REFRESH_FEATURES else {},
            )
            for job, events in stale.items()
            for days in neighbouring(sorted(events))
        ]
        return dg.SensorResult(run_requests=requests, cursor=str(max(record.storage_id for record in new)))

    return past_day_changed


def days_of_run(run: dg.DagsterRun) -> list[date]:
    """List the days of a run by its tags: one, or a range."""
    first = run.tags.get("dagster/asset_partition_range_start") or run.tags["dagster/partition"]
    last = run.tags.get("dagster/asset_partition_range_end") or first
    return days_between(date.fromisoformat(first), date.fromisoformat(last))


def _events(instance: dg.DagsterInstance, asset: str, days: Set[date]) -> dict[date, int]:
    """Give the number of the newest materialisation of each day; numbers rise with time."""
    found = instance.get_latest_storage_id_by_partition(
        dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, {day.isoformat() for day in days}
    )
    return {date.fromisoformat(day): event for day, event in found.items()}
