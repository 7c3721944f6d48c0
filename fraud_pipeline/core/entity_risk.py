"""Features of how risky a user and a merchant are; ``features`` defines them."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core.columns import FeatureColumns
from fraud_pipeline.core.days import DAY, microseconds
from fraud_pipeline.core.entities import Numbering
from fraud_pipeline.core.errors import InvalidDataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WINDOWS: Final = (1, 7, 30)
"""Trailing windows in days."""

WINDOW_DAYS: Final = WINDOWS[-1]
"""How far back transactions and labels count; also the "days since" of what never was."""

COMPANY_DAYS: Final = 7
"""A fraud is explained by its card if the card had another one so many days before."""

UNUSUAL_ZSCORE: Final = 3.0
"""A fraud is explained by its amount from here on: the three-sigma rule."""

EVENT_COLUMNS: Final = ("transaction_id", "user_id", "merchant_id", "event_time", "label_known_at", "is_fraud")
"""What the label-based features need to know of a label."""

ZSCORE: Final = "user_amount_zscore_90d"

UNITS: Final = 10_000
"""Amounts are summed over windows as whole numbers of this part of 1, so that sums are exact on every path."""

_SUM_LIMIT: Final = 2.0**63

# Ranks of label events, as ``kernels.known_events`` counts them.
_GENUINE, _EXPLAINED_FRAUD, _UNEXPLAINED_FRAUD = range(3)


def fill_windows(columns: FeatureColumns, entity: str, entities: int, code: Ints, time: Ints, amount: Floats) -> None:
    """Fill in count and mean amount of an entity's transactions in the trailing windows.

    Parameters
    ----------
    columns : FeatureColumns
        Of n rows: the last n transactions.
    entity : str
        ``user`` or ``merchant``.
    entities : int
        How many there are.
    code, time : int64, shape (earlier + n,)
        Number of the entity, and microseconds.
    amount : float64, shape (earlier + n,)

    Raises
    ------
    InvalidDataError
        If amounts are so large that they cannot be summed exactly.
    """
    from fraud_pipeline.core import kernels

    def sweep(units: Ints) -> float:
        count_at, mean_at = window_columns(columns, entity)
        skip, spans = len(time) - len(columns), np.array(WINDOWS) * DAY
        return kernels.trailing(
            code, time, units, spans, entities, skip, float(UNITS), columns.table, count_at, mean_at
        )

    sum_exactly(amount, sweep)


def window_columns(columns: FeatureColumns, entity: str) -> tuple[Ints, Ints]:
    """Positions of the columns that ``kernels.trailing`` fills in for ``user`` or ``merchant``: counts and means."""
    # A user's first window has its older name.
    spans = [f"{days}d".replace("1d", "24h") if entity == "user" else f"{days}d" for days in WINDOWS]
    counts = columns.at([f"{entity}_count_transactions_{span}" for span in spans])
    return counts, columns.at([f"{entity}_mean_amount_{days}d" for days in WINDOWS])


def sum_exactly(amount: Floats, sweep: Callable[[Ints], float]) -> None:
    """Sweep over amounts as whole numbers, unless they are too large for exact sums.

    Parameters
    ----------
    amount : float64, shape (n,)
    sweep : callable
        Takes whole numbers of ``1 / UNITS``, shape (n,), and gives the largest number of rows that was summed.

    Raises
    ------
    InvalidDataError
        If amounts are so large that they cannot be summed exactly.
    """
    units = np.rint(amount * UNITS)
    largest = np.abs(units).max(initial=0.0)
    if largest < _SUM_LIMIT:
        largest *= sweep(units.astype(np.int64))
    if largest >= _SUM_LIMIT:
        raise InvalidDataError(
            f"amounts up to {np.abs(amount).max():g} are too large to be summed; check their currency and unit."
        )


def fill_new_merchant(columns: FeatureColumns, user: Ints, merchant: Ints, time: Ints) -> None:
    """Fill in whether the user pays at the merchant for the first time; parameters as above."""
    from fraud_pipeline.core import kernels

    since = np.empty(len(columns), dtype=np.int64)
    room = np.full((1 << (2 * len(columns)).bit_length(), 3), -1)
    kernels.since_pair(user, merchant, time, len(time) - len(columns), room, since)
    fill_is_new(columns, since)


def fill_is_new(columns: FeatureColumns, since: Ints) -> None:
    """Fill in whether the last payment of the pair is longer ago than the window, from microseconds, shape (n,)."""
    columns["is_new_merchant_30d"] = since > WINDOW_DAYS * DAY


def fill_labels(
    columns: FeatureColumns, keys: pd.DataFrame, users: Numbering, merchants: Numbering, label_events: pd.DataFrame
) -> None:
    """Fill in what was known of a user's and a merchant's earlier transactions.

    Parameters
    ----------
    columns : FeatureColumns
        Of n rows, with z-scores and merchant counts filled in.
    keys : DataFrame
        ``EVENT_KEYS`` of the n transactions, in order.
    users, merchants
        Numbers of their users and merchants.
    label_events : DataFrame
        As for ``features.build``.
    """
    from fraud_pipeline.core import kernels

    time = microseconds(keys["event_time"])
    known_at = microseconds(label_events["label_known_at"])
    is_sorted = bool((known_at[1:] >= known_at[:-1]).all())
    by_time = slice(None) if is_sorted else np.argsort(known_at, kind="stable")
    known_at = known_at[by_time]
    ranks = _ranks(label_events, keys["transaction_id"], time, columns[ZSCORE])[by_time]

    for entity, numbers in (("merchant", merchants), ("user", users)):
        last = np.empty(len(time), dtype=np.int64)
        days, count_at = event_columns(columns, entity)
        kernels.known_events(
            numbers.codes,
            time,
            numbers.of(label_events[f"{entity}_id"])[by_time],
            known_at,
            ranks,
            days * DAY,
            len(numbers),
            columns.table,
            count_at,
            last,
        )
        fill_days_since(columns, entity, time - last)
    fill_rates(columns)


def event_columns(columns: FeatureColumns, entity: str) -> tuple[Ints, Ints]:
    """Windows in days, and the columns that ``kernels.known_events`` fills in for ``user`` or ``merchant``."""
    days = WINDOWS if entity == "merchant" else WINDOWS[1:]
    at = np.stack([columns.at([f"{entity}_known_{what}_{n}d" for n in days]) for what in ("genuine", "frauds")])
    unexplained = np.full(len(days), -1)
    if entity == "merchant":
        unexplained[1:] = columns.at([f"merchant_unexplained_frauds_{n}d" for n in days[1:]])
    return np.array(days), np.vstack([at, unexplained])


def fill_days_since(columns: FeatureColumns, entity: str, since: Ints) -> None:
    """Fill in the days since an entity's last known fraud, from microseconds, shape (n,)."""
    columns[f"{entity}_days_since_known_fraud"] = np.minimum(since / DAY, WINDOW_DAYS)


def fill_rates(columns: FeatureColumns) -> None:
    """Fill in a merchant's shares, which follow from its counts."""
    for n in WINDOWS:
        frauds, genuine = columns[f"merchant_known_frauds_{n}d"], columns[f"merchant_known_genuine_{n}d"]
        columns[f"merchant_fraud_rate_{n}d"] = frauds / np.maximum(frauds + genuine, 1.0)
    for n in WINDOWS[1:]:
        share = columns[f"merchant_known_genuine_{n}d"] / columns[f"merchant_count_transactions_{n}d"]
        columns[f"merchant_genuine_share_{n}d"] = np.minimum(share, 1.0)


def rank_events(label_events: pd.DataFrame) -> Ints:
    """Rank label events as :func:`fill_labels` does, by the z-scores that they carry; shape (m,).

    0 is a genuine label, 1 a fraud that its amount or its card explains, 2 another fraud. The other frauds of
    their cards have to be among the events.
    """
    nothing = np.empty(0, dtype=np.int64)
    return _ranks(label_events, pd.Series([], dtype="str"), nothing, nothing.astype(np.float64))


def _ranks(label_events: pd.DataFrame, ids: pd.Series, time: Ints, zscore: Floats) -> Ints:
    """Tell genuine labels, frauds that their amount or their card explains, and other frauds apart."""
    from fraud_pipeline.core import kernels

    is_fraud = label_events["is_fraud"].to_numpy(dtype=bool)
    ranks = np.full(len(label_events), _GENUINE)
    positions = np.flatnonzero(is_fraud)
    frauds = label_events.iloc[positions]
    cards, known_at = Numbering(frauds["user_id"]).codes, microseconds(frauds["label_known_at"])
    by_card = np.lexsort((known_at, cards))
    frauds, positions = frauds.iloc[by_card], positions[by_card]
    subjects = Numbering(frauds["transaction_id"]).codes
    in_company = kernels.has_company(cards[by_card], known_at[by_card], subjects, COMPANY_DAYS * DAY)
    is_unusual = np.abs(_zscores(frauds, ids, time, zscore)) >= UNUSUAL_ZSCORE
    ranks[positions] = np.where(in_company | is_unusual, _EXPLAINED_FRAUD, _UNEXPLAINED_FRAUD)
    return ranks


def _zscores(frauds: pd.DataFrame, ids: pd.Series, time: Ints, zscore: Floats) -> Floats:
    """Z-scores of the labelled transactions: as given, else of the row itself, else missing."""
    given = frauds[ZSCORE].to_numpy(dtype=np.float64) if ZSCORE in frauds else np.full(len(frauds), np.nan)
    happened_at, known_at = (microseconds(frauds[name]) for name in ("event_time", "label_known_at"))
    # A label cannot be known before its transaction; if it is, the row must not be looked at ahead of its time.
    wanted = np.flatnonzero(np.isnan(given) & (happened_at <= known_at))
    # Only rows at the very times of these frauds are compared by their identifiers.
    moments = np.unique(happened_at[wanted])
    begin, end = np.searchsorted(time, moments), np.searchsorted(time, moments, side="right")
    rows = np.repeat(end - np.cumsum(end - begin), end - begin) + np.arange((end - begin).sum())
    names = pd.Index(ids.iloc[rows])
    rows, names = rows[~names.duplicated()], names.drop_duplicates()
    found = names.get_indexer(pd.Index(frauds["transaction_id"].iloc[wanted]))
    own = given.copy()
    own[wanted] = np.append(zscore[rows], np.nan)[found]
    return own
