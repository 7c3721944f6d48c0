"""Reasons: what adds to the score, in which order, in which words, and that it all adds up."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core.calibration import fit_threshold
from fraud_pipeline.core.detectors.base import Contributions, Detector
from fraud_pipeline.core.detectors.ensemble import Ensemble, ScoreReference
from fraud_pipeline.core.detectors.feedback_classifier import FeedbackClassifier
from fraud_pipeline.core.detectors.isolation_forest import IsolationForestDetector
from fraud_pipeline.core.detectors.local_outlier_factor import LocalOutlierFactorDetector
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.explanations import explain, explaining_detector, feature_reference, reasons, sentence
from fraud_pipeline.core.scoring import ScoringModel
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features, scored_window

UNIFORM = ScoreReference(np.arange(100.0))
"""A value of 97 lies above 97 % of these."""

CALIBRATION = fit_threshold(scored_window(), resamples=20)


def one_row(parts: dict[str, float], values: dict[str, float] | None = None) -> list[dict[str, object]]:
    """Reasons of one row of which each feature adds the given part to a base of -4."""
    rows = pd.DataFrame([{name: 1.0 for name in parts} | (values or {})])
    contributions = Contributions(tuple(parts), np.array([list(parts.values())]), -4.0, "log-odds")
    (row,) = reasons(rows, contributions, "feedback_classifier", {"amount": UNIFORM})
    return row


def test_the_five_largest_contributions_come_first_then_the_rest_and_the_base() -> None:
    row = one_row({"a": 0.5, "b": -0.25, "c": 3.0, "d": 0.0, "e": 1.0, "f": -2.0, "g": 0.125})
    assert [(entry["feature"], entry["contribution"]) for entry in row] == [
        ("c", 3.0), ("e", 1.0), ("a", 0.5), ("g", 0.125), ("d", 0.0), ("all_other_features", -2.25), ("base", -4.0),
    ]  # fmt: skip


def test_of_few_features_nothing_is_left_over() -> None:
    row = one_row({"a": -0.5, "b": 0.5})
    assert [(entry["feature"], entry["contribution"]) for entry in row] == [
        ("b", 0.5), ("a", -0.5), ("all_other_features", 0.0), ("base", -4.0),
    ]  # fmt: skip


def test_equal_contributions_keep_the_order_of_the_columns() -> None:
    assert [entry["feature"] for entry in one_row({"z": 1.0, "a": 1.0, "m": 1.0})][:3] == ["z", "a", "m"]


def test_an_entry_is_plain_data() -> None:
    row = one_row({"amount": 2.0, "merchant_known_frauds_7d": 1.0}, {"amount": 97.0})
    assert row[0] == {
        "feature": "amount",
        "value": 97.0,
        "percentile": 0.97,
        "contribution": 2.0,
        "unit": "log-odds",
        "detector": "feedback_classifier",
        "text": "amount 97.00",
    }
    # Of a feature without a reference nothing is said.
    assert row[1]["percentile"] is None
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_a_sentence_joins_what_pushes_the_score_up_once_a_topic() -> None:
    parts = {
        "user_amount_zscore_90d": 3.0, "user_amount_ratio_90d": 2.5, "merchant_known_frauds_7d": 2.0,
        "merchant_known_frauds_30d": 1.5, "is_night": -1.0,
    }  # fmt: skip
    row = one_row(parts, {"user_amount_zscore_90d": 6.0, "merchant_known_frauds_7d": 5.0})
    expected = "amount 6.0 standard deviations above the user's mean; merchant had 5 confirmed frauds in 7 days"
    assert sentence(row) == expected


def test_a_sentence_has_at_most_three_phrases() -> None:
    assert sentence(one_row({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0})) == "d is 1; c is 1; b is 1"


def test_a_row_that_no_feature_pushes_up_says_so() -> None:
    assert sentence(one_row({"a": -1.0, "b": 0.0})) == "no single feature stands out"


@given(st.lists(st.lists(st.floats(-50, 50), min_size=9, max_size=9), min_size=1, max_size=4), st.floats(-20, 20))
def test_the_entries_of_a_row_add_up_to_its_additive_score(parts: list[list[float]], base: float) -> None:
    columns = tuple("abcdefghi")
    values = np.array(parts)
    rows = pd.DataFrame(np.ones(values.shape), columns=list(columns))
    explained = reasons(rows, Contributions(columns, values, base, "log-odds"), "any", {})
    added = [sum(entry["contribution"] for entry in row) for row in explained]
    np.testing.assert_allclose(added, base + values.sum(axis=1), atol=1e-11)


def test_no_rows_have_no_reasons() -> None:
    contributions = Contributions(("amount",), np.empty((0, 1)), 0.0, "log-odds")
    assert reasons(pd.DataFrame({"amount": np.empty(0)}), contributions, "any", {}) == []


def test_rows_without_an_explained_feature_are_refused() -> None:
    with pytest.raises(InvalidDataError, match="the features lack amount"):
        reasons(pd.DataFrame({"other": [1.0]}), Contributions(("amount",), np.ones((1, 1)), 0.0, "log-odds"), "any", {})


TRAINING = random_features(400, outliers=40, seed=1)
FOREST = IsolationForestDetector.fit(TRAINING, DETECTOR_COLUMNS, trees=20)
CLASSIFIER = FeedbackClassifier.fit(TRAINING, DETECTOR_COLUMNS, np.arange(400) >= 360, rounds=20)
ENSEMBLE = Ensemble({"isolation_forest": UNIFORM}, {"isolation_forest": 1.0})


@pytest.mark.parametrize(
    ("mode", "detector", "unit"),
    [
        ("ensemble", "isolation_forest", "log2 score"),
        ("feedback", "feedback_classifier", "log-odds"),
        ("stacked", "feedback_classifier", "log-odds"),
    ],
)
def test_the_detector_that_decides_explains(mode: str, detector: str, unit: str) -> None:
    detectors: dict[str, Detector] = {"isolation_forest": FOREST, "feedback_classifier": CLASSIFIER}
    explained = explain(TRAINING, ScoringModel(detectors, ENSEMBLE, CALIBRATION, mode), {})
    assert explaining_detector(mode) == detector
    assert {(entry["detector"], entry["unit"]) for row in explained for entry in row[:-2]} == {(detector, unit)}
    assert len(explained) == len(TRAINING)


def test_the_reasons_of_the_forest_add_up_to_the_logarithm_of_its_score() -> None:
    explained = explain(TRAINING, ScoringModel({"isolation_forest": FOREST}, ENSEMBLE, CALIBRATION), {})
    added = [sum(entry["contribution"] for entry in row) for row in explained]
    np.testing.assert_allclose(added, np.log2(FOREST.score(TRAINING)), rtol=1e-9)


def test_the_reasons_of_the_classifier_add_up_to_its_log_odds() -> None:
    model = ScoringModel({"feedback_classifier": CLASSIFIER}, ENSEMBLE, CALIBRATION, "feedback")
    explained = explain(TRAINING, model, feature_reference(TRAINING, DETECTOR_COLUMNS))
    added = [sum(entry["contribution"] for entry in row) for row in explained]
    np.testing.assert_allclose(added, CLASSIFIER.log_odds(TRAINING), atol=1e-5)


def test_a_model_without_a_detector_that_explains_is_refused() -> None:
    mute = LocalOutlierFactorDetector.fit(TRAINING, DETECTOR_COLUMNS, neighbours=5)
    detectors = {"local_outlier_factor": mute, "isolation_forest": mute}
    with pytest.raises(InvalidDataError, match=r"scores in mode 'ensemble' but has no .* train a new model"):
        explain(TRAINING, ScoringModel(detectors, ENSEMBLE, CALIBRATION, "ensemble"), {})


def test_a_feature_reference_is_the_distribution_of_each_column() -> None:
    training = random_features(500, seed=1)
    references = feature_reference(training, DETECTOR_COLUMNS, size=50)
    assert tuple(references) == DETECTOR_COLUMNS
    for name, reference in references.items():
        assert len(reference.scores) == 50
        assert (reference.scores[0], reference.scores[-1]) == (training[name].min(), training[name].max())
        assert np.median(reference.scores) == pytest.approx(training[name].median(), abs=training[name].std() / 10)
