"""Compiled sweeps over rows in the order of time, with a small state for each entity.

pandas has no exact, point-in-time window over irregular times that is also
fast: these loops, and those of ``moments``, are the whole of it, and every path (a
rebuild of years, a night, one transaction) goes through them. Nothing here knows
columns or files.

Rows and events are visited once, oldest first, so a row cannot see a later one.
Times are microseconds since the epoch, entities are numbers from 0 (all int64);
a row or event of entity -1 is nobody's and left out.
"""

import numpy as np
from numpy.typing import NDArray

from fraud_pipeline.core.moments import compiled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LONG_AGO = -(2**62)


@compiled
def trailing(
    entity: Ints,
    time: Ints,
    value: Ints,
    windows: Ints,
    entities: int,
    skip: int,
    scale: float,
    out: Floats,
    count_at: Ints,
    mean_at: Ints,
) -> float:
    """Count and average, for each row, its entity's rows in ``[time - window, time]``.

    The count includes the row, the mean is over the earlier ones (0 without any).
    Sums are of integers: exact, and the same however many rows came and went before.

    Parameters
    ----------
    entity, time, value : int64, shape (n,)
    windows : int64, shape (w,)
        Microseconds; a row exactly ``window`` ago still counts.
    entities : int
        How many there are.
    skip : int
        So many rows at the beginning are only looked back at.
    scale : float
        By which means are divided.
    out : float64, shape (columns, n - skip)
        Output.
    count_at, mean_at : int64, shape (w,)
        Columns for the count and the mean of each window.

    Returns
    -------
    float
        The largest number of rows that was summed.
    """
    most = 0
    state = np.zeros((entities, len(windows), 2), dtype=np.int64)
    oldest = np.zeros(len(windows), dtype=np.int64)
    for row in range(len(entity)):
        who = entity[row]
        if who < 0:
            continue
        for window in range(len(windows) if row >= skip else 0):
            gone = oldest[window]
            while time[gone] < time[row] - windows[window]:
                if entity[gone] >= 0:
                    state[entity[gone], window, 0] -= 1
                    state[entity[gone], window, 1] -= value[gone]
                gone += 1
            oldest[window] = gone
            count = state[who, window, 0]
            most = max(most, count)
            out[count_at[window], row - skip] = count + 1
            out[mean_at[window], row - skip] = state[who, window, 1] / (max(count, 1) * scale)
        for window in range(len(windows)):
            state[who, window, 0] += 1
            state[who, window, 1] += value[row]
    return float(most)


@compiled
def known_events(
    entity: Ints,
    time: Ints,
    event_entity: Ints,
    event_time: Ints,
    event_rank: Ints,
    windows: Ints,
    entities: int,
    out: Floats,
    count_at: Ints,
    last: Ints,
) -> None:
    """Count, for each row, the events of its entity in ``[time - window, time)``.

    Parameters
    ----------
    entity, time : int64, shape (n,)
    event_entity, event_time, event_rank : int64, shape (m,)
        Ranks are 0, 1 and 2. An event at the very time of a row is not counted.
    windows : int64, shape (w,)
        Microseconds.
    entities : int
        How many there are.
    out : float64, shape (columns, n)
        Output.
    count_at : int64, shape (3, w)
        Columns for the count of events of rank 0, of rank 1 and 2, and of rank 2; a negative one is not wanted.
    last : int64, shape (n,)
        Output: time of the last event of rank 1 or 2, however long ago; far in the past where there is none.
    """
    state = np.zeros((entities, len(windows), 3), dtype=np.int32)
    latest = np.full(entities, _LONG_AGO)
    oldest = np.zeros(len(windows), dtype=np.int64)
    known = 0
    for row in range(len(entity)):
        while known < len(event_entity) and event_time[known] < time[row]:
            who, rank = event_entity[known], event_rank[known]
            if who >= 0:
                for window in range(len(windows)):
                    state[who, window, min(rank, 1)] += 1
                    state[who, window, 2] += rank == 2
                if rank > 0:
                    latest[who] = event_time[known]
            known += 1
        for window in range(len(windows)):
            gone = oldest[window]
            while gone < known and event_time[gone] < time[row] - windows[window]:
                who, rank = event_entity[gone], event_rank[gone]
                if who >= 0:
                    state[who, window, min(rank, 1)] -= 1
                    state[who, window, 2] -= rank == 2
                gone += 1
            oldest[window] = gone
            for count in range(3):
                if count_at[count, window] >= 0:
                    out[count_at[count, window], row] = state[entity[row], window, count]
        last[row] = latest[entity[row]]


@compiled
def _slot_of(left: int, right: int, pairs: Ints) -> int:
    """Find where a pair is, or the free slot where it belongs."""
    slot = (left * 2_654_435_761 + right * 2_246_822_519 >> 16) & (len(pairs) - 1)
    while pairs[slot, 0] >= 0 and (pairs[slot, 0] != left or pairs[slot, 1] != right):
        slot = (slot + 1) & (len(pairs) - 1)
    return slot


@compiled
def since_pair(left: Ints, right: Ints, time: Ints, skip: int, pairs: Ints, out: Ints) -> None:
    """Give each row the time since the previous row of the same pair of entities.

    Parameters
    ----------
    left, right, time : int64, shape (n,)
    skip : int
        So many rows at the beginning are only looked back at; all others are somebody's.
    pairs : int64, shape (a power of two above n - skip, 3)
        Working memory, filled with -1: an open-addressed table of the pairs and the time of each one's last row.
    out : int64, shape (n - skip,)
        Output: microseconds; far more than any for the first row of a pair.
    """
    # Only pairs that are asked for get a slot, so that a long look-back stays in a small table.
    for row in range(skip, len(left) if skip else 0):
        slot = _slot_of(left[row], right[row], pairs)
        pairs[slot, 0], pairs[slot, 1], pairs[slot, 2] = left[row], right[row], _LONG_AGO
    for row in range(len(left)):
        if left[row] < 0 or right[row] < 0:
            continue
        slot = _slot_of(left[row], right[row], pairs)
        is_known = pairs[slot, 0] >= 0
        if row >= skip:
            out[row - skip] = time[row] - (pairs[slot, 2] if is_known else _LONG_AGO)
            pairs[slot, 0], pairs[slot, 1] = left[row], right[row]
        if row >= skip or is_known:
            pairs[slot, 2] = time[row]


@compiled
def has_company(entity: Ints, time: Ints, subject: Ints, window: int) -> Bools:
    """Tell of each event whether its entity has one of another subject in ``[time - window, time]``.

    Parameters
    ----------
    entity, time, subject : int64, shape (m,)
        Sorted by entity, then time.
    window : int
        Microseconds.

    Returns
    -------
    bool, shape (m,)
    """
    found = np.zeros(len(entity), dtype=np.bool_)
    opened, closed = 0, 0
    for event in range(len(entity)):
        while entity[opened] != entity[event] or time[opened] < time[event] - window:
            opened += 1
        closed = max(closed, event + 1)
        while closed < len(entity) and entity[closed] == entity[event] and time[closed] == time[event]:
            closed += 1
        for other in range(opened, closed):
            if subject[other] != subject[event]:
                found[event] = True
                break
    return found
