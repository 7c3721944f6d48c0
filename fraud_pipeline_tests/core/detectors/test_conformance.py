"""What every detector has to keep, whichever it is."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core.detectors.base import Detector, Floats, matrix, signed_log
from fraud_pipeline.core.detectors.isolation_forest import IsolationForestDetector
from fraud_pipeline.core.detectors.local_outlier_factor import LocalOutlierFactorDetector
from fraud_pipeline.core.errors import InvalidDataError, TrainingError
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features

TRAINING = random_features(600, seed=1)
PLANTED = 12
ROWS = random_features(300, outliers=PLANTED, seed=2)


@dataclass(frozen=True)
class Kind:
    """A detector, quick to fit, and the same method as PyOD has it."""

    fit: Callable[..., Detector]
    restore: Callable[[Any, Any], Detector]
    pyod_scores: Callable[[pd.DataFrame, pd.DataFrame], Floats]


def fit_forest(features: pd.DataFrame, seed: int = 0) -> IsolationForestDetector:
    return IsolationForestDetector.fit(features, DETECTOR_COLUMNS, trees=50, seed=seed)


def fit_reference(features: pd.DataFrame, seed: int = 0) -> LocalOutlierFactorDetector:
    return LocalOutlierFactorDetector.fit(features, DETECTOR_COLUMNS, neighbours=20, reference_rows=400, seed=seed)


def pyod_forest(training: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    from pyod.models.iforest import IForest

    model = IForest(n_estimators=50, max_samples=256, random_state=0).fit(matrix(training, DETECTOR_COLUMNS))
    # PyOD's zero is its own cut-off, which contamination moves: take that away again.
    scores: Floats = model.decision_function(matrix(rows, DETECTOR_COLUMNS)) - model.detector_.offset_
    return scores


def pyod_reference(training: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    from pyod.models.lof import LOF

    logs = signed_log(matrix(training, DETECTOR_COLUMNS))
    sample = logs[np.random.default_rng(0).permutation(len(logs))[:400]]
    center, scale = sample.mean(axis=0), logs.std(axis=0)
    model = LOF(n_neighbors=20, novelty=True).fit((sample - center) / scale)
    scores: Floats = model.decision_function((signed_log(matrix(rows, DETECTOR_COLUMNS)) - center) / scale)
    return scores


KINDS = {
    "isolation_forest": Kind(fit_forest, IsolationForestDetector.restore, pyod_forest),
    "local_outlier_factor": Kind(fit_reference, LocalOutlierFactorDetector.restore, pyod_reference),
}


@pytest.fixture(scope="module", params=list(KINDS.values()), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture(scope="module")
def detector(kind: Kind) -> Detector:
    return kind.fit(TRAINING)


def test_planted_outliers_have_the_highest_scores(detector: Detector) -> None:
    scores = detector.score(ROWS)
    assert set(np.argsort(scores)[-PLANTED:]) == set(range(len(ROWS) - PLANTED, len(ROWS)))


def test_an_ordinary_row_scores_below_one_further_and_further_out(detector: Detector) -> None:
    far = pd.concat([TRAINING[list(DETECTOR_COLUMNS)].median().to_frame().T * factor for factor in (1, 10, 100)])
    ordinary, odd, very_odd = detector.score(far)
    assert ordinary < odd <= very_odd


def test_scores_agree_with_pyod_trained_the_same_way(kind: Kind, detector: Detector) -> None:
    np.testing.assert_allclose(detector.score(ROWS), kind.pyod_scores(TRAINING, ROWS), rtol=1e-9)


def test_the_same_seed_gives_the_same_scores_and_another_seed_others(kind: Kind, detector: Detector) -> None:
    scores = detector.score(ROWS)
    np.testing.assert_array_equal(kind.fit(TRAINING, seed=0).score(ROWS), scores)
    assert (kind.fit(TRAINING, seed=1).score(ROWS) != scores).any()


def test_the_frames_are_left_as_they_were(kind: Kind) -> None:
    training, rows = TRAINING.copy(deep=True), ROWS.copy(deep=True)
    kind.fit(training).score(rows)
    pd.testing.assert_frame_equal(training, TRAINING)
    pd.testing.assert_frame_equal(rows, ROWS)


def test_a_rows_score_does_not_depend_on_the_order_of_rows(detector: Detector) -> None:
    order = np.random.default_rng(0).permutation(len(ROWS))
    np.testing.assert_allclose(detector.score(ROWS.iloc[order]), detector.score(ROWS)[order], rtol=1e-9)


@pytest.mark.parametrize("size", [1, 7, 299])
def test_a_rows_score_does_not_depend_on_the_size_of_its_batch(detector: Detector, size: int) -> None:
    batches = [detector.score(ROWS.iloc[first : first + size]) for first in range(0, 10, size)]
    scored = np.concatenate(batches)
    np.testing.assert_allclose(scored, detector.score(ROWS)[: len(scored)], rtol=1e-9)


def test_the_order_of_columns_and_other_columns_do_not_matter(detector: Detector) -> None:
    reordered = ROWS[list(reversed(ROWS.columns))].assign(unheard_of=np.nan)
    np.testing.assert_array_equal(detector.score(reordered), detector.score(ROWS))


def test_no_rows_have_no_scores(detector: Detector) -> None:
    assert detector.score(ROWS.iloc[:0]).shape == (0,)


def test_state_and_estimator_restore_the_scores_to_the_last_bit(kind: Kind, detector: Detector) -> None:
    restored = kind.restore(detector.estimator, json.loads(json.dumps(detector.state())))
    assert restored.columns == DETECTOR_COLUMNS
    np.testing.assert_array_equal(restored.score(ROWS), detector.score(ROWS))


def test_a_state_without_an_entry_is_refused(kind: Kind, detector: Detector) -> None:
    for name in detector.state():
        stored = {entry: value for entry, value in detector.state().items() if entry != name}
        with pytest.raises(InvalidDataError, match=f"the stored model has no '{name}'.*train a new model"):
            kind.restore(detector.estimator, stored)


def test_missing_columns_are_named(kind: Kind, detector: Detector) -> None:
    wrong = ROWS.rename(columns={"amount": "sum"})
    with pytest.raises(InvalidDataError, match="the features lack amount, which the model was fitted on"):
        detector.score(wrong)
    with pytest.raises(InvalidDataError, match="lack amount"):
        kind.fit(wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_by_feature_and_row(kind: Kind, detector: Detector, value: float) -> None:
    rows = ROWS.copy()
    rows.loc[7, "user_amount_zscore_90d"] = value
    with pytest.raises(InvalidDataError, match="feature user_amount_zscore_90d in row 7 is not finite"):
        detector.score(rows)
    with pytest.raises(InvalidDataError, match="in row 7 is not finite"):
        kind.fit(rows)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_to_fit_on_are_refused(kind: Kind, rows: int) -> None:
    with pytest.raises(TrainingError, match=f"has {rows} rows to be fitted on; choose a longer training window"):
        kind.fit(TRAINING.iloc[:rows])


def test_two_rows_are_enough_to_fit_on(kind: Kind) -> None:
    with warnings.catch_warnings():
        # More neighbours than there are other rows would make scikit-learn warn.
        warnings.simplefilter("error")
        assert np.isfinite(kind.fit(TRAINING.iloc[:2]).score(ROWS)).all()


def test_a_column_that_never_varies_is_no_obstacle(kind: Kind) -> None:
    scores = kind.fit(TRAINING.assign(amount=0.1)).score(ROWS.assign(amount=0.1))
    assert np.isfinite(scores).all()
    assert set(np.argsort(scores)[-PLANTED:]) == set(range(len(ROWS) - PLANTED, len(ROWS)))


def test_the_score_of_the_forest_is_that_of_the_paper() -> None:
    scores = fit_forest(TRAINING).score(ROWS)
    assert ((scores > 0) & (scores <= 1)).all()
    # "Much smaller than 0.5 is quite safe to be regarded as normal", close to 1 is anomalous.
    assert np.median(scores) < 0.5 < scores[-PLANTED:].min()


def test_the_local_outlier_factor_of_inliers_is_about_1() -> None:
    assert np.median(fit_reference(TRAINING).score(TRAINING)) == pytest.approx(1.0, abs=0.1)


def test_only_known_genuine_rows_enter_the_reference() -> None:
    # A cluster of frauds of one kind, dense enough to be its own neighbourhood.
    frauds = random_features(60, outliers=60, seed=3).assign(amount=3000.0, user_amount_zscore_90d=25.0)
    rows = pd.concat([TRAINING, frauds], ignore_index=True)
    is_genuine = np.arange(len(rows)) < len(TRAINING)
    fit = LocalOutlierFactorDetector.fit
    told = fit(rows, DETECTOR_COLUMNS, neighbours=20, is_genuine=is_genuine)
    untold = fit(rows, DETECTOR_COLUMNS, neighbours=20)
    assert told.estimator.n_samples_fit_ == len(TRAINING)
    assert np.median(told.score(frauds)) > 3 > np.median(untold.score(frauds))


def test_no_known_genuine_row_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"has 0 rows to be fitted on; .* bring in label files"):
        LocalOutlierFactorDetector.fit(TRAINING, DETECTOR_COLUMNS, is_genuine=np.zeros(len(TRAINING), dtype=bool))


def test_a_refund_and_a_payment_of_the_same_size_are_far_apart() -> None:
    np.testing.assert_allclose(signed_log(np.array([-99.0, 0.0, 99.0])), [-np.log(100), 0.0, np.log(100)])


def test_a_novel_value_in_a_column_that_never_varied_is_no_astronomic_distance() -> None:
    # The standard deviation of equal numbers is rounding noise, about 1e-17 here.
    training = TRAINING.assign(amount=0.1)
    scores = fit_reference(training).score(training.assign(amount=0.2))
    assert scores.max() < 100
