"""Scores of a day: their columns, ranges, and how firm a decision is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core.calibration import fit_threshold
from fraud_pipeline.core.detectors.base import Detector
from fraud_pipeline.core.detectors.ensemble import Ensemble, ScoreReference
from fraud_pipeline.core.detectors.feedback_classifier import FeedbackClassifier
from fraud_pipeline.core.detectors.isolation_forest import IsolationForestDetector
from fraud_pipeline.core.detectors.local_outlier_factor import LocalOutlierFactorDetector
from fraud_pipeline.core.errors import ConfigurationError, InvalidDataError
from fraud_pipeline.core.schema import EVENT_KEYS, SCORE_COLUMNS
from fraud_pipeline.core.scoring import MODES, ScoringModel, confidence, detector_scores, score, with_scores
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features

SHARES = ["anomaly_score", "score_percentile", "confidence"]
ROWS = random_features(200, outliers=10, seed=4)


@pytest.fixture(scope="module")
def model() -> ScoringModel:
    training, held_out = random_features(600, seed=1), random_features(200, seed=2)
    calibrating = random_features(400, outliers=40, seed=3)
    detectors: dict[str, Detector] = {
        "isolation_forest": IsolationForestDetector.fit(training, DETECTOR_COLUMNS, trees=50),
        "local_outlier_factor": LocalOutlierFactorDetector.fit(training, DETECTOR_COLUMNS, neighbours=20),
    }
    raw = detector_scores(held_out, detectors)
    ensemble = Ensemble({name: ScoreReference.of(values) for name, values in raw.items()})
    scored = pd.DataFrame(
        {
            "day": [f"day {position % 10}" for position in range(400)],
            "anomaly_score": ensemble.blend(detector_scores(calibrating, detectors)),
            "amount": calibrating["amount"],
            "is_fraud": np.arange(400) >= 360,
        }
    )
    return ScoringModel(detectors, ensemble, fit_threshold(scored, resamples=20))


@pytest.fixture(scope="module")
def scores(model: ScoringModel) -> pd.DataFrame:
    return score(ROWS, model)


def test_scores_come_in_the_order_and_columns_of_the_contract(scores: pd.DataFrame) -> None:
    assert tuple(scores) == SCORE_COLUMNS
    keys = [*EVENT_KEYS, "amount"]
    pd.testing.assert_frame_equal(scores[keys], ROWS[keys])


def test_scores_are_shares_and_planted_outliers_are_alerts(scores: pd.DataFrame) -> None:
    assert scores[SHARES].min().min() >= 0
    assert scores[SHARES].max().max() <= 1
    assert scores["is_alert"].tolist()[-10:] == [True] * 10
    assert scores["anomaly_score"].nlargest(10).index.min() == 190


def test_each_score_is_that_of_its_part_of_the_model(model: ScoringModel, scores: pd.DataFrame) -> None:
    raw = detector_scores(ROWS, model.detectors)
    for name, values in raw.items():
        np.testing.assert_array_equal(scores[f"{name}_score"], values)
    np.testing.assert_array_equal(scores["anomaly_score"], model.ensemble.blend(raw))
    np.testing.assert_array_equal(
        scores["score_percentile"], model.calibration.reference.rank(scores["anomaly_score"].to_numpy())
    )
    np.testing.assert_array_equal(scores["is_alert"], scores["anomaly_score"] >= model.calibration.threshold)


def test_a_row_scores_alone_as_it_does_in_its_batch(model: ScoringModel, scores: pd.DataFrame) -> None:
    for position in (0, 57, 199):
        alone = score(ROWS.iloc[[position]], model)
        pd.testing.assert_frame_equal(alone, scores.iloc[[position]], rtol=1e-9)


def test_the_features_are_left_as_they_were(model: ScoringModel) -> None:
    rows = ROWS.copy(deep=True)
    score(rows, model)
    pd.testing.assert_frame_equal(rows, ROWS)


def test_a_day_without_transactions_has_no_scores_and_the_same_types(model: ScoringModel, scores: pd.DataFrame) -> None:
    empty = score(ROWS.iloc[:0], model)
    assert len(empty) == 0
    assert empty.dtypes.equals(scores.dtypes)


def test_features_without_a_column_of_the_model_are_refused(model: ScoringModel) -> None:
    with pytest.raises(InvalidDataError, match="the features lack merchant_fraud_rate_30d"):
        score(ROWS.drop(columns="merchant_fraud_rate_30d"), model)


def with_classifier(model: ScoringModel, mode: str) -> ScoringModel:
    """The model in another mode, with a classifier that has learnt from planted outliers."""
    training, columns = random_features(400, outliers=40, seed=5), [*DETECTOR_COLUMNS]
    if mode == "stacked":
        training = with_scores(training, detector_scores(training, model.detectors))
        columns += [f"{name}_score" for name in model.detectors]
    classifier = FeedbackClassifier.fit(training, columns, np.arange(400) >= 360, rounds=20)
    # First, so that an order of the mapping cannot give it the others' scores.
    detectors = {"feedback_classifier": classifier, **model.detectors}
    return replace(model, detectors=detectors, mode=mode)


@pytest.mark.parametrize("mode", ["feedback", "stacked"])
def test_with_a_classifier_the_anomaly_score_is_its_score_and_that_of_the_ensemble_stands_beside(
    model: ScoringModel, scores: pd.DataFrame, mode: str
) -> None:
    learnt = with_classifier(model, mode)
    scored = score(ROWS, learnt)
    raw = detector_scores(ROWS, model.detectors)
    expected = learnt.detectors["feedback_classifier"].score(with_scores(ROWS, raw))
    np.testing.assert_array_equal(scored["anomaly_score"], expected)
    np.testing.assert_array_equal(scored["feedback_classifier_score"], expected)
    np.testing.assert_array_equal(scored["ensemble_score"], scores["anomaly_score"])
    assert scored["anomaly_score"].tail(10).min() > scored["anomaly_score"].head(190).max()
    assert tuple(scored) == SCORE_COLUMNS
    assert scored.dtypes.equals(scores.dtypes)


def test_without_a_classifier_its_score_is_missing_and_the_ensemble_is_the_anomaly_score(scores: pd.DataFrame) -> None:
    assert scores["feedback_classifier_score"].isna().all()
    assert scores["feedback_classifier_score"].dtype == np.float64
    np.testing.assert_array_equal(scores["ensemble_score"], scores["anomaly_score"])


def test_a_classifier_beside_an_ensemble_is_shown_and_decides_nothing(model: ScoringModel) -> None:
    scored = score(ROWS, with_classifier(model, "ensemble"))
    assert scored["feedback_classifier_score"].notna().all()
    np.testing.assert_array_equal(scored["anomaly_score"], scored["ensemble_score"])


def test_an_unknown_scoring_mode_is_refused(model: ScoringModel) -> None:
    with pytest.raises(ConfigurationError, match=f"'auto' is not known; choose from {', '.join(MODES)}"):
        replace(model, mode="auto")


@pytest.mark.parametrize("mode", ["feedback", "stacked"])
def test_a_mode_whose_classifier_is_missing_is_refused(model: ScoringModel, mode: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{mode} needs a feedback classifier; train a new model"):
        replace(model, mode=mode)


def test_a_decision_at_the_threshold_is_a_toss_up_and_firm_away_from_it() -> None:
    reference = ScoreReference(np.linspace(0, 1, 1001))
    near = confidence(np.array([0.899, 0.9, 0.901]), 0.9, reference)
    assert near == pytest.approx(0.5, abs=0.1)
    far = confidence(np.array([0.0, 0.5, 0.8, 0.95, 1.0]), 0.9, reference)
    assert (far > 0.999).all()


def test_confidence_falls_towards_the_threshold_from_both_sides() -> None:
    reference = ScoreReference(np.sort(np.random.default_rng(0).random(500)))
    below = confidence(np.linspace(0, 0.899, 50), 0.9, reference)
    above = confidence(np.linspace(0.9, 1, 50), 0.9, reference)
    assert (np.diff(below) <= 1e-12).all()
    assert (np.diff(above) >= -1e-12).all()


def test_more_reference_scores_make_the_same_distance_firmer() -> None:
    few, many = (ScoreReference(np.linspace(0, 1, size)) for size in (51, 2001))
    score = np.array([0.85])
    assert confidence(score, 0.9, few) < confidence(score, 0.9, many)


def test_confidence_agrees_with_pyod() -> None:
    from pyod.models.lof import LOF

    rng = np.random.default_rng(0)
    known, new = rng.standard_normal((300, 3)), rng.standard_normal((200, 3)) * 1.5
    model = LOF(contamination=0.1).fit(known)
    # PyOD alerts above its threshold, we at it.
    threshold = float(np.nextafter(model.threshold_, np.inf))
    reference = ScoreReference.of(model.decision_scores_)
    assert (reference.scores >= threshold).sum() == 30
    found = confidence(model.decision_function(new), threshold, reference)
    np.testing.assert_allclose(found, model.predict_confidence(new), atol=1e-12)
