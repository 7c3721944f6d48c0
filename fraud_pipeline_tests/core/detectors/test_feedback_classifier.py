"""What the classifier learns, how it explains itself, and that only data, columns and seed decide the outcome."""

import json

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core.detectors.base import Contributions, Floats
from fraud_pipeline.core.detectors.feedback_classifier import MINIMUM_FRAUDS, FeedbackClassifier
from fraud_pipeline.core.errors import InvalidDataError, TrainingError
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features

TRAINING = random_features(1500, seed=1)
LOG_ODDS = 0.06 * TRAINING["amount"] + 1.5 * TRAINING["user_amount_zscore_90d"] - 4.0
IS_FRAUD = np.random.default_rng(0).random(1500) < 1 / (1 + np.exp(-LOG_ODDS.to_numpy()))
ROWS = random_features(300, seed=2)


def fit(
    features: pd.DataFrame = TRAINING, is_fraud: np.ndarray = IS_FRAUD, *, rounds: int = 40, **settings: int
) -> FeedbackClassifier:
    return FeedbackClassifier.fit(features, DETECTOR_COLUMNS, is_fraud, rounds=rounds, **settings)


def parts_of(contributions: Contributions) -> Floats:
    return contributions.values  # noqa: PD011 - the field, not that of a frame


@pytest.fixture(scope="module")
def classifier() -> FeedbackClassifier:
    return fit(members=2)


def test_what_looks_like_known_frauds_scores_higher(classifier: FeedbackClassifier) -> None:
    from sklearn.metrics import roc_auc_score

    truth = 0.06 * ROWS["amount"] + 1.5 * ROWS["user_amount_zscore_90d"] > 4.0
    scores = classifier.score(ROWS)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores.dtype == np.float64
    assert roc_auc_score(truth, scores) > 0.9


def test_a_score_is_the_logistic_function_of_the_log_odds(classifier: FeedbackClassifier) -> None:
    np.testing.assert_allclose(classifier.score(ROWS), 1 / (1 + np.exp(-classifier.log_odds(ROWS))), rtol=1e-15)


def test_scores_are_those_of_xgboost_itself() -> None:
    from xgboost import DMatrix

    classifier = fit()
    rows = DMatrix(ROWS[list(DETECTOR_COLUMNS)].to_numpy())
    np.testing.assert_allclose(classifier.score(ROWS), classifier.estimator[0].predict(rows), rtol=1e-5)


def test_base_and_contributions_add_up_to_the_log_odds(classifier: FeedbackClassifier) -> None:
    explained = classifier.contributions(ROWS)
    assert (explained.columns, explained.unit) == (DETECTOR_COLUMNS, "log-odds")
    assert parts_of(explained).shape == (len(ROWS), len(DETECTOR_COLUMNS))
    assert parts_of(explained).dtype == np.float64
    added = explained.base + parts_of(explained).sum(axis=1)
    np.testing.assert_allclose(added, classifier.log_odds(ROWS), rtol=0, atol=1e-5)


def test_contributions_are_the_shapley_values_of_the_model() -> None:
    """Against the definition: the mean over all orders, a feature that is not known being averaged over by cover."""
    from itertools import combinations
    from math import factorial

    classifier = fit(rounds=3)
    tree_frame = classifier.estimator[0].trees_to_dataframe()
    nodes = {row.ID: row for row in tree_frame.itertuples()}
    values = ROWS[list(DETECTOR_COLUMNS)].to_numpy().astype(np.float32)[0]

    def expected(node_id: str, known: tuple[int, ...]) -> float:
        node = nodes[node_id]
        if node.Feature == "Leaf":
            return float(node.Gain)
        column = int(node.Feature.removeprefix("f"))
        if column in known:
            return expected(node.Yes if values[column] < np.float32(node.Split) else node.No, known)
        yes, no = nodes[node.Yes].Cover, nodes[node.No].Cover
        return float((yes * expected(node.Yes, known) + no * expected(node.No, known)) / (yes + no))

    def worth(known: tuple[int, ...]) -> float:
        return sum(expected(f"{tree}-0", known) for tree in range(3))

    n = len(DETECTOR_COLUMNS)
    for column in range(n):
        others = [other for other in range(n) if other != column]
        shapley = sum(
            factorial(size) * factorial(n - size - 1) / factorial(n) * (worth((*known, column)) - worth(known))
            for size in range(n)
            for known in combinations(others, size)
        )
        assert parts_of(classifier.contributions(ROWS))[0, column] == pytest.approx(shapley, abs=1e-5)


def test_the_contribution_of_a_planted_feature_is_the_largest(classifier: FeedbackClassifier) -> None:
    row = TRAINING[list(DETECTOR_COLUMNS)].median().to_frame().T.assign(user_amount_zscore_90d=2.5)
    values = parts_of(classifier.contributions(row))[0]
    assert DETECTOR_COLUMNS[int(np.argmax(values))] == "user_amount_zscore_90d"
    assert values.max() > 0


def test_members_are_averaged_in_log_odds_and_in_contributions() -> None:
    # Members of seed 1 are those after the members of seed 0: no two seeds share one.
    pair, first, second = fit(seed=1, members=2), fit(seed=2), fit(seed=3)
    np.testing.assert_allclose(pair.log_odds(ROWS), (first.log_odds(ROWS) + second.log_odds(ROWS)) / 2, rtol=1e-12)
    parts = [each.contributions(ROWS) for each in (pair, first, second)]
    np.testing.assert_allclose(parts_of(parts[0]), (parts_of(parts[1]) + parts_of(parts[2])) / 2, atol=1e-12)
    assert parts[0].base == pytest.approx((parts[1].base + parts[2].base) / 2)


def raw(classifier: FeedbackClassifier) -> list[bytes]:
    return [bytes(booster.save_raw("ubj")) for booster in classifier.estimator]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(classifier: FeedbackClassifier) -> None:
    assert raw(fit(members=2)) == raw(classifier)
    assert raw(fit(members=2, seed=1)) != raw(classifier)


@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_not_a_bit(threads: int) -> None:
    assert raw(fit(rounds=10, threads=threads)) == raw(fit(rounds=10, threads=1))


def test_a_row_is_scored_and_explained_alike_in_any_order_and_batch(classifier: FeedbackClassifier) -> None:
    order = np.random.default_rng(0).permutation(len(ROWS))
    scores, parts = classifier.score(ROWS), classifier.contributions(ROWS)
    np.testing.assert_array_equal(classifier.score(ROWS.iloc[order]), scores[order])
    np.testing.assert_array_equal(parts_of(classifier.contributions(ROWS.iloc[order])), parts_of(parts)[order])
    for position in (0, 7):
        alone = classifier.contributions(ROWS.iloc[[position]])
        np.testing.assert_array_equal(parts_of(alone), parts_of(parts)[[position]])
        assert alone.base == parts.base
        assert classifier.score(ROWS.iloc[[position]])[0] == scores[position]


def test_the_order_of_columns_and_other_columns_do_not_matter(classifier: FeedbackClassifier) -> None:
    reordered = ROWS[list(reversed(ROWS.columns))].assign(unheard_of=np.nan)
    np.testing.assert_array_equal(classifier.score(reordered), classifier.score(ROWS))


def test_no_rows_have_no_scores_but_still_a_base(classifier: FeedbackClassifier) -> None:
    assert classifier.score(ROWS.iloc[:0]).shape == (0,)
    none = classifier.contributions(ROWS.iloc[:0])
    assert parts_of(none).shape == (0, len(DETECTOR_COLUMNS))
    assert none.base == classifier.contributions(ROWS).base


def test_scores_of_other_detectors_may_be_features() -> None:
    column = "isolation_forest_score"
    stacked = FeedbackClassifier.fit(
        TRAINING.assign(**{column: LOG_ODDS}), [*DETECTOR_COLUMNS, column], IS_FRAUD, rounds=10
    )
    assert stacked.columns[-1] == column
    high, low = stacked.score(ROWS.iloc[[0, 0]].assign(**{column: [9.0, -9.0]}))
    assert high > low


def test_the_frames_are_left_as_they_were(classifier: FeedbackClassifier) -> None:
    training, rows, labels = TRAINING.copy(deep=True), ROWS.copy(deep=True), IS_FRAUD.copy()
    fit(training, labels).score(rows)
    classifier.contributions(rows)
    pd.testing.assert_frame_equal(training, TRAINING)
    pd.testing.assert_frame_equal(rows, ROWS)
    np.testing.assert_array_equal(labels, IS_FRAUD)


def test_state_and_estimator_restore_the_scores_to_the_last_bit(classifier: FeedbackClassifier) -> None:
    restored = FeedbackClassifier.restore(classifier.estimator, json.loads(json.dumps(classifier.state())))
    assert restored.columns == DETECTOR_COLUMNS
    np.testing.assert_array_equal(restored.score(ROWS), classifier.score(ROWS))
    with pytest.raises(InvalidDataError, match="no 'columns'"):
        FeedbackClassifier.restore(classifier.estimator, {})


def test_missing_columns_and_values_are_named(classifier: FeedbackClassifier) -> None:
    with pytest.raises(InvalidDataError, match="the features lack amount"):
        classifier.contributions(ROWS.drop(columns="amount"))
    with pytest.raises(InvalidDataError, match="feature amount in row 0 is not finite"):
        classifier.score(ROWS.assign(amount=np.nan))


@pytest.mark.parametrize(("frauds", "genuine"), [(0, 300), (MINIMUM_FRAUDS - 1, 291), (300, 0), (0, 0)])
def test_too_few_labels_of_a_kind_are_refused_with_their_numbers(frauds: int, genuine: int) -> None:
    is_fraud = np.arange(frauds + genuine) < frauds
    message = f"has {frauds} known frauds and {genuine} known genuine rows .* needs 10 and 1; choose a longer training"
    with pytest.raises(TrainingError, match=message):
        fit(ROWS.iloc[: len(is_fraud)], is_fraud)


def test_the_fewest_frauds_allowed_are_enough() -> None:
    assert np.isfinite(fit(ROWS, np.arange(len(ROWS)) < MINIMUM_FRAUDS).score(ROWS)).all()


@pytest.mark.parametrize(
    "labels",
    [
        pd.array([True, None] * 150, dtype="boolean"),
        np.ones(len(ROWS)),
        np.ones(len(ROWS) - 1, dtype=bool),
    ],
    ids=["a label is missing", "numbers", "one too few"],
)
def test_rows_without_a_clear_label_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(TrainingError, match="give each row true or false and leave out rows without a known label"):
        fit(ROWS, labels)
