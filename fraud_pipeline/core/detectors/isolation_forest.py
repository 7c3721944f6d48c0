"""Isolation Forest: rows that few random splits isolate are anomalous.

Liu, Ting and Zhou, "Isolation-Based Anomaly Detection", ACM TKDD 6(1), 2012.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core.detectors.base import Contributions, Floats, matrix, require_columns, setting
from fraud_pipeline.core.detectors.forest import Forest, flatten
from fraud_pipeline.core.errors import ConfigurationError, InvalidDataError, TrainingError

MAX_SAMPLES: Final = 2**16
"""Leaves of a tree are numbered with 16 bits."""


@dataclass(frozen=True)
class IsolationForestDetector:
    """A fitted forest and the columns it reads.

    Parameters
    ----------
    columns : tuple of str
    estimator : sklearn.ensemble.IsolationForest
        What is stored. Scores are read from a flat copy of it, several times as fast and equal to the last bit.

    Raises
    ------
    InvalidDataError
        If the forest was fitted on another number of columns.
    """

    columns: tuple[str, ...]
    estimator: Any

    def __post_init__(self) -> None:
        if self.estimator.n_features_in_ != len(self.columns):
            raise InvalidDataError(
                f"the isolation forest was fitted on {self.estimator.n_features_in_} columns, "
                f"{len(self.columns)} are named; train a new model."
            )

    @classmethod
    def fit(
        cls, features: pd.DataFrame, columns: Sequence[str], *, trees: int = 200, max_samples: int = 256, seed: int = 0
    ) -> Self:
        """Fit on the rows of ``features``.

        Parameters
        ----------
        features : DataFrame, n rows
        columns : sequence of str
            Which features to use.
        trees : int
            More trees, less difference between two seeds.
        max_samples : int
            Rows each tree sees, from 2 to 65,536. The paper's 256 is enough, and the time to score grows with it.
        seed : int

        Returns
        -------
        IsolationForestDetector

        Raises
        ------
        TrainingError
            If there are fewer than two rows.
        ConfigurationError
            If ``max_samples`` is out of its range.

        Notes
        -----
        ``contamination`` is left alone: it only moves scikit-learn's own cut-off,
        which is not used here, and setting it makes ``fit`` score every row.
        """
        from sklearn.ensemble import IsolationForest

        if not 2 <= max_samples <= MAX_SAMPLES:
            raise ConfigurationError(f"max_samples is {max_samples}; choose a number from 2 to {MAX_SAMPLES}.")
        rows = matrix(features, columns)
        if len(rows) < 2:
            raise TrainingError(
                f"the isolation forest has {len(rows)} rows to be fitted on; choose a longer training window."
            )
        forest = IsolationForest(n_estimators=trees, max_samples=min(max_samples, len(rows)), random_state=seed)
        return cls(tuple(columns), forest.fit(rows))

    def score(self, features: pd.DataFrame) -> Floats:
        """Anomaly score ``2^(-E[path length] / c)`` in (0, 1], shape (n,); HIGHER = MORE ANOMALOUS."""
        return self.score_matrix(matrix(features, self.columns))

    def score_matrix(self, values: Floats) -> Floats:
        """Score rows that are a matrix already: for one row, the way through a frame takes most of the time.

        Parameters
        ----------
        values : float64, shape (n, len(columns))
            Finite, in the order of ``columns``.

        Returns
        -------
        float64, shape (n,)
            As :meth:`score`. scikit-learn's ``score_samples`` is its negative.

        Raises
        ------
        InvalidDataError
            If the matrix has another number of columns.
        """
        from fraud_pipeline.core.detectors.forest_kernel import path_lengths

        require_columns(values, self.columns)
        scores: Floats = 2.0 ** -(path_lengths(_single(values), self._forest) / self._forest.total)
        return scores

    def contributions(self, features: pd.DataFrame) -> Contributions:
        """Say how much each feature adds to the logarithm of a row's score.

        The path attribution of Palczewska et al., "Interpreting random forest models using a feature
        contribution method", IEEE IRI 2013 (also Saabas, 2014), with the path length as the value of a tree. On
        the way from the root to its leaf a row passes nodes; each has an expected path length, the mean over
        the training rows below it. What a split takes off the expectation is credited to its feature.
        The sum is exact, unlike that of permutations, and, unlike a
        feature importance such as DIFFI (Carletti et al., 2023), it speaks of a single score.

        Parameters
        ----------
        features : DataFrame, n rows

        Returns
        -------
        Contributions
            ``base + values.sum(axis=1)`` is ``log2(score)``, minus the mean path length over ``c``.
            ``base`` is that of the expected path length at the roots.
        """
        from fraud_pipeline.core.detectors.forest_kernel import path_credits

        forest = self._forest
        credit = path_credits(_single(matrix(features, self.columns)), forest)
        return Contributions(
            self.columns, credit / forest.total, -float(forest.roots.sum()) / forest.total, "log2 score"
        )

    @cached_property
    def _forest(self) -> Forest:
        return flatten(self.estimator)

    def state(self) -> dict[str, Any]:
        """Everything but the forest."""
        return {"columns": list(self.columns)}

    @classmethod
    def restore(cls, estimator: object, state: Mapping[str, Any]) -> Self:
        """Put a stored detector together again."""
        return cls(tuple(setting(state, "columns")), estimator)


def _single(values: Floats) -> NDArray[np.float32]:
    """Round to float32, in which scikit-learn has fitted the trees and compares."""
    return values.astype(np.float32, order="C")
