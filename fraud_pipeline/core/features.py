"""One row of features a transaction, point in time.

A row sees only events before it (at equal times: those of a smaller
``transaction_id``) and only labels known before it. One day is built from that
day's transactions and bounded look-backs, so a rebuild of any range is the same
computation, day by day.

Terms used below, for a user's transaction of amount ``x``: *baseline* is the
user's transactions of the 90 days before the day plus those earlier the same
day, with count ``n``, mean ``m`` and sample standard deviation ``s``. Unless
said otherwise a feature of a first transaction (``n = 0``) is 0.

Behavioural features, in order:

================================ ==================================================================
``amount``                       ``x``; money. Refunds are negative.
``amount_log1p``                 ``sign(x) log(1 + |x|)``; tames the heavy tail of amounts.
``amount_sqrt``                  ``sign(x) sqrt(|x|)``; a milder transform of the same.
``user_amount_ratio_90d``        ``x / max(m, 1)``; 1 for a first transaction.
``user_amount_zscore_90d``       ``(x - m) / max(s, 0.1 |m|, 0.01)``; 0 while ``n < 2``. The floor keeps
                                 a user who always pays the same from reaching thousands.
``hour_of_day``                  0-23, in the deployment's time zone.
``day_of_week``                  0 = Monday ... 6 = Sunday, same zone.
``is_weekend``                   1 on Saturday and Sunday.
``is_night``                     1 from 00:00 to 05:59 (Bahnsen et al., ESWA 51, 2016, on time of day).
``user_seconds_since_last``      seconds; at most, and for a first transaction, 90 days.
``user_mean_amount_90d``         ``m``; money.
``user_std_amount_90d``          ``s``; money; 0 while ``n < 2``.
``user_transactions_per_day_90d`` ``n`` / days since the baseline's first event (at least one day).
``user_amount_deviation_90d``    ``x - m``; money.
``user_count_transactions_24h``  transactions of the user in the last 24 h, this one included (velocity).
``amount_x_hour``                ``x`` times hour of day.
``amount_x_night``               ``x`` at night, else 0.
``zscore_x_velocity``            z-score times velocity: unusual and hurried.
================================ ==================================================================

Risk features count over trailing windows of 1, 7 or 30 days (Le Borgne et al.,
"Reproducible Machine Learning for Credit Card Fraud Detection", 2022, chapter 3):
``merchant_count_transactions_*`` includes the row itself; ``*_known_frauds_*`` and
``*_known_genuine_*`` count labels by the time they *became known*;
``merchant_fraud_rate_*`` is known frauds over known labels, 0 without any.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from fraud_pipeline.core import profiles
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.schema import EVENT_KEYS, FEATURE_COLUMNS

RISK_WINDOW_DAYS: Final = 30
"""Longest trailing window of merchant and user risk: how far ``recent`` and ``label_events`` reach back.

Windows are of 24-hour days: where the clocks change, one calendar day more covers them.
"""

RECENT_COLUMNS: Final = ("user_id", "merchant_id", "event_time")
"""What ``build`` needs to know of earlier transactions."""

NIGHT_ENDS_AT: Final = 6
_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND


def build(
    transactions: pd.DataFrame,
    profile: pd.DataFrame,
    recent: pd.DataFrame,
    label_events: pd.DataFrame,
    *,
    time_zone: str = "UTC",
) -> pd.DataFrame:
    """Build the features of one day of transactions.

    Parameters
    ----------
    transactions : DataFrame
        Valid transactions of the day, sorted by ``(event_time, transaction_id)``.
    profile : DataFrame
        ``ACTIVITY_COLUMNS`` of each user, merged over the ``BASELINE_DAYS`` days before the day.
    recent : DataFrame
        ``user_id``, ``merchant_id``, ``event_time`` of the transactions of the
        ``RISK_WINDOW_DAYS`` days before the day, oldest first.
    label_events : DataFrame
        ``user_id``, ``merchant_id``, ``label_known_at``, ``is_fraud``: what became
        known when, reaching back ``RISK_WINDOW_DAYS``. Later events are ignored.
    time_zone : str
        IANA zone in which hours and weekdays are read.

    Returns
    -------
    DataFrame
        ``EVENT_KEYS`` and ``FEATURE_COLUMNS`` (float64, none missing), in the order of ``transactions``.

    Raises
    ------
    InvalidDataError
        If the inputs are out of order, the look-back reaches into the day, or a feature comes out not finite.
    """
    _require_chronological(transactions, profile, recent)
    local = transactions["event_time"].dt.tz_convert(time_zone).dt
    amount = transactions["amount"].to_numpy(dtype=np.float64)
    hour = local.hour.to_numpy(dtype=np.float64)
    columns = {
        "amount": amount,
        "amount_log1p": np.sign(amount) * np.log1p(np.abs(amount)),
        "amount_sqrt": np.sign(amount) * np.sqrt(np.abs(amount)),
        "hour_of_day": hour,
        "day_of_week": local.day_of_week.to_numpy(dtype=np.float64),
        "is_weekend": (local.day_of_week.to_numpy() >= 5).astype(np.float64),
        "is_night": (hour < NIGHT_ENDS_AT).astype(np.float64),
        "amount_x_hour": amount * hour,
        "amount_x_night": amount * (hour < NIGHT_ENDS_AT),
        **_user_baseline(transactions, amount, profile),
        "user_count_transactions_24h": _count_transactions("user_id", transactions, recent, (1,))[0],
    }
    columns["zscore_x_velocity"] = columns["user_amount_zscore_90d"] * columns["user_count_transactions_24h"]
    columns |= _merchant_counts(transactions, recent) | _label_history(transactions, label_events)
    built = pd.concat(
        [
            transactions[list(EVENT_KEYS)].reset_index(drop=True),
            pd.DataFrame({name: columns[name] for name in FEATURE_COLUMNS}),
        ],
        axis=1,
    )
    _require_finite(built)
    return built


def _user_baseline(transactions: pd.DataFrame, amount: np.ndarray, profile: pd.DataFrame) -> dict[str, np.ndarray]:
    from fraud_pipeline.core import kernels

    user, user_ids = pd.factorize(transactions["user_id"])
    prior = profile.set_index("user_id").reindex(user_ids)
    order = np.argsort(user, kind="stable")
    user = user[order].astype(np.int64)
    time = _microseconds(transactions["event_time"])[order]

    has_prior = prior["n"].notna()
    moments = [prior[column].where(has_prior, 0.0).to_numpy(dtype=np.float64) for column in ("n", "mean", "m2")]
    n, mean, m2 = kernels.running_moments(user, amount[order], *moments)
    std = profiles.standard_deviation(n, m2)
    amount = amount[order]
    known = n > 0

    opens = np.r_[True, user[1:] != user[:-1]] if len(user) else np.empty(0, dtype=bool)
    longest = profiles.BASELINE_DAYS * _DAY
    prior_last = _microseconds(prior["last_event_time"])[user]
    previous = np.where(opens, prior_last, np.r_[0, time[:-1]] if len(time) else time)
    since_last = np.where(known, time - previous, longest)
    first_today = time[opens][np.cumsum(opens) - 1] if len(time) else time
    first = np.where(has_prior.to_numpy()[user], _microseconds(prior["first_event_time"])[user], first_today)

    baseline = {
        "user_amount_ratio_90d": np.where(known, amount / np.maximum(mean, 1.0), 1.0),
        "user_amount_zscore_90d": np.where(
            n >= 2, (amount - mean) / np.maximum.reduce([std, 0.1 * np.abs(mean), np.full_like(std, 0.01)]), 0.0
        ),
        "user_seconds_since_last": np.minimum(since_last, longest) / _SECOND,
        "user_mean_amount_90d": mean,
        "user_std_amount_90d": std,
        "user_transactions_per_day_90d": n / np.maximum((time - first) / _DAY, 1.0),
        "user_amount_deviation_90d": np.where(known, amount - mean, 0.0),
    }
    return {name: _unsort(values, order) for name, values in baseline.items()}


def _merchant_counts(transactions: pd.DataFrame, recent: pd.DataFrame) -> dict[str, np.ndarray]:
    windows = (1, 7, 30)
    counts = _count_transactions("merchant_id", transactions, recent, windows)
    return {f"merchant_count_transactions_{days}d": count for days, count in zip(windows, counts, strict=True)}


def _count_transactions(
    key: str, transactions: pd.DataFrame, recent: pd.DataFrame, windows: Sequence[int]
) -> list[np.ndarray]:
    """Count the entity's transactions in each window (days) that ends with a row, the row included."""
    from fraud_pipeline.core import kernels

    entity, _ = pd.factorize(pd.concat([recent[key], transactions[key]], ignore_index=True))
    order = np.argsort(entity, kind="stable")
    entity = entity[order].astype(np.int64)
    time = np.r_[_microseconds(recent["event_time"]), _microseconds(transactions["event_time"])][order]
    counts = [kernels.count_earlier(entity, time, days * _DAY) for days in windows]
    return [_unsort(count, order)[len(recent) :] + 1.0 for count in counts]


def _label_history(transactions: pd.DataFrame, label_events: pd.DataFrame) -> dict[str, np.ndarray]:
    fraud = label_events["is_fraud"].to_numpy(dtype=bool)
    frauds, genuine = label_events[fraud], label_events[~fraud]
    history: dict[str, np.ndarray] = {}
    for days in (1, 7, 30):
        history[f"merchant_known_frauds_{days}d"] = _count_labels("merchant_id", transactions, frauds, days)
    for days in (7, 30):
        known_frauds = history[f"merchant_known_frauds_{days}d"]
        known_genuine = _count_labels("merchant_id", transactions, genuine, days)
        history[f"merchant_known_genuine_{days}d"] = known_genuine
        history[f"merchant_fraud_rate_{days}d"] = known_frauds / np.maximum(known_frauds + known_genuine, 1.0)
        history[f"user_known_frauds_{days}d"] = _count_labels("user_id", transactions, frauds, days)
    return history


def _count_labels(key: str, transactions: pd.DataFrame, events: pd.DataFrame, days: int) -> np.ndarray:
    from fraud_pipeline.core import kernels

    entity, ids = pd.factorize(transactions[key])
    event_entity = ids.get_indexer(pd.Index(events[key]))
    seen = event_entity >= 0
    event_entity, event_time = event_entity[seen], _microseconds(events["label_known_at"])[seen]
    order = np.argsort(entity, kind="stable")
    event_order = np.lexsort((event_time, event_entity))
    counts = kernels.count_known(
        entity[order].astype(np.int64),
        _microseconds(transactions["event_time"])[order],
        event_entity[event_order].astype(np.int64),
        event_time[event_order],
        days * _DAY,
    )
    return _unsort(counts, order).astype(np.float64)


def _microseconds(times: pd.Series) -> np.ndarray:
    return times.to_numpy(dtype="datetime64[us]").astype(np.int64)


def _unsort(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    unsorted = np.empty_like(values)
    unsorted[order] = values
    return unsorted


def _require_chronological(transactions: pd.DataFrame, profile: pd.DataFrame, recent: pd.DataFrame) -> None:
    time, ids = transactions["event_time"], transactions["transaction_id"]
    tied = time.eq(time.shift()) & ids.lt(ids.shift())
    if tied.any() or not time.is_monotonic_increasing:
        raise InvalidDataError("transactions are out of order; sort them by (event_time, transaction_id) first.")
    if not recent["event_time"].is_monotonic_increasing:
        raise InvalidDataError("recent transactions are out of order; sort them by event_time first.")
    for name, latest in (("recent transactions", recent["event_time"]), ("profiles", profile["last_event_time"])):
        if len(transactions) and len(latest) and latest.max() >= time.iloc[0]:
            raise InvalidDataError(f"{name} reach into the day that is built; pass only earlier days.")


def _require_finite(built: pd.DataFrame) -> None:
    finite = np.isfinite(built[list(FEATURE_COLUMNS)].to_numpy())
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise InvalidDataError(
            f"feature {FEATURE_COLUMNS[column]} of transaction {built['transaction_id'].iloc[row]} is not finite; "
            "check its amount and the user's daily activity."
        )
