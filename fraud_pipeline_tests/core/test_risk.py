"""Risk level, priority and alert rise with the score."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core.calibration import RiskCutoffs
from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.risk import assign
from fraud_pipeline.core.schema import RISK_LEVELS

CUTOFFS = RiskCutoffs(medium=0.5, high=0.7, critical=0.9)
LARGE = 100.0
BELOW_MEDIUM, BELOW_HIGH, BELOW_CRITICAL = 0.49999999999999994, 0.6999999999999999, 0.8999999999999999

scores = st.sampled_from((0.5, 0.7, 0.9)) | st.floats(0, 1)
cutoffs = st.lists(scores, min_size=3, max_size=3).map(sorted).map(lambda three: RiskCutoffs(*three))


def frame(anomaly_scores: list[float], amount: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame({"anomaly_score": anomaly_scores, "amount": amount}, index=range(10, 10 + len(anomaly_scores)))


@pytest.mark.parametrize(
    ("score", "level", "priority"),
    [
        (0.0, "LOW", 5),
        (BELOW_MEDIUM, "LOW", 5),
        (0.5, "MEDIUM", 4),
        (BELOW_HIGH, "MEDIUM", 4),
        (0.7, "HIGH", 3),
        (BELOW_CRITICAL, "HIGH", 3),
        (0.9, "CRITICAL", 2),
        (1.0, "CRITICAL", 2),
    ],
)
def test_a_level_begins_exactly_at_its_cutoff(score: float, level: str, priority: int) -> None:
    (row,) = assign(frame([score]), CUTOFFS, LARGE).to_dict("records")
    assert (row["risk_level"], row["priority"], row["is_alert"]) == (level, priority, level != "LOW")


@pytest.mark.parametrize("amount", [100.0, 5000.0, -100.0])
def test_a_large_amount_or_refund_lifts_every_alert_by_one(amount: float) -> None:
    assert assign(frame([0.1, 0.5, 0.7, 0.9], amount), CUTOFFS, LARGE)["priority"].tolist() == [5, 3, 2, 1]


def test_an_amount_just_below_lifts_nothing() -> None:
    assert assign(frame([0.1, 0.5, 0.7, 0.9], 99.99), CUTOFFS, LARGE)["priority"].tolist() == [5, 4, 3, 2]


@pytest.mark.parametrize(
    ("amount", "known_frauds", "priorities"),
    [(1.0, 0.0, [5, 4, 3, 2]), (100.0, 0.0, [5, 3, 2, 1]), (1.0, 2.0, [5, 3, 2, 1]), (100.0, 1.0, [5, 2, 1, 1])],
    ids=["neither", "large amount", "known frauds", "both"],
)
def test_amount_and_history_each_lift_an_alert_by_one(
    amount: float, known_frauds: float, priorities: list[int]
) -> None:
    rows = frame([0.1, 0.5, 0.7, 0.9], amount)
    assert assign(rows, CUTOFFS, LARGE, np.full(4, known_frauds))["priority"].tolist() == priorities


def test_history_counts_row_by_row_and_changes_nothing_else() -> None:
    rows = frame([0.7, 0.7, 0.1])
    with_history, without = assign(rows, CUTOFFS, LARGE, np.array([0.0, 1.0, 1.0])), assign(rows, CUTOFFS, LARGE)
    assert with_history["priority"].tolist() == [3, 2, 5]
    pd.testing.assert_frame_equal(with_history.drop(columns="priority"), without.drop(columns="priority"))


def test_without_a_large_amount_to_compare_with_none_is_large() -> None:
    assert assign(frame([0.9], 1e9), CUTOFFS, np.nan)["priority"].tolist() == [2]


@given(
    pair=st.tuples(scores, scores).map(sorted),
    amount=st.floats(-1000, 1000),
    cutoffs=cutoffs,
    known_frauds=st.none() | st.integers(0, 3).map(lambda frauds: np.full(2, float(frauds))),
)
def test_all_three_are_monotone_in_the_score(
    pair: list[float], amount: float, cutoffs: RiskCutoffs, known_frauds: Floats | None
) -> None:
    lower, higher = assign(frame(pair, amount), cutoffs, LARGE, known_frauds).to_dict("records")
    assert RISK_LEVELS.index(lower["risk_level"]) <= RISK_LEVELS.index(higher["risk_level"])
    assert 5 >= lower["priority"] >= higher["priority"] >= 1
    assert lower["is_alert"] <= higher["is_alert"]


@given(score=scores, cutoffs=cutoffs)
def test_a_row_is_an_alert_exactly_from_the_lowest_cutoff_on(score: float, cutoffs: RiskCutoffs) -> None:
    assert assign(frame([score]), cutoffs, LARGE)["is_alert"].tolist() == [score >= cutoffs.medium]


def test_cutoffs_that_coincide_give_the_highest_of_their_levels() -> None:
    same = RiskCutoffs(0.5, 0.5, 0.5)
    assert assign(frame([BELOW_MEDIUM, 0.5]), same, LARGE)["risk_level"].tolist() == ["LOW", "CRITICAL"]


def test_a_copy_with_the_index_of_the_scores_comes_back() -> None:
    scores = frame([0.1, 0.95])
    assigned = assign(scores, CUTOFFS, LARGE)
    assert list(scores) == ["anomaly_score", "amount"]
    assert assigned.index.equals(scores.index)
    types = ["str", "int64", "bool"]
    assert assigned[["risk_level", "priority", "is_alert"]].dtypes.astype("str").tolist() == types


def test_no_rows_keep_their_types() -> None:
    empty = assign(frame([]), CUTOFFS, LARGE)
    assert len(empty) == 0
    assert empty[["risk_level", "priority", "is_alert"]].dtypes.astype("str").tolist() == ["str", "int64", "bool"]
