"""Compiled loops over rows sorted by entity and time.

pandas has no exact, point-in-time window over irregular times that is also
fast: these four loops are the whole of it. Every array is sorted as stated and
belongs to one day's computation; nothing here knows columns or files. Times
are microseconds since the epoch (int64), entities are small integers (int64).
"""

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@numba.njit(cache=True)
def count_earlier(entity: Ints, time: Ints, window: int) -> Ints:
    """Count, for each row, the earlier rows of its entity within a window.

    Parameters
    ----------
    entity, time : int64, shape (n,)
        Sorted by entity, then time, then tie-breaker: an equal time earlier in
        the order counts as earlier.
    window : int
        Microseconds; a row exactly ``window`` ago still counts.

    Returns
    -------
    int64, shape (n,)
    """
    counts = np.empty(len(entity), dtype=np.int64)
    first = 0
    for row in range(len(entity)):
        while entity[first] != entity[row] or time[first] < time[row] - window:
            first += 1
        counts[row] = row - first
    return counts


@numba.njit(cache=True)
def count_known(entity: Ints, time: Ints, event_entity: Ints, event_time: Ints, window: int) -> Ints:
    """Count, for each row, the events of its entity in ``[time - window, time)``.

    Parameters
    ----------
    entity, time : int64, shape (n,)
        Rows, sorted by entity, then time.
    event_entity, event_time : int64, shape (m,)
        Events, sorted by entity, then time. An event at the very time of a row is not counted.
    window : int
        Microseconds.

    Returns
    -------
    int64, shape (n,)
    """
    counts = np.empty(len(entity), dtype=np.int64)
    first = 0
    end = 0
    for row in range(len(entity)):
        while end < len(event_time) and (
            event_entity[end] < entity[row] or (event_entity[end] == entity[row] and event_time[end] < time[row])
        ):
            end += 1
        while first < end and (event_entity[first] != entity[row] or event_time[first] < time[row] - window):
            first += 1
        counts[row] = end - first
    return counts


@numba.njit(cache=True)
def running_moments(entity: Ints, value: Floats, n: Floats, mean: Floats, m2: Floats) -> tuple[Floats, Floats, Floats]:
    """Count, mean and squared deviations of each entity's values *before* each row.

    Welford's update (Technometrics 4(3), 1962): no difference of large sums, so
    nothing cancels for an entity with many or with nearly equal values.

    Parameters
    ----------
    entity : int64, shape (n,)
        Sorted; also the index into the three prior arrays.
    value : float64, shape (n,)
    n, mean, m2 : float64, shape (entities,)
        State of each entity before its first row.

    Returns
    -------
    tuple of float64, each of shape (n,)
        Count, mean and sum of squared deviations from the mean.
    """
    rows = len(entity)
    counts, means, deviations = np.empty(rows), np.empty(rows), np.empty(rows)
    state_n, state_mean, state_m2 = 0.0, 0.0, 0.0
    for row in range(rows):
        if row == 0 or entity[row] != entity[row - 1]:
            state_n, state_mean, state_m2 = n[entity[row]], mean[entity[row]], m2[entity[row]]
        counts[row], means[row], deviations[row] = state_n, state_mean, state_m2
        state_n += 1.0
        delta = value[row] - state_mean
        state_mean += delta / state_n
        state_m2 += delta * (value[row] - state_mean)
    return counts, means, deviations


@numba.njit(cache=True)
def merge_moments(entity: Ints, n: Floats, mean: Floats, m2: Floats, entities: int) -> tuple[Floats, Floats, Floats]:
    """Merge partial moments per entity, in row order.

    Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances" (1979).

    Parameters
    ----------
    entity : int64, shape (n,)
    n, mean, m2 : float64, shape (n,)
        Moments of each part.
    entities : int
        How many entities there are.

    Returns
    -------
    tuple of float64, each of shape (entities,)
    """
    total_n, total_mean, total_m2 = np.zeros(entities), np.zeros(entities), np.zeros(entities)
    for row in range(len(entity)):
        who = entity[row]
        merged = total_n[who] + n[row]
        if merged == 0.0:
            continue
        delta = mean[row] - total_mean[who]
        # The share first: merging one part alone then gives exactly that part.
        total_mean[who] += delta * (n[row] / merged)
        total_m2[who] += m2[row] + delta * delta * total_n[who] * n[row] / merged
        total_n[who] = merged
    return total_n, total_mean, total_m2
