"""What every detector has to keep, whichever it is: a new one is one entry in ``CASES``."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.adapters.detector_kinds import DETECTORS
from fraud_pipeline.core.detectors.base import Contributions, Detector, Floats
from fraud_pipeline.core.detectors.feedback_classifier import FeedbackClassifier
from fraud_pipeline.core.detectors.isolation_forest import IsolationForestDetector
from fraud_pipeline.core.detectors.local_outlier_factor import LocalOutlierFactorDetector
from fraud_pipeline.core.errors import InvalidDataError, TrainingError
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features

TRAINING = random_features(600, seed=1)
PLANTED = 12
# More than go through a forest together.
ROWS = random_features(1100, outliers=PLANTED, seed=2)
CONFIRMED = random_features(40, outliers=40, seed=3)
"""Frauds that a detector which learns from labels is told of beside the genuine rows."""


@runtime_checkable
class Explaining(Protocol):
    def contributions(self, features: pd.DataFrame) -> Contributions: ...


@dataclass(frozen=True)
class Case:
    """A detector under its name in the registry, and how to fit it quickly: ``fit(features, seed)``."""

    name: str
    fit: Callable[[pd.DataFrame, int], Detector]


def fit_forest(features: pd.DataFrame, seed: int) -> Detector:
    return IsolationForestDetector.fit(features, DETECTOR_COLUMNS, trees=50, seed=seed)


def fit_reference(features: pd.DataFrame, seed: int) -> Detector:
    return LocalOutlierFactorDetector.fit(features, DETECTOR_COLUMNS, neighbours=20, reference_rows=400, seed=seed)


def fit_classifier(features: pd.DataFrame, seed: int) -> Detector:
    # A column that never varies does not tell frauds apart either.
    constant = {str(name): features[name].iloc[0] for name in features if len(set(features[name])) == 1}
    confirmed = CONFIRMED.reindex(columns=features.columns).assign(**constant)
    rows = pd.concat([features, confirmed], ignore_index=True)
    is_fraud = np.arange(len(rows)) >= len(features)
    return FeedbackClassifier.fit(rows, DETECTOR_COLUMNS, is_fraud, rounds=30, seed=seed)


CASES = [
    Case("isolation_forest", fit_forest),
    Case("local_outlier_factor", fit_reference),
    Case("feedback_classifier", fit_classifier),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture(scope="module")
def detector(case: Case) -> Detector:
    return case.fit(TRAINING, 0)


def test_every_detector_that_can_be_stored_is_held_to_this() -> None:
    assert {case.name for case in CASES} == set(DETECTORS)


def test_planted_outliers_have_the_highest_scores(detector: Detector) -> None:
    scores = detector.score(ROWS)
    assert set(np.argsort(scores)[-PLANTED:]) == set(range(len(ROWS) - PLANTED, len(ROWS)))


def test_an_ordinary_row_scores_below_one_further_and_further_out(detector: Detector) -> None:
    far = pd.concat([TRAINING[list(DETECTOR_COLUMNS)].median().to_frame().T * factor for factor in (1, 10, 100)])
    ordinary, odd, very_odd = detector.score(far)
    assert ordinary < odd <= very_odd


def test_scores_are_finite_float64_one_a_row(detector: Detector) -> None:
    scores = detector.score(ROWS)
    assert scores.shape == (len(ROWS),)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


def test_the_same_seed_gives_the_same_scores_and_another_seed_others(case: Case, detector: Detector) -> None:
    scores = detector.score(ROWS)
    np.testing.assert_array_equal(case.fit(TRAINING, 0).score(ROWS), scores)
    assert (case.fit(TRAINING, 1).score(ROWS) != scores).any()


def test_the_frames_are_left_as_they_were(case: Case) -> None:
    training, rows = TRAINING.copy(deep=True), ROWS.copy(deep=True)
    detector = case.fit(training, 0)
    detector.score(rows)
    if isinstance(detector, Explaining):
        detector.contributions(rows)
    pd.testing.assert_frame_equal(training, TRAINING)
    pd.testing.assert_frame_equal(rows, ROWS)


def test_a_rows_score_does_not_depend_on_the_order_of_rows(detector: Detector) -> None:
    order = np.random.default_rng(0).permutation(len(ROWS))
    np.testing.assert_array_equal(detector.score(ROWS.iloc[order]), detector.score(ROWS)[order])


@pytest.mark.parametrize("size", [1, 7, 600])
def test_a_rows_score_does_not_depend_on_the_size_of_its_batch(detector: Detector, size: int) -> None:
    batches = [detector.score(ROWS.iloc[first : first + size]) for first in range(0, 10, size)]
    scored = np.concatenate(batches)
    np.testing.assert_array_equal(scored, detector.score(ROWS)[: len(scored)])


def test_the_order_of_columns_and_other_columns_do_not_matter(detector: Detector) -> None:
    reordered = ROWS[list(reversed(ROWS.columns))].assign(unheard_of=np.nan)
    np.testing.assert_array_equal(detector.score(reordered), detector.score(ROWS))


def test_no_rows_have_no_scores(detector: Detector) -> None:
    assert detector.score(ROWS.iloc[:0]).shape == (0,)


def test_a_stored_detector_scores_to_the_last_bit_as_before(case: Case, detector: Detector) -> None:
    kind = DETECTORS[case.name]
    stored = json.loads(json.dumps(detector.state()))
    restored = kind.detector.restore(kind.load(kind.dump(detector.estimator)), stored)
    assert restored.columns == DETECTOR_COLUMNS
    assert restored.state() == detector.state()
    np.testing.assert_array_equal(restored.score(ROWS), detector.score(ROWS))


def test_a_state_without_an_entry_is_refused(case: Case, detector: Detector) -> None:
    for name in detector.state():
        stored = {entry: value for entry, value in detector.state().items() if entry != name}
        with pytest.raises(InvalidDataError, match=f"the stored model has no '{name}'.*train a new model"):
            DETECTORS[case.name].detector.restore(detector.estimator, stored)


def test_missing_columns_are_named(case: Case, detector: Detector) -> None:
    wrong = ROWS.rename(columns={"amount": "sum"})
    with pytest.raises(InvalidDataError, match="the features lack amount, which the model was fitted on"):
        detector.score(wrong)
    with pytest.raises(InvalidDataError, match="lack amount"):
        case.fit(wrong, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_by_feature_and_row(case: Case, detector: Detector, value: float) -> None:
    rows = ROWS.copy()
    rows.loc[7, "user_amount_zscore_90d"] = value
    with pytest.raises(InvalidDataError, match="feature user_amount_zscore_90d in row 7 is not finite"):
        detector.score(rows)
    with pytest.raises(InvalidDataError, match="in row 7 is not finite"):
        case.fit(rows, 0)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_to_fit_on_are_refused_with_their_number(case: Case, rows: int) -> None:
    if case.name == "feedback_classifier" and rows:
        pytest.skip("one genuine row beside the frauds is enough for it")
    with pytest.raises(TrainingError, match=rf"\b{rows} .*rows to be fitted on.*choose a longer training window"):
        case.fit(TRAINING.iloc[:rows], 0)


def test_a_column_that_never_varies_is_no_obstacle(case: Case) -> None:
    scores = case.fit(TRAINING.assign(amount=0.1), 0).score(ROWS.assign(amount=0.1))
    assert np.isfinite(scores).all()
    assert set(np.argsort(scores)[-PLANTED:]) == set(range(len(ROWS) - PLANTED, len(ROWS)))


def log_odds(scores: Floats) -> Floats:
    odds: Floats = np.log(scores / (1 - scores))
    return odds


ADDITIVE: dict[str, tuple[Callable[[Floats], Floats], float]] = {
    "log2 score": (np.log2, 1e-9),
    "log-odds": (log_odds, 1e-5),
}
"""What is additive, and how exactly: the classifier's trees add up in float32."""


def test_contributions_where_offered_add_up_to_the_additive_score(detector: Detector) -> None:
    if not isinstance(detector, Explaining):
        pytest.skip("it does not offer contributions")
    explained = detector.contributions(ROWS)
    additive, tolerance = ADDITIVE[explained.unit]
    added = explained.base + explained.values.sum(axis=1)  # noqa: PD011 - the field, not that of a frame
    assert explained.columns == DETECTOR_COLUMNS
    np.testing.assert_allclose(added, additive(detector.score(ROWS)), rtol=0, atol=tolerance)
