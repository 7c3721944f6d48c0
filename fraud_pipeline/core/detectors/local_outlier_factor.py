"""Local Outlier Factor: rows in a sparser place than their neighbours are anomalous.

Breunig, Kriegel, Ng and Sander, "LOF: Identifying Density-Based Local Outliers", SIGMOD 2000.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pandas as pd

from fraud_pipeline.core.detectors.base import Floats, matrix, require_columns, setting, signed_log
from fraud_pipeline.core.errors import ConfigurationError, InvalidDataError, TrainingError

if TYPE_CHECKING:
    from fraud_pipeline.core.detectors.neighbour_kernel import Reference

SCALINGS: Final = ("log", "standard")


@dataclass(frozen=True)
class LocalOutlierFactorDetector:
    """A fitted reference set, the columns it reads, and the scaling put before it.

    Distances need comparable columns: each is taken as a signed logarithm (unless ``scaling`` is
    ``standard``), centred and divided by its standard deviation over the fitted rows.

    Parameters
    ----------
    columns : tuple of str
    estimator : sklearn.neighbors.LocalOutlierFactor
        What is stored, with ``novelty=True``. New rows are scored by a faster search of the same neighbours.
    center, scale : tuple of float
        One a column.
    scaling : {"log", "standard"}

    Raises
    ------
    InvalidDataError
        If the estimator was fitted on another number of columns, or the scaling is of another number.
    """

    columns: tuple[str, ...]
    estimator: Any
    center: tuple[float, ...]
    scale: tuple[float, ...]
    scaling: str = "log"

    def __post_init__(self) -> None:
        if self.scaling not in SCALINGS:
            raise ConfigurationError(f"scaling {self.scaling!r} is not known; choose from {', '.join(SCALINGS)}.")
        fitted = {self.estimator.n_features_in_, len(self.center), len(self.scale)}
        if fitted != {len(self.columns)}:
            raise InvalidDataError(
                f"the local outlier factor was fitted on {', '.join(map(str, sorted(fitted)))} columns, "
                f"{len(self.columns)} are named; train a new model."
            )

    @classmethod
    def fit(
        cls,
        features: pd.DataFrame,
        columns: Sequence[str],
        *,
        neighbours: int = 100,
        reference_rows: int = 10_000,
        is_genuine: np.ndarray | None = None,
        scaling: str = "log",
        seed: int = 0,
    ) -> Self:
        """Fit on a random sample of the rows of ``features``.

        Parameters
        ----------
        features : DataFrame, n rows
        columns : sequence of str
            Which features to use.
        neighbours : int
            The paper's MinPts. A small value finds small dense clusters normal,
            and frauds come in such clusters.
        reference_rows : int
            Size of the sample that new rows are compared with.
        is_genuine : bool, shape (n,), optional
            Rows that are known to be genuine; when given, only they enter the
            reference, so that frauds have no neighbours of their own kind there.
        scaling : {"log", "standard"}
            Whether columns are taken as signed logarithms before they are standardised: amounts and
            counts have tails whose few values would otherwise make all other distances alike.
        seed : int

        Returns
        -------
        LocalOutlierFactorDetector

        Raises
        ------
        TrainingError
            If fewer than two rows can enter the reference.
        """
        from sklearn.neighbors import LocalOutlierFactor

        rows = _transform(matrix(features, columns), scaling)
        candidates = np.arange(len(rows)) if is_genuine is None else np.flatnonzero(is_genuine)
        sample = np.random.default_rng(seed).permutation(candidates)[:reference_rows]
        if len(sample) < 2:
            raise TrainingError(
                f"the local outlier factor has {len(sample)} rows to be fitted on; "
                "choose a longer training window or bring in label files."
            )
        spread = rows.std(axis=0)
        # The spread of a constant column is 0 or rounding noise, which nothing may be divided by.
        scale = np.where(spread > 1e-9, spread, 1.0)
        center = rows[sample].mean(axis=0)
        model = LocalOutlierFactor(n_neighbors=min(neighbours, len(sample) - 1), novelty=True, algorithm="brute")
        return cls(
            tuple(columns),
            model.fit((rows[sample] - center) / scale),
            tuple(center.tolist()),
            tuple(scale.tolist()),
            scaling,
        )

    def score(self, features: pd.DataFrame) -> Floats:
        """Local outlier factor, about 1 for an inlier, shape (n,); HIGHER = MORE ANOMALOUS.

        The negative of scikit-learn's ``score_samples`` but for rounding, and for equally distant
        reference rows, of which scikit-learn takes any.
        """
        return self.score_matrix(matrix(features, self.columns))

    def score_matrix(self, values: Floats) -> Floats:
        """Score rows that are a matrix of ``columns`` already; as :meth:`score`.

        Raises
        ------
        InvalidDataError
            If the matrix has another number of columns.
        """
        from fraud_pipeline.core.detectors.neighbour_kernel import local_outlier_factors

        require_columns(values, self.columns)
        rows = _transform(values, self.scaling)
        rows = (rows - np.array(self.center)) / np.array(self.scale)
        return local_outlier_factors(rows, self._reference, self.estimator.n_neighbors_)

    @cached_property
    def _reference(self) -> "Reference":
        from fraud_pipeline.core.detectors.neighbour_kernel import Reference

        # scikit-learn has no public name for what it found out about its fitted rows. The model store refuses
        # an estimator of another version, and a test compares with score_samples.
        rows = self.estimator._fit_X
        return Reference(
            rows=np.ascontiguousarray(rows),
            columns=np.ascontiguousarray(rows.T, dtype=np.float32),
            reach=self.estimator._distances_fit_X_[:, -1].copy(),
            density=np.ascontiguousarray(self.estimator._lrd),
            farthest=float(np.sqrt((rows**2).sum(axis=1).max())),
        )

    def state(self) -> dict[str, Any]:
        """Everything but the reference set."""
        return {
            "columns": list(self.columns),
            "center": list(self.center),
            "scale": list(self.scale),
            "scaling": self.scaling,
        }

    @classmethod
    def restore(cls, estimator: object, state: Mapping[str, Any]) -> Self:
        """Put a stored detector together again."""
        return cls(
            tuple(setting(state, "columns")),
            estimator,
            tuple(setting(state, "center")),
            tuple(setting(state, "scale")),
            setting(state, "scaling"),
        )


def _transform(values: Floats, scaling: str) -> Floats:
    return signed_log(values) if scaling == "log" else values
