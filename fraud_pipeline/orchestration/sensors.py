"""What runs because something happened."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.orchestration.alarms import build_alarms
from fraud_pipeline.orchestration.file_sensors import build_file_sensors
from fraud_pipeline.orchestration.follow_ups import build_follow_up_sensor
from fraud_pipeline.orchestration.jobs import TRAIN
from fraud_pipeline.orchestration.run_metrics import build_metrics_sensor
from fraud_pipeline.settings import Settings


def build_sensors(settings: Settings, jobs: Mapping[str, Any]) -> list[dg.SensorDefinition]:
    """Declare all sensors; all are on by default."""

    @dg.asset_sensor(
        asset_key=dg.AssetKey("drift_report"),
        name="drift_detected",
        job=jobs[TRAIN],
        minimum_interval_seconds=settings.sensor_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests training when a drift report does, at most once a week of the report's days.",
    )
    def drift_detected(
        _context: dg.SensorEvaluationContext, event: dg.EventLogEntry, lake: dg.ResourceParam[Lake]
    ) -> dg.RunRequest | dg.SkipReason:
        materialization = event.asset_materialization
        requested = materialization and materialization.metadata.get("retraining_requested")
        if materialization is None or requested is None or requested.value is not True:
            return dg.SkipReason("the newest drift report requests no training")
        day = date.fromisoformat(str(materialization.partition))
        if day < max(lake.days("drift_report"), default=day):
            return dg.SkipReason(f"the drift report is of a past day, {day}, that was run again")
        year, week, _ = day.isocalendar()
        return dg.RunRequest(run_key=f"{TRAIN}:drift:{year}-W{week:02}", tags={"fraud_pipeline/drift": day.isoformat()})

    return [
        *build_file_sensors(settings, jobs),
        build_follow_up_sensor(settings, jobs),
        *build_alarms(settings),
        drift_detected,
        build_metrics_sensor(settings),
    ]
