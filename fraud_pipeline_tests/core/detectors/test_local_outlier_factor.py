"""The sieve finds the neighbours that a plain search finds, whatever the reference looks like."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core.detectors import neighbour_kernel
from fraud_pipeline.core.detectors.base import Floats, matrix, signed_log
from fraud_pipeline.core.detectors.local_outlier_factor import LocalOutlierFactorDetector
from fraud_pipeline.core.detectors.neighbour_kernel import Reference, local_outlier_factors
from fraud_pipeline.core.errors import InvalidDataError, TrainingError
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features

TRAINING = random_features(600, seed=1)
ROWS = random_features(700, outliers=12, seed=2)
KERNELS = ("fill_factors", "add_squares", "likely_bound", "smallest", "count_up_to", "collect", "measure", "factor")


def fit(features: pd.DataFrame = TRAINING, *, seed: int = 0) -> LocalOutlierFactorDetector:
    return LocalOutlierFactorDetector.fit(features, DETECTOR_COLUMNS, neighbours=20, reference_rows=400, seed=seed)


def scaled(detector: LocalOutlierFactorDetector, rows: pd.DataFrame) -> Floats:
    scaled_rows: Floats = (signed_log(matrix(rows, detector.columns)) - np.array(detector.center)) / np.array(
        detector.scale
    )
    return scaled_rows


def squared_distances(queries: Floats, rows: Floats) -> Floats:
    """Summed column by column: another order would round, and break ties, in another way."""
    squares = np.zeros((len(queries), len(rows)))
    for column in range(rows.shape[1]):
        squares += (queries[:, column, None] - rows[:, column]) ** 2
    return squares


def reference_of(rows: Floats, k: int) -> Reference:
    """Reach and density as the paper defines them."""
    squares = squared_distances(rows, rows)
    np.fill_diagonal(squares, np.inf)
    nearest = np.argsort(squares, axis=1, kind="stable")[:, :k]
    distances = np.sqrt(np.take_along_axis(squares, nearest, axis=1))
    reach = distances[:, -1]
    density = 1 / (np.maximum(distances, reach[nearest]).mean(axis=1) + 1e-10)
    singles = np.ascontiguousarray(rows.T, dtype=np.float32)
    return Reference(rows, singles, reach, density, float(np.sqrt((rows**2).sum(axis=1).max())))


def plain_factors(queries: Floats, reference: Reference, k: int) -> Floats:
    """All distances, sorted: of equal ones the first."""
    squares = squared_distances(queries, reference.rows)
    nearest = np.argsort(squares, axis=1, kind="stable")[:, :k]
    distances = np.sqrt(np.take_along_axis(squares, nearest, axis=1))
    reached = np.maximum(distances, reference.reach[nearest]).mean(axis=1)
    factors: Floats = reference.density[nearest].mean(axis=1) * (reached + 1e-10)
    return factors


@st.composite
def searches(draw: st.DrawFn) -> tuple[Floats, Floats, int]:
    """Rows and a reference that is scattered, full of ties and duplicates, far from zero, or in a bad order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns, m = draw(st.integers(1, 7)), draw(st.integers(10, 400))
    both = rng.standard_t(2, size=(m + 30, columns))
    shape = draw(st.sampled_from(["scattered", "tied", "far", "sorted", "one place"]))
    if shape == "tied":
        both = both.round()
    if shape == "far":
        # So far that float32 cannot tell most of the rows apart.
        both = both + 3e7
    if shape == "sorted":
        both = both[np.argsort(np.abs(both).sum(axis=1))]
    if shape == "one place":
        both[rng.random(len(both)) < 0.7] = 1.0
    queries = np.concatenate([both[:15], both[-15:]])
    return queries, np.ascontiguousarray(both[15:-15]), draw(st.integers(1, min(m - 1, 60)))


@given(searches())
def test_factors_are_those_of_a_plain_search(drawn: tuple[Floats, Floats, int]) -> None:
    queries, rows, k = drawn
    reference = reference_of(rows, k)
    factors = local_outlier_factors(queries, reference, k)
    np.testing.assert_allclose(factors, plain_factors(queries, reference, k), rtol=1e-12)


@pytest.mark.parametrize(("m", "k"), [(400, 20), (3000, 100)])
@pytest.mark.parametrize("columns", [1, 6, 7])
def test_scores_are_those_of_scikit_learn(m: int, k: int, columns: int) -> None:
    values = np.random.default_rng(columns).standard_t(3, size=(m + 600, columns))
    frame = pd.DataFrame(values, columns=[f"x{column}" for column in range(columns)])
    detector = LocalOutlierFactorDetector.fit(frame.iloc[:m], frame.columns.tolist(), neighbours=k)
    rows = frame.iloc[m:]
    expected = -detector.estimator.score_samples(scaled(detector, rows))
    np.testing.assert_allclose(detector.score(rows), expected, rtol=0, atol=1e-9)


@given(st.lists(st.floats(0, 2.0**100, width=32), min_size=1, max_size=40), st.data())
def test_the_kth_smallest_number_is_found_among_its_bits(values: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values)))
    singles, doubles = np.array(values, dtype=np.float32), np.array(values)
    assert neighbour_kernel.smallest(singles, singles.view(np.int32), k) == sorted(values)[k - 1]
    assert neighbour_kernel.smallest(doubles, doubles.view(np.int64), k) == sorted(values)[k - 1]


def test_the_plain_form_of_each_loop_does_what_the_compiled_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # In a bad order, so that the sieve is too fine for the first row and every reference row is measured.
    rows = np.sort(np.random.default_rng(0).standard_normal((100, 3)), axis=0)
    reference, queries = reference_of(rows, 5), rows[[99, 0, 50]] + 0.01
    compiled = local_outlier_factors(queries, reference, 5)
    for name in KERNELS:
        kernel: Any = getattr(neighbour_kernel, name)
        monkeypatch.setattr(neighbour_kernel, name, kernel.py_func)
    np.testing.assert_allclose(local_outlier_factors(queries, reference, 5), compiled, rtol=1e-14)
    np.testing.assert_allclose(compiled, plain_factors(queries, reference, 5), rtol=1e-12)


def test_scores_agree_with_pyod_trained_the_same_way() -> None:
    from pyod.models.lof import LOF

    logs = signed_log(matrix(TRAINING, DETECTOR_COLUMNS))
    sample = logs[np.random.default_rng(0).permutation(len(logs))[:400]]
    center, scale = sample.mean(axis=0), logs.std(axis=0)
    model = LOF(n_neighbors=20, novelty=True).fit((sample - center) / scale)
    expected = model.decision_function((signed_log(matrix(ROWS, DETECTOR_COLUMNS)) - center) / scale)
    np.testing.assert_allclose(fit().score(ROWS), expected, rtol=1e-9)


def test_the_local_outlier_factor_of_inliers_is_about_1() -> None:
    assert np.median(fit().score(TRAINING)) == pytest.approx(1.0, abs=0.1)


def test_only_known_genuine_rows_enter_the_reference() -> None:
    # A cluster of frauds of one kind, dense enough to be its own neighbourhood.
    frauds = random_features(60, outliers=60, seed=3).assign(amount=3000.0, user_amount_zscore_90d=25.0)
    rows = pd.concat([TRAINING, frauds], ignore_index=True)
    is_genuine = np.arange(len(rows)) < len(TRAINING)
    told = LocalOutlierFactorDetector.fit(rows, DETECTOR_COLUMNS, neighbours=20, is_genuine=is_genuine)
    untold = LocalOutlierFactorDetector.fit(rows, DETECTOR_COLUMNS, neighbours=20)
    assert told.estimator.n_samples_fit_ == len(TRAINING)
    assert np.median(told.score(frauds)) > 3 > np.median(untold.score(frauds))


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_to_fit_on_are_refused(rows: int) -> None:
    with pytest.raises(TrainingError, match=f"has {rows} rows to be fitted on; choose a longer training window"):
        fit(TRAINING.iloc[:rows])


def test_no_known_genuine_row_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"has 0 rows to be fitted on; .* bring in label files"):
        LocalOutlierFactorDetector.fit(TRAINING, DETECTOR_COLUMNS, is_genuine=np.zeros(len(TRAINING), dtype=bool))


def test_two_rows_are_enough_to_fit_on() -> None:
    with warnings.catch_warnings():
        # More neighbours than there are other rows would make scikit-learn warn.
        warnings.simplefilter("error")
        assert np.isfinite(fit(TRAINING.iloc[:2]).score(ROWS)).all()


def test_a_reference_of_another_number_of_columns_is_refused() -> None:
    state = fit().state()
    with pytest.raises(InvalidDataError, match="was fitted on 3, 4 columns, 4 are named; train a new model"):
        LocalOutlierFactorDetector.restore(fit().estimator, state | {"center": state["center"][:3]})


def test_a_refund_and_a_payment_of_the_same_size_are_far_apart() -> None:
    np.testing.assert_allclose(signed_log(np.array([-99.0, 0.0, 99.0])), [-np.log(100), 0.0, np.log(100)])


def test_a_novel_value_in_a_column_that_never_varied_is_no_astronomic_distance() -> None:
    # The standard deviation of equal numbers is rounding noise, about 1e-17 here.
    training = TRAINING.assign(amount=0.1)
    scores = fit(training).score(training.assign(amount=0.2))
    assert scores.max() < 100
