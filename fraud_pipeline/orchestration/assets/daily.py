"""The decorator of the daily chain: one partitions definition, one back-fill policy, for every asset in it."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import dagster as dg

from fraud_pipeline.adapters.faults import is_transient
from fraud_pipeline.core.errors import FraudPipelineError
from fraud_pipeline.orchestration.partitions import daily_partitions
from fraud_pipeline.settings import Settings

OWNERS = ["team:fraud-data"]
DAILY_POOL = "daily"
"""Runs of daily assets write the same days' files: the queue starts one at a time, however it was launched."""
DAILY_TAGS: Final = {"fraud_pipeline/cycle": "daily"}
"""Tags of the ops, by which an executor may give the nights and the training cycle other machines."""
RETRY_SECONDS: Final = (5, 20, 60)
"""A step that met a fault of a connection is tried again after so long; then its run fails, and is tried again."""


def daily_asset(settings: Settings, **spec: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:  # noqa: ANN401
    """Declare a daily asset; a back-fill of a range is one run that walks the days."""
    declare: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        partitions_def=daily_partitions(settings),
        backfill_policy=dg.BackfillPolicy.single_run(),
        owners=OWNERS,
        pool=DAILY_POOL,
        op_tags=DAILY_TAGS,
        **spec,
    )
    return lambda compute: declare(retry_transient(compute))


def retry_transient(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Try a step again, later each time, if a connection failed it; what is wrong with data fails at once.

    A command shows its user the first fault: its runs say by ``dagster/max_retries`` that nothing is tried again.
    """
    if inspect.isgeneratorfunction(compute):

        @functools.wraps(compute)
        def walk(*args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401 - as the step has them
            with _retried():
                yield from compute(*args, **kwargs)

        return walk

    @functools.wraps(compute)
    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the step has them
        with _retried():
            return compute(*args, **kwargs)

    return call


@contextmanager
def _retried() -> Iterator[None]:
    try:
        yield
    except (FraudPipelineError, OSError) as error:
        context = dg.OpExecutionContext.get()
        if context.run.tags.get("dagster/max_retries") == "0" or not is_transient(error):
            raise
        attempt = min(context.retry_number, len(RETRY_SECONDS) - 1)
        raise dg.RetryRequested(len(RETRY_SECONDS), RETRY_SECONDS[attempt]) from error
