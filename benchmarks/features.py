"""Point-in-time features: one build against plain pandas, a night against a rebuild, and more and more rows.

Run with ``python -m benchmarks.features`` (about 15 minutes and 12 GB of memory); ``--scale 0.1`` takes
a tenth of everything. Figures are CPU seconds of this process, medians of runs in turns, so that a
busy machine slows all sides alike: read the ratios. Results that are compared must agree, or it fails.
"""

import argparse
import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console

from benchmarks.plain_pandas import pandas_features
from fraud_pipeline.core import entity_risk, features, profiles
from fraud_pipeline.core.schema import FEATURE_COLUMNS, TIME_DTYPE

RUNS: Final = 3
FIRST_DAY: Final = pd.Timestamp("2026-01-01", tz="UTC")
DAY: Final = timedelta(days=1)
CHUNK_DAYS: Final = 31
"""A history too large for one call is rebuilt so many days at a time."""


class Shape(NamedTuple):
    """How large a history is."""

    days: int
    rows_a_day: int
    users: int
    merchants: int

    def times(self, scale: float) -> "Shape":
        """Take a share of rows, users and merchants; the days stay."""
        return Shape(self.days, *(max(int(number * scale), 10) for number in self[1:]))


class History(NamedTuple):
    """All transactions and label events, each sorted by time; events know the row of their transaction."""

    transactions: pd.DataFrame
    label_events: pd.DataFrame


Inputs = tuple[pd.DataFrame, features.History, pd.DataFrame]

USUAL: Final = Shape(183, 9_570, 5_000, 10_000)
LARGE: Final = Shape(183, 100_000, 50_000, 20_000)
SMALL_DAYS: Final = Shape(60, 3_333, 5_000, 800)


def measure(scale: float = 1.0) -> str:
    """Run all comparisons.

    Parameters
    ----------
    scale : float
        Share of the rows, users and merchants.

    Returns
    -------
    str
        Markdown.
    """
    sections = [
        against_pandas(random_history(USUAL.times(scale))),
        night_against_rebuild(USUAL.times(scale), USUAL.days, RUNS),
        night_against_rebuild(LARGE.times(scale), CHUNK_DAYS, 1),
        length_of_history(USUAL.times(scale)),
        day_by_day(random_history(SMALL_DAYS.times(scale)), SMALL_DAYS.days),
        growth([int(rows * scale) for rows in (100_000, 1_000_000, 10_000_000)], USUAL.times(scale)),
    ]
    return "\n\n".join(sections)


def against_pandas(history: History) -> str:
    """Build every feature in one call, and with ``plain_pandas``."""
    built, expected = build_all(history), pandas_features(*history)
    deviation = max(_deviation(built[name], expected[name]) for name in FEATURE_COLUMNS)
    if deviation > 1e-6:
        raise AssertionError(f"pandas differs by {deviation}")
    del built, expected
    seconds = alternate(
        {
            "features.build": partial(build_all, history),
            "features.build, categorical identifiers": partial(build_all, _categorical(history)),
            "plain pandas": partial(pandas_features, *history),
        },
        RUNS,
    )
    title = f"{len(history.transactions):,} transactions, every feature"
    note = f"All {len(FEATURE_COLUMNS)} columns agree; largest relative deviation {deviation:.0e}."
    return _table(title, seconds, "plain pandas", note)


def night_against_rebuild(shape: Shape, chunk_days: int, runs: int) -> str:
    """Build the last day alone, and all days."""
    history = random_history(shape)
    rebuilt, zscore = rebuild(history, shape.days, chunk_days)
    night = inputs(history, zscore, shape.days - 1, 1)
    alone = features.build(*night)
    pd.testing.assert_frame_equal(alone, rebuilt[-len(alone) :].reset_index(drop=True), check_exact=True)
    del rebuilt
    seconds = alternate(
        {
            "the last night alone": partial(features.build, *night),
            "rebuild of all days": partial(rebuild, history, shape.days, chunk_days),
        },
        runs,
    )
    calls = -(-shape.days // chunk_days)
    title = f"{shape.rows_a_day:,} transactions a day for {shape.days} days, {shape.users:,} users"
    note = f"Rebuilt in {calls} call{'s' if calls > 1 else ''}. The night's rows are the same to the last bit."
    return _table(title, seconds, "rebuild of all days", note)


def length_of_history(shape: Shape) -> str:
    """Build the last night of shorter and longer histories."""
    tasks = {}
    for days in (100, 200, 400):
        history = random_history(shape._replace(days=days))
        _, zscore = rebuild(history, days, CHUNK_DAYS)
        tasks[f"a night after {days} days"] = partial(features.build, *inputs(history, zscore, days - 1, 1))
    return _table("A night does not depend on the length of the history", alternate(tasks, 5 * RUNS), next(iter(tasks)))


def day_by_day(history: History, days: int) -> str:
    """Build small days one by one, all at once, and with pandas."""
    together = build_all(history)
    zscore = together[entity_risk.ZSCORE].to_numpy()
    nights = [inputs(history, zscore, day, 1) for day in range(days)]
    one_by_one = pd.concat([features.build(*night) for night in nights], ignore_index=True)
    pd.testing.assert_frame_equal(one_by_one, together, check_exact=True)
    seconds = alternate(
        {
            "one by one": lambda: [features.build(*night) for night in nights],
            "in one call": partial(build_all, history),
            "plain pandas, in one pass": partial(pandas_features, *history),
        },
        RUNS,
    )
    title = f"{days} small days, {len(history.transactions):,} transactions"
    return _table(title, seconds, "plain pandas, in one pass", "One by one and in one call give the same bits.")


def growth(sizes: list[int], usual: Shape) -> str:
    """Build histories of more and more rows: of the same users and merchants, and of more of them."""
    heading = "| rows | users | merchants | user CPU, µs a row | system CPU, µs a row |"
    lines = ["### From few rows to many", "", heading, "|---:|---:|---:|---:|---:|"]
    for grow in (False, True):
        for rows in sizes:
            users, merchants = (max(rows // 350, 10), max(rows // 175, 10)) if grow else usual[2:]
            history = random_history(Shape(usual.days, rows // usual.days, users, merchants))
            spent = []
            for _ in range(RUNS + 1):
                gc.collect()
                before = resource.getrusage(resource.RUSAGE_SELF)
                build_all(history)
                after = resource.getrusage(resource.RUSAGE_SELF)
                spent.append((after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime))
            user, system = np.median(spent[1:], axis=0) / rows * 1e6
            lines.append(f"| {rows:,} | {users:,} | {merchants:,} | {user:.2f} | {system:.2f} |")
    note = (
        "System time is the kernel handing out memory for the result, 392 bytes a row: small results reuse old memory."
    )
    return "\n".join([*lines, "", note])


def random_history(shape: Shape, seed: int = 0) -> History:
    """Draw transactions of a few very active and many quiet users, and labels days later."""
    rng = np.random.default_rng(seed)
    rows = shape.days * shape.rows_a_day
    activity = rng.pareto(2.0, size=shape.users) + 0.3
    user = rng.choice(shape.users, size=rows, p=activity / activity.sum())
    spending = rng.normal(3.0, 0.7, size=shape.users)
    offsets = np.sort(rng.integers(shape.days * 86_400_000_000, size=rows))
    transactions = pd.DataFrame(
        {
            "transaction_id": _texts("t", rows, np.arange(rows)),
            "user_id": _texts("u", shape.users, user),
            "merchant_id": _texts("m", shape.merchants, rng.integers(shape.merchants, size=rows)),
            "event_time": (FIRST_DAY + pd.to_timedelta(offsets, unit="us")).astype(TIME_DTYPE),
            "amount": np.round(rng.lognormal(spending[user], 0.6), 2),
        }
    )
    is_fraud = rng.random(rows) < 0.01
    delay = 86_400_000_000 * np.where(is_fraud, rng.uniform(1, 20, size=rows), 14).astype(np.int64)
    events = transactions[["transaction_id", "user_id", "merchant_id", "event_time"]].assign(is_fraud=is_fraud)
    events["label_known_at"] = (events["event_time"] + pd.to_timedelta(delay, unit="us")).astype(TIME_DTYPE)
    events["row"] = np.arange(rows)
    return History(transactions, events.sort_values("label_known_at", ignore_index=True))


def build_all(history: History) -> pd.DataFrame:
    """Build every day in one call."""
    return features.build(history.transactions, features.no_history(), history.label_events)


def rebuild(history: History, days: int, chunk_days: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Build every day, some days at a time.

    Returns
    -------
    DataFrame
        The features of the last chunk.
    float64, shape (n,)
        The z-scores of all rows.
    """
    zscore = np.full(len(history.transactions), np.nan)
    activity = [profiles.no_activity()]
    built = history.transactions
    for first in range(0, days, chunk_days):
        begin, end = _rows(history, first, first + chunk_days)
        rows, before, events = inputs(history, zscore, first, chunk_days, pd.concat(activity, ignore_index=True))
        built = features.build(rows, before, events)
        zscore[begin:end] = built[entity_risk.ZSCORE]
        activity.append(profiles.summarise_days(rows, "UTC"))
    return built, zscore


def inputs(history: History, zscore: np.ndarray, first: int, days: int, activity: pd.DataFrame | None = None) -> Inputs:
    """Take from a history what it takes to build some days, as the pipeline reads it from the lake."""
    start = FIRST_DAY + first * DAY
    begin, end = _rows(history, first, first + days)
    oldest, _ = _rows(history, first - features.RISK_WINDOW_DAYS, first)
    if activity is None:
        baseline, _ = _rows(history, first - profiles.BASELINE_DAYS, first)
        activity = profiles.summarise_days(history.transactions[baseline:begin], "UTC")
    activity = activity[activity["first_event_time"] >= start - profiles.BASELINE_DAYS * DAY]
    known = history.label_events["label_known_at"].searchsorted(
        [start - features.LABEL_WINDOW_DAYS * DAY, start + days * DAY]
    )
    events = history.label_events[slice(*known)]
    events = events.assign(**{entity_risk.ZSCORE: np.where(events["row"] < begin, zscore[events["row"]], np.nan)})
    recent = history.transactions[oldest:begin][list(features.RECENT_COLUMNS)]
    return history.transactions[begin:end], features.History(activity, recent), events


def alternate(tasks: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """CPU seconds of each task, run in turns after one turn that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(runs + 1):
        for name, task in tasks.items():
            gc.collect()
            start = time.process_time()
            task()
            if turn:
                seconds[name].append(time.process_time() - start)
    return seconds


def _rows(history: History, first: int, end: int) -> tuple[int, int]:
    bounds = [FIRST_DAY + day * DAY for day in (first, end)]
    begin, stop = history.transactions["event_time"].searchsorted(bounds)
    return int(begin), int(stop)


def _categorical(history: History) -> History:
    def coded(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.astype(dict.fromkeys(("user_id", "merchant_id"), "category"))

    return History(coded(history.transactions), coded(history.label_events))


def _texts(letter: str, names: int, codes: np.ndarray) -> "pd.Series[str]":
    return (
        pd.Series([f"{letter}{number:08}" for number in range(names)], dtype="str").take(codes).reset_index(drop=True)
    )


def _deviation(left: "pd.Series[float]", right: "pd.Series[float]") -> float:
    return float((np.abs(left - right) / np.maximum(np.abs(left), 1.0)).max())


def _table(title: str, seconds: dict[str, list[float]], reference: str, note: str = "") -> str:
    base = statistics.median(seconds[reference])
    lines = [f"### {title}", "", "| | CPU s | range | times |", "|---|---:|---:|---:|"]
    for name, runs in seconds.items():
        median = statistics.median(runs)
        lines.append(f"| {name} | {median:.2f} | {min(runs):.2f}-{max(runs):.2f} | {base / median:.1f} |")
    return "\n".join([*lines, *(["", note] if note else [])])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Compare ways to build the features.")
    parser.add_argument("--scale", type=float, default=1.0, help="share of rows, users and merchants")
    Console(soft_wrap=True).print(measure(parser.parse_args().scale), markup=False, highlight=False)


if __name__ == "__main__":
    main()
