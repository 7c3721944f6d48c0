"""From features to scores: each detector, their ensemble, its percentile and confidence."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fraud_pipeline.core import risk
from fraud_pipeline.core.calibration import Calibration
from fraud_pipeline.core.detectors.base import Detector, Floats
from fraud_pipeline.core.detectors.ensemble import Ensemble, ScoreReference
from fraud_pipeline.core.schema import EVENT_KEYS, SCORE_COLUMNS


@dataclass(frozen=True)
class ScoringModel:
    """All that scoring needs; what an alias in the model registry points at.

    Parameters
    ----------
    detectors : mapping of name to Detector
    ensemble : Ensemble
        References and weights of the same names.
    calibration : Calibration
    """

    detectors: Mapping[str, Detector]
    ensemble: Ensemble
    calibration: Calibration


def detector_scores(features: pd.DataFrame, detectors: Mapping[str, Detector]) -> dict[str, Floats]:
    """Raw score of every detector for every row; HIGHER = MORE ANOMALOUS."""
    return {name: detector.score(features) for name, detector in detectors.items()}


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
        ``confidence`` are in [0, 1]; no score is a probability of fraud.
    """
    raw = detector_scores(features, model.detectors)
    anomaly_score = model.ensemble.blend(raw)
    calibration = model.calibration
    scores = features[[*EVENT_KEYS, "amount"]].copy()
    for name, values in raw.items():
        scores[f"{name}_score"] = values
    scores["anomaly_score"] = anomaly_score
    scores["score_percentile"] = calibration.reference.rank(anomaly_score)
    scores["confidence"] = confidence(anomaly_score, calibration.threshold, calibration.reference)
    assigned = risk.assign(scores, calibration.cutoffs, calibration.alert_amount_median)
    return assigned[list(SCORE_COLUMNS)]


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
