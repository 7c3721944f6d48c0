"""Sensors of the landing zone: which days a new or changed file is to be run for.

The cursor says what was seen. A tick that dies before Dagster has recorded it is
evaluated again from the same cursor, to the same run keys; one that was recorded is
carried on by the daemon. A cursor that is lost requests nothing twice either: run keys
are remembered for ever, and what the lake or the newest run already holds is passed over.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._utils.schedules import schedule_execution_time_iterator

from fraud_pipeline.adapters import clock
from fraud_pipeline.adapters.ingest import why_closed
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandedFile, LandingZone, files_digest
from fraud_pipeline.adapters.notifier import Notifier
from fraud_pipeline.core.errors import InputFileError, InvalidDataError
from fraud_pipeline.core.splits import ONE_DAY
from fraud_pipeline.orchestration.assets.labels import LABEL_FILES
from fraud_pipeline.orchestration.jobs import MERGE_LABELS, PREPARE, SCORE
from fraud_pipeline.orchestration.partitions import daily_partitions, neighbouring, range_request
from fraud_pipeline.settings import Settings

FILES_PER_TICK = 50
"""A backlog is taken in portions, so that a tick stays far below Dagster's time limit."""
CHANGED: Final = "fraud_pipeline/changed"
"""Tag of a run that may leave later days out of date; its value says what it changed."""
TRANSACTIONS, LABELS, FEATURES = "transactions", "labels", "features"


@dataclass
class Seen:
    """Cursor of the file sensor.

    Parameters
    ----------
    taken : dict of str to str
        ETag by key of what needs nothing more.
    looks : dict of str to str
        ETag by key of what may still be written to, as of the last tick.
    """

    taken: dict[str, str] = field(default_factory=dict)
    looks: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, cursor: str | None) -> "Seen":
        """Read a cursor; one of an earlier version has only what was taken."""
        stored = json.loads(cursor or "{}")
        return cls(**stored) if stored.keys() == {"taken", "looks"} else cls(taken=stored)

    def dump(self) -> str:
        """Write the cursor."""
        return json.dumps({"taken": self.taken, "looks": self.looks}, sort_keys=True)


def build_file_sensors(settings: Settings, jobs: Mapping[str, Any]) -> list[dg.SensorDefinition]:
    """Declare ``transaction_file_arrived`` and ``label_file_arrived``; both are on by default."""

    @dg.sensor(
        name="transaction_file_arrived",
        jobs=[jobs[PREPARE], jobs[SCORE]],
        minimum_interval_seconds=settings.sensor_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sees new and changed transaction files and requests exactly their days.",
    )
    def transaction_file_arrived(
        context: dg.SensorEvaluationContext,
        landing_zone: dg.ResourceParam[LandingZone],
        lake: dg.ResourceParam[Lake],
        notifier: dg.ResourceParam[Notifier],
    ) -> dg.SensorResult | dg.SkipReason:
        seen, now, found = Seen.parse(context.cursor), clock.utc_now(), landing_zone.survey()
        present = {file.key for file in found.files} | {problem.key for problem in found.problems}
        # What is gone is forgotten: should it come back, it is new.
        after = Seen({key: etag for key, etag in seen.taken.items() if key in present})
        for problem in found.problems:
            if seen.taken.get(problem.key) != problem.etag:
                notifier.notify(f"{problem.key} in the landing zone cannot be used", problem.message)
                after.taken[problem.key] = problem.etag
        # A day becomes a partition when it is over; its file is taken then.
        runnable = set(daily_partitions(settings).get_partition_keys())
        new = [
            file
            for file in found.files
            if seen.taken.get(file.key) != file.etag
            and (file.day.isoformat() in runnable or file.day < settings.first_day)
        ]
        complete = landing_zone.settled(new, seen.looks, now)[:FILES_PER_TICK]
        newest = max((file.day for file in found.files if file.day.isoformat() in runnable), default=settings.first_day)
        after.looks = {file.key: file.etag for file in new if file not in complete}
        scored = ScoredTime.of(settings, lake)
        requests, closed = [], []
        for file in complete:
            after.taken[file.key] = file.etag
            try:
                if was_processed(file, landing_zone, lake):
                    continue
            except FileNotFoundError:
                continue  # gone since it was listed
            if why := why_closed(file.day, settings.first_day, newest, settings.retention_days):
                closed.append(f"{file.key} is of {file.day}, {why}.")
            else:
                requests.append(
                    dg.RunRequest(
                        run_key=f"{file.key}:{file.etag}",
                        job_name=SCORE if scored.holds(file.day, now) else PREPARE,
                        partition_key=file.day.isoformat(),
                        tags={"fraud_pipeline/file": file.key, CHANGED: TRANSACTIONS},
                    )
                )
        if closed:
            notifier.notify(f"files of closed days in the landing zone are not run: {len(closed)}", "\n".join(closed))
        if after == seen:
            return dg.SkipReason(f"no new transaction file among {len(found.files)} in {landing_zone.root}")
        return dg.SensorResult(run_requests=requests, cursor=after.dump())

    @dg.sensor(
        name="label_file_arrived",
        job=jobs[MERGE_LABELS],
        minimum_interval_seconds=settings.sensor_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sees label files that came after the run of their day and requests to merge them.",
    )
    def label_file_arrived(
        context: dg.SensorEvaluationContext,
        landing_zone: dg.ResourceParam[LandingZone],
        lake: dg.ResourceParam[Lake],
    ) -> dg.SensorResult | dg.SkipReason:
        taken: dict[str, str] = json.loads(context.cursor or "{}")
        labelled = lake.days("fraud_labels")
        landed, unreadable = _label_files(context, landing_zone, labelled)
        # A day that was not run yet takes its labels when it is; it is looked at again until then.
        known = sorted((labelled - unreadable) & ({date.fromisoformat(day) for day in taken} | landed.keys()))
        digests = {day: files_digest(landed.get(day, ())) for day in known}
        new = [day for day in known if taken.get(day.isoformat()) != digests[day]][:FILES_PER_TICK]
        changed = [day for day in new if _merged(context.instance, day) != digests[day]]
        # A report also takes back what matured unreported after it.
        reach = range(settings.label_maturity_days + 1)
        stale = labelled & {day + timedelta(days=offset) for day in changed for offset in reach}
        version = hashlib.sha256(repr([(day, digests[day]) for day in changed]).encode()).hexdigest()[:16]
        requests = [
            range_request(MERGE_LABELS, days, version, {CHANGED: LABELS}) for days in neighbouring(sorted(stale))
        ]
        if not new:
            return dg.SkipReason(f"no new label file for the {len(labelled)} days that have labels")
        cursor = json.dumps(taken | {day.isoformat(): digests[day] for day in new}, sort_keys=True)
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return [transaction_file_arrived, label_file_arrived]


@dataclass(frozen=True)
class ScoredTime:
    """Which days are to have scores: from the first that was scored, or the first after training, to last night.

    Parameters
    ----------
    first, newest : date or None
        First day to score and newest day scored; None before there is one.
    cron, time_zone : str
        When a night is.
    """

    first: date | None
    newest: date | None
    cron: str
    time_zone: str

    @classmethod
    def of(cls, settings: Settings, lake: Lake) -> "ScoredTime":
        """Look it up in the lake."""
        scored = lake.days("anomaly_scores")
        first = min(scored, default=None)
        if first is None and lake.exists_json("champion_model"):
            first = date.fromisoformat(lake.read_json("training_windows")["as_of"])
        return cls(first, max(scored, default=None), settings.nightly_cron, settings.time_zone)

    def holds(self, day: date, now: datetime) -> bool:
        """Tell whether a day is scored as soon as its file is there, since no night to come will do it."""
        if self.first is None or day < self.first:
            return False  # history: scoring it would raise alerts of long ago
        return (self.newest is not None and day <= self.newest) or self.night_of(day) < now

    def night_of(self, day: date) -> datetime:
        """When the schedule scores a day: its first tick after the end of the day."""
        over = datetime.combine(day + ONE_DAY, datetime.min.time(), ZoneInfo(self.time_zone))
        tick: datetime = next(schedule_execution_time_iterator(over.timestamp(), self.cron, self.time_zone))
        return tick.astimezone(UTC)


def was_processed(file: LandedFile, landing_zone: LandingZone, lake: Lake) -> bool:
    """Tell whether these very bytes are already in the lake, as after a run from the command line."""
    try:
        raw = lake.read_days("raw_transactions", [file.day], ["file_sha256"]).get(file.day)
    except InvalidDataError:
        return False  # damaged: the run writes it anew
    return raw is not None and landing_zone.sha256(file) in set(raw["file_sha256"])


def _label_files(
    context: dg.SensorEvaluationContext, landing_zone: LandingZone, labelled: Iterable[date]
) -> tuple[dict[date, list[LandedFile]], set[date]]:
    """List the label files by day, and the days that cannot be listed, since they hold a file that is none."""
    landed: dict[date, list[LandedFile]] = {}
    unreadable: set[date] = set()
    try:
        for file in landing_zone.label_files():
            landed.setdefault(file.day, []).append(file)
    except InputFileError as error:
        context.log.warning(str(error))
        for day in labelled:
            try:
                landed[day] = landing_zone.label_files(day)
            except InputFileError:
                unreadable.add(day)
    return landed, unreadable


def _merged(instance: dg.DagsterInstance, day: date) -> str | None:
    """Which label files the newest ``fraud_labels`` of a day were made of."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("fraud_labels"), asset_partitions=[day.isoformat()])
    for record in instance.fetch_materializations(wanted, limit=1).records:
        if record.asset_materialization and LABEL_FILES in record.asset_materialization.metadata:
            return str(record.asset_materialization.metadata[LABEL_FILES].value)
    return None
