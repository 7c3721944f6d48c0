"""Compiled loops over the trees of a `Forest`: path lengths, and which features they come from."""

# numba ships no types.
# mypy: disallow-untyped-decorators=False

from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.detectors.forest import Forest

Rows = NDArray[np.float32]
BLOCK: Final = 512
"""Rows that go through a tree together: one slot of each fits into 1 kB."""


def path_lengths(rows: Rows, forest: Forest) -> Floats:
    """Sum of each row's path lengths over the trees, to the last bit that of scikit-learn.

    Parameters
    ----------
    rows : float32, shape (n, features), C order
        Finite.
    forest : Forest

    Returns
    -------
    float64, shape (n,)
        A row's sum depends neither on the other rows nor on their number.
    """
    totals = np.zeros(len(rows))
    whole = len(rows) - len(rows) % BLOCK
    if whole:
        add_by_block(rows[:whole], forest, totals[:whole])
    add_by_row(rows[whole:], forest, totals[whole:])
    return totals


@numba.njit(cache=True, nogil=True)
def add_by_row(rows: Rows, forest: Forest, totals: Floats) -> None:
    """Add to ``totals`` the path lengths of each row, walked from the root: best for few rows."""
    width = forest.length.shape[1]
    for row in range(len(rows)):
        for tree in range(len(forest.length)):
            inner = forest.first[tree + 1] - forest.first[tree]
            slot = width + inner - 1 if inner else 0
            while slot >= width:
                node = forest.first[tree] + slot - width
                above = rows[row, forest.feature[node]] > forest.threshold[node]
                slot = forest.right[node] if above else forest.left[node]
            totals[row] += forest.length[tree, slot]


@numba.njit(cache=True, nogil=True)
def add_by_block(rows: Rows, forest: Forest, totals: Floats) -> None:
    """Add to ``totals`` the path lengths of whole blocks of rows.

    A tree is read from its leaves to its root: at an inner node each row of the block takes
    over the leaf that its left or its right child has found. That visits every node instead of one a level, but
    each visit is a comparison of many rows in one instruction, without a jump. It suits the small trees
    of an Isolation Forest (a few dozen inner nodes), not those that are fitted on thousands of rows.

    Parameters
    ----------
    rows : float32, shape (n, features)
        ``n`` a multiple of ``BLOCK``.
    forest : Forest
    totals : float64, shape (n,)
        Changed in place.
    """
    width = forest.length.shape[1]
    leaf = np.empty((width + np.diff(forest.first).max(), BLOCK), dtype=np.uint16)
    for slot in range(width):
        leaf[slot] = slot
    columns = np.empty((rows.shape[1], BLOCK), dtype=np.float32)
    for start in range(0, len(rows), BLOCK):
        columns[:] = rows[start : start + BLOCK].T
        block = totals[start : start + BLOCK]
        for tree in range(len(forest.length)):
            slot = width
            for node in range(forest.first[tree], forest.first[tree + 1]):
                choose(
                    columns[forest.feature[node]],
                    forest.threshold[node],
                    leaf[forest.left[node]],
                    leaf[forest.right[node]],
                    leaf[slot],
                )
                slot += 1
            add_taken(forest.length[tree], leaf[slot - 1 if slot > width else 0], block)


@numba.njit(cache=True, nogil=True)
def choose(
    values: Rows, threshold: float, left: NDArray[np.uint16], right: NDArray[np.uint16], chosen: NDArray[np.uint16]
) -> None:
    """Take, for each row of a block, what the left or the right child has found."""
    for row in range(len(chosen)):
        # Both are read first, so that the compiler needs no jump.
        if_below, if_above = left[row], right[row]
        chosen[row] = if_above if values[row] > threshold else if_below


@numba.njit(cache=True, nogil=True)
def add_taken(length: Floats, leaf: NDArray[np.uint16], totals: Floats) -> None:
    """Add the path length of each row's leaf."""
    for row in range(len(totals)):
        totals[row] += length[leaf[row]]


@numba.njit(cache=True, nogil=True)
def path_credits(rows: Rows, forest: Forest) -> Floats:
    """By how much the splits on each feature shorten the expected path of each row.

    Parameters
    ----------
    rows : float32, shape (n, features)
    forest : Forest

    Returns
    -------
    float64, shape (n, features)
        Summed over the trees; positive is a shorter path than expected. A row's credits add up to
        the expected path lengths at the roots less its own path lengths.
    """
    credit = np.zeros((len(rows), rows.shape[1]))
    width = forest.length.shape[1]
    for row in range(len(rows)):
        for tree in range(len(forest.length)):
            node = forest.first[tree + 1] - 1
            slot = width if node >= forest.first[tree] else 0
            while slot >= width:
                feature = forest.feature[node]
                above = rows[row, feature] > forest.threshold[node]
                slot = forest.right[node] if above else forest.left[node]
                child = forest.first[tree] + slot - width
                after = forest.expected[child] if slot >= width else forest.length[tree, slot]
                credit[row, feature] += forest.expected[node] - after
                node = child
    return credit
