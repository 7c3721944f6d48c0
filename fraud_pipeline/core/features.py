"""One row of features a transaction, point in time.

A row sees only events before it (at equal times: those of a smaller
``transaction_id``) and only labels known before it. ``docs/features.md`` has
units and sources as one table, and what happens at the edges.

Terms used below, for a user's transaction of amount ``x``: *baseline* is the
user's transactions of the 90 partition days before the transaction's own day
(``baseline_days``; the names keep ``_90d``), merged from daily summaries, plus
those earlier the same day, with count ``n``, mean ``m`` and sample standard
deviation ``s``. Unless said otherwise a feature of a first transaction (``n = 0``)
is 0. A refund (negative amount) is a transaction like any other: it keeps its
sign in amounts, means and deviations, and counts.

Behavioural features, in order (counts, flags and ratios have no unit):

================================ ==================================================================
``amount``                       ``x``; money. [1]
``amount_log1p``                 ``sign(x) log(1 + |x|)``; log money; tames the heavy tail. [2]
``amount_sqrt``                  ``sign(x) sqrt(|x|)``; root of money; a milder transform. [2]
``user_amount_ratio_90d``        ``x / max(m, 1)``; 1 for a first transaction. [1]
``user_amount_zscore_90d``       ``(x - m) / max(s, 0.1 |m|, 0.01)``; 0 while ``n < 2``. The floor keeps
                                 a user who always pays the same from reaching thousands. [3]
``hour_of_day``                  0-23, in the deployment's time zone; hours. [4]
``day_of_week``                  0 = Monday ... 6 = Sunday, same zone. [5]
``is_weekend``                   1 on Saturday and Sunday. [5]
``is_night``                     1 from 00:00 to 05:59. [4, 5]
``user_seconds_since_last``      seconds; at most, and for a first transaction, 90 days. [1]
``user_mean_amount_90d``         ``m``; money. [1]
``user_std_amount_90d``          ``s``; money; 0 while ``n < 2``. [3]
``user_transactions_per_day_90d`` ``n`` / days since the baseline's first event (at least one day). [1]
``user_amount_deviation_90d``    ``x - m``; money. [3]
``user_count_transactions_24h``  transactions of the user in the last 24 h, this one included: velocity,
                                 and the 1-day count of the risk group below. [1]
``amount_x_hour``                ``x`` times hour of day; money hours. [4]
``amount_x_night``               ``x`` at night, else 0; money. [4]
``zscore_x_velocity``            z-score times velocity: unusual and hurried. [1, 3]
================================ ==================================================================

Entity risk, over trailing windows of 1, 7 and 30 times 24 hours (a start that is
exactly so long ago is still inside) [5]. "Known" labels are counted by the time they
*became known*, never by the time of their transaction, from just after that time on.
Every label counts as an event: a transaction that was genuine and then a fraud within
a window counts as both.

=================================== ===============================================================
``*_count_transactions_*``          transactions of the user or at the merchant, this one included.
``*_mean_amount_*``                 mean amount of the *earlier* transactions in the window; money; 0
                                    without any. Sums are exact, in whole 1/10,000.
``*_known_frauds_*``                frauds that became known.
``*_known_genuine_*``               transactions that became known to be genuine.
``merchant_fraud_rate_*``           known frauds over known labels; 0 without any.
``merchant_genuine_share_*``        known genuine labels over the merchant's transactions of the
                                    window (this one included); at most 1.
``*_days_since_known_fraud``        days since the last fraud became known; 30 when none in 30 days.
``merchant_unexplained_frauds_*``   known frauds that nothing else explains: the amount was not
                                    unusual for the card (its own ``|user_amount_zscore_90d|`` was below
                                    3, the three-sigma rule, or is unknown), and of the card no other
                                    transaction became known as a fraud in the 7 days up to the
                                    moment when this one did. What is left points to the merchant.
``is_new_merchant_30d``             1 when the user has not paid at the merchant in the window.
=================================== ===============================================================

Sources: [1] Whitrow et al., "Transaction aggregation as a strategy for credit card
fraud detection", DMKD 18, 2009. [2] Box and Cox, "An analysis of transformations",
JRSS B 26, 1964. [3] Bolton and Hand, "Unsupervised profiling methods for fraud
detection", 2001. [4] Bahnsen et al., "Feature engineering strategies for credit card
fraud detection", ESWA 51, 2016. [5] Le Borgne et al., "Reproducible Machine Learning
for Credit Card Fraud Detection", 2022, chapter 3.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core import behaviour, entity_risk, labels, profiles
from fraud_pipeline.core.columns import FeatureColumns
from fraud_pipeline.core.days import DAY, microseconds, wall_clock
from fraud_pipeline.core.entities import Numbering
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.schema import TIME_DTYPE

RISK_WINDOW_DAYS: Final = entity_risk.WINDOW_DAYS
"""Longest trailing window: how far ``recent`` reaches back.

Windows are of 24-hour days: where the clocks change, one calendar day more covers them.
"""

RECENT_CALENDAR_DAYS: Final = RISK_WINDOW_DAYS + 1
"""The same in calendar days: it begins within a day, and days of a clock change have 23 hours."""

LABEL_WINDOW_DAYS: Final = entity_risk.WINDOW_DAYS + entity_risk.COMPANY_DAYS
"""How far back ``label_events`` reach, by ``label_known_at``."""

LABEL_CALENDAR_DAYS: Final = LABEL_WINDOW_DAYS + labels.MEMORY.days + 1
"""Days of labels, their own included, that tell which of them are changes (``labels.changes``) and count."""

RECENT_COLUMNS: Final = ("user_id", "merchant_id", "event_time", "amount")
"""What ``build`` needs to know of earlier transactions."""


@dataclass(frozen=True)
class History:
    """What happened before the first partition day that is built.

    Parameters
    ----------
    activity : DataFrame
        ``ACTIVITY_COLUMNS``, one row a user and day (``profiles.summarise_day``), of
        the ``baseline_days`` partition days before, oldest day first.
    recent : DataFrame
        ``RECENT_COLUMNS`` of the transactions of the ``RISK_WINDOW_DAYS`` before, oldest first.
    """

    activity: pd.DataFrame
    recent: pd.DataFrame


def no_history() -> History:
    """Nothing happened before: for a history that is built from its first day."""
    texts = dict.fromkeys(("user_id", "merchant_id"), "str")
    recent = pd.DataFrame(columns=list(RECENT_COLUMNS)).astype(texts | {"event_time": TIME_DTYPE, "amount": float})
    return History(profiles.no_activity(), recent)


def days_back(baseline_days: int) -> int:
    """How many partition days before its own a transaction looks back on those of its user."""
    return max(baseline_days, RECENT_CALENDAR_DAYS)


def build(
    transactions: pd.DataFrame,
    history: History,
    label_events: pd.DataFrame,
    *,
    time_zone: str = "UTC",
    baseline_days: int = profiles.BASELINE_DAYS,
) -> pd.DataFrame:
    """Build the features of transactions: of years, of a night, or of one transaction.

    However the days are cut into calls, a row comes out the same to the last bit.
    For one transaction, pass it as the last row, after those of the same day that are
    its user's or its merchant's (others do not matter), with the activity of its user,
    the recent transactions of both, and the labels of both and of the cards that the
    merchant's known frauds were paid with, z-scores included. The last row of the
    result is then the one that a night gives; the others lack their own context.

    Parameters
    ----------
    transactions : DataFrame
        Valid transactions of whole partition days, sorted by ``(event_time, transaction_id)``.
        Identifiers may be categorical.
    history : History
        What happened before their first day; see ``no_history``.
    label_events : DataFrame
        ``entity_risk.EVENT_COLUMNS``: what became known when, in any order, from
        ``LABEL_WINDOW_DAYS`` before the first day on. What is known later than a row
        is ignored. The column ``user_amount_zscore_90d`` (may be missing, whole or in
        places) is that of the labelled transaction. It is needed of frauds only; where
        it is missing that of the same transaction here is taken, or else it is unknown.
    time_zone : str
        IANA zone of partition days, hours and weekdays.
    baseline_days : int
        How many partition days before its own a user's baseline covers.

    Returns
    -------
    DataFrame
        ``EVENT_KEYS`` and ``FEATURE_COLUMNS`` (float64, all finite), in the order of ``transactions``.

    Raises
    ------
    InvalidDataError
        If the inputs are out of order, the history reaches into the days that are
        built or is not daily, an identifier is missing, or an amount is not finite
        or too large to be summed.
    """
    recent, activity = history.recent, history.activity
    clock = wall_clock(transactions["event_time"], time_zone)
    _require_chronological(transactions, history, clock, time_zone)
    _require_numbers(transactions, history)
    users, merchants = Numbering(transactions["user_id"]), Numbering(transactions["merchant_id"])
    own_amount, own_time = transactions["amount"].to_numpy(dtype=np.float64), microseconds(transactions["event_time"])
    amount = np.concatenate([recent["amount"].to_numpy(dtype=np.float64), own_amount])
    time = np.concatenate([microseconds(recent["event_time"]), own_time])
    user = np.concatenate([users.of(recent["user_id"]), users.codes])
    merchant = np.concatenate([merchants.of(recent["merchant_id"]), merchants.codes])

    columns = FeatureColumns.empty(len(transactions))
    behaviour.fill_transaction(columns, own_amount, clock)
    behaviour.fill_user(columns, users, own_time, clock // DAY, own_amount, activity, time_zone, baseline_days)
    entity_risk.fill_windows(columns, "user", len(users), user, time, amount)
    entity_risk.fill_windows(columns, "merchant", len(merchants), merchant, time, amount)
    behaviour.fill_hurry(columns)
    entity_risk.fill_new_merchant(columns, user, merchant, time)
    entity_risk.fill_labels(columns, transactions, users, merchants, label_events)
    return columns.frame(transactions)


def relabel(built: pd.DataFrame, label_events: pd.DataFrame) -> pd.DataFrame:
    """Recompute the features that depend on labels, as if other labels had become known.

    Parameters
    ----------
    built : DataFrame
        From ``build``: whole days, in order.
    label_events : DataFrame
        As for ``build``; z-scores are needed of frauds before the first of these days.

    Returns
    -------
    DataFrame
        What ``build`` gives with these label events.
    """
    users, merchants = Numbering(built["user_id"]), Numbering(built["merchant_id"])
    columns = FeatureColumns.of(built)
    entity_risk.fill_labels(columns, built, users, merchants, label_events)
    return columns.frame(built)


def _require_chronological(
    transactions: pd.DataFrame, history: History, clock: NDArray[np.int64], time_zone: str
) -> None:
    time, ids = transactions["event_time"], transactions["transaction_id"]
    if not time.is_monotonic_increasing or _has_unsorted_ties(microseconds(time), ids):
        raise InvalidDataError("transactions are out of order; sort them by (event_time, transaction_id) first.")
    recent = history.recent["event_time"]
    if not recent.is_monotonic_increasing:
        raise InvalidDataError("recent transactions are out of order; sort them by event_time first.")
    if (wall_clock(recent[-1:], time_zone) // DAY >= clock[:1] // DAY).any():
        raise InvalidDataError("recent transactions reach into the days that are built; pass only earlier days.")


def _has_unsorted_ties(time: NDArray[np.int64], ids: pd.Series) -> bool:
    tied = np.flatnonzero(time[1:] == time[:-1])
    before, after = (ids.iloc[positions].reset_index(drop=True) for positions in (tied, tied + 1))
    return bool(after.lt(before).any())


def _require_numbers(transactions: pd.DataFrame, history: History) -> None:
    for frame, name in ((transactions, "transaction_id"), (history.recent, "user_id")):
        wrong = ~np.isfinite(frame["amount"].to_numpy(dtype=np.float64))
        if wrong.any():
            raise InvalidDataError(
                f"the amount of {name} {frame[name].iloc[int(wrong.argmax())]} is not finite; reject such rows first."
            )
    for name, least in (("n", 1.0), ("mean", -np.inf), ("m2", 0.0)):
        values = history.activity[name].to_numpy(dtype=np.float64)
        wrong = ~(np.isfinite(values) & (values >= least))
        if wrong.any():
            user = history.activity["user_id"].iloc[int(wrong.argmax())]
            raise InvalidDataError(f"the daily activity of user_id {user} has an impossible {name}; build it again.")
