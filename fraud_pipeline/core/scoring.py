"""From features to scores: each detector, their ensemble, the anomaly score, its percentile and confidence.

What ``anomaly_score`` is made of is the model's scoring mode:

============ ==========================================================================================
``ensemble`` The weighted blend of the label-free detectors; all there is before labels arrive.
``feedback`` The score of the feedback classifier, which learnt from matured labels.
``stacked``  The same with the label-free detectors' scores among the classifier's inputs.
============ ==========================================================================================
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core import risk
from fraud_pipeline.core.calibration import Calibration
from fraud_pipeline.core.columns import FeatureColumns
from fraud_pipeline.core.detectors.base import Detector, Floats
from fraud_pipeline.core.detectors.ensemble import Ensemble, ScoreReference
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.schema import EVENT_KEYS, SCORE_COLUMNS

MODES: Final = ("ensemble", "feedback", "stacked")
FEEDBACK_CLASSIFIER: Final = "feedback_classifier"


@dataclass(frozen=True)
class ScoringModel:
    """All that scoring needs; what an alias in the model registry points at.

    Parameters
    ----------
    detectors : mapping of name to Detector
        The label-free detectors, and the feedback classifier unless the mode is ``ensemble``.
    ensemble : Ensemble
        References and weights of the label-free detectors.
    calibration : Calibration
    mode : {"ensemble", "feedback", "stacked"}
        What ``anomaly_score`` is made of.

    Raises
    ------
    ConfigurationError
        If the mode is not known, or needs a classifier that is not there.
    """

    detectors: Mapping[str, Detector]
    ensemble: Ensemble
    calibration: Calibration
    mode: str = "ensemble"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigurationError(f"scoring mode {self.mode!r} is not known; choose from {', '.join(MODES)}.")
        if self.mode != "ensemble" and FEEDBACK_CLASSIFIER not in self.detectors:
            raise ConfigurationError(f"scoring mode {self.mode} needs a feedback classifier; train a new model.")

    def anomaly_score(self, raw: Mapping[str, Floats]) -> Floats:
        """Make the anomaly score of the detectors' raw scores; in [0, 1], HIGHER = MORE ANOMALOUS."""
        return self.ensemble.blend(raw) if self.mode == "ensemble" else raw[FEEDBACK_CLASSIFIER]


def detector_scores(features: pd.DataFrame, detectors: Mapping[str, Detector]) -> dict[str, Floats]:
    """Raw score of every detector for every row; HIGHER = MORE ANOMALOUS.

    The feedback classifier comes last, since it may read the scores of the others.
    """
    raw = {name: detector.score(features) for name, detector in detectors.items() if name != FEEDBACK_CLASSIFIER}
    if FEEDBACK_CLASSIFIER in detectors:
        raw[FEEDBACK_CLASSIFIER] = detectors[FEEDBACK_CLASSIFIER].score(with_scores(features, raw))
    return raw


def with_scores(features: pd.DataFrame, raw: Mapping[str, Floats]) -> pd.DataFrame:
    """Add each raw score as a column ``<detector>_score``."""
    return features.assign(**{score_column(name): values for name, values in raw.items()})


def score_column(detector: str) -> str:
    """Name the column that holds a detector's raw score."""
    return f"{detector}_score"


def score(features: pd.DataFrame, model: ScoringModel) -> pd.DataFrame:
    """Score each transaction and assign its risk.

    Parameters
    ----------
    features : DataFrame
        ``EVENT_KEYS`` and ``FEATURE_COLUMNS``, n rows.
    model : ScoringModel

    Returns
    -------
    DataFrame
        ``SCORE_COLUMNS``, n rows in the order of ``features``. ``anomaly_score``,
        ``score_percentile`` (rank among the calibration window's scores) and
        ``confidence`` are in [0, 1]; no score is a probability of fraud. The classifier's score is
        missing where the model has none.
    """
    raw = detector_scores(features, model.detectors)
    anomaly_score = model.anomaly_score(raw)
    calibration = model.calibration
    scores = with_scores(features[[*EVENT_KEYS, "amount"]], {FEEDBACK_CLASSIFIER: np.full(len(features), np.nan)} | raw)
    scores["ensemble_score"] = model.ensemble.blend(raw)
    scores["anomaly_score"] = anomaly_score
    scores["score_percentile"] = calibration.reference.rank(anomaly_score)
    scores["confidence"] = confidence(anomaly_score, calibration.threshold, calibration.reference)
    known_frauds = features["user_known_frauds_30d"].to_numpy()
    assigned = risk.assign(scores, calibration.cutoffs, calibration.alert_amount_median, known_frauds)
    return assigned[list(SCORE_COLUMNS)]


def score_columns(columns: FeatureColumns, model: ScoringModel) -> dict[str, NDArray[Any]]:
    """Score rows that are arrays already: what :func:`score` gives of the same features, to the last bit.

    Parameters
    ----------
    columns : FeatureColumns
        Of n rows.
    model : ScoringModel

    Returns
    -------
    dict of column to array, shape (n,)
        The columns of `SCORE_COLUMNS` that are not of the transaction itself, each detector's score as
        :func:`score_column` names it; ``risk_level`` is a position in ``RISK_LEVELS``.
    """
    scores: dict[str, NDArray[Any]] = {score_column(FEEDBACK_CLASSIFIER): np.full(len(columns), np.nan)}
    raw: dict[str, Floats] = {}
    # The classifier last, as above.
    for name in sorted(model.detectors, key=FEEDBACK_CLASSIFIER.__eq__):
        detector = model.detectors[name]
        raw[name] = detector.score_matrix(columns.matrix(detector.columns, scores))
        scores[score_column(name)] = raw[name]
    anomaly_score, calibration = model.anomaly_score(raw), model.calibration
    level, priority = risk.decide(
        anomaly_score,
        columns["amount"],
        calibration.cutoffs,
        calibration.alert_amount_median,
        columns["user_known_frauds_30d"],
    )
    return scores | {
        "ensemble_score": model.ensemble.blend(raw),
        "anomaly_score": anomaly_score,
        "score_percentile": calibration.reference.rank(anomaly_score),
        "confidence": confidence(anomaly_score, calibration.threshold, calibration.reference),
        "risk_level": level,
        "priority": priority,
        "is_alert": level > 0,
    }


def confidence(anomaly_score: Floats, threshold: float, reference: ScoreReference) -> Floats:
    """How firmly a row stays on its side of the threshold if the reference were drawn again.

    ExCeeD: Perini, Vercruyssen and Davis, "Quantifying the Confidence of Anomaly
    Detectors in Their Example-Wise Predictions", ECML PKDD 2020. With ``n``
    reference scores of which ``a`` are alerts, a row outranks a random
    reference row with probability ``p = (1 + n r) / (2 + n)``, ``r`` its rank; it is among the
    ``a`` most anomalous with probability ``P(Binomial(n, p) > n - a)``. The confidence is
    that of the decision taken: this for an alert, its complement otherwise.

    Parameters
    ----------
    anomaly_score : float64, shape (n,)
        HIGHER = MORE ANOMALOUS.
    threshold : float
    reference : ScoreReference

    Returns
    -------
    float64, shape (n,)
        In [0, 1]; about 0.5 at the threshold.
    """
    from scipy.stats import binom

    n = len(reference.scores)
    alerts = int((reference.scores >= threshold).sum())
    outranks = (1.0 + n * reference.rank(anomaly_score)) / (2.0 + n)
    is_anomaly = binom.sf(n - alerts, n, outranks)
    decided: Floats = np.where(anomaly_score >= threshold, is_anomaly, 1.0 - is_anomaly)
    return decided
