"""The threshold reaches its target on the window, or says what stood in the way."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fraud_pipeline.core.calibration import Calibration, fit_threshold
from fraud_pipeline.core.errors import TrainingError
from fraud_pipeline_tests.builders import scored_window

ESTIMATES = ("recall", "false_positive_rate", "precision", "alerts_per_day", "fitted_alerts_per_day")

# Few different scores, so that ties are the rule.
labelled_scores = st.lists(
    st.tuples(st.sampled_from((0.0, 0.1, 0.3, 0.30000000000000004, 0.5, 0.7, 1.0)) | st.floats(0, 1), st.booleans()),
    min_size=2,
    max_size=40,
).filter(lambda rows: len({is_fraud for _, is_fraud in rows}) == 2)
targets = st.sampled_from((0.1, 0.5, 0.75, 0.85, 1.0)) | st.floats(0.01, 1)


def window(rows: list[tuple[float, bool]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "day": [f"2026-03-{1 + position % 5:02}" for position in range(len(rows))],
            "anomaly_score": [score for score, _ in rows],
            "amount": 10.0,
            "is_fraud": [is_fraud for _, is_fraud in rows],
        }
    )


def fit(rows: list[tuple[float, bool]], target: float = 0.85, ceiling: float = 1.0) -> Calibration:
    return fit_threshold(window(rows), target_recall=target, max_false_positive_rate=ceiling, resamples=20)


def share_at(rows: list[tuple[float, bool]], threshold: float, *, of_frauds: bool) -> float:
    """Recall, or false-positive rate, by definition."""
    of_kind = [score for score, is_fraud in rows if is_fraud == of_frauds]
    return sum(score >= threshold for score in of_kind) / len(of_kind)


@given(rows=labelled_scores, target=targets)
def test_the_threshold_is_the_highest_score_that_reaches_the_target(
    rows: list[tuple[float, bool]], target: float
) -> None:
    fitted = fit(rows, target)
    reaching = [score for score, _ in rows if share_at(rows, score, of_frauds=True) >= target]
    assert fitted.feasible
    assert fitted.limit == ""
    assert fitted.threshold == max(reaching)
    assert fitted.recall.value == share_at(rows, fitted.threshold, of_frauds=True) >= target
    assert fitted.false_positive_rate.value == share_at(rows, fitted.threshold, of_frauds=False)


@given(rows=labelled_scores, target=targets, ceiling=st.sampled_from((0.1, 0.2, 0.3, 0.5)) | st.floats(0.01, 1))
def test_the_ceiling_on_false_positives_always_holds(
    rows: list[tuple[float, bool]], target: float, ceiling: float
) -> None:
    affordable = [score for score, _ in rows if share_at(rows, score, of_frauds=False) <= ceiling]
    if not affordable:
        with pytest.raises(TrainingError, match="the detectors do not separate: check their feature columns"):
            fit(rows, target, ceiling)
        return
    fitted = fit(rows, target, ceiling)
    assert fitted.false_positive_rate.value <= ceiling
    assert fitted.feasible == (share_at(rows, min(affordable), of_frauds=True) >= target)
    if not fitted.feasible:
        assert fitted.threshold == min(affordable)
        assert fitted.reachable_recall == fitted.recall.value
        wanted = max(score for score, _ in rows if share_at(rows, score, of_frauds=True) >= target)
        no_better = share_at(rows, wanted, of_frauds=False) >= share_at(rows, wanted, of_frauds=True)
        assert fitted.binding == ("score_separation" if no_better else "false_positive_ceiling")
        assert ("no better than chance" if no_better else "over the ceiling") in fitted.limit


@given(rows=labelled_scores, targets=st.tuples(targets, targets))
def test_a_higher_target_never_raises_the_threshold(
    rows: list[tuple[float, bool]], targets: tuple[float, float]
) -> None:
    assume(targets[0] < targets[1])
    assert fit(rows, targets[0]).threshold >= fit(rows, targets[1]).threshold


def test_an_infeasible_target_keeps_to_the_ceiling_and_says_what_it_would_take() -> None:
    rows = [(0.9, True), (0.8, False), (0.7, False), (0.6, True), (0.5, False), (0.4, False), (0.3, False)]
    fitted = fit(rows, target=1.0, ceiling=0.3)
    assert not fitted.feasible
    assert fitted.threshold == 0.8
    assert fitted.recall.value == 0.5
    assert fitted.limit == (
        "recall 1.00 would alert on 40.0% of genuine transactions, over the ceiling of 30.0%; "
        "within the limits 0.50 can be reached"
    )


def test_a_budget_that_binds_is_kept_and_named() -> None:
    rows = [(0.9, True), (0.8, False), (0.7, False), (0.6, True), (0.5, False), (0.4, False), (0.3, False)]
    fitted = fit_threshold(
        window(rows).assign(day="one"),
        target_recall=1.0,
        max_false_positive_rate=1.0,
        max_alerts_per_day=3,
        resamples=20,
    )
    assert (fitted.feasible, fitted.binding) == (False, "alert_budget")
    assert (fitted.threshold, fitted.alerts_per_day.value, fitted.reachable_recall) == (0.7, 3.0, 0.5)
    assert fitted.limit == (
        "recall 1.00 would take 4.0 alerts a day, over the budget of 3.0; within the limits 0.50 can be reached"
    )
    assert fitted.fitted_alerts_per_day.value == 4.0


@given(rows=labelled_scores, target=targets, budget=st.floats(0.2, 10))
def test_the_budget_of_alerts_always_holds(rows: list[tuple[float, bool]], target: float, budget: float) -> None:
    scored = window(rows)
    days = scored["day"].nunique()
    top = max(score for score, _ in rows)

    def fit_within_budget() -> Calibration:
        return fit_threshold(
            scored, target_recall=target, max_false_positive_rate=1.0, max_alerts_per_day=budget, resamples=5
        )

    if sum(score == top for score, _ in rows) / days > budget:
        with pytest.raises(TrainingError, match=r"the highest score is shared by more than .* rows a day"):
            fit_within_budget()
        return
    fitted = fit_within_budget()
    assert fitted.alerts_per_day.value <= budget
    assert fitted.feasible == (fitted.fitted_alerts_per_day.value <= budget)
    assert fitted.recall.value == fitted.reachable_recall or fitted.feasible


def test_scores_that_are_no_better_than_chance_are_named_as_what_binds() -> None:
    scored = scored_window().assign(anomaly_score=lambda rows: 1 - rows["anomaly_score"])
    fitted = fit_threshold(scored, target_recall=0.9, max_false_positive_rate=0.2, resamples=20)
    assert fitted.binding == "score_separation"
    assert "no better than chance: the scores do not separate" in fitted.limit


def test_a_false_positive_rate_of_exactly_the_ceiling_is_under_it() -> None:
    genuine = [(position / 10, False) for position in range(10)]
    assert fit([*genuine, (0.7, True)], target=1.0, ceiling=0.3).feasible


def test_all_rows_tied_at_the_threshold_are_alerted_on() -> None:
    fitted = fit([(0.5, True), (0.5, True), (0.5, False), (0.5, False), (0.1, False)], target=0.5)
    assert fitted.threshold == 0.5
    assert (fitted.recall.value, fitted.false_positive_rate.value) == (1.0, 2 / 3)


def test_scores_that_are_all_equal_alert_on_everything_if_the_ceiling_allows_it() -> None:
    rows = [(0.5, True), (0.5, False), (0.5, False)]
    fitted = fit(rows)
    assert (fitted.threshold, fitted.precision.value) == (0.5, 1 / 3)
    assert (fitted.cutoffs.medium, fitted.cutoffs.high, fitted.cutoffs.critical) == (0.5, 0.5, 0.5)
    with pytest.raises(TrainingError, match=r"shared by more than 50\.0% of the genuine transactions"):
        fit(rows, ceiling=0.5)


@pytest.mark.parametrize(("is_fraud", "missing"), [(False, "0 frauds and 3 genuine"), (True, "3 frauds and 0 genuine")])
def test_a_window_of_one_kind_of_transaction_is_refused(is_fraud: bool, missing: str) -> None:
    with pytest.raises(TrainingError, match=f"{missing}.*choose a longer or earlier window, or bring in label files"):
        fit([(0.1, is_fraud), (0.2, is_fraud), (0.3, is_fraud)])


def test_the_cutoffs_are_the_threshold_and_quantiles_of_the_alerts() -> None:
    scored = scored_window()
    fitted = fit_threshold(scored, resamples=20)
    alerts = scored.loc[scored["anomaly_score"] >= fitted.threshold, "anomaly_score"]
    assert fitted.cutoffs.medium == fitted.threshold
    assert [fitted.cutoffs.high, fitted.cutoffs.critical] == pytest.approx(np.quantile(alerts, [0.5, 0.9]))


def test_what_to_expect_is_what_happened_on_the_window() -> None:
    scored = scored_window()
    fitted = fit_threshold(scored, resamples=20)
    alerts = scored[scored["anomaly_score"] >= fitted.threshold]
    assert (fitted.days, fitted.transactions, fitted.frauds) == (14, 2000, scored["is_fraud"].sum())
    assert fitted.alerts_per_day.value == pytest.approx(len(alerts) / 14)
    assert fitted.precision.value == pytest.approx(alerts["is_fraud"].mean())
    assert fitted.alert_amount_median == pytest.approx(alerts["amount"].median())


def test_refunds_count_by_their_size_in_the_median_amount_of_alerts() -> None:
    scored = window([(0.9, True), (0.9, False), (0.9, False), (0.1, False)]).assign(amount=[-30.0, -20.0, 5.0, 99.0])
    assert fit_threshold(scored, max_false_positive_rate=1.0, resamples=20).alert_amount_median == 20.0


def test_intervals_hold_their_figure_and_narrow_with_more_days() -> None:
    few = fit_threshold(scored_window(700, days=7), resamples=400)
    many = fit_threshold(scored_window(70_00, days=28), resamples=400)
    for fitted in (few, many):
        for name in ESTIMATES:
            estimate = getattr(fitted, name)
            assert estimate.low <= estimate.value <= estimate.high
            assert estimate.low < estimate.high
    assert many.recall.high - many.recall.low < few.recall.high - few.recall.low


def test_intervals_come_from_days_not_from_rows() -> None:
    # Both days are alike, so that whichever days are drawn nothing changes.
    rows = [(0.9, True), (0.9, True), (0.2, True), (0.2, True), (0.5, False), (0.5, False), (0.1, False), (0.1, False)]
    scored = window(rows).assign(day=["a", "b"] * 4)
    fitted = fit_threshold(scored, target_recall=0.5, resamples=50)
    assert (fitted.recall.low, fitted.recall.value, fitted.recall.high) == (0.5, 0.5, 0.5)


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    scored = scored_window()
    first, again, other = (fit_threshold(scored, resamples=100, seed=seed) for seed in (1, 1, 2))
    assert first.to_json() == again.to_json()
    assert first.recall != other.recall
    assert first.threshold == other.threshold


def test_the_order_of_the_rows_does_not_matter() -> None:
    scored = scored_window()
    shuffled = scored.sample(frac=1, random_state=0)
    assert fit_threshold(shuffled, resamples=50).to_json() == fit_threshold(scored, resamples=50).to_json()


def test_the_curve_falls_from_full_recall_to_none_in_at_most_200_points() -> None:
    fitted = fit_threshold(scored_window(), resamples=20)
    recall, precision = np.array(fitted.recall_curve), np.array(fitted.precision_curve)
    assert len(recall) == len(precision) == 200
    assert (recall[0], recall[-1], precision[-1]) == (1.0, 0.0, 1.0)
    assert (np.diff(recall) <= 0).all()


def test_a_calibration_survives_json_to_the_last_bit() -> None:
    fitted = fit_threshold(scored_window(), target_recall=0.9, max_false_positive_rate=0.01, resamples=20)
    restored = Calibration.from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)))
    assert not restored.feasible
    assert restored.binding
    assert restored.to_json() == fitted.to_json()
    assert restored.cutoffs == fitted.cutoffs
    assert restored.recall_curve == fitted.recall_curve
    np.testing.assert_array_equal(restored.reference.scores, fitted.reference.scores)
