"""Days: the one partitions definition of the daily chain, and what a run does day by day."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import dagster as dg
import pandas as pd

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.settings import Settings


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Partition the chain by day in the deployment's time zone."""
    return dg.DailyPartitionsDefinition(start_date=settings.first_day.isoformat(), timezone=settings.time_zone)


def days_of(context: dg.AssetExecutionContext) -> list[date]:
    """List the days of this run, oldest first: one, or a range that is filled in one run."""
    return [date.fromisoformat(key) for key in sorted(context.partition_keys)]


def days_between(first: date, last: date) -> list[date]:
    """List the days from ``first`` to ``last``, both included."""
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def days_text(run: dg.DagsterRun) -> str:
    """Name the days of a run: one, or the first and the last of a range; empty without partitions."""
    first, last = (run.tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    return f"{first} to {last}" if first else run.tags.get("dagster/partition", "")


def neighbouring(days: Sequence[date]) -> list[list[date]]:
    """Cut days, oldest first, where one is missing: a range of partitions has no gaps."""
    runs: list[list[date]] = []
    for day in days:
        if not runs or day - runs[-1][-1] != timedelta(days=1):
            runs.append([])
        runs[-1].append(day)
    return runs


def range_request(job: str, days: Sequence[date], version: str, tags: Mapping[str, str] | None = None) -> dg.RunRequest:
    """Ask for one run of a daily job over neighbouring days.

    Parameters
    ----------
    job : str
    days : sequence of date
        Oldest first, at least one.
    version : str
        Part of the run key: the same days are run again only for another version.
    tags : mapping of str to str, optional
    """
    first, last = days[0].isoformat(), days[-1].isoformat()
    key = f"{job}:{first}:{last}:{version}"
    if first == last:
        return dg.RunRequest(run_key=key, job_name=job, partition_key=first, tags=dict(tags or {}))
    span = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return dg.RunRequest(run_key=key, job_name=job, tags={**(tags or {}), **span})


class TrailingDays:
    """The last days of a lake dataset as one frame, while a run walks forward day by day.

    Each file is read once a run, and a day is dropped as soon as it has left the window.

    Parameters
    ----------
    lake : Lake
    dataset : str
    length : int
        Days of the window.
    columns : sequence of str
    """

    def __init__(self, lake: Lake, dataset: str, length: int, columns: Sequence[str]) -> None:
        self._lake = lake
        self._dataset = dataset
        self._length = length
        self._columns = list(columns)
        self._frames: dict[date, pd.DataFrame | None] = {}

    def before(self, day: date) -> tuple[pd.DataFrame | None, int]:
        """Return the window that ends the day before ``day``, oldest day first, and how many of its days exist."""
        return self._window([day - timedelta(days=back) for back in range(self._length, 0, -1)])

    def through(self, day: date) -> tuple[pd.DataFrame | None, int]:
        """Return the window that ends with ``day``, oldest day first, and how many of its days exist."""
        return self._window([day - timedelta(days=back) for back in range(self._length - 1, -1, -1)])

    def _window(self, days: Sequence[date]) -> tuple[pd.DataFrame | None, int]:
        new = [day for day in days if day not in self._frames]
        found = self._lake.read_days(self._dataset, new, self._columns)
        self._frames = {day: self._frames[day] if day in self._frames else found.get(day) for day in days}
        frames = [frame for frame in self._frames.values() if frame is not None]
        filled = [frame for frame in frames if len(frame)] or frames[:1]
        return (pd.concat(filled, ignore_index=True) if filled else None), len(frames)
