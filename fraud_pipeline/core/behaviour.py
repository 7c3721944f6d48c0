"""Features of a transaction itself and of its user's habits; ``features`` defines them."""

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core import profiles
from fraud_pipeline.core.columns import FeatureColumns
from fraud_pipeline.core.days import DAY, HOUR, SECOND, microseconds, wall_clock
from fraud_pipeline.core.entities import Numbering
from fraud_pipeline.core.errors import InvalidDataError

if TYPE_CHECKING:
    from fraud_pipeline.core import moments

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NIGHT_ENDS_AT: Final = 6


def fill_transaction(columns: FeatureColumns, amount: Floats, clock: Ints) -> None:
    """Fill in what needs nothing but the transaction.

    Parameters
    ----------
    columns : FeatureColumns
        Of n rows.
    amount : float64, shape (n,)
    clock : int64, shape (n,)
        From ``days.wall_clock``.
    """
    size, sign = np.abs(amount), np.sign(amount)
    hour = (clock % DAY // HOUR).astype(np.float64)
    # The epoch was a Thursday.
    weekday = (clock // DAY + 3) % 7
    at_night = hour < NIGHT_ENDS_AT
    columns["amount"] = amount
    columns["amount_log1p"] = sign * np.log1p(size)
    columns["amount_sqrt"] = sign * np.sqrt(size)
    columns["hour_of_day"] = hour
    columns["day_of_week"] = weekday
    columns["is_weekend"] = weekday >= 5
    columns["is_night"] = at_night
    columns["amount_x_hour"] = amount * hour
    columns["amount_x_night"] = amount * at_night


def fill_user(
    columns: FeatureColumns,
    users: Numbering,
    time: Ints,
    day: Ints,
    amount: Floats,
    activity: pd.DataFrame,
    time_zone: str,
    baseline_days: int,
) -> None:
    """Fill in what compares a transaction with its user's baseline.

    Parameters
    ----------
    columns : FeatureColumns
        Of n rows.
    users
        The transactions' users.
    time, day : int64, shape (n,)
        Microseconds, and partition day since the epoch.
    amount : float64, shape (n,)
    activity : DataFrame
        Daily summaries, as ``features.History`` has them.
    time_zone : str
        That of partition days.
    baseline_days : int

    Raises
    ------
    InvalidDataError
        If the activity is out of order or not of one day each.
    """
    from fraud_pipeline.core import moments

    earlier_days = moments.group(users.of(activity["user_id"]), len(users))
    n, mean, m2 = (activity[name].to_numpy(dtype=np.float64) for name in ("n", "mean", "m2"))
    opens, closes = (microseconds(activity[name]) for name in ("first_event_time", "last_event_time"))
    given = moments.Parts(*earlier_days, _days_of(activity, day[:1], time_zone), n, mean, m2, opens, closes)
    found = np.empty((5, len(time)))
    repeated = describe_earlier(given, users.codes, len(users), day, time, amount, baseline_days, found)
    if repeated >= 0:
        user = activity["user_id"].iloc[repeated]
        raise InvalidDataError(f"activity of user {user} has a day twice; pass one summary a user and day.")
    fill_habits(columns, amount, found, baseline_days)


def summarise_days(user: Ints, users: int, day: Ints, time: Ints, amount: Floats) -> "tuple[Ints, moments.Parts]":
    """Summarise the rows of each user and day.

    Parameters
    ----------
    user, day, time : int64, shape (n,)
        Those of one user in the order of time.
    users : int
        How many there are.
    amount : float64, shape (n,)

    Returns
    -------
    int64, shape (n,)
        The number of each row's summary.
    Parts
    """
    from fraud_pipeline.core import moments

    code, first, last = np.empty((3, len(time)), dtype=np.int64)
    codes = moments.number_days(user, day, users, code, first, last)
    first, last = first[:codes], last[:codes]
    n, mean, m2 = np.ascontiguousarray(moments.summarise(code, amount, codes).T)
    return code, moments.Parts(*moments.group(user[first], users), day[first], n, mean, m2, time[first], time[last])


def describe_earlier(
    given: "moments.Parts",
    user: Ints,
    users: int,
    day: Ints,
    time: Ints,
    amount: Floats,
    baseline_days: int,
    found: Floats,
) -> int:
    """Describe, for each row, the baseline of its user and the user's earlier rows of the day.

    Parameters
    ----------
    given : Parts
        Summaries of the days before the first one of these rows.
    user, users, day, time, amount
        As for :func:`summarise_days`.
    baseline_days : int
    found : float64, shape (5, n)
        Output, as of ``moments.running``.

    Returns
    -------
    int
        As of ``moments.merge_trailing``: the position of a repeated summary, or -1.
    """
    from fraud_pipeline.core import moments

    code, built = summarise_days(user, users, day, time, amount)
    state, span = np.empty((len(built.day), 3)), np.empty((len(built.day), 2), dtype=np.int64)
    repeated = int(moments.merge_trailing(given, built, baseline_days, state, span))
    if repeated < 0:
        moments.running(code, time, amount, state, span, found)
    return repeated


def fill_habits(columns: FeatureColumns, amount: Floats, found: Floats, baseline_days: int) -> None:
    """Fill in what follows from the description of the user's earlier rows.

    Parameters
    ----------
    columns : FeatureColumns
        Of n rows.
    amount : float64, shape (n,)
    found : float64, shape (5, n)
        From :func:`describe_earlier`.
    baseline_days : int
    """
    n, mean, m2, since_first, since_last = found
    known, std, longest = n > 0, profiles.standard_deviation(n, m2), baseline_days * DAY
    deviation = np.where(known, amount - mean, 0.0)
    spread = np.maximum(np.maximum(std, 0.1 * np.abs(mean)), 0.01)
    columns["user_amount_ratio_90d"] = np.where(known, amount / np.maximum(mean, 1.0), 1.0)
    columns["user_amount_zscore_90d"] = np.where(n >= 2, deviation / spread, 0.0)
    columns["user_seconds_since_last"] = np.where(known, np.minimum(since_last, longest), longest) / SECOND
    columns["user_mean_amount_90d"] = mean
    columns["user_std_amount_90d"] = std
    columns["user_transactions_per_day_90d"] = n / np.maximum(since_first / DAY, 1.0)
    columns["user_amount_deviation_90d"] = deviation


def fill_hurry(columns: FeatureColumns) -> None:
    """Fill in z-score times velocity, once both are there."""
    columns["zscore_x_velocity"] = columns["user_amount_zscore_90d"] * columns["user_count_transactions_24h"]


def _days_of(activity: pd.DataFrame, first_built: Ints, time_zone: str) -> Ints:
    opens, closes = (wall_clock(activity[name], time_zone) // DAY for name in ("first_event_time", "last_event_time"))
    if (opens != closes).any():
        user = activity["user_id"].iloc[int(np.argmax(opens != closes))]
        raise InvalidDataError(f"activity of user {user} spans days of {time_zone}; pass one summary a user and day.")
    if (opens[1:] < opens[:-1]).any():
        raise InvalidDataError("activity is out of order; pass the oldest day first.")
    if (opens[-1:] >= first_built).any():
        raise InvalidDataError("activity reaches into the days that are built; pass only earlier days.")
    return opens
