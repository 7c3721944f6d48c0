"""Compiled search of the nearest neighbours of a row, and its local outlier factor."""

# numba ships no types.
# mypy: disallow-untyped-decorators=False

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from fraud_pipeline.core.detectors.base import Floats

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

SAMPLED: Final = 16
"""One reference row in so many tells where the k-th neighbour is likely to be."""

PART: Final = 512
"""Rows that a thread works on at a time."""

BLOCK: Final = 2048
"""Distances that are summed up together, 8 kB."""

EPSILON: Final = 2.0**-23
"""Twice the relative rounding error of float32, which leaves room for errors of a higher order."""

TINY: Final = 1e-10
"""scikit-learn's guard against a density of infinity."""


class Reference(NamedTuple):
    """The rows that new rows are compared with.

    Parameters
    ----------
    rows : float64, shape (m, d)
    columns : float32, shape (d, m)
        The same, rounded, column by column.
    reach : float64, shape (m,)
        Distance of each row to its k-th neighbour among the others.
    density : float64, shape (m,)
        Local reachability density of each row.
    farthest : float
        Largest Euclidean norm of a row.
    """

    rows: Floats
    columns: Singles
    reach: Floats
    density: Floats
    farthest: float


def local_outlier_factors(queries: Floats, reference: Reference, k: int) -> Floats:
    """Local outlier factor of each row by exact search, on all cores.

    Parameters
    ----------
    queries : float64, shape (n, d)
    reference : Reference
    k : int
        Neighbours, fewer than ``m``. Of equally distant ones the first are taken.

    Returns
    -------
    float64, shape (n,)
        A row's factor depends neither on the other rows nor on their number, to the last bit.
    """
    singles, factors = queries.astype(np.float32), np.empty(len(queries))
    parts = [slice(start, start + PART) for start in range(0, len(queries), PART)]

    def work(part: slice) -> None:
        fill_factors(queries[part], singles[part], reference, k, factors[part])

    if len(parts) <= 1:
        work(slice(None))
    else:
        with ThreadPoolExecutor() as threads:
            list(threads.map(work, parts))
    return factors


@numba.njit(cache=True, nogil=True)
def fill_factors(queries: Floats, singles: Singles, reference: Reference, k: int, factors: Floats) -> None:
    """Fill in the local outlier factor of each row.

    Rounded distances to all reference rows serve as a sieve: rows within a bound on the k-th of them
    are candidates. Only candidates are measured in float64, and the k nearest of these are the
    neighbours. Whether the bound was wide enough, rounding included, is checked; if it was not, every
    reference row becomes a candidate. So the sieve changes the time and never the result.

    Parameters
    ----------
    queries : float64, shape (n, d)
    singles : float32, shape (n, d)
        The same, rounded.
    reference : Reference
    k : int
    factors : float64, shape (n,)
        Changed in place.
    """
    m, d = reference.rows.shape
    rough, exact, candidates = np.empty(m, dtype=np.float32), np.empty(m), np.empty(m + 1, dtype=np.int64)
    relative = 1.0 + (d + 4) * EPSILON
    for row in range(len(queries)):
        query = queries[row]
        for start in range(0, m, BLOCK):
            add_squares(singles[row], reference.columns, start, rough[start : min(start + BLOCK, m)])
        # Rounding both rows moves their distance by at most this, summing up by the factor above.
        slack = 2.0 * EPSILON * (np.sqrt(np.sum(query * query)) + reference.farthest)
        likely = np.sqrt(likely_bound(rough, k))
        bound = np.float32((likely + 2.0 * slack) ** 2 * relative**2)
        found = collect(rough, bound, candidates)
        measure(query, reference.rows, candidates[:found], exact)
        kth = smallest(exact[:found], exact[:found].view(np.int64), k) if found >= k else np.inf
        if bound < (np.sqrt(kth) + slack) ** 2 * relative:
            found = collect(rough, np.float32(np.inf), candidates)
            measure(query, reference.rows, candidates[:found], exact)
            kth = smallest(exact[:found], exact[:found].view(np.int64), k)
        factors[row] = factor(exact[:found], candidates[:found], kth, reference.reach, reference.density, k)


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def add_squares(query: Singles, columns: Singles, start: int, squares: Singles) -> None:
    """Squared distances of a row to the reference rows from ``start`` on, two columns at a time."""
    end = start + len(squares)
    for row in range(len(squares)):
        squares[row] = 0.0
    for column in range(0, len(query) - 1, 2):
        first, second = columns[column, start:end], columns[column + 1, start:end]
        value, other = query[column], query[column + 1]
        for row in range(len(squares)):
            one, two = value - first[row], other - second[row]
            squares[row] += one * one + two * two
    if len(query) % 2:
        last, value = columns[len(query) - 1, start:end], query[len(query) - 1]
        for row in range(len(squares)):
            one = value - last[row]
            squares[row] += one * one


@numba.njit(cache=True, nogil=True)
def likely_bound(rough: Singles, k: int) -> Any:  # noqa: ANN401 - a float32
    """Read off the first sixteenth a distance that hardly ever falls short of the k-th smallest.

    Three standard deviations above the expected rank there. The reference is in random order; were it
    not, only the time would suffer.
    """
    expected = k / SAMPLED
    rank = int(expected + 3.0 * np.sqrt(expected)) + 1
    sample = rough[: len(rough) // SAMPLED]
    return smallest(sample, sample.view(np.int32), rank) if rank < len(sample) else np.float32(np.inf)


@numba.njit(cache=True, nogil=True)
def smallest(values: Floats | Singles, bits: Any, k: int) -> Any:  # noqa: ANN401 - of the type of the values
    """Find the k-th smallest of numbers that are not negative.

    Such numbers are ordered like the integers with the same bits, so the integers are bisected. That
    counts many numbers in one instruction, where heaps and pivots jump.

    Parameters
    ----------
    values : float, shape (n,)
    bits : int of the same size, shape (n,)
        A view of ``values``.
    k : int
        From 1 to n.
    """
    low, high = np.int64(-1), np.int64(0)
    for position in range(len(bits)):
        high = max(high, np.int64(bits[position]))
    middle = np.empty(1, dtype=bits.dtype)
    while high - low > 1:
        middle[0] = low + (high - low) // 2
        if count_up_to(bits, middle[0]) >= k:
            high = np.int64(middle[0])
        else:
            low = np.int64(middle[0])
    middle[0] = high
    return middle.view(values.dtype)[0]


@numba.njit(cache=True, nogil=True)
def count_up_to(values: Any, bound: Any) -> int:  # noqa: ANN401 - float32, int32 or int64
    """How many values are at or below a bound."""
    count = 0
    for position in range(len(values)):
        count += values[position] <= bound
    return count


@numba.njit(cache=True, nogil=True)
def collect(rough: Singles, bound: Any, candidates: Ints) -> int:  # noqa: ANN401 - a float32
    """List the positions of values at or below a bound, and count them."""
    found = 0
    for start in range(0, len(rough), 32):
        chunk = rough[start : start + 32]
        if count_up_to(chunk, bound):
            for position in range(len(chunk)):
                # Written in any case and kept only then: there is one place to spare, and no jump.
                candidates[found] = start + position
                found += chunk[position] <= bound
    return found


@numba.njit(cache=True, nogil=True)
def measure(query: Floats, rows: Floats, candidates: Ints, squares: Floats) -> None:
    """Squared distances of a row to the candidates."""
    for position in range(len(candidates)):
        total = 0.0
        for column in range(len(query)):
            difference = query[column] - rows[candidates[position], column]
            total += difference * difference
        squares[position] = total


@numba.njit(cache=True, nogil=True)
def factor(squares: Floats, candidates: Ints, kth: float, reach: Floats, density: Floats, k: int) -> float:
    """Mean density of the k nearest candidates over that of the row itself."""
    ties = k
    for position in range(len(squares)):
        ties -= squares[position] < kth
    reached, densities = 0.0, 0.0
    for position in range(len(squares)):
        if squares[position] > kth or (squares[position] == kth and ties == 0):
            continue
        ties -= squares[position] == kth
        reached += max(np.sqrt(squares[position]), reach[candidates[position]])
        densities += density[candidates[position]]
    return densities / k * (reached / k + TINY)
