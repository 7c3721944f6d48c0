"""The one place that puts the parts together: production, tests and the command line all call it."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.orchestration.assets import (
    alerts,
    backtests,
    calibration,
    detectors,
    drift,
    features,
    labels,
    metrics,
    profiles,
    promotion,
    reviews,
    scoring,
    statistics,
    transactions,
)
from fraud_pipeline.orchestration.catalogue import described
from fraud_pipeline.orchestration.checks import build_checks
from fraud_pipeline.orchestration.freshness import build_automation, build_freshness_checks
from fraud_pipeline.orchestration.jobs import build_jobs
from fraud_pipeline.orchestration.resources import build_loggers, build_resources
from fraud_pipeline.orchestration.schedules import build_schedules
from fraud_pipeline.orchestration.sensors import build_sensors
from fraud_pipeline.settings import Settings

_STAGES = (
    transactions,
    labels,
    profiles,
    features,
    detectors,
    calibration,
    promotion,
    scoring,
    alerts,
    reviews,
    metrics,
    statistics,
    drift,
    backtests,
)


def build_definitions(settings: Settings, *, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Assemble everything that Dagster loads; nothing connects or reads here.

    Parameters
    ----------
    settings : Settings
    resource_overrides : mapping of resource key to resource, optional
        Replaces single resources, for tests.

    Returns
    -------
    Definitions

    Raises
    ------
    ConfigurationError
        If a setting is no cron expression.
    """
    jobs = build_jobs()
    try:
        schedules = build_schedules(settings)
    except dg.DagsterInvalidDefinitionError as error:
        raise ConfigurationError(
            f"FRAUD_PIPELINE_NIGHTLY_CRON {settings.nightly_cron!r} or FRAUD_PIPELINE_TRAINING_CRON "
            f"{settings.training_cron!r} is no cron expression; give five fields such as '0 2 * * *'."
        ) from error
    return dg.Definitions(
        assets=described(settings, (asset for stage in _STAGES for asset in stage.build_assets(settings))),
        asset_checks=[*build_checks(settings), *build_freshness_checks(settings)],
        jobs=list(jobs.values()),
        schedules=schedules,
        sensors=[*build_sensors(settings, jobs), build_automation(settings)],
        resources={**build_resources(settings), **(resource_overrides or {})},
        loggers=build_loggers(settings),
        # The steps of a day are short; a process for each would cost more than its work.
        executor=dg.in_process_executor,
    )
