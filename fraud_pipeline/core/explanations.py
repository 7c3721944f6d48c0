"""Why a transaction stands out: what each feature adds to the score of the detector that decides."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from fraud_pipeline.core import phrases
from fraud_pipeline.core.detectors.base import Contributions, matrix
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.scoring import ScoringModel

MAX_FEATURES: Final = 5
MAX_PHRASES: Final = 3
ALL_OTHER_FEATURES: Final = "all_other_features"
BASE: Final = "base"


@runtime_checkable
class Explains(Protocol):
    """A detector that says what each feature adds to its score."""

    def contributions(self, features: pd.DataFrame) -> Contributions:
        """Split the score of each row by feature."""


def feature_reference(features: pd.DataFrame, columns: Sequence[str], *, size: int = 2000) -> dict[str, ScoreReference]:
    """Keep the distribution of each feature, for later comparison.

    Parameters
    ----------
    features : DataFrame
        Training rows.
    columns : sequence of str
    size : int
        Order statistics kept of each column.

    Returns
    -------
    dict of column to ScoreReference
    """
    values = matrix(features, columns)
    return {name: ScoreReference.of(values[:, position], size=size) for position, name in enumerate(columns)}


def explaining_detector(mode: str) -> str:
    """Name the detector whose contributions explain a model's alerts.

    The forest speaks for the ensemble, in which it has the larger weight and Local Outlier
    Factor has no additive parts; in the other modes the classifier decides alone.
    """
    return "isolation_forest" if mode == "ensemble" else "feedback_classifier"


def explain(
    rows: pd.DataFrame, model: ScoringModel, references: Mapping[str, ScoreReference]
) -> list[list[dict[str, Any]]]:
    """Explain the score of each row by the detector that decides in the model's mode.

    Parameters
    ----------
    rows : DataFrame
        Features of the rows, with the detectors' score columns in the mode ``stacked``.
    model : ScoringModel
    references : mapping of column to ScoreReference
        Training distribution of the features, as far as known.

    Returns
    -------
    list of list of dict
        As :func:`reasons` gives them.

    Raises
    ------
    InvalidDataError
        If the model has no such detector or the rows lack its columns.
    """
    name = explaining_detector(model.mode)
    detector = model.detectors.get(name)
    if not isinstance(detector, Explains):
        raise InvalidDataError(
            f"the model scores in mode {model.mode!r} but has no {name} to explain its alerts; train a new model."
        )
    return reasons(rows, detector.contributions(rows), name, references)


def reasons(
    rows: pd.DataFrame, contributions: Contributions, detector: str, references: Mapping[str, ScoreReference]
) -> list[list[dict[str, Any]]]:
    """Name, for each row, the features that push its score up most.

    Parameters
    ----------
    rows : DataFrame
        With the columns of ``contributions``, n rows.
    contributions : Contributions
        Of the same rows.
    detector : str
        Whose they are.
    references : mapping of column to ScoreReference
        Training distribution of the features, as far as known.

    Returns
    -------
    list of list of dict
        For each row at most ``MAX_FEATURES`` entries with ``feature``, ``value``,
        ``percentile`` (share of training rows below the value, None if not known), ``contribution``
        (signed, in ``unit``), ``detector`` and ``text``, the largest contribution first. Then
        ``all_other_features`` and ``base``, so that the contributions of all entries add up
        to the additive score of the row.
    """
    columns = contributions.columns
    values = matrix(rows, columns)
    parts = contributions.values  # noqa: PD011 - the field, not that of a frame
    order = np.argsort(-parts, axis=1, kind="stable")
    explained = []
    for row_values, row_parts, ranked in zip(values, parts, order, strict=True):
        entries: list[dict[str, Any]] = [
            {
                "feature": columns[position],
                "value": float(row_values[position]),
                "percentile": _percentile(references.get(columns[position]), row_values[position]),
                "contribution": float(row_parts[position]),
                "unit": contributions.unit,
                "detector": detector,
                "text": phrases.phrase(columns[position], float(row_values[position])),
            }
            for position in ranked[:MAX_FEATURES]
        ]
        others = float(row_parts[ranked[MAX_FEATURES:]].sum())
        entries.append({"feature": ALL_OTHER_FEATURES, "contribution": others})
        entries.append({"feature": BASE, "contribution": contributions.base})
        explained.append(entries)
    return explained


def sentence(row_reasons: Sequence[Mapping[str, Any]]) -> str:
    """Put one row's reasons into a plain sentence.

    Parameters
    ----------
    row_reasons : sequence of dict
        As :func:`reasons` gives them.

    Returns
    -------
    str
        The phrases of at most ``MAX_PHRASES`` features that push the score up, one a topic,
        joined by semicolons.
    """
    texts: dict[str, str] = {}
    for reason in row_reasons:
        if "text" in reason and reason["contribution"] > 0:
            texts.setdefault(phrases.topic(str(reason["feature"])), str(reason["text"]))
    return "; ".join(list(texts.values())[:MAX_PHRASES]) or "no single feature stands out"


def _percentile(reference: ScoreReference | None, value: float) -> float | None:
    if reference is None:
        return None
    return float(np.searchsorted(reference.scores, value, side="left") / len(reference.scores))
