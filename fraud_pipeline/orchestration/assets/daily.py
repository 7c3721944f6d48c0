"""The decorator of the daily chain: one partitions definition, one back-fill policy, for every asset in it."""

from collections.abc import Callable
from typing import Any

import dagster as dg

from fraud_pipeline.core.schema import FEATURE_SET_VERSION
from fraud_pipeline.orchestration.partitions import daily_partitions
from fraud_pipeline.settings import Settings

OWNERS = ["team:fraud-data"]
DAILY_POOL = "daily"
"""Runs of daily assets write the same days' files: the queue starts one at a time, however it was launched."""


def daily_asset(settings: Settings, **spec: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:  # noqa: ANN401
    """Declare a daily asset; a back-fill of a range is one run that walks the days."""
    declare: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        partitions_def=daily_partitions(settings),
        backfill_policy=dg.BackfillPolicy.single_run(),
        owners=OWNERS,
        pool=DAILY_POOL,
        code_version=FEATURE_SET_VERSION,
        **spec,
    )
    return declare
