"""The features of single transactions, from the histories of their users and merchants.

``features.build`` makes frames of whole days; here are arrays of the few entities that are asked for, through the
same kernels and the same formulas. What comes out is what a night gives, to the last bit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud_pipeline.core import behaviour, entity_risk
from fraud_pipeline.core.columns import FeatureColumns
from fraud_pipeline.core.days import DAY
from fraud_pipeline.core.features import RECENT_CALENDAR_DAYS, days_back

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class EntityHistory(NamedTuple):
    """What is known of one user or merchant; rows in the order of ``(event_time, transaction_id)``.

    Parameters
    ----------
    time, day : int64, shape (n,)
        Microseconds, and partition day since the epoch.
    amount : float64, shape (n,)
    other : int64, shape (n,)
        Number of the merchant of a user's row; of no use for a merchant's.
    key : int64, shape (n,)
        Hash of the transaction's identifier.
    ids : object, shape (n,)
        The identifiers, for rows at equal times.
    known_at, rank : int64, shape (m,)
        Label events by the time they became known; ``entity_risk.rank_events``.
    """

    time: Ints
    day: Ints
    amount: Floats
    other: Ints
    key: Ints
    ids: NDArray[np.object_]
    known_at: Ints
    rank: Ints


class LiveRows(NamedTuple):
    """Transactions to look at, in any order. Those of one context know each other, those of another do not.

    Parameters
    ----------
    context : int64, shape (n,)
    user, merchant : int64, shape (n,)
        Positions in the histories that are given with them.
    time, clock : int64, shape (n,)
        Microseconds since the epoch, and what the clocks show (``days.wall_clock``).
    amount : float64, shape (n,)
    other : int64, shape (n,)
        Number of the merchant, as in the histories.
    key : int64, shape (n,)
    ids : object, shape (n,)
    """

    context: Ints
    user: Ints
    merchant: Ints
    time: Ints
    clock: Ints
    amount: Floats
    other: Ints
    key: Ints
    ids: NDArray[np.object_]


def build(
    rows: LiveRows, users: Sequence[EntityHistory], merchants: Sequence[EntityHistory], baseline_days: int
) -> FeatureColumns:
    """Build the features of transactions, each from what is before it in its own context.

    Parameters
    ----------
    rows : LiveRows
        No identifier twice on a day of a context.
    users, merchants : sequence of EntityHistory
        Reaching back ``features.days_back`` days, and in labels ``features.LABEL_WINDOW_DAYS``. A row that is also
        among ``rows`` of the context counts once, as it is there.
    baseline_days : int

    Returns
    -------
    FeatureColumns
        In the order of ``rows``.

    Raises
    ------
    InvalidDataError
        If amounts are so large that they cannot be summed exactly.
    """
    columns = FeatureColumns.empty(len(rows.time))
    behaviour.fill_transaction(columns, rows.amount, rows.clock)
    _fill_user(columns, _Groups(rows, rows.user, users, days_back(baseline_days)), baseline_days)
    _fill_entity(columns, "merchant", _Groups(rows, rows.merchant, merchants, RECENT_CALENDAR_DAYS))
    behaviour.fill_hurry(columns)
    entity_risk.fill_rates(columns)
    return columns


class _Groups:
    """The transactions of each context and entity, put where they belong in the history of the entity."""

    def __init__(self, rows: LiveRows, entity: Ints, histories: Sequence[EntityHistory], reach: int) -> None:
        from fraud_pipeline.core import lookback

        self.order = np.lexsort((rows.ids, rows.time, entity, rows.context)) if len(entity) > 1 else np.zeros(1, int)
        context, entity = rows.context[self.order], entity[self.order]
        opens = np.flatnonzero(np.diff(context, prepend=-1) | np.diff(entity, prepend=-1))
        self.first = np.append(opens, len(entity))
        self.time = rows.time[self.order]
        histories = [histories[position] for position in entity[opens].tolist()]
        self.events_start = _starts([len(each.known_at) for each in histories])
        self.known_at = np.concatenate([each.known_at for each in histories])
        self.rank = np.concatenate([each.rank for each in histories])

        start = _starts([len(each.time) for each in histories])
        time, day, amount, other, key = (np.concatenate([each[field] for each in histories]) for field in range(5))
        new_day, new_key = rows.clock[self.order] // DAY, rows.key[self.order]
        before, tied, at = np.empty((3, len(entity)), dtype=np.int64)
        if lookback.earlier_rows(start, time, self.first, self.time, before, tied):
            ids = rows.ids[self.order]
            group = np.repeat(np.arange(len(histories)), np.diff(self.first))
            is_itself = (tied == before + 1) & (key.take(before, mode="clip") == new_key)
            for new in np.flatnonzero((tied > before) & ~is_itself).tolist():
                same = slice(before[new] - start[group[new]], tied[new] - start[group[new]])
                before[new] += sum(known < ids[new] for known in histories[group[new]].ids[same])
        merged, self.start = np.empty(len(time) + len(entity), dtype=np.int64), np.empty_like(start)
        lookback.interleave(start, day, key, self.first, new_day, new_key, before, reach, merged, self.start, at)
        merged = merged[: self.start[-1]]
        self.at = at
        self.row_time = np.concatenate([time, self.time])[merged]
        self.row_day = np.concatenate([day, new_day])[merged]
        self.row_amount = np.concatenate([amount, rows.amount[self.order]])[merged]
        self.row_other = np.concatenate([other, rows.other[self.order]])[merged]
        self.skip = at[opens] - self.start[:-1]
        """So many rows of each group are before its first new one."""
        skipped = np.repeat(np.cumsum(self.skip), np.diff(self.first))
        self.wanted = at - skipped
        """Where each new row is among the rows that are not skipped."""


def _fill_user(columns: FeatureColumns, groups: _Groups, baseline_days: int) -> None:
    from fraud_pipeline.core import lookback

    length = np.diff(groups.start)
    user = np.repeat(np.arange(len(length)), length)
    first_day = groups.row_day[groups.at[groups.first[:-1]]]
    is_own = groups.row_day >= np.repeat(first_day, length)
    _, given = behaviour.summarise_days(
        user[~is_own], len(length), groups.row_day[~is_own], groups.row_time[~is_own], groups.row_amount[~is_own]
    )
    found = np.empty((5, np.count_nonzero(is_own)))
    behaviour.describe_earlier(
        given,
        user[is_own],
        len(length),
        groups.row_day[is_own],
        groups.row_time[is_own],
        groups.row_amount[is_own],
        baseline_days,
        found,
    )
    found = found[:, np.cumsum(is_own)[groups.at] - 1]
    back = np.empty(len(groups.order), dtype=np.int64)
    back[groups.order] = np.arange(len(back))
    behaviour.fill_habits(columns, columns["amount"], found[:, back], baseline_days)
    since = np.empty(int((length - groups.skip).sum()), dtype=np.int64)
    lookback.since_pair_by_group(groups.start, groups.skip, groups.row_other, groups.row_time, since)
    entity_risk.fill_is_new(columns, since[groups.wanted][back])
    _fill_entity(columns, "user", groups)


def _fill_entity(columns: FeatureColumns, entity: str, groups: _Groups) -> None:
    """Fill in an entity's windows and what became known of it."""
    from fraud_pipeline.core import lookback

    spans = np.array(entity_risk.WINDOWS) * DAY
    windows = FeatureColumns.empty(int((np.diff(groups.start) - groups.skip).sum()))
    count_at, mean_at = entity_risk.window_columns(columns, entity)
    entity_risk.sum_exactly(
        groups.row_amount,
        lambda units: lookback.trailing_by_group(
            groups.start,
            groups.skip,
            groups.row_time,
            units,
            spans,
            float(entity_risk.UNITS),
            windows.table,
            count_at,
            mean_at,
        ),
    )
    for at in np.concatenate([count_at, mean_at]):
        columns.table[at, groups.order] = windows.table[at, groups.wanted]

    known = FeatureColumns.empty(len(groups.order))
    last = np.empty(len(groups.order), dtype=np.int64)
    days, count_at = entity_risk.event_columns(columns, entity)
    lookback.known_events_by_group(
        groups.first,
        groups.time,
        groups.events_start,
        groups.known_at,
        groups.rank,
        days * DAY,
        known.table,
        count_at,
        last,
    )
    for at in count_at[count_at >= 0]:
        columns.table[at, groups.order] = known.table[at]
    since = np.empty_like(last)
    since[groups.order] = groups.time - last
    entity_risk.fill_days_since(columns, entity, since)


def _starts(lengths: Sequence[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
