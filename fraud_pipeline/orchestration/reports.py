"""What a run says of the assets that it made: how many rows, which content, and figures."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

import dagster as dg
import pandas as pd

from fraud_pipeline.adapters import frame_files
from fraud_pipeline.orchestration.catalogue import column_lineage
from fraud_pipeline.orchestration.partitions import days_of

Figures = Mapping[str, Any]

_OF_THE_RUN: Final = ("run_id", "computed_as_of")
"""Columns that name a run or its time; all others are content."""


class DayReports:
    """Reports one day of an asset after the other, also in a range run.

    Each day gets its row count, the SHA-256 of its rows, and its figures. Dagster takes one data version a run: that
    of a single day is the SHA-256 of its rows, that of a range is made of those of all its days.

    Parameters
    ----------
    context : AssetExecutionContext
    asset : str
    """

    def __init__(self, context: dg.AssetExecutionContext, asset: str) -> None:
        self._context = context
        self._asset = asset
        self._digests: list[str] = []
        self._last = days_of(context)[-1]

    def add(self, day: date, rows: pd.DataFrame, figures: Figures | None = None) -> None:
        """Report a day with its rows; columns that name the run are no content."""
        content = frame_files.digest(rows.drop(columns=[name for name in _OF_THE_RUN if name in rows]))
        self._digests.append(content)
        metadata = {"dagster/partition_row_count": len(rows), "content_sha256": content, **(figures or {})}
        if day == self._last:
            version = dg.DataVersion(content) if len(self._digests) == 1 else version_of(self._digests)
            self._context.set_data_version(dg.AssetKey(self._asset), version)
            # The UI reads where columns come from at the newest materialisation alone.
            if (lineage := column_lineage(self._asset)) is not None:
                metadata["dagster/column_lineage"] = lineage
        self._context.add_asset_metadata(metadata, asset_key=self._asset, partition_key=day.isoformat())


def for_each_day(
    context: dg.AssetExecutionContext, asset: str, work: Callable[[date], tuple[pd.DataFrame, Figures]]
) -> None:
    """Do one day's work for every day of the run and report the rows and figures that it gives."""
    reports = DayReports(context, asset)
    for day in days_of(context):
        reports.add(day, *work(day))


def version_of(content: Any) -> dg.DataVersion:  # noqa: ANN401 - any JSON value
    """Give the data version of what is no table: equal values have an equal one."""
    return dg.DataVersion(hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())
