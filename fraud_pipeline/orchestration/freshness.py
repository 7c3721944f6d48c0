"""When what has to be there, and the check that looks even if nothing ran.

A freshness policy knows when an asset was last written, whichever day that was; only the check knows which day is due.
It is the one thing that Dagster's declarative automation launches: the schedules and sensors start the runs
(ADR 0017).
"""

from datetime import date, timedelta
from typing import Any, Final, cast

import dagster as dg

from fraud_pipeline.adapters import clock
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.adapters.notifier import Notifier
from fraud_pipeline.core.splits import ONE_DAY
from fraud_pipeline.settings import Settings

NEWEST_DAY: Final = "newest_day_scored"
SCORES: Final = "anomaly_scores"
NIGHTLY: Final = frozenset({"transaction_features", SCORES, "alerts"})
_MODEL: Final = "champion_model"


def freshness_policy(settings: Settings, asset: str) -> dg.FreshnessPolicy | None:
    """Say how old an asset may be; None if that does not matter."""
    if asset in NIGHTLY:
        hour = settings.scored_by_hour
        return dg.FreshnessPolicy.cron(f"0 {hour} * * *", timedelta(hours=hour or 24), settings.time_zone)
    if asset == _MODEL:
        return dg.FreshnessPolicy.time_window(timedelta(days=15), timedelta(days=8))
    return None


def build_freshness_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Declare ``newest_day_scored``."""

    @dg.asset_check(
        asset=SCORES,
        name=NEWEST_DAY,
        description="The day that ended has scores; looked at every morning, whether anything ran or not.",
        automation_condition=cast(
            "dg.AutomationCondition[dg.AssetCheckKey]",
            dg.AutomationCondition.cron_tick_passed(f"5 {settings.scored_by_hour} * * *", settings.time_zone),
        ),
    )
    def newest_day_scored(
        lake: dg.ResourceParam[Lake],
        landing_zone: dg.ResourceParam[LandingZone],
        notifier: dg.ResourceParam[Notifier],
    ) -> dg.AssetCheckResult:
        due = clock.today(settings.time_zone) - ONE_DAY
        newest = max(lake.days(SCORES), default=None)
        passed, reason = newest_day(newest, due, has_file=bool(landing_zone.transaction_files(due)))
        if not passed:
            notifier.notify(f"{due} is not scored", reason)
        figures: dict[str, Any] = {
            "days_behind": max(0, (due - newest).days) if newest else 0,
            "due": due.isoformat(),
            "newest": newest.isoformat() if newest else "none",
            "reason": reason,
        }
        return dg.AssetCheckResult(passed=passed, severity=dg.AssetCheckSeverity.ERROR, metadata=figures)

    return [newest_day_scored]


def build_automation(settings: Settings) -> dg.AutomationConditionSensorDefinition:
    """Declare the sensor that evaluates conditions of checks; it is on by default."""
    return dg.AutomationConditionSensorDefinition(
        "morning_checks",
        target=dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(SCORES), NEWEST_DAY)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=max(60, settings.sensor_interval_seconds),
        description="Launches checks that are due by the clock.",
    )


def newest_day(newest: date | None, due: date, *, has_file: bool) -> tuple[bool, str]:
    """Tell whether the newest day with scores is the one that is due, and why not.

    Parameters
    ----------
    newest : date or None
        Newest day with scores; None if none was ever scored, which is no fault.
    due : date
    has_file : bool
        Whether a transaction file of the due day has landed.
    """
    if newest is None:
        return True, "no day was ever scored"
    if newest >= due:
        return True, f"{newest} is scored"
    late = (due - newest).days
    why = "its run failed or waits" if has_file else f"no transaction file for {due} has landed"
    return False, f"the newest day with scores is {newest}, {late} {'day' if late == 1 else 'days'} behind: {why}"
