"""What runs because something happened."""

import json
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandedFile, LandingZone
from fraud_pipeline.adapters.notifier import Notifier
from fraud_pipeline.orchestration.jobs import PREPARE, SCORE, TRAIN
from fraud_pipeline.orchestration.partitions import daily_partitions
from fraud_pipeline.settings import Settings

FILES_PER_TICK = 50
"""A backlog is taken in portions, so that a tick stays far below Dagster's time limit."""


def build_sensors(settings: Settings, jobs: Mapping[str, Any]) -> list[dg.SensorDefinition]:
    """Declare ``transaction_file_arrived``, ``run_failed`` and ``drift_detected``; all are on by default."""

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
    ) -> dg.SensorResult | dg.SkipReason:
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        landed = landing_zone.transaction_files()
        # A day becomes a partition when it is over; its file is taken then.
        runnable = set(daily_partitions(settings).get_partition_keys())
        new = [
            file
            for file in landed
            if seen.get(file.key) != file.etag and (file.day.isoformat() in runnable or file.day < settings.first_day)
        ][:FILES_PER_TICK]
        if not new:
            return dg.SkipReason(f"no new transaction file among {len(landed)} in {landing_zone.root}")
        kept = {file.key: seen[file.key] for file in landed if file.key in seen}
        newest_scored = max(lake.days("anomaly_scores"), default=None)
        requests = []
        for file in new:
            if file.day < settings.first_day:
                context.log.warning(
                    f"{file.key} is of {file.day}, before FRAUD_PIPELINE_FIRST_DAY {settings.first_day}; not run."
                )
            elif not was_processed(file, landing_zone, lake):
                # A day whose night has passed is scored at once; the newest waits for the night.
                is_late = newest_scored is not None and file.day <= newest_scored
                requests.append(
                    dg.RunRequest(
                        run_key=f"{file.key}:{file.etag}",
                        job_name=SCORE if is_late else PREPARE,
                        partition_key=file.day.isoformat(),
                        tags={"fraud_pipeline/file": file.key},
                    )
                )
        cursor = json.dumps(kept | {file.key: file.etag for file in new}, sort_keys=True)
        return dg.SensorResult(run_requests=requests, cursor=cursor)

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
        day = run.tags.get("dagster/partition", "no partition")
        causes = " <- ".join(_causes(context)) or context.failure_event.message or "no message"
        notifier.notify(f"run {run.run_id} of {run.job_name} ({day}) failed", causes)

    @dg.asset_sensor(
        asset_key=dg.AssetKey("drift_report"),
        name="drift_detected",
        job=jobs[TRAIN],
        minimum_interval_seconds=settings.sensor_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests training when a drift report does, at most once a week of the report's days.",
    )
    def drift_detected(_context: dg.SensorEvaluationContext, event: dg.EventLogEntry) -> dg.RunRequest | dg.SkipReason:
        materialization = event.asset_materialization
        requested = materialization and materialization.metadata.get("retraining_requested")
        if materialization is None or requested is None or requested.value is not True:
            return dg.SkipReason("the newest drift report requests no training")
        day = date.fromisoformat(str(materialization.partition))
        year, week, _ = day.isocalendar()
        return dg.RunRequest(run_key=f"{TRAIN}:drift:{year}-W{week:02}", tags={"fraud_pipeline/drift": day.isoformat()})

    return [transaction_file_arrived, run_failed, drift_detected]


def was_processed(file: LandedFile, landing_zone: LandingZone, lake: Lake) -> bool:
    """Tell whether these very bytes are already in the lake, as after a run from the command line."""
    raw = lake.read_days("raw_transactions", [file.day], ["file_sha256"]).get(file.day)
    return raw is not None and landing_zone.sha256(file) in set(raw["file_sha256"])


def _causes(context: dg.RunFailureSensorContext) -> Iterator[str]:
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None:
            if error.cause is None:
                yield error.message.strip()
            error = error.cause
