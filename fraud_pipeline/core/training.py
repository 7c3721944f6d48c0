"""One training cycle: detectors fitted on one window of days, mode and threshold chosen on a later one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from fraud_pipeline.core import calibration, explanations, label_free_threshold
from fraud_pipeline.core.calibration import Calibration
from fraud_pipeline.core.detectors.base import Detector, Floats
from fraud_pipeline.core.detectors.candidates import score_candidates
from fraud_pipeline.core.detectors.ensemble import NORMALISATIONS, Ensemble, ScoreReference
from fraud_pipeline.core.detectors.feedback_classifier import MINIMUM_FRAUDS, FeedbackClassifier
from fraud_pipeline.core.detectors.isolation_forest import IsolationForestDetector
from fraud_pipeline.core.detectors.local_outlier_factor import LocalOutlierFactorDetector
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.metrics import average_precisions
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.core.scoring import (
    FEEDBACK_CLASSIFIER,
    MODES,
    ScoringModel,
    detector_scores,
    score_column,
    with_scores,
)

LABEL_FREE: Final = ("isolation_forest", "local_outlier_factor")
AUTOMATIC: Final = "auto"

HELD_OUT_SHARE: Final = 0.2
"""Share of the training rows that no label-free detector sees, against which scores are ranked."""

REFERENCE_ROWS: Final = 20_000
"""At most so many rows make a reference: more would rank no better, and each costs a search for its neighbours."""

CANDIDATE_ROWS: Final = 20_000
"""Training rows that the candidates of the comparison are fitted on."""

OTHER_WEIGHTS: Final = (0.25, 0.5, 0.6, 0.75)
"""Weights of the Isolation Forest that are measured beside the configured one."""


@dataclass(frozen=True)
class TrainingConfig:
    """How models are trained and thresholds found.

    Parameters
    ----------
    detector_features, feedback_features : tuple of str
        Columns of the label-free detectors, and of the feedback classifier.
    isolation_forest, local_outlier_factor, feedback_classifier : mapping
        Keyword arguments of their ``fit``.
    genuine_reference : bool
        Whether the Local Outlier Factor compares with known-genuine rows only.
    weights, normalisation
        Of the :class:`~fraud_pipeline.core.detectors.ensemble.Ensemble`.
    scoring_mode : str
        One of ``scoring.MODES``, or ``auto``: what wins on the calibration window.
    threshold : mapping
        Keyword arguments of ``calibration.fit_threshold``.
    label_free : mapping
        Keyword arguments of ``label_free_threshold.fit_without_labels``.
    seed : int
    """

    detector_features: tuple[str, ...]
    feedback_features: tuple[str, ...] = FEATURE_COLUMNS
    isolation_forest: Mapping[str, Any] = field(default_factory=dict)
    local_outlier_factor: Mapping[str, Any] = field(default_factory=dict)
    feedback_classifier: Mapping[str, Any] = field(default_factory=dict)
    genuine_reference: bool = True
    weights: Mapping[str, float] = field(default_factory=lambda: {"isolation_forest": 0.6, "local_outlier_factor": 0.4})
    normalisation: str = "rank"
    scoring_mode: str = AUTOMATIC
    threshold: Mapping[str, Any] = field(default_factory=dict)
    label_free: Mapping[str, Any] = field(default_factory=lambda: {"max_alerts_per_day": 100})
    seed: int = 0

    def __post_init__(self) -> None:
        if self.scoring_mode not in (AUTOMATIC, *MODES):
            raise ConfigurationError(
                f"scoring mode {self.scoring_mode!r} is not known; choose from {', '.join((AUTOMATIC, *MODES))}."
            )

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes to train for; every model can fall back on the ensemble."""
        return MODES if self.scoring_mode == AUTOMATIC else tuple(dict.fromkeys(("ensemble", self.scoring_mode)))


@dataclass(frozen=True)
class FittedDetector:
    """A detector with the distributions it was trained on.

    Parameters
    ----------
    detector : Detector
    score_reference : ScoreReference
        Its scores of held-out training rows; of a sample of them for the classifier, whose score is not ranked.
    feature_references : mapping of column to ScoreReference
        Its input columns' training distributions.
    held_out : float64, shape (m,)
        The scores of held-out rows in the order of the rows, the same for every label-free detector; empty once stored.
    """

    detector: Detector
    score_reference: ScoreReference
    feature_references: Mapping[str, ScoreReference]
    held_out: Floats = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Choice:
    """What the calibration window decided.

    Parameters
    ----------
    calibration : Calibration
    mode : str
        The scoring mode that won.
    average_precisions : mapping of name to float
        On the window's labelled rows: every mode, each detector alone, the candidates, and the blend at other
        weights and normalisations (``ensemble_<normalisation>_<weight of the forest>``). Empty without a fraud.
    """

    calibration: Calibration
    mode: str
    average_precisions: Mapping[str, float]


def fit_label_free(name: str, rows: pd.DataFrame, config: TrainingConfig) -> FittedDetector:
    """Fit one of ``LABEL_FREE`` on the rows of the training window.

    Parameters
    ----------
    name : str
    rows : DataFrame
        Features and ``is_fraud`` (nullable boolean, missing where no label was known).
    config : TrainingConfig

    Returns
    -------
    FittedDetector
    """
    columns = config.detector_features
    shuffled = np.random.default_rng(config.seed).permutation(len(rows))
    held_out = min(max(1, int(len(rows) * HELD_OUT_SHARE)), REFERENCE_ROWS)
    is_held_out = np.isin(np.arange(len(rows)), shuffled[:held_out])
    fitted = rows[~is_held_out]
    detector: Detector
    if name == "isolation_forest":
        detector = IsolationForestDetector.fit(fitted, columns, **config.isolation_forest, seed=config.seed)
    else:
        genuine = (~fitted["is_fraud"].astype("boolean")).fillna(False).to_numpy(dtype=bool)
        # A cold start has no labels: then all rows serve.
        usable = config.genuine_reference and genuine.sum() > config.local_outlier_factor.get("neighbours", 0)
        detector = LocalOutlierFactorDetector.fit(
            fitted,
            columns,
            **config.local_outlier_factor,
            is_genuine=genuine if usable else None,
            seed=config.seed,
        )
    scores = detector.score(rows[is_held_out])
    return FittedDetector(
        detector, ScoreReference.of(scores), explanations.feature_reference(fitted, columns), held_out=scores
    )


def fit_feedback(
    rows: pd.DataFrame, label_free: Mapping[str, FittedDetector], config: TrainingConfig
) -> dict[str, FittedDetector]:
    """Fit the feedback classifier of each mode that needs one.

    Parameters
    ----------
    rows : DataFrame
        Features and ``is_fraud`` of the training window; rows without a label are left out.
    label_free : mapping of name to FittedDetector
        Whose scores the stacked classifier reads.
    config : TrainingConfig

    Returns
    -------
    dict of mode to FittedDetector
        Empty on a cold start: with fewer than ``MINIMUM_FRAUDS`` known frauds there is nothing to learn from.
    """
    labelled = rows[rows["is_fraud"].notna()]
    is_fraud = labelled["is_fraud"].to_numpy(dtype=bool)
    if is_fraud.sum() < MINIMUM_FRAUDS or is_fraud.all():
        return {}
    fitted = {}
    for mode in config.modes:
        if mode == "ensemble":
            continue
        columns, inputs = config.feedback_features, labelled
        if mode == "stacked":
            columns = (*columns, *(score_column(name) for name in label_free))
            inputs = with_scores(labelled, detector_scores(labelled, _detectors(label_free)))
        classifier = FeedbackClassifier.fit(inputs, columns, is_fraud, **config.feedback_classifier, seed=config.seed)
        sample = inputs.iloc[:: len(inputs) // REFERENCE_ROWS + 1]
        reference = ScoreReference.of(classifier.score(sample))
        fitted[mode] = FittedDetector(classifier, reference, explanations.feature_reference(sample, columns))
    return fitted


def score_all(
    features: pd.DataFrame,
    label_free: Mapping[str, FittedDetector],
    feedback: Mapping[str, FittedDetector],
    config: TrainingConfig,
) -> dict[str, Floats]:
    """Score each row by every label-free detector and in every mode that was trained.

    Returns
    -------
    dict of detector or mode to float64, shape (n,)
        HIGHER = MORE ANOMALOUS.
    """
    raw = detector_scores(features, _detectors(label_free))
    inputs = with_scores(features, raw)
    modes = {mode: part.detector.score(inputs) for mode, part in feedback.items()}
    return raw | {"ensemble": ensemble_of(label_free, config).blend(raw)} | modes


def choose(
    rows: pd.DataFrame,
    scores: Mapping[str, Floats],
    label_free: Mapping[str, FittedDetector],
    config: TrainingConfig,
    *,
    previous: Calibration | None = None,
    candidates_fitted_on: pd.DataFrame | None = None,
) -> Choice:
    """Choose scoring mode and threshold on the calibration window.

    Parameters
    ----------
    rows : DataFrame
        Features, ``day`` and ``is_fraud`` of the window. Unlabelled rows count only if no fraud is known.
    scores : mapping of detector or mode to float64, shape (n,)
        From :func:`score_all`.
    label_free : mapping
        From :func:`fit_label_free`.
    config : TrainingConfig
    previous : Calibration, optional
        The threshold in use, which the new one does not leave abruptly.
    candidates_fitted_on : DataFrame, optional
        Training rows; given, the cheap candidates and other blends are measured as well.

    Returns
    -------
    Choice
        Without a matured fraud: the ensemble, with a label-free threshold marked as such.
    """
    is_labelled = rows["is_fraud"].notna().to_numpy()
    is_fraud = rows.loc[is_labelled, "is_fraud"].to_numpy(dtype=bool)
    if not is_fraud.any():
        clean = ensemble_of(label_free, config).blend({name: part.held_out for name, part in label_free.items()})
        fitted = label_free_threshold.fit_without_labels(
            rows.assign(anomaly_score=scores["ensemble"]),
            **config.label_free,
            clean_scores=clean,
            previous=previous,
            seed=config.seed,
        )
        return Choice(fitted, "ensemble", {})
    labelled = rows[is_labelled].assign(is_fraud=is_fraud)
    measured = {name: values[is_labelled] for name, values in scores.items()}
    if candidates_fitted_on is not None:
        sample = candidates_fitted_on.sample(min(CANDIDATE_ROWS, len(candidates_fitted_on)), random_state=config.seed)
        measured |= _other_blends(measured, label_free) | score_candidates(sample, labelled, config.detector_features)
    precisions = average_precisions(is_fraud, measured)
    trained = [mode for mode in config.modes if mode in measured]
    # Of equals the first, which is the simpler. A forced mode that could not be trained falls to the ensemble.
    automatic = max(trained, key=precisions.__getitem__)
    mode = automatic if config.scoring_mode == AUTOMATIC else trained[-1]
    fitted = calibration.fit_threshold(
        labelled.assign(anomaly_score=measured[mode]), **config.threshold, previous=previous, seed=config.seed
    )
    return Choice(fitted, mode, precisions)


def assemble(
    label_free: Mapping[str, FittedDetector],
    feedback: Mapping[str, FittedDetector],
    choice: Choice,
    config: TrainingConfig,
) -> ScoringModel:
    """Put the model together that the choice stands for."""
    detectors = _detectors(label_free)
    if choice.mode != "ensemble":
        detectors[FEEDBACK_CLASSIFIER] = feedback[choice.mode].detector
    return ScoringModel(detectors, ensemble_of(label_free, config), choice.calibration, choice.mode)


def ensemble_of(label_free: Mapping[str, FittedDetector], config: TrainingConfig) -> Ensemble:
    """Blend the label-free detectors as configured."""
    return Ensemble(_references(label_free), config.weights, config.normalisation)


def _other_blends(raw: Mapping[str, Floats], label_free: Mapping[str, FittedDetector]) -> dict[str, Floats]:
    blends = {}
    for normalisation in NORMALISATIONS:
        for weight in OTHER_WEIGHTS:
            weights = {"isolation_forest": weight, "local_outlier_factor": 1.0 - weight}
            blend = Ensemble(_references(label_free), weights, normalisation).blend(raw)
            blends[f"ensemble_{normalisation}_{weight:.2f}"] = blend
    return blends


def _references(fitted: Mapping[str, FittedDetector]) -> dict[str, ScoreReference]:
    return {name: part.score_reference for name, part in fitted.items()}


def _detectors(fitted: Mapping[str, FittedDetector]) -> dict[str, Detector]:
    return {name: part.detector for name, part in fitted.items()}
