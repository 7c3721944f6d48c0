"""Compiled sweeps over rows in the order of time, with a small state for each entity.

pandas has no exact, point-in-time window over irregular times that is also
fast: these loops are the whole of it, and every path (a rebuild of years, a
night, one transaction) goes through them. Nothing here knows columns or files.

Rows and events are visited once, oldest first, so a row cannot see a later one.
Times are microseconds since the epoch, days are counted since the epoch, entities
are numbers from 0 (all int64); a row or event of entity -1 is nobody's and left out.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Moments = tuple[float, float, float]

_LONG_AGO = -(2**62)


class Parts(NamedTuple):
    """Daily summaries: day, count, mean, squared deviations, times of the first and last row of each.

    ``order`` and ``start`` are from ``group``: those of each entity, oldest day first.
    """

    order: Ints
    start: Ints
    day: Ints
    n: Floats
    mean: Floats
    m2: Floats
    first: Ints
    last: Ints


@numba.njit(cache=True, error_model="numpy")
def add_value(n: float, mean: float, m2: float, value: float) -> Moments:
    """Take one value into count, mean and sum of squared deviations from the mean.

    Welford (Technometrics 4(3), 1962): no difference of large sums, so nothing
    cancels for an entity with many or with nearly equal values.
    """
    n += 1.0
    delta = value - mean
    mean += delta / n
    return n, mean, m2 + delta * (value - mean)


@numba.njit(cache=True, error_model="numpy")
def add_moments(n: float, mean: float, m2: float, more_n: float, more_mean: float, more_m2: float) -> Moments:
    """Merge count, mean and sum of squared deviations of two parts.

    Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances" (1979).
    """
    if n == 0.0:
        return more_n, more_mean, more_m2
    merged = n + more_n
    delta = more_mean - mean
    share = more_n / merged
    return merged, mean + delta * share, m2 + more_m2 + delta * delta * n * share


@numba.njit(cache=True, error_model="numpy")
def group(entity: Ints, entities: int) -> tuple[Ints, Ints]:
    """Gather rows by entity, keeping their order: a counting sort.

    Parameters
    ----------
    entity : int64, shape (n,)
    entities : int
        How many there are.

    Returns
    -------
    order : int64, shape (rows that are somebody's,)
        Positions of the rows of entity 0, then 1, ...
    start : int64, shape (entities + 1,)
        ``order[start[e]:start[e + 1]]`` are the rows of entity ``e``.
    """
    start = np.zeros(entities + 1, dtype=np.int64)
    for who in entity:
        if who >= 0:
            start[who + 1] += 1
    start = np.cumsum(start)
    free = start[:-1].copy()
    order = np.empty(start[-1], dtype=np.int64)
    for row in range(len(entity)):
        if entity[row] >= 0:
            order[free[entity[row]]] = row
            free[entity[row]] += 1
    return order, start


@numba.njit(cache=True, error_model="numpy")
def summarise(entity: Ints, value: Floats, entities: int) -> Floats:
    """Count, mean and squared deviations of each entity's values.

    Parameters
    ----------
    entity : int64, shape (n,)
    value : float64, shape (n,)
    entities : int
        How many there are.

    Returns
    -------
    float64, shape (entities, 3)
    """
    found = np.zeros((entities, 3))
    for row in range(len(entity)):
        who = entity[row]
        found[who, 0], found[who, 1], found[who, 2] = add_value(found[who, 0], found[who, 1], found[who, 2], value[row])
    return found


@numba.njit(cache=True, error_model="numpy")
def merge(entity: Ints, moments: Floats, entities: int) -> Floats:
    """Merge the parts of each entity, in their order.

    Parameters
    ----------
    entity : int64, shape (parts,)
    moments : float64, shape (parts, 3)
        Count, mean and squared deviations.
    entities : int
        How many there are.

    Returns
    -------
    float64, shape (entities, 3)
    """
    found = np.zeros((entities, 3))
    for part in range(len(entity)):
        who = entity[part]
        found[who, 0], found[who, 1], found[who, 2] = add_moments(
            found[who, 0], found[who, 1], found[who, 2], moments[part, 0], moments[part, 1], moments[part, 2]
        )
    return found


@numba.njit(cache=True, error_model="numpy")
def number_days(entity: Ints, day: Ints, entities: int, code: Ints, first: Ints, last: Ints) -> int:
    """Give numbers to the days of all entities on which they have rows, in the order of their first row.

    Parameters
    ----------
    entity, day : int64, shape (n,)
    entities : int
        How many there are.
    code : int64, shape (n,)
        Output: the number of the row's entity and day.
    first, last : int64, shape (n,)
        Output: the first and the last row of each number.

    Returns
    -------
    int
        How many numbers there are; the rest of ``first`` and ``last`` is undefined.
    """
    numbers = 0
    current = np.full(entities, -1)
    for row in range(len(entity)):
        number = current[entity[row]]
        if number < 0 or day[first[number]] != day[row]:
            number = numbers
            numbers += 1
            current[entity[row]] = number
            first[number] = row
        code[row] = number
        last[number] = row
    return numbers


@numba.njit(cache=True, error_model="numpy")
def merge_trailing(given: Parts, built: Parts, length: int, state: Floats, span: Ints) -> int:
    """Merge, for each built part, the parts of its entity of the ``length`` days before it, oldest first.

    Parameters
    ----------
    given, built : Parts
        Of the same entities; those given are all older than those built.
    length : int
        Days.
    state : float64, shape (built parts, 3)
        Output: count, mean and squared deviations of the days before.
    span : int64, shape (built parts, 2)
        Output: times of the first and last row of these days; undefined where the count is 0.

    Returns
    -------
    int
        A given part that repeats the day of another one of its entity, -1 if none does.
    """
    # The parts of one entity at a time lie together here, so that merging them again and again is fast.
    most = np.max(np.diff(given.start) + np.diff(built.start)) if len(given.start) > 1 else 0
    days, own, times = np.empty(most, dtype=np.int64), np.empty((most, 3)), np.empty((most, 2), dtype=np.int64)
    for who in range(len(given.start) - 1):
        if built.start[who] == built.start[who + 1]:
            continue
        known = 0
        for part in given.order[given.start[who] : given.start[who + 1]]:
            if known > 0 and days[known - 1] == given.day[part]:
                return part
            days[known], times[known, 0], times[known, 1] = given.day[part], given.first[part], given.last[part]
            own[known, 0], own[known, 1], own[known, 2] = given.n[part], given.mean[part], given.m2[part]
            known += 1
        mine = built.order[built.start[who] : built.start[who + 1]]
        for number, part in enumerate(mine, known):
            days[number], times[number, 0], times[number, 1] = built.day[part], built.first[part], built.last[part]
            own[number, 0], own[number, 1], own[number, 2] = built.n[part], built.mean[part], built.m2[part]
        opened = 0
        for number, part in enumerate(mine, known):
            while days[opened] < days[number] - length:
                opened += 1
            n, mean, m2 = 0.0, 0.0, 0.0
            for other in range(opened, number):
                n, mean, m2 = add_moments(n, mean, m2, own[other, 0], own[other, 1], own[other, 2])
            state[part, 0], state[part, 1], state[part, 2] = n, mean, m2
            if opened < number:
                span[part, 0], span[part, 1] = times[opened, 0], times[number - 1, 1]
    return -1


@numba.njit(cache=True, error_model="numpy")
def running(code: Ints, time: Ints, value: Floats, state: Floats, span: Ints, out: Floats) -> None:
    """Describe, for each row, the values before it, going on from a state.

    Parameters
    ----------
    code, time : int64, shape (n,)
    value : float64, shape (n,)
    state : float64, shape (codes, 3)
        Count, mean and squared deviations before a code's first row; is overwritten.
    span : int64, shape (codes, 2)
        Times of the first and last of those values; is overwritten.
    out : float64, shape (5, n)
        Output: count, mean and squared deviations of the values before the row,
        microseconds since the first and since the last of them (0 where there is none).
    """
    for row in range(len(code)):
        at = code[row]
        if state[at, 0] == 0.0:
            span[at, 0], span[at, 1] = time[row], time[row]
        for moment in range(3):
            out[moment, row] = state[at, moment]
        out[3, row], out[4, row] = time[row] - span[at, 0], time[row] - span[at, 1]
        state[at, 0], state[at, 1], state[at, 2] = add_value(state[at, 0], state[at, 1], state[at, 2], value[row])
        span[at, 1] = time[row]


@numba.njit(cache=True, error_model="numpy")
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


@numba.njit(cache=True, error_model="numpy")
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


@numba.njit(cache=True, error_model="numpy")
def _slot_of(left: int, right: int, pairs: Ints) -> int:
    """Find where a pair is, or the free slot where it belongs."""
    slot = (left * 2_654_435_761 + right * 2_246_822_519 >> 16) & (len(pairs) - 1)
    while pairs[slot, 0] >= 0 and (pairs[slot, 0] != left or pairs[slot, 1] != right):
        slot = (slot + 1) & (len(pairs) - 1)
    return slot


@numba.njit(cache=True, error_model="numpy")
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


@numba.njit(cache=True, error_model="numpy")
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
