"""Point-in-time features: the day-by-day build against pandas grouped windows.

Run with ``python -m benchmarks.features``. Both sides get the same random
transactions of 60 days. pandas computes only the user's baseline and velocity,
in one pass over the whole history, as one would write it without this package.
The build computes every feature, merchants and labels included: day by day, each
from its own look-back, as the pipeline does (a rebuild, and what one night costs),
and, to see what the days cost, in one pass as if all were one day.

Where they are defined alike they must agree. They differ in two places:

* the build's baseline ends 90 days before a transaction's day, the expanding
  window never does: within 60 days that is the same;
* below two values the build's standard deviation is 0, pandas' is missing.
"""

import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from fraud_pipeline.core import features, profiles
from fraud_pipeline.core.schema import FEATURE_COLUMNS, TIME_DTYPE

ROWS: Final = 200_000
USERS: Final = 5_000
MERCHANTS: Final = 800
DAYS: Final = 60
RUNS: Final = 5
FIRST_DAY: Final = pd.Timestamp("2026-01-01", tz="UTC")

COMPARED: Final = (
    "user_mean_amount_90d",
    "user_std_amount_90d",
    "user_amount_deviation_90d",
    "user_count_transactions_24h",
)

Days = dict[pd.Timestamp, pd.DataFrame]


def main() -> None:
    """Time them in turns, check that they agree, and print a table."""
    transactions, label_events = random_history(seed=0)
    days = dict(list(transactions.groupby(transactions["event_time"].dt.normalize())))
    activity = {day: profiles.summarise_day(rows) for day, rows in days.items()}
    nothing = transactions.iloc[:0]

    def day_by_day() -> pd.DataFrame:
        summaries = {day: profiles.summarise_day(rows) for day, rows in days.items()}
        return pd.concat([build_day(day, days, summaries, label_events) for day in days], ignore_index=True)

    def last_night() -> pd.DataFrame:
        return build_day(max(days), days, activity, label_events)

    def one_pass() -> pd.DataFrame:
        return features.build(transactions, profiles.no_activity(), nothing, label_events)

    def by_pandas() -> pd.DataFrame:
        return pandas_user_features(transactions)

    # The first calls compile the kernels, or read them from numba's cache.
    expected = by_pandas()
    deviation = max(largest_deviation(built, expected) for built in (day_by_day(), one_pass()))
    last_night()
    seconds = alternate(
        {
            "build, day by day": day_by_day,
            "build, last day only": last_night,
            "build, one pass": one_pass,
            "pandas, one pass": by_pandas,
        }
    )
    pandas_seconds = statistics.median(seconds["pandas, one pass"])
    table = Table(title=f"{ROWS:,} transactions, {USERS:,} users, {DAYS} days; CPU seconds, median of {RUNS}")
    for heading in ("", "features", "CPU s", "range", "pandas / this"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, runs in seconds.items():
        median = statistics.median(runs)
        computed = len(COMPARED) if name.startswith("pandas") else len(FEATURE_COLUMNS)
        spread = f"{min(runs):.2f} - {max(runs):.2f}"
        table.add_row(name, str(computed), f"{median:.2f}", spread, f"{pandas_seconds / median:.1f}")
    console = Console()
    console.print(table)
    console.print(f"Largest relative deviation of the {len(COMPARED)} columns that both compute: {deviation:.1e}")


def random_history(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw transactions of a few very active and many quiet users, and labels a week later.

    Returns
    -------
    transactions, label_events : DataFrame
        As ``features.build`` takes them, of all days.
    """
    rng = np.random.default_rng(seed)
    activity = rng.pareto(2.0, size=USERS) + 0.3
    user = rng.choice(USERS, size=ROWS, p=activity / activity.sum())
    spending = rng.normal(3.0, 0.7, size=USERS)
    offsets = np.sort(rng.integers(DAYS * 86_400_000_000, size=ROWS))
    transactions = pd.DataFrame(
        {
            "transaction_id": pd.Series([f"t{position:07}" for position in range(ROWS)], dtype="str"),
            "user_id": pd.Series([f"u{number:05}" for number in user], dtype="str"),
            "merchant_id": pd.Series([f"m{number:04}" for number in rng.integers(MERCHANTS, size=ROWS)], dtype="str"),
            "event_time": (FIRST_DAY + pd.to_timedelta(offsets, unit="us")).astype(TIME_DTYPE),
            "amount": np.round(rng.lognormal(spending[user], 0.6), 2),
        }
    )
    known = transactions.loc[rng.random(ROWS) < 0.2, ["user_id", "merchant_id", "event_time"]]
    events = known.rename(columns={"event_time": "label_known_at"})
    events["label_known_at"] += timedelta(days=7)
    return transactions, events.assign(is_fraud=rng.random(len(events)) < 0.05)


def build_day(day: pd.Timestamp, days: Days, daily: Days, label_events: pd.DataFrame) -> pd.DataFrame:
    """Build one day as the pipeline does: merge the summaries before it, then build."""
    baseline, risk = timedelta(days=profiles.BASELINE_DAYS), timedelta(days=features.RISK_WINDOW_DAYS)
    before = [activity for other, activity in daily.items() if day - baseline <= other < day]
    recent = [rows[list(features.RECENT_COLUMNS)] for other, rows in days.items() if day - risk <= other < day]
    reach = timedelta(days=features.RISK_WINDOW_DAYS + 1)
    known = label_events["label_known_at"].between(day - reach, day + timedelta(days=1))
    return features.build(
        days[day],
        profiles.merge(pd.concat(before, ignore_index=True)) if before else profiles.no_activity(),
        pd.concat(recent, ignore_index=True) if recent else days[day].iloc[:0],
        label_events[known],
    )


def pandas_user_features(transactions: pd.DataFrame) -> pd.DataFrame:
    """Baseline and velocity of each user by grouped expanding and rolling windows.

    Parameters
    ----------
    transactions : DataFrame
        Sorted by ``(event_time, transaction_id)``, all days.

    Returns
    -------
    DataFrame
        ``COMPARED``, in the order of ``transactions``.
    """
    ordered = transactions.sort_values(["user_id", "event_time", "transaction_id"])
    by_user = ordered.groupby("user_id")["amount"]
    earlier = by_user.shift().groupby(ordered["user_id"]).expanding()
    mean = earlier.mean().droplevel(0)
    velocity = ordered.groupby("user_id").rolling("24h", on="event_time", closed="both")["amount"].count()
    return pd.DataFrame(
        {
            "user_mean_amount_90d": mean,
            "user_std_amount_90d": earlier.std().droplevel(0),
            "user_amount_deviation_90d": ordered["amount"] - mean,
            "user_count_transactions_24h": pd.Series(velocity.to_numpy(), index=ordered.index),
        }
    ).sort_index()


def largest_deviation(built: pd.DataFrame, expected: pd.DataFrame) -> float:
    """Compare where both are defined.

    Returns
    -------
    float
        Largest difference, relative to the size of the value or 1.

    Raises
    ------
    AssertionError
        If they differ by more than rounding.
    """
    left, right = built[list(COMPARED)].to_numpy(), expected[list(COMPARED)].to_numpy()
    defined = ~np.isnan(right)
    difference = np.abs(left - right)[defined] / np.maximum(np.abs(right[defined]), 1.0)
    if (left[~defined] != 0).any() or difference.max() > 1e-9:
        raise AssertionError("the two computations do not agree")
    return float(difference.max())


def alternate(tasks: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """CPU seconds of each task, run in turns so that a busy machine slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(RUNS):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            seconds[name].append(time.process_time() - start)
    return seconds


if __name__ == "__main__":
    main()
