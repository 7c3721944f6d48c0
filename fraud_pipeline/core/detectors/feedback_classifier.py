"""Boosted trees that learn from confirmed labels: what looks like known frauds scores high.

Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD 2016. Contributions are
the exact Shapley values of trees: Lundberg et al., "From Local Explanations to Global
Understanding with Explainable AI for Trees", Nature Machine Intelligence 2, 2020.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import pandas as pd

from fraud_pipeline.core.detectors.base import Contributions, Floats, matrix, require_columns, setting
from fraud_pipeline.core.errors import TrainingError

MINIMUM_FRAUDS: Final = 10
"""With fewer known frauds trees learn those frauds by heart."""


@dataclass(frozen=True)
class FeedbackClassifier:
    """Fitted boosters and the columns they read.

    Parameters
    ----------
    columns : tuple of str
    estimator : tuple of xgboost.Booster
        Members that differ in their seed; their log-odds are averaged.
    """

    columns: tuple[str, ...]
    estimator: Any

    @classmethod
    def fit(
        cls,
        features: pd.DataFrame,
        columns: Sequence[str],
        is_fraud: np.ndarray,
        *,
        rounds: int = 300,
        max_depth: int = 5,
        learning_rate: float = 0.03,
        min_child_weight: float = 1.0,
        subsample: float = 0.5,
        colsample_bytree: float = 1.0,
        reg_lambda: float = 1.0,
        max_bin: int = 1024,
        members: int = 1,
        seed: int = 0,
        threads: int = 1,
    ) -> Self:
        """Fit on rows whose labels are known.

        Parameters
        ----------
        features : DataFrame, n rows
        columns : sequence of str
            Which features to use; scores of other detectors may be among them.
        is_fraud : bool, shape (n,)
            The matured label of each row.
        rounds : int
            Trees of each member.
        max_depth, learning_rate, min_child_weight, subsample, colsample_bytree, reg_lambda
            As XGBoost has them.
        max_bin : int
            Values that a column is cut into. Frauds hide in narrow ranges, such as amounts just above what a
            shop asks a PIN for, which XGBoost's own default of 256 blurs.
        members : int
            More members, less difference between two seeds; fitting, scoring and
            explaining take as many times as long.
        seed : int
        threads : int
            Only speed depends on it; busy cores make more threads slower, not faster.

        Returns
        -------
        FeedbackClassifier

        Raises
        ------
        TrainingError
            If a label is missing, or there are fewer than ``MINIMUM_FRAUDS`` frauds or no genuine row.
        """
        import xgboost

        rows, labels = matrix(features, columns), np.asarray(is_fraud)
        _require_labels(labels, len(rows))
        params = {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "max_depth": max_depth,
            "learning_rate": learning_rate,
            "min_child_weight": min_child_weight,
            "subsample": subsample,
            "colsample_bytree": colsample_bytree,
            "reg_lambda": reg_lambda,
            "max_bin": max_bin,
            "nthread": threads,
        }
        data = xgboost.QuantileDMatrix(rows, labels.astype(np.float32), nthread=threads, max_bin=max_bin)
        seeds = range(seed * members, (seed + 1) * members)
        return cls(tuple(columns), tuple(xgboost.train(params | {"seed": each}, data, rounds) for each in seeds))

    def score(self, features: pd.DataFrame) -> Floats:
        """Logistic function of :meth:`log_odds`, in [0, 1], shape (n,); HIGHER = MORE ANOMALOUS.

        No probability: nothing has calibrated it on days that were not trained on.
        """
        return _logistic(self.log_odds(features))

    def score_matrix(self, values: Floats) -> Floats:
        """Score rows that are a matrix of ``columns`` already; as :meth:`score`, to the last bit.

        Raises
        ------
        InvalidDataError
            If the matrix has another number of columns.
        """
        require_columns(values, self.columns)
        if not len(values):
            return np.empty(0)
        members = [booster.inplace_predict(values, predict_type="margin") for booster in self.estimator]
        return _logistic(np.mean(members, axis=0, dtype=np.float64))

    def use_threads(self, threads: int) -> None:
        """Score and explain with so many threads from now on: for a few rows one is faster than several."""
        for booster in self.estimator:
            booster.set_param({"nthread": threads})

    def log_odds(self, features: pd.DataFrame) -> Floats:
        """Sum of the trees' leaves, mean over the members, shape (n,); HIGHER = MORE ANOMALOUS."""
        rows = matrix(features, self.columns)
        if not len(rows):
            return np.empty(0)
        return self._mean_prediction(rows, output_margin=True)

    def contributions(self, features: pd.DataFrame) -> Contributions:
        """Split the log-odds of each row by feature into exact Shapley values.

        Returns
        -------
        Contributions
            In log-odds. ``base`` is the mean over the training rows; base and values add up
            to :meth:`log_odds` but for float32 rounding in the trees: 6e-6 was the most that
            400 rounds showed on log-odds of up to 12.
        """
        rows = matrix(features, self.columns)
        # Without rows, the base is still asked for.
        asked = rows if len(rows) else np.zeros((1, len(self.columns)))
        explained = self._mean_prediction(asked, pred_contribs=True)
        return Contributions(self.columns, explained[: len(rows), :-1], float(explained[0, -1]), "log-odds")

    def state(self) -> dict[str, Any]:
        """Everything but the boosters."""
        return {"columns": list(self.columns)}

    @classmethod
    def restore(cls, estimator: object, state: Mapping[str, Any]) -> Self:
        """Put a stored detector together again."""
        return cls(tuple(setting(state, "columns")), estimator)

    def _mean_prediction(self, rows: Floats, **how: bool) -> Floats:
        import xgboost

        data = xgboost.DMatrix(rows, nthread=1)
        mean: Floats = np.mean([booster.predict(data, **how) for booster in self.estimator], axis=0, dtype=np.float64)
        return mean


def _logistic(log_odds: Floats) -> Floats:
    # Bounded, because exp overflows beyond; the score is 0 or 1 to the last bit long before.
    scores: Floats = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0)))
    return scores


def _require_labels(is_fraud: np.ndarray, rows: int) -> None:
    if is_fraud.dtype != bool or is_fraud.shape != (rows,):
        raise TrainingError(
            f"the feedback classifier has {rows} rows and labels of type {is_fraud.dtype} and shape {is_fraud.shape}; "
            "give each row true or false and leave out rows without a known label."
        )
    frauds = int(is_fraud.sum())
    if frauds < MINIMUM_FRAUDS or frauds == rows:
        raise TrainingError(
            f"the feedback classifier has {frauds} known frauds and {rows - frauds} known genuine rows to be fitted "
            f"on and needs {MINIMUM_FRAUDS} and 1; choose a longer training window or bring in label files."
        )
