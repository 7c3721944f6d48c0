"""An Isolation Forest as flat arrays, which compiled loops read faster than scikit-learn's tree objects."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud_pipeline.core.detectors.base import Floats

Ints = NDArray[np.int64]
_LEAF = -1
"""What scikit-learn stores as the child of a leaf."""


class Forest(NamedTuple):
    """All trees, one after the other.

    Within a tree each node has a slot: its leaves 0, 1, ...; its inner nodes ``w``, ``w + 1``, ...,
    children before parents and the root last, ``w`` being the most leaves of any tree.

    Parameters
    ----------
    first : int64, shape (trees + 1,)
        Inner nodes of tree ``t`` are the entries ``first[t]`` to ``first[t + 1]`` of the arrays below.
    feature : int64, shape (inner nodes,)
    threshold : float32, shape (inner nodes,)
        A row goes right if its feature is above.
    left, right : int64, shape (inner nodes,)
        Slots of the children.
    expected : float64, shape (inner nodes,)
        Mean path length of the training rows below.
    length : float64, shape (trees, w)
        Path length of the rows in each leaf.
    total : float
        Number of trees times the average path length of a tree's sample; a sum of path lengths is divided by it.
    """

    first: Ints
    feature: Ints
    threshold: NDArray[np.float32]
    left: Ints
    right: Ints
    expected: Floats
    length: Floats
    total: float

    @property
    def roots(self) -> Floats:
        """Expected path length of each tree, shape (trees,)."""
        is_leaf = self.first[1:] == self.first[:-1]
        return np.where(is_leaf, self.length[:, 0], np.append(self.expected, np.nan)[self.first[1:] - 1])


def flatten(estimator: Any) -> Forest:  # noqa: ANN401 - scikit-learn ships no types
    """Copy a fitted ``sklearn.ensemble.IsolationForest``.

    Parameters
    ----------
    estimator : sklearn.ensemble.IsolationForest
        With all features in each tree, the default.

    Returns
    -------
    Forest
    """
    trees = [member.tree_ for member in estimator.estimators_]
    width = max(tree.n_leaves for tree in trees)
    length = np.zeros((len(trees), width))
    parts = []
    for position, tree in enumerate(trees):
        is_leaf = tree.children_left == _LEAF
        # scikit-learn numbers parents before their children.
        inner = np.flatnonzero(~is_leaf)[::-1]
        slot = np.empty(tree.node_count, dtype=np.int64)
        slot[is_leaf] = np.arange(tree.n_leaves)
        slot[inner] = width + np.arange(len(inner))
        # scikit-learn's sum in its order, for the same last bit; it counts the depth of the root as 1.
        lengths = tree.compute_node_depths() + average_path_length(tree.n_node_samples) - 1.0
        length[position, : tree.n_leaves] = lengths[is_leaf]
        left, right = tree.children_left[inner], tree.children_right[inner]
        expected = _expected(lengths, tree.n_node_samples, inner, left, right)
        parts.append((tree.feature[inner], round_down(tree.threshold[inner]), slot[left], slot[right], expected))
    feature, threshold, left_slot, right_slot, expected = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return Forest(
        first=np.concatenate([[0], np.cumsum([len(part[0]) for part in parts])]),
        feature=feature.astype(np.int64),
        threshold=threshold,
        left=left_slot,
        right=right_slot,
        expected=expected,
        length=length,
        total=float(len(trees) * average_path_length([estimator.max_samples_])[0]),
    )


def average_path_length(rows: Sequence[int] | Ints) -> Floats:
    """Average depth at which ``n`` rows are isolated, ``c(n)`` in equation 1 of Liu et al. (2012).

    Parameters
    ----------
    rows : int, shape (m,)

    Returns
    -------
    float64, shape (m,)
        0 for one row, 1 for two.
    """
    n = np.asarray(rows, dtype=np.float64)
    average = np.where(n == 2, 1.0, 0.0)
    many = n > 2
    average[many] = 2.0 * (np.log(n[many] - 1.0) + np.euler_gamma) - 2.0 * (n[many] - 1.0) / n[many]
    return average


def round_down(thresholds: Floats) -> NDArray[np.float32]:
    """Largest float32 not above each threshold.

    scikit-learn compares a float32 row with a float64 threshold. Exactly the same rows are at or
    below the rounded one, which takes half the space.
    """
    rounded = thresholds.astype(np.float32)
    down: NDArray[np.float32] = np.where(
        rounded.astype(np.float64) > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded
    )
    return down


def _expected(lengths: Floats, rows: Ints, inner: Ints, left: Ints, right: Ints) -> Floats:
    """Mean path length of the training rows below each inner node, children first."""
    mean = lengths.copy()
    for node, one, other in zip(inner.tolist(), left.tolist(), right.tolist(), strict=True):
        mean[node] = (rows[one] * mean[one] + rows[other] * mean[other]) / rows[node]
    return mean[inner]
