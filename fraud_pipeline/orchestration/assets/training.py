"""The decorator of the training cycle, which is not run by the day."""

from collections.abc import Callable
from typing import Any, Final

import dagster as dg

from fraud_pipeline.orchestration.assets.daily import OWNERS, retry_transient

TRAINING_POOL: Final = "training"
"""Cycles and backtests take all cores and much memory: the queue starts one at a time."""
TRAINING_TAGS: Final = {"fraud_pipeline/cycle": "training"}


def training_asset(**spec: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:  # noqa: ANN401
    """Declare an asset of the training cycle, in the group ``training`` unless another is given."""
    declare: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        owners=OWNERS, pool=TRAINING_POOL, op_tags=TRAINING_TAGS, **{"group_name": "training", **spec}
    )
    return lambda compute: declare(retry_transient(compute))
