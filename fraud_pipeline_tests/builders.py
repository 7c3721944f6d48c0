"""Small seeded frames, as the stages hand them to each other."""

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from fraud_pipeline.core import features, profiles
from fraud_pipeline.core.schema import EVENT_KEYS, FEATURE_COLUMNS, TIME_DTYPE

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
"""Times are microseconds since the epoch."""

JANUARY: Final = pd.Timestamp("2026-01-01", tz="UTC").value // 1000
DETECTOR_COLUMNS: Final = ("amount", "user_amount_zscore_90d", "merchant_fraud_rate_30d", "user_known_frauds_30d")


class Row(NamedTuple):
    """A transaction; rows sort in the order of a day's file."""

    time: int
    transaction_id: str
    user_id: str = "u1"
    merchant_id: str = "m1"
    amount: float = 10.0


class Event(NamedTuple):
    """A label, by the time it became known; of a transaction of its own unless said otherwise."""

    time: int
    user_id: str = "u1"
    merchant_id: str = "m1"
    is_fraud: bool = True
    transaction_id: str = "elsewhere"
    event_time: int = 0
    zscore: float = math.nan


def instants(microseconds: Iterable[int]) -> pd.Series:
    return pd.Series(pd.to_datetime(list(microseconds), unit="us", utc=True)).astype(TIME_DTYPE)


def transactions(rows: Iterable[Row]) -> pd.DataFrame:
    """Transactions sorted by ``(event_time, transaction_id)``."""
    ordered = sorted(rows)
    frame = pd.DataFrame(ordered, columns=list(Row._fields)).drop(columns="time")
    frame["event_time"] = instants(row.time for row in ordered)
    types = dict.fromkeys(("transaction_id", "user_id", "merchant_id"), "str") | {"amount": "float64"}
    return frame.astype(types)


def label_events(events: Iterable[Event]) -> pd.DataFrame:
    """Label events in the order given."""
    given = list(events)
    frame = pd.DataFrame(given, columns=list(Event._fields)).drop(columns="time")
    frame = frame.rename(columns={"zscore": "user_amount_zscore_90d"})
    frame["label_known_at"] = instants(event.time for event in given)
    frame["event_time"] = instants(event.event_time for event in given)
    texts = dict.fromkeys(("transaction_id", "user_id", "merchant_id"), "str")
    return frame.astype(texts | {"is_fraud": "bool", "user_amount_zscore_90d": "float64"})


def random_rows(rows: int, *, users: int = 20, merchants: int = 8, days: int = 5, seed: int = 0) -> list[Row]:
    """Transactions at random times of the first days of 2026, some of them refunds."""
    rng = np.random.default_rng(seed)
    times = JANUARY + rng.integers(days * DAY, size=rows)
    amounts = np.round(rng.lognormal(3, 1, size=rows) * np.where(rng.random(rows) < 0.05, -1, 1), 2)
    who, where = rng.integers(users, size=rows), rng.integers(merchants, size=rows)
    return [
        Row(int(time), f"t{position:05}", f"u{user}", f"m{merchant}", float(amount))
        for position, (time, user, merchant, amount) in enumerate(zip(times, who, where, amounts, strict=True))
    ]


def features_by_day(
    rows: pd.DataFrame, events: pd.DataFrame, time_zone: str = "UTC", baseline_days: int = 90
) -> pd.DataFrame:
    """Build the features of several days, each from its own look-back, as a night does."""
    day = rows["event_time"].dt.tz_convert(time_zone).dt.date
    daily = {each: profiles.summarise_day(rows[day == each]) for each in day.unique()}
    # A window of 24-hour days begins a calendar day earlier where the clocks went forward.
    reach = timedelta(days=features.RISK_WINDOW_DAYS + (time_zone != "UTC"))
    built: list[pd.DataFrame] = []
    for each in day.unique():
        before = [activity for other, activity in daily.items() if each - timedelta(days=baseline_days) <= other < each]
        recent = rows.loc[(day >= each - reach) & (day < each), list(features.RECENT_COLUMNS)]
        activity = pd.concat(before, ignore_index=True) if before else profiles.no_activity()
        known = with_zscores(events, built)
        history = features.History(activity, recent)
        one = features.build(rows[day == each], history, known, time_zone=time_zone, baseline_days=baseline_days)
        built.append(one)
    return pd.concat(built, ignore_index=True)


def with_zscores(events: pd.DataFrame, built: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Fill in the z-scores of events whose transactions were built on earlier days."""
    for day in built:
        own = day.set_index("transaction_id")["user_amount_zscore_90d"].reindex(events["transaction_id"])
        filled = events["user_amount_zscore_90d"].fillna(own.set_axis(events.index))
        events = events.assign(user_amount_zscore_90d=filled)
    return events


def random_features(rows: int, *, outliers: int = 0, seed: int = 0) -> pd.DataFrame:
    """Features of `rows` ordinary transactions; the last `outliers` are far out in every column of the detectors."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.lognormal(3, 0.5, size=(rows, len(FEATURE_COLUMNS))), columns=list(FEATURE_COLUMNS))
    frame["merchant_fraud_rate_30d"] = rng.beta(1, 50, size=rows)
    frame["user_amount_zscore_90d"] = rng.standard_normal(rows)
    frame["user_known_frauds_30d"] = rng.poisson(0.05, size=rows).astype(np.float64)
    planted = frame.index[rows - outliers :]
    far = [rng.uniform(low, 2 * low, size=outliers) for low in (2000, 20, 0.5, 3)]
    frame.loc[planted, list(DETECTOR_COLUMNS)] = np.column_stack(far)
    keys = pd.DataFrame(
        {
            "transaction_id": [f"t{position:05}" for position in range(rows)],
            "user_id": [f"u{position % 50}" for position in range(rows)],
            "merchant_id": [f"m{position % 7}" for position in range(rows)],
            "event_time": instants(JANUARY + position * 60 * SECOND for position in range(rows)),
        }
    )
    texts = dict.fromkeys(("transaction_id", "user_id", "merchant_id"), "str")
    return pd.concat([keys.astype(texts)[list(EVENT_KEYS)], frame], axis=1)


def scored_window(rows: int = 2000, *, days: int = 14, fraud_share: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """A calibration window in which frauds score higher than genuine rows, but not all of them."""
    rng = np.random.default_rng(seed)
    is_fraud = rng.random(rows) < fraud_share
    return pd.DataFrame(
        {
            "day": [f"2026-03-{1 + position % days:02}" for position in range(rows)],
            "anomaly_score": np.where(is_fraud, rng.beta(6, 2, size=rows), rng.beta(2, 4, size=rows)),
            "amount": rng.lognormal(3, 1, size=rows),
            "is_fraud": is_fraud,
        }
    )
