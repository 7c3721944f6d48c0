"""Compiled count, mean and squared deviations: of a day, merged over days, and before each row of a day.

Entities and days are numbers from 0 (int64), times are microseconds since the epoch; an entity of -1 is nobody.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Triple = tuple[float, float, float]

# Divisions by zero are avoided, not raised: that keeps the loops fast.
compiled = numba.njit(cache=True, error_model="numpy", nogil=True)


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


@compiled
def add_value(n: float, mean: float, m2: float, value: float) -> Triple:
    """Take one value into count, mean and sum of squared deviations from the mean.

    Welford (Technometrics 4(3), 1962): no difference of large sums, so nothing
    cancels for an entity with many or with nearly equal values.
    """
    n += 1.0
    delta = value - mean
    mean += delta / n
    return n, mean, m2 + delta * (value - mean)


@compiled
def add_moments(n: float, mean: float, m2: float, more_n: float, more_mean: float, more_m2: float) -> Triple:
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


@compiled
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


@compiled
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


@compiled
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


@compiled
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


@compiled
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
                return int(part)
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


@compiled
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
