"""What is known of a user's habits: one small summary a day, merged over trailing days.

A profile is the merge of the summaries of the days before, never an update of
yesterday's profile: days can be built in any order and a re-run repeats exactly.
"""

from typing import Final

import numpy as np
import pandas as pd

from fraud_pipeline.core.schema import ACTIVITY_COLUMNS, TIME_DTYPE

BASELINE_DAYS: Final = 90
"""How many days before a transaction's own day its user's baseline covers."""


def summarise_day(transactions: pd.DataFrame) -> pd.DataFrame:
    """Summarise one day of transactions per user.

    Parameters
    ----------
    transactions : DataFrame
        Valid transactions of one day, sorted by ``(event_time, transaction_id)``.

    Returns
    -------
    DataFrame
        One row a user, sorted by ``user_id``, with ``ACTIVITY_COLUMNS``: ``n``
        (count), ``mean`` (money), ``m2`` (money squared), first and last ``event_time``.
    """
    from fraud_pipeline.core import kernels

    user, user_ids = pd.factorize(transactions["user_id"], sort=True)
    ordered = np.argsort(user, kind="stable")
    amount = transactions["amount"].to_numpy(dtype=np.float64)[ordered]
    n, mean, m2 = kernels.merge_moments(
        user[ordered].astype(np.int64), np.ones(len(amount)), amount, np.zeros(len(amount)), len(user_ids)
    )
    times = transactions.groupby(user)["event_time"]
    return _activity(user_ids, n, mean, m2, times.min(), times.max())


def no_activity() -> pd.DataFrame:
    """Give the activity of no user on no day."""
    texts = pd.Series([], dtype="str")
    return summarise_day(
        pd.DataFrame({"user_id": texts, "amount": texts.astype(float), "event_time": texts.astype(TIME_DTYPE)})
    )


def merge(daily: pd.DataFrame) -> pd.DataFrame:
    """Merge daily summaries into one profile a user.

    Parameters
    ----------
    daily : DataFrame
        ``ACTIVITY_COLUMNS`` of several days, oldest day first: the order of the
        rows is the order of the merge, which fixes the result to the last bit.

    Returns
    -------
    DataFrame
        ``ACTIVITY_COLUMNS``, one row a user, sorted by ``user_id``.
    """
    from fraud_pipeline.core import kernels

    user, user_ids = pd.factorize(daily["user_id"], sort=True)
    n, mean, m2 = (daily[column].to_numpy(dtype=np.float64) for column in ("n", "mean", "m2"))
    n, mean, m2 = kernels.merge_moments(user.astype(np.int64), n, mean, m2, len(user_ids))
    grouped = daily.groupby(user)
    return _activity(user_ids, n, mean, m2, grouped["first_event_time"].min(), grouped["last_event_time"].max())


def standard_deviation(n: np.ndarray, m2: np.ndarray) -> np.ndarray:
    """Sample standard deviation from count and squared deviations; 0 below two values.

    Parameters
    ----------
    n, m2 : float64, same shape

    Returns
    -------
    float64, same shape
    """
    deviation: np.ndarray = np.sqrt(np.divide(m2, n - 1.0, out=np.zeros_like(m2), where=n > 1.0))
    return deviation


def _activity(
    user_ids: pd.Index, n: np.ndarray, mean: np.ndarray, m2: np.ndarray, first: pd.Series, last: pd.Series
) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "user_id": pd.Series(user_ids, dtype="str"),
            "n": n.astype(np.int64),
            "mean": mean,
            "m2": m2,
            "first_event_time": first.array,
            "last_event_time": last.array,
        }
    )
    return frame.astype(dict.fromkeys(("first_event_time", "last_event_time"), TIME_DTYPE))[list(ACTIVITY_COLUMNS)]
