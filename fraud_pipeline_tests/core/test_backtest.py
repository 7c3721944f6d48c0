"""A backtest knows on each day only what was known then."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core import backtest
from fraud_pipeline.core.backtest import MODELS, RoundResult
from fraud_pipeline.core.errors import TrainingError
from fraud_pipeline.core.labelled_history import LabelledHistory
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.core.splits import BacktestRound, TrainingWindows, walk_forward
from fraud_pipeline_tests.core.histories import DAYS, DELAY_DAYS, QUICK, day, simulated, simulated_history

WINDOWS = TrainingWindows(day(7), day(20), day(21), day(27), day(36))
ROUNDS = walk_forward(WINDOWS, day(45))
CAPACITY = 4


@cache
def open_rounds() -> list[RoundResult]:
    return list(backtest.run(simulated_history(), ROUNDS, QUICK))


@cache
def closed_rounds() -> tuple[LabelledHistory, list[RoundResult]]:
    history = simulated_history().copy()
    return history, list(backtest.run(history, ROUNDS, QUICK, review_capacity=CAPACITY))


def run_one(history: LabelledHistory, each: BacktestRound = ROUNDS[0]) -> RoundResult:
    (result,) = backtest.run(history, [each], QUICK)
    return result


def assert_same(result: RoundResult, other: RoundResult, models: Sequence[str] = MODELS) -> None:
    assert result.mode == other.mode
    for name in models:
        assert result.calibrations[name].to_json() == other.calibrations[name].to_json()
        np.testing.assert_array_equal(result.scored[name]["score"], other.scored[name]["score"])


def test_every_round_has_every_model_on_all_test_days() -> None:
    transactions, truth = simulated()
    of_day = transactions["event_time"].dt.strftime("%Y-%m-%d")
    assert len(open_rounds()) == len(ROUNDS) == 2
    for each, result in zip(ROUNDS, open_rounds(), strict=True):
        tested = of_day.between(each.test_from.isoformat(), each.test_to.isoformat())
        assert tuple(result.scored) == MODELS
        for name, scored in result.scored.items():
            assert scored["day"].tolist() == of_day[tested].tolist()
            assert scored["amount"].tolist() == transactions.loc[tested, "amount"].tolist()
            assert scored["is_fraud"].tolist() == truth.loc[tested, "is_fraud"].tolist()
            assert scored["scenario"].tolist() == truth.loc[tested, "scenario"].fillna("").tolist()
            assert scored["is_alert"].tolist() == (scored["score"] >= result.calibrations[name].threshold).tolist()
        assert (result.reviewed, result.reviewed_frauds) == (0, 0)


@pytest.mark.parametrize(("mode", "model"), [("ensemble", "ensemble"), ("feedback", "feedback_classifier")])
def test_the_champion_scores_in_the_mode_that_was_chosen(mode: str, model: str) -> None:
    (result,) = backtest.run(simulated_history(), ROUNDS[:1], replace(QUICK, scoring_mode=mode))
    assert result.mode == mode
    np.testing.assert_array_equal(result.scored["champion"]["score"], result.scored[model]["score"])
    assert result.calibrations["champion"].threshold == result.calibrations[model].threshold
    # A classifier that is not asked for is not trained.
    assert ("feedback_classifier" in result.scored) == (mode == "feedback")


def test_a_round_is_the_same_alone_and_ahead_of_others() -> None:
    assert_same(run_one(simulated_history()), open_rounds()[0])


def test_the_truth_about_test_days_changes_neither_models_nor_thresholds_nor_scores() -> None:
    transactions, truth = simulated()
    each = ROUNDS[0]
    assert (each.test_to - each.test_from).days + 1 < DELAY_DAYS
    since = transactions["event_time"] >= pd.Timestamp(each.test_from, tz="UTC")
    turned = LabelledHistory(transactions, truth.assign(is_fraud=truth["is_fraud"] ^ since))
    result = run_one(turned)
    assert_same(result, open_rounds()[0])
    flipped = result.scored["champion"]["is_fraud"]
    assert (flipped != open_rounds()[0].scored["champion"]["is_fraud"]).all()


def test_labels_that_come_after_the_calibration_change_neither_models_nor_thresholds() -> None:
    transactions, truth = simulated()
    late = truth["label_known_at"] >= pd.Timestamp(ROUNDS[0].test_from, tz="UTC")
    result = run_one(LabelledHistory(transactions, truth.assign(is_fraud=truth["is_fraud"] ^ late)))
    for name in MODELS:
        assert result.calibrations[name].to_json() == open_rounds()[0].calibrations[name].to_json()


def test_labels_of_the_windows_that_are_not_known_when_the_test_begins_are_not_used() -> None:
    transactions, truth = simulated()
    each = BacktestRound(TrainingWindows(day(7), day(22), day(23), day(29), day(30)), day(31))
    # Every second label takes 12 days, so that of both windows some are late.
    delay = pd.to_timedelta(np.where(np.arange(len(truth)) % 2, 12, 2), unit="D")
    told = truth.assign(label_known_at=transactions["event_time"] + delay)
    late = told["label_known_at"] >= pd.Timestamp(each.test_from, tz="UTC")
    result = run_one(LabelledHistory(transactions, told), each)
    turned = run_one(LabelledHistory(transactions, told.assign(is_fraud=told["is_fraud"] ^ late)), each)
    of_window = transactions["event_time"].dt.strftime("%Y-%m-%d").between(day(23).isoformat(), day(29).isoformat())
    for name in MODELS:
        fitted = result.calibrations[name]
        assert fitted.to_json() == turned.calibrations[name].to_json()
        assert 0 < fitted.transactions == (of_window & ~late).sum() < of_window.sum()
        assert fitted.frauds == (told["is_fraud"] & of_window & ~late).sum()


def test_other_transactions_on_test_days_change_neither_models_nor_thresholds() -> None:
    transactions, truth = simulated()
    since = transactions["event_time"] >= pd.Timestamp(ROUNDS[0].test_from, tz="UTC")
    dearer = transactions.assign(amount=transactions["amount"].where(~since, transactions["amount"] * 10))
    result = run_one(LabelledHistory(dearer, truth))
    for name in MODELS:
        assert result.calibrations[name].to_json() == open_rounds()[0].calibrations[name].to_json()
    assert not np.array_equal(result.scored["ensemble"]["score"], open_rounds()[0].scored["ensemble"]["score"])


def test_another_truth_of_the_training_days_makes_another_model() -> None:
    transactions, truth = simulated()
    trained = transactions["event_time"] < pd.Timestamp(WINDOWS.train_to, tz="UTC")
    result = run_one(LabelledHistory(transactions, truth.assign(is_fraud=truth["is_fraud"] & ~trained)))
    assert not np.array_equal(result.scored["ensemble"]["score"], open_rounds()[0].scored["ensemble"]["score"])
    # Labels of the first training days are the features of later ones, but nothing to learn from.
    assert "feedback_classifier" not in result.scored


def test_the_previous_threshold_is_passed_on_from_round_to_round() -> None:
    alone = run_one(simulated_history(), ROUNDS[1])
    for name in MODELS:
        first, second = (result.calibrations[name] for result in open_rounds())
        assert not alone.calibrations[name].adjustment
        before, free = first.alerts_per_day.value, alone.calibrations[name].alerts_per_day.value
        assert min(before, free) <= second.smoothed_alerts_per_day <= max(before, free)
        assert before == free or f"{before:,.1f}" in second.adjustment


def test_without_any_matured_label_the_ensemble_works_through_its_budget() -> None:
    result = run_one(simulated_history(delay_days=400))
    assert result.mode == "ensemble"
    assert tuple(result.scored) == ("champion",)
    assert result.calibrations["champion"].method == "alert_budget"
    assert result.scored["champion"]["is_alert"].sum() > 0


@pytest.mark.parametrize("capacity", [None, 3])
def test_a_test_window_without_transactions_is_refused_before_anything_is_trained(capacity: int | None) -> None:
    later = replace(ROUNDS[0], windows=replace(WINDOWS, as_of=day(DAYS)), test_to=day(DAYS + 2))
    with pytest.raises(TrainingError, match=f"no transactions from {day(DAYS)} to {day(DAYS + 2)}; choose days that"):
        next(backtest.run(simulated_history(), [ROUNDS[0], later], QUICK, review_capacity=capacity))


def test_no_more_than_the_capacity_is_reviewed_a_day_and_only_the_highest_alerts() -> None:
    history, results = closed_rounds()
    for each, result in zip(ROUNDS, results, strict=True):
        champion = result.scored["champion"]
        where = history.rows(each.test_from, each.test_to)
        next_day = pd.to_datetime(champion["day"]).dt.tz_localize("UTC") + pd.Timedelta(days=1)
        is_reviewed = (history.known_at.iloc[where].reset_index(drop=True) == next_day).to_numpy()
        for _, rows in champion.assign(is_reviewed=is_reviewed).groupby("day"):
            alerts = rows[rows["is_alert"]]
            assert rows["is_reviewed"].sum() == min(CAPACITY, len(alerts))
            listed = alerts.nlargest(CAPACITY, "score", keep="first")
            assert sorted(listed.index) == rows.index[rows["is_reviewed"]].tolist()
        assert is_reviewed.sum() == result.reviewed > CAPACITY
        assert champion.loc[is_reviewed, "is_fraud"].sum() == result.reviewed_frauds > 0


def test_with_enough_capacity_all_alerts_are_reviewed_and_nothing_below_the_threshold() -> None:
    history = simulated_history().copy()
    (result,) = backtest.run(history, ROUNDS[:1], QUICK, review_capacity=10_000)
    champion = result.scored["champion"]
    assert result.reviewed == champion["is_alert"].sum() < len(champion)
    assert result.reviewed_frauds == (champion["is_alert"] & champion["is_fraud"]).sum()


def test_reviews_change_the_features_of_the_next_day_but_not_of_their_own() -> None:
    unreviewed, (history, _) = simulated_history(), closed_rounds()

    def of_day(source: LabelledHistory, number: int) -> pd.DataFrame:
        return source.features.iloc[source.rows(day(number), day(number))]

    pd.testing.assert_frame_equal(of_day(history, 36), of_day(unreviewed, 36))
    assert not of_day(history, 37).equals(of_day(unreviewed, 37))
    fewer = of_day(history, 37)["user_known_frauds_7d"] < of_day(unreviewed, 37)["user_known_frauds_7d"]
    assert not fewer.any()


def test_after_a_closed_loop_every_test_day_is_that_of_a_history_with_the_same_knowledge() -> None:
    history, _ = closed_rounds()
    transactions, truth = simulated()
    rebuilt = LabelledHistory(transactions, truth.assign(label_known_at=history.known_at))
    where = slice(0, history.rows(ROUNDS[0].test_from, ROUNDS[-1].test_to).stop)
    columns = list(FEATURE_COLUMNS)
    pd.testing.assert_frame_equal(history.features.iloc[where][columns], rebuilt.features.iloc[where][columns])


def test_a_closed_loop_trains_on_what_was_reviewed() -> None:
    history, results = closed_rounds()
    assert history.known_at.lt(simulated_history().known_at).sum() == sum(result.reviewed for result in results)
    # Nothing was reviewed before the first round: its thresholds are those of an open one.
    first, of_open = results[0], open_rounds()[0]
    for name in MODELS:
        assert first.calibrations[name].to_json() == of_open.calibrations[name].to_json()


def test_a_closed_loop_passes_over_days_without_transactions() -> None:
    transactions, truth = simulated()
    quiet = transactions["event_time"].dt.strftime("%Y-%m-%d") == day(38).isoformat()
    history = LabelledHistory(transactions[~quiet].reset_index(drop=True), truth)
    (result,) = backtest.run(history, ROUNDS[:1], QUICK, review_capacity=CAPACITY)
    assert set(result.scored["champion"]["day"]) == {day(number).isoformat() for number in (36, 37, 39, 40, 41, 42)}
