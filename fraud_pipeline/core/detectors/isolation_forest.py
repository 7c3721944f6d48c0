"""Isolation Forest: rows that few random splits isolate are anomalous.

Liu, Ting and Zhou, "Isolation-Based Anomaly Detection", ACM TKDD 6(1), 2012.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from fraud_pipeline.core.detectors.base import Floats, matrix, setting
from fraud_pipeline.core.errors import TrainingError


@dataclass(frozen=True)
class IsolationForestDetector:
    """A fitted forest and the columns it reads."""

    columns: tuple[str, ...]
    estimator: Any

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
            Rows each tree sees.
        seed : int

        Returns
        -------
        IsolationForestDetector

        Raises
        ------
        TrainingError
            If there are fewer than two rows.

        Notes
        -----
        ``contamination`` is left alone: it only moves scikit-learn's own cut-off,
        which is not used here, and setting it makes ``fit`` score every row.
        """
        from sklearn.ensemble import IsolationForest

        rows = matrix(features, columns)
        if len(rows) < 2:
            raise TrainingError(
                f"the isolation forest has {len(rows)} rows to be fitted on; choose a longer training window."
            )
        forest = IsolationForest(n_estimators=trees, max_samples=min(max_samples, len(rows)), random_state=seed)
        return cls(tuple(columns), forest.fit(rows))

    def score(self, features: pd.DataFrame) -> Floats:
        """Anomaly score ``2^(-E[path length] / c)`` in (0, 1], shape (n,); HIGHER = MORE ANOMALOUS."""
        rows = matrix(features, self.columns)
        if not len(rows):
            return np.empty(0)
        # scikit-learn's score_samples is the negative of the paper's score.
        scores: Floats = -self.estimator.score_samples(rows)
        return scores

    def state(self) -> dict[str, Any]:
        """Everything but the forest."""
        return {"columns": list(self.columns)}

    @classmethod
    def restore(cls, estimator: object, state: Mapping[str, Any]) -> Self:
        """Put a stored detector together again."""
        return cls(tuple(setting(state, "columns")), estimator)
