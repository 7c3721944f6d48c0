"""What runs by the clock, in the deployment's time zone."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.core.splits import WARM_UP_DAYS
from fraud_pipeline.orchestration.jobs import MEASURE, SCORE, TRAIN
from fraud_pipeline.settings import Settings


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Declare ``score_nightly``, ``measure_alerts`` and ``train_weekly``; all are on by default."""

    @dg.schedule(
        name="score_nightly_schedule",
        job_name=SCORE,
        cron_schedule=settings.nightly_cron,
        execution_timezone=settings.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Scores the day that ended.",
    )
    def score_nightly(
        context: dg.ScheduleEvaluationContext, landing_zone: dg.ResourceParam[LandingZone]
    ) -> dg.RunRequest | dg.SkipReason:
        day = ended_day(context.scheduled_execution_time, settings.time_zone)
        if not landing_zone.transaction_files(day):
            return dg.SkipReason(
                f"no transaction file for {day} has landed; transaction_file_arrived runs the day when it does"
            )
        return dg.RunRequest(run_key=f"{SCORE}:{day}", partition_key=day.isoformat())

    @dg.schedule(
        name="measure_alerts_schedule",
        job_name=MEASURE,
        cron_schedule=settings.nightly_cron,
        execution_timezone=settings.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Measures the day whose labels matured.",
    )
    def measure_alerts(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> dg.RunRequest | dg.SkipReason:
        ended = ended_day(context.scheduled_execution_time, settings.time_zone)
        day = ended - timedelta(days=settings.label_maturity_days + 1)
        if not lake.exists("anomaly_scores", day):
            return dg.SkipReason(f"{day} was not scored")
        return dg.RunRequest(run_key=f"{MEASURE}:{day}", partition_key=day.isoformat())

    @dg.schedule(
        name="train_weekly",
        job_name=TRAIN,
        cron_schedule=settings.training_cron,
        execution_timezone=settings.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Trains a challenger on the newest matured days.",
    )
    def train_weekly(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> dg.RunRequest | dg.SkipReason:
        needed = WARM_UP_DAYS + settings.calibration_days + settings.label_maturity_days
        days = len(lake.days("transaction_features"))
        if days <= needed:
            return dg.SkipReason(f"{days} days have features; training needs more than {needed}")
        return dg.RunRequest(run_key=f"{TRAIN}:{ended_day(context.scheduled_execution_time, settings.time_zone)}")

    return [score_nightly, measure_alerts, train_weekly]


def ended_day(tick: datetime, time_zone: str) -> date:
    """Give the day that ended before a tick; days of a clock change have 23 or 25 hours, so dates are subtracted."""
    return tick.astimezone(ZoneInfo(time_zone)).date() - timedelta(days=1)
