"""Without labels: a budget is met, or false alerts are kept to a share; recall stays unknown."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from fraud_pipeline.core.calibration import Calibration, fit_threshold
from fraud_pipeline.core.errors import ConfigurationError, TrainingError
from fraud_pipeline.core.label_free_threshold import conformal_p_values, fit_without_labels
from fraud_pipeline_tests.builders import scored_window

UNLABELLED = scored_window().drop(columns="is_fraud")
CLEAN = np.random.default_rng(9).beta(2, 4, size=5000)

few_scores = st.lists(st.sampled_from((0.1, 0.3, 0.5, 0.9)) | st.floats(0, 1), min_size=1, max_size=40)


def days(scores: list[float] | np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"day": np.arange(len(scores)) % 4, "anomaly_score": scores, "amount": 10.0})


def conformal(scored: pd.DataFrame, **asked: object) -> Calibration:
    return fit_without_labels(
        scored,
        **{"method": "conformal_fdr", "clean_scores": CLEAN, "resamples": 20} | asked,  # type: ignore[arg-type]  # by name
    )


@given(scores=few_scores, budget=st.floats(0.2, 12))
def test_the_budget_gives_the_lowest_threshold_that_it_allows(scores: list[float], budget: float) -> None:
    scored = days(scores)
    within = [score for score in scores if (scored["anomaly_score"] >= score).sum() / scored["day"].nunique() <= budget]
    if not within:
        with pytest.raises(TrainingError, match="raise the alert budget or check their feature columns"):
            fit_without_labels(scored, max_alerts_per_day=budget, resamples=5)
        return
    fitted = fit_without_labels(scored, max_alerts_per_day=budget, resamples=5)
    assert fitted.threshold == min(within)
    assert fitted.alerts_per_day.value <= budget


def test_a_threshold_by_budget_is_marked_and_knows_no_recall() -> None:
    fitted = fit_without_labels(UNLABELLED, max_alerts_per_day=10, resamples=50)
    assert (fitted.method, fitted.feasible, fitted.limit, fitted.adjustment) == ("alert_budget", True, "", "")
    assert fitted.alerts_per_day.value == 10
    assert fitted.alerts_per_day.low < 10 < fitted.alerts_per_day.high
    assert not any(estimate.known for estimate in (fitted.recall, fitted.false_positive_rate, fitted.precision))
    assert (fitted.target_recall, fitted.max_false_positive_rate, fitted.frauds) == (None, None, 0)
    assert fitted.aim == "a budget of 10.0 alerts a day (no labels)"


def test_each_method_says_what_its_threshold_is_for() -> None:
    assert conformal(UNLABELLED).aim == "a false discovery rate of 0.10 by conformal p-values (no labels)"
    assert fit_threshold(scored_window(), resamples=5).aim == "a recall of 0.85"


@pytest.mark.parametrize("method", ["alert_budget", "conformal_fdr"])
def test_it_survives_json_with_unknown_figures_as_null(method: str) -> None:
    fitted = conformal(UNLABELLED, method=method, max_alerts_per_day=10.0)
    text = json.dumps(fitted.to_json(), allow_nan=False)
    assert json.loads(text)["recall"] == {"value": None, "low": None, "high": None}
    assert json.loads(text)["reachable_recall"] is None
    restored = Calibration.from_json(json.loads(text))
    assert restored.to_json() == fitted.to_json()
    assert restored.method == method
    assert not restored.recall.known
    np.testing.assert_array_equal(restored.reference.scores, fitted.reference.scores)


def test_a_p_value_counts_the_clean_rows_at_or_above_a_score() -> None:
    clean = np.array([0.3, 0.1, 0.2, 0.2])
    np.testing.assert_allclose(conformal_p_values(np.array([0.4, 0.3, 0.2, 0.0]), clean), [1 / 5, 2 / 5, 4 / 5, 1])


def test_p_values_of_genuine_rows_are_never_too_small_too_often() -> None:
    rng = np.random.default_rng(4)
    p_values = np.concatenate([conformal_p_values(rng.random(200), rng.random(200)) for _ in range(200)])
    for level in (0.01, 0.05, 0.2):
        assert (p_values <= level).mean() <= level * 1.1


def test_the_alerts_are_exactly_what_benjamini_hochberg_rejects() -> None:
    fitted = conformal(UNLABELLED, false_discovery_rate=0.2)
    adjusted = false_discovery_control(conformal_p_values(UNLABELLED["anomaly_score"].to_numpy(), CLEAN), method="bh")
    np.testing.assert_array_equal(UNLABELLED["anomaly_score"] >= fitted.threshold, adjusted <= 0.2)
    assert (fitted.method, fitted.false_discovery_rate) == ("conformal_fdr", 0.2)
    assert fitted.alerts_per_day.value == fitted.fitted_alerts_per_day.value == (adjusted <= 0.2).sum() / 14


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_the_share_of_false_alerts_stays_under_the_false_discovery_rate(rate: float) -> None:
    shares = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scored = scored_window(seed=seed)
        far_out = scored["is_fraud"] & (rng.random(len(scored)) < 0.7)
        scored.loc[far_out, "anomaly_score"] = 0.9 + 0.1 * rng.random(far_out.sum())
        fitted = conformal(scored, clean_scores=rng.beta(2, 4, size=5000), false_discovery_rate=rate)
        shares.append(1 - scored.loc[scored["anomaly_score"] >= fitted.threshold, "is_fraud"].mean())
    assert np.mean(shares) <= rate


def test_a_stricter_false_discovery_rate_alerts_on_fewer_rows() -> None:
    strict, loose = (conformal(UNLABELLED, false_discovery_rate=rate) for rate in (0.1, 0.3))
    assert strict.threshold > loose.threshold


def test_the_budget_wins_over_the_discoveries() -> None:
    free = conformal(UNLABELLED, false_discovery_rate=0.3)
    fitted = conformal(UNLABELLED, false_discovery_rate=0.3, max_alerts_per_day=2.0)
    assert free.alerts_per_day.value > 2
    assert fitted.alerts_per_day.value == 2
    assert fitted.adjustment == "the alert budget allows only 2.0"
    assert fitted.fitted_alerts_per_day.value == free.alerts_per_day.value


def test_discoveries_move_half_way_from_the_previous_alert_rate() -> None:
    before = fit_without_labels(UNLABELLED, max_alerts_per_day=4, resamples=5)
    free = conformal(UNLABELLED, false_discovery_rate=0.1).alerts_per_day.value
    fitted = conformal(UNLABELLED, false_discovery_rate=0.1, previous=before)
    assert fitted.smoothed_alerts_per_day == pytest.approx(4 * np.clip(np.sqrt(free / 4), 0.5, 2))
    assert fitted.adjustment.startswith("the window asks for ")


def test_when_nothing_stands_out_the_previous_alert_rate_is_kept_and_said_so() -> None:
    ordinary = days(np.random.default_rng(1).beta(2, 4, size=2000))
    before = fit_without_labels(UNLABELLED, max_alerts_per_day=4, resamples=5)
    fitted = conformal(ordinary, false_discovery_rate=0.01, previous=before)
    assert not fitted.feasible
    assert fitted.binding == "score_separation"
    assert fitted.limit == "no transaction stands out from the clean ones at a false discovery rate of 0.01"
    assert fitted.adjustment == "the 4.0 alerts a day of before are kept"
    assert fitted.alerts_per_day.value == 4
    assert fitted.fitted_alerts_per_day.value == 0
    with pytest.raises(TrainingError, match="give more clean rows, allow a higher rate, or use an alert budget"):
        conformal(ordinary, false_discovery_rate=0.01)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"method": "guess"}, "threshold method 'guess' is not known; choose from alert_budget, conformal_fdr"),
        ({"method": "alert_budget"}, "needs the budget: set the most alerts a day"),
        ({"clean_scores": None}, "need clean scores: give those of held-out genuine rows"),
        ({"clean_scores": np.array([])}, "need clean scores"),
    ],
)
def test_what_a_method_needs_is_asked_for(asked: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        conformal(UNLABELLED, **asked)


def test_a_window_without_rows_is_refused() -> None:
    with pytest.raises(TrainingError, match="the calibration window has no transactions"):
        fit_without_labels(UNLABELLED[:0], max_alerts_per_day=10)


def test_a_labelled_calibration_carries_on_from_one_without_labels() -> None:
    before = fit_without_labels(UNLABELLED, max_alerts_per_day=10, resamples=5)
    fitted = fit_threshold(scored_window(), previous=before, resamples=50)
    assert fitted.method == "precision_recall"
    assert 10 <= fitted.alerts_per_day.value <= 20
    assert "the calibration before gave 10.0" in fitted.adjustment
