"""Compiled loops that let single transactions look back on the history of their own entities.

The sweeps of ``kernels`` go over the rows of all entities in the order of time. Here the rows of each entity lie
together, as they do where a few entities are looked up: the loops below put new rows where they belong among them
and call those very sweeps, one entity at a time. A *group* is an entity with the new rows that are looked at
together; the rows before ``start[1]`` are those of group 0, and so on. Times are microseconds since the epoch.
"""

import numpy as np
from numpy.typing import NDArray

from fraud_pipeline.core.kernels import known_events, since_pair, trailing
from fraud_pipeline.core.moments import compiled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@compiled
def first_at_or_after(values: Ints, low: int, high: int, wanted: int) -> int:
    """Find the first position of ``values[low:high]``, which ascend, that is not below a value; ``high`` if none."""
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def earlier_rows(start: Ints, time: Ints, first: Ints, new_time: Ints, before: Ints, tied: Ints) -> int:
    """Find how many known rows of its group are before each new row.

    Parameters
    ----------
    start, first : int64, shape (groups + 1,)
        Where the known and the new rows of each group begin.
    time : int64, shape (n,)
    new_time : int64, shape (m,)
    before, tied : int64, shape (m,)
        Output: position of the first row that is not earlier, and of the first that is later.

    Returns
    -------
    int
        How many new rows have a known one at the very same time.
    """
    ties = 0
    for group in range(len(start) - 1):
        for new in range(first[group], first[group + 1]):
            before[new] = first_at_or_after(time, start[group], start[group + 1], new_time[new])
            tied[new] = first_at_or_after(time, before[new], start[group + 1], new_time[new] + 1)
            ties += tied[new] > before[new]
    return ties


@compiled
def interleave(
    start: Ints,
    day: Ints,
    key: Ints,
    first: Ints,
    new_day: Ints,
    new_key: Ints,
    before: Ints,
    days_back: int,
    merged: Ints,
    merged_start: Ints,
    at: Ints,
) -> None:
    """Put the new rows of each group where they belong among its known ones.

    A known row that is one of the new ones, of the same day and key, is left out, as are rows of more than
    ``days_back`` days before the group's first new one and rows after its last.

    Parameters
    ----------
    start, first : int64, shape (groups + 1,)
        Where the known and the new rows of each group begin; every group has a new one.
    day, key : int64, shape (n,)
    new_day, new_key, before : int64, shape (m,)
        In the order of time within a group; ``before`` is the position of the first known row that comes after.
    days_back : int
    merged : int64, shape (n + m,)
        Output: positions of known rows, and of new ones plus ``n``, in order.
    merged_start : int64, shape (groups + 1,)
        Output: where each group begins in ``merged``.
    at : int64, shape (m,)
        Output: where each new row is in ``merged``.
    """
    rows = len(day)
    is_replaced = np.zeros(rows, dtype=np.bool_)
    count = 0
    for group in range(len(start) - 1):
        low, high = start[group], start[group + 1]
        for new in range(first[group], first[group + 1]):
            row = first_at_or_after(day, low, high, new_day[new])
            while row < high and day[row] == new_day[new]:
                is_replaced[row] |= key[row] == new_key[new]
                row += 1
        merged_start[group] = count
        row = first_at_or_after(day, low, high, new_day[first[group]] - days_back)
        for new in range(first[group], first[group + 1]):
            while row < before[new]:
                if not is_replaced[row]:
                    merged[count] = row
                    count += 1
                row += 1
            at[new] = count
            merged[count] = rows + new
            count += 1
    merged_start[len(start) - 1] = count


@compiled
def trailing_by_group(
    start: Ints,
    skip: Ints,
    time: Ints,
    value: Ints,
    windows: Ints,
    scale: float,
    out: Floats,
    count_at: Ints,
    mean_at: Ints,
) -> float:
    """Call ``kernels.trailing`` for each group; the first ``skip`` rows of each are only looked back at."""
    most, done = 0.0, 0
    for group in range(len(skip)):
        low, high = start[group], start[group + 1]
        wanted = high - low - skip[group]
        entity = np.zeros(high - low, dtype=np.int64)
        columns = out[:, done : done + wanted]
        summed = trailing(
            entity, time[low:high], value[low:high], windows, 1, skip[group], scale, columns, count_at, mean_at
        )
        most = max(most, summed)
        done += wanted
    return most


@compiled
def since_pair_by_group(start: Ints, skip: Ints, other: Ints, time: Ints, out: Ints) -> None:
    """Call ``kernels.since_pair`` for each group and the entities on the other side of its rows."""
    done = 0
    for group in range(len(skip)):
        low, high = start[group], start[group + 1]
        wanted = high - low - skip[group]
        size = 1
        while size <= 2 * wanted:
            size *= 2
        pairs = np.full((size, 3), -1, dtype=np.int64)
        entity = np.zeros(high - low, dtype=np.int64)
        since_pair(entity, other[low:high], time[low:high], skip[group], pairs, out[done : done + wanted])
        done += wanted


@compiled
def known_events_by_group(
    first: Ints,
    time: Ints,
    start: Ints,
    event_time: Ints,
    event_rank: Ints,
    windows: Ints,
    out: Floats,
    count_at: Ints,
    last: Ints,
) -> None:
    """Call ``kernels.known_events`` for the new rows of each group, from the first event that can still count."""
    longest = windows.max()
    for group in range(len(start) - 1):
        low, high = first[group], first[group + 1]
        begin = first_at_or_after(event_time, start[group], start[group + 1], time[low] - longest)
        end = first_at_or_after(event_time, begin, start[group + 1], time[high - 1])
        events = slice(begin, end)
        entity, event_entity = np.zeros(high - low, dtype=np.int64), np.zeros(end - begin, dtype=np.int64)
        known_events(
            entity,
            time[low:high],
            event_entity,
            event_time[events],
            event_rank[events],
            windows,
            1,
            out[:, low:high],
            count_at,
            last[low:high],
        )
