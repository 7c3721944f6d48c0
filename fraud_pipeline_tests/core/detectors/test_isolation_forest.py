"""The flat forest scores as scikit-learn does to the last bit, and says which feature a score comes from."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core.detectors import forest_kernel
from fraud_pipeline.core.detectors.base import Contributions, Floats, matrix
from fraud_pipeline.core.detectors.forest import average_path_length, flatten, round_down
from fraud_pipeline.core.detectors.forest_kernel import BLOCK
from fraud_pipeline.core.detectors.isolation_forest import IsolationForestDetector
from fraud_pipeline.core.errors import ConfigurationError, InvalidDataError, TrainingError
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features

TRAINING = random_features(600, seed=1)
PLANTED = 12
ROWS = random_features(1100, outliers=PLANTED, seed=2)
VALUES = matrix(ROWS, DETECTOR_COLUMNS)


def fit(features: pd.DataFrame = TRAINING, **settings: int) -> IsolationForestDetector:
    return IsolationForestDetector.fit(features, DETECTOR_COLUMNS, **{"trees": 50} | settings)


def parts_of(contributions: Contributions) -> Floats:
    return contributions.values  # noqa: PD011 - the field, not that of a frame


def numbered(values: Floats) -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"x{column}" for column in range(values.shape[1])])


@pytest.fixture(scope="module")
def detector() -> IsolationForestDetector:
    return fit()


@dataclass(frozen=True)
class Recipe:
    """A forest on few or many, continuous or repeated values, and how many rows it is to score."""

    seed: int
    training_rows: int
    columns: int
    is_rounded: bool
    magnitude: int
    trees: int
    max_samples: int
    rows: int

    def grow(self) -> tuple[IsolationForestDetector, pd.DataFrame]:
        """Fit it, and draw rows from its training values, its very thresholds, and their next neighbours."""
        rng = np.random.default_rng(self.seed)
        training = rng.lognormal(size=(self.training_rows, self.columns))
        features = numbered((training.round() if self.is_rounded else training) * 10.0**self.magnitude)
        fitted = IsolationForestDetector.fit(
            features, features.columns.tolist(), trees=self.trees, max_samples=self.max_samples, seed=self.seed
        )
        inner = [member.tree_.threshold[member.tree_.feature >= 0] for member in fitted.estimator.estimators_]
        values = np.concatenate([*inner, features.to_numpy().ravel()])
        values = np.concatenate([values, np.nextafter(values, np.inf), np.nextafter(values, -np.inf)])
        return fitted, numbered(rng.choice(values, size=(self.rows, self.columns)))


recipes = st.builds(
    Recipe,
    seed=st.integers(0, 2**32 - 1),
    training_rows=st.integers(2, 300),
    columns=st.integers(1, 4),
    is_rounded=st.booleans(),
    magnitude=st.integers(-5, 5),
    trees=st.integers(1, 8),
    max_samples=st.integers(2, 64),
    rows=st.sampled_from([0, 1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3]),
)


@given(recipes)
def test_scores_are_those_of_scikit_learn_to_the_last_bit(recipe: Recipe) -> None:
    fitted, rows = recipe.grow()
    expected = -fitted.estimator.score_samples(rows.to_numpy()) if len(rows) else np.empty(0)
    np.testing.assert_array_equal(fitted.score(rows), expected)


@given(recipes)
def test_contributions_and_base_add_up_to_the_logarithm_of_the_score(recipe: Recipe) -> None:
    fitted, rows = recipe.grow()
    explained = fitted.contributions(rows)
    assert parts_of(explained).shape == rows.shape
    added = explained.base + parts_of(explained).sum(axis=1)
    np.testing.assert_allclose(added, np.log2(fitted.score(rows)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_trees_that_found_nothing_to_split_score_as_in_scikit_learn(value: float) -> None:
    same = TRAINING.assign(**dict.fromkeys(DETECTOR_COLUMNS, value))
    fitted = fit(same)
    np.testing.assert_array_equal(fitted.score(ROWS), -fitted.estimator.score_samples(VALUES))
    assert (parts_of(fitted.contributions(ROWS)) == 0).all()


def test_scores_agree_with_pyod_trained_the_same_way(detector: IsolationForestDetector) -> None:
    from pyod.models.iforest import IForest

    model = IForest(n_estimators=50, max_samples=256, random_state=0).fit(matrix(TRAINING, DETECTOR_COLUMNS))
    # PyOD's zero is its own cut-off, which contamination moves: take that away again.
    scores = model.decision_function(VALUES) - model.detector_.offset_
    np.testing.assert_allclose(detector.score(ROWS), scores, rtol=1e-9)


def test_the_score_is_that_of_the_paper(detector: IsolationForestDetector) -> None:
    scores = detector.score(ROWS)
    assert ((scores > 0) & (scores <= 1)).all()
    # "Much smaller than 0.5 is quite safe to be regarded as normal", close to 1 is anomalous.
    assert np.median(scores) < 0.5 < scores[-PLANTED:].min()


def test_a_matrix_scores_like_the_frame_it_comes_from(detector: IsolationForestDetector) -> None:
    np.testing.assert_array_equal(detector.score_matrix(VALUES), detector.score(ROWS))
    np.testing.assert_array_equal(detector.score_matrix(np.asfortranarray(VALUES)), detector.score(ROWS))


@pytest.mark.parametrize("values", [VALUES[:, :3], VALUES[0]])
def test_a_matrix_of_another_shape_is_refused(detector: IsolationForestDetector, values: Floats) -> None:
    with pytest.raises(InvalidDataError, match=r"has shape \(.*\); its columns have to be the model's: amount, user_"):
        detector.score_matrix(values)


def test_a_forest_of_another_number_of_columns_is_refused(detector: IsolationForestDetector) -> None:
    with pytest.raises(InvalidDataError, match="was fitted on 4 columns, 1 are named; train a new model"):
        IsolationForestDetector.restore(detector.estimator, {"columns": ["amount"]})


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_to_fit_on_are_refused(rows: int) -> None:
    with pytest.raises(TrainingError, match=f"has {rows} rows to be fitted on; choose a longer training window"):
        fit(TRAINING.iloc[:rows])


@pytest.mark.parametrize("max_samples", [1, 65_537])
def test_a_sample_that_no_tree_can_be_grown_from_is_refused(max_samples: int) -> None:
    with pytest.raises(ConfigurationError, match=f"max_samples is {max_samples}; choose a number from 2 to 65536"):
        fit(max_samples=max_samples)


def test_two_rows_are_enough_to_fit_on() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(fit(TRAINING.iloc[:2]).score(ROWS)).all()


def test_the_feature_that_makes_a_row_stand_out_contributes_most(detector: IsolationForestDetector) -> None:
    ordinary = TRAINING[list(DETECTOR_COLUMNS)].median().to_frame().T
    for position, column in enumerate(DETECTOR_COLUMNS):
        odd = parts_of(detector.contributions(ordinary.assign(**{column: TRAINING[column].max() * 50})))[0]
        assert odd.argmax() == position
        assert odd[position] > 0 > np.delete(odd, position).sum()


def test_a_feature_that_never_varied_contributes_nothing() -> None:
    explained = fit(TRAINING.assign(amount=0.1)).contributions(ROWS)
    assert (explained.columns, explained.unit) == (DETECTOR_COLUMNS, "log2 score")
    assert (parts_of(explained)[:, 0] == 0).all()
    assert (parts_of(explained)[:, 1:] != 0).any(axis=0).all()


def test_the_expected_path_length_of_a_tree_is_the_mean_over_its_training_rows(
    detector: IsolationForestDetector,
) -> None:
    roots = flatten(detector.estimator).roots
    for member, root in zip(detector.estimator.estimators_, roots, strict=True):
        tree = member.tree_
        leaf = tree.children_left < 0
        lengths = tree.compute_node_depths() - 1 + average_path_length(tree.n_node_samples)
        assert np.average(lengths[leaf], weights=tree.n_node_samples[leaf]) == pytest.approx(root, abs=1e-12)


def test_average_path_lengths_are_those_of_a_binary_search_that_fails() -> None:
    # Twice the harmonic number less a term; the paper approximates it by a logarithm.
    exact = [0, 0, 1] + [2 * sum(1 / i for i in range(1, n)) - 2 * (n - 1) / n for n in range(3, 300)]
    np.testing.assert_allclose(average_path_length(list(range(300)))[100:], exact[100:], rtol=2e-3)
    np.testing.assert_array_equal(average_path_length([0, 1, 2]), [0, 0, 1])


@given(st.floats(-(2.0**100), 2.0**100), st.floats(-(2.0**100), 2.0**100, width=32))
def test_a_rounded_threshold_parts_float32_numbers_like_the_threshold_itself(threshold: float, value: float) -> None:
    rounded = round_down(np.array([threshold]))
    for row in (value, np.float32(threshold), np.nextafter(np.float32(threshold), np.float32(np.inf))):
        single = np.float32(row)
        assert (single <= rounded[0]) == (float(single) <= threshold)


def test_the_plain_form_of_each_loop_does_what_the_compiled_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    few = IsolationForestDetector.fit(TRAINING, DETECTOR_COLUMNS, trees=2, max_samples=8)
    forest = flatten(few.estimator)
    rows = VALUES[: BLOCK + 3].astype(np.float32)
    compiled = forest_kernel.path_lengths(rows, forest)
    credit = forest_kernel.path_credits(rows[-5:], forest)
    for name in ("add_by_row", "add_by_block", "choose", "add_taken", "path_credits"):
        kernel: Any = getattr(forest_kernel, name)
        monkeypatch.setattr(forest_kernel, name, kernel.py_func)
    np.testing.assert_array_equal(forest_kernel.path_lengths(rows, forest), compiled)
    np.testing.assert_array_equal(forest_kernel.path_credits(rows[-5:], forest), credit)
