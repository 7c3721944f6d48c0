"""What is known of a user's habits: one small summary a day, merged over trailing days.

A profile is the merge of the summaries of the days before, never an update of
yesterday's profile: days can be built in any order and a re-run repeats exactly.
"""

from typing import Final

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from fraud_pipeline.core.days import DAY, wall_clock
from fraud_pipeline.core.entities import Numbering
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
    return _summarise(transactions, np.zeros(len(transactions), dtype=np.int64)).sort_values(
        "user_id", ignore_index=True
    )


def summarise_days(transactions: pd.DataFrame, time_zone: str) -> pd.DataFrame:
    """Summarise many days of transactions per user and partition day.

    Parameters
    ----------
    transactions : DataFrame
        Valid transactions, sorted by ``(event_time, transaction_id)``.
    time_zone : str
        IANA zone of partition days.

    Returns
    -------
    DataFrame
        One row a user and day, oldest day first; columns as from ``summarise_day``.
    """
    return _summarise(transactions, wall_clock(transactions["event_time"], time_zone) // DAY)


def _summarise(transactions: pd.DataFrame, day: np.ndarray) -> pd.DataFrame:
    from fraud_pipeline.core import moments

    users = Numbering(transactions["user_id"])
    code, first, last = np.empty((3, len(day)), dtype=np.int64)
    codes = moments.number_days(users.codes, day, len(users), code, first, last)
    found = moments.summarise(code, transactions["amount"].to_numpy(dtype=np.float64), codes)
    times = transactions["event_time"].array
    return _activity(users.names[users.codes[first[:codes]]], found, times[first[:codes]], times[last[:codes]])


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
    from fraud_pipeline.core import moments

    users = Numbering(daily["user_id"])
    parts = daily[["n", "mean", "m2"]].to_numpy(dtype=np.float64)
    found = moments.merge(users.codes, parts, len(users))
    times = daily.groupby(users.codes)
    first, last = times["first_event_time"].min().array, times["last_event_time"].max().array
    return _activity(users.names, found, first, last).sort_values("user_id", ignore_index=True)


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


def _activity(user_ids: pd.Index, found: np.ndarray, first: ExtensionArray, last: ExtensionArray) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "user_id": pd.Series(user_ids, dtype="str"),
            "n": found[:, 0].astype(np.int64),
            "mean": found[:, 1],
            "m2": found[:, 2],
            "first_event_time": first,
            "last_event_time": last,
        }
    )
    return frame.astype(dict.fromkeys(("first_event_time", "last_event_time"), TIME_DTYPE))[list(ACTIVITY_COLUMNS)]
