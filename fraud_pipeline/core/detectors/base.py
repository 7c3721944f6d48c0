"""What every detector has in common: a name, its columns, and a score that rises with anomaly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core.errors import InvalidDataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contributions:
    """What each feature adds to the score of each row.

    Parameters
    ----------
    columns : tuple of str
    values : float64, shape (n, len(columns))
        Signed; positive pushes towards anomalous.
    base : float
        The score of a row that nothing is known of. ``base + values.sum(axis=1)`` is the additive score.
    unit : str
        What the additive score is measured in: ``"log2 score"`` or ``"log-odds"``.
    """

    columns: tuple[str, ...]
    values: Floats
    base: float
    unit: str


class Detector(Protocol):
    """A fitted anomaly detector.

    Its state is an estimator (stored in the safe format of the model store) and
    a JSON-able mapping of everything else.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """The feature columns it reads, in the order it was fitted on."""

    @property
    def estimator(self) -> Any:  # noqa: ANN401 - scikit-learn ships no types
        """The fitted scikit-learn estimator."""

    def score(self, features: pd.DataFrame) -> Floats:
        """Raw anomaly score of each row, shape (n,); HIGHER = MORE ANOMALOUS."""

    def score_matrix(self, values: Floats) -> Floats:
        """Score rows that are a matrix of ``columns`` already, shape (n,): for few rows a frame takes most of the time.

        Raises
        ------
        InvalidDataError
            If the matrix has another number of columns.
        """

    def state(self) -> dict[str, Any]:
        """Everything but the estimator, JSON-able."""


def matrix(features: pd.DataFrame, columns: Sequence[str]) -> Floats:
    """Select a detector's columns as a contiguous matrix.

    Parameters
    ----------
    features : DataFrame
        At least ``columns``, in any order.
    columns : sequence of str

    Returns
    -------
    float64, shape (n, len(columns))

    Raises
    ------
    InvalidDataError
        If a column is missing or holds a value that is not finite.
    """
    missing = [column for column in columns if column not in features.columns]
    if missing:
        raise InvalidDataError(
            f"the features lack {', '.join(missing)}, which the model was fitted on; "
            "re-build the features of these days or train a new model."
        )
    values = np.ascontiguousarray(features[list(columns)].to_numpy(dtype=np.float64))
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise InvalidDataError(
            f"feature {columns[column]} in row {row} is not finite; re-build the features of its day."
        )
    return values


def require_columns(values: Floats, columns: Sequence[str]) -> None:
    """Check the shape of a matrix that goes past :func:`matrix`.

    Raises
    ------
    InvalidDataError
        If it has another number of columns.
    """
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise InvalidDataError(
            f"the matrix has shape {values.shape}; its columns have to be the model's: {', '.join(columns)}."
        )


def signed_log(values: Floats) -> Floats:
    """``sign(x) log(1 + |x|)``, elementwise: tames heavy tails on both sides of zero."""
    logs: Floats = np.sign(values) * np.log1p(np.abs(values))
    return logs


def setting(state: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON values
    """Read one entry of a stored state; a missing one is a broken artefact.

    Raises
    ------
    InvalidDataError
        If the entry is not there.
    """
    if name not in state:
        raise InvalidDataError(
            f"the stored model has no {name!r}; it was written by another version: train a new model."
        )
    return state[name]
