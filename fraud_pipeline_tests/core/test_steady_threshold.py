"""From one calibration to the next the alert rate moves with evidence, not with the luck of a week."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core.calibration import Calibration, fit_threshold
from fraud_pipeline.core.operating_point import Estimate, Window, log_variance, steady_rate
from fraud_pipeline_tests.builders import scored_window

TARGET = 0.85
rates = st.floats(0.1, 1e5)


def week(rng: np.random.Generator, *, fraud_share: float = 0.009, hidden_share: float | None = None) -> pd.DataFrame:
    """Seven days whose share of hard frauds differs from week to week, scored by a model with a scale of its own."""
    rows = 7 * 1500
    frauds = max(20, rng.poisson(fraud_share * rows))
    hidden = rng.random(frauds) < (rng.beta(1.3, 4.7) if hidden_share is None else hidden_share)
    scores = [rng.beta(2, 6, size=rows), np.where(hidden, rng.beta(3, 5, size=frauds), rng.beta(9, 2, size=frauds))]
    return pd.DataFrame(
        {
            "day": rng.integers(7, size=rows + frauds),
            "anomaly_score": np.concatenate(scores) ** rng.uniform(0.5, 2),
            "amount": 10.0,
            "is_fraud": np.arange(rows + frauds) >= rows,
        }
    )


def fit(scored: pd.DataFrame, previous: Calibration | None = None, **limits: float) -> Calibration:
    asked = {"target_recall": TARGET, "max_false_positive_rate": 1.0, "resamples": 100} | limits
    return fit_threshold(scored, previous=previous, **asked)  # type: ignore[arg-type]  # numbers by name


def with_rate(calibration: Calibration, alerts_per_day: float) -> Calibration:
    return replace(calibration, alerts_per_day=Estimate(alerts_per_day, alerts_per_day, alerts_per_day))


def recall_next(calibration: Calibration, model_week: pd.DataFrame, later: pd.DataFrame) -> float:
    """Recall on a later week at the rank of the threshold, as if the same model had scored it."""
    rank = (model_week["anomaly_score"] >= calibration.threshold).mean()
    threshold = later["anomaly_score"].quantile(1 - rank)
    return float((later.loc[later["is_fraud"], "anomaly_score"] >= threshold).mean())


@pytest.mark.parametrize("fraud_share", [0.009, 0.002])
def test_week_to_week_the_alerts_swing_far_less_and_recall_is_no_further_from_its_target(fraud_share: float) -> None:
    rng = np.random.default_rng(5)
    weeks = [week(rng, fraud_share=fraud_share) for _ in range(41)]
    plain = [fit(each) for each in weeks[:-1]]
    steady: list[Calibration] = []
    for each in weeks[:-1]:
        steady.append(fit(each, steady[-1] if steady else None))
    swings, misses, means = [], [], []
    for calibrations in (plain, steady):
        alerts = np.log([each.alerts_per_day.value for each in calibrations])
        recalls = np.array([recall_next(*three) for three in zip(calibrations, weeks, weeks[1:], strict=False)])
        swings.append(np.exp(np.sqrt(np.square(np.diff(alerts)).mean())))
        misses.append(np.sqrt(np.square(recalls - TARGET).mean()))
        means.append(recalls.mean())
        if calibrations is steady:
            assert np.exp(np.abs(np.diff(alerts)).max()) < 2.05
    # Root mean square factor from one week to the next.
    assert swings[0] > 4
    assert swings[1] < 1.6
    assert misses[1] <= 1.05 * misses[0]
    assert means[1] == pytest.approx(TARGET, abs=0.05)
    assert means[1] > means[0] - 0.02


def test_a_lasting_change_is_followed_within_weeks() -> None:
    rng = np.random.default_rng(3)
    last = fit(week(rng, hidden_share=0.05, fraud_share=0.03))
    fitted = [last]
    for _ in range(6):
        fitted.append(fit(week(rng, hidden_share=0.3, fraud_share=0.03), fitted[-1]))
    goal = np.mean([each.fitted_alerts_per_day.value for each in fitted[1:]])
    assert goal > 4 * last.alerts_per_day.value
    assert fitted[1].alerts_per_day.value <= 2.05 * last.alerts_per_day.value
    assert fitted[-1].alerts_per_day.value == pytest.approx(goal, rel=0.3)


@given(fitted=rates, previous=rates, variance=st.floats(0, 10), smoothing=st.floats(0.01, 1), change=st.floats(1, 10))
def test_the_rate_lies_between_the_two_and_changes_by_no_more_than_the_factor(
    fitted: float, previous: float, variance: float, smoothing: float, change: float
) -> None:
    rate, why = steady_rate(fitted, previous, variance=variance, smoothing=smoothing, max_change=change)
    low, high = sorted((fitted, previous))
    assert low * (1 - 1e-9) <= rate <= high * (1 + 1e-9)
    assert previous / change * (1 - 1e-9) <= rate <= previous * change * (1 + 1e-9)
    assert bool(why) != np.isclose(rate, fitted)
    assert ("limited to a factor" not in why) or rate == pytest.approx(previous * change ** np.sign(fitted - previous))


@given(fitted=rates, previous=rates, variances=st.tuples(st.floats(0, 5), st.floats(0, 5)).map(sorted))
def test_the_less_certain_a_rate_is_the_nearer_it_stays_to_the_one_before(
    fitted: float, previous: float, variances: list[float]
) -> None:
    sure, unsure = (
        abs(np.log(steady_rate(fitted, previous, variance=each, smoothing=0.5, max_change=1e9)[0] / previous))
        for each in variances
    )
    assert unsure <= sure + 1e-9


def test_nothing_known_keeps_the_rate_and_certainty_without_smoothing_takes_the_new_one() -> None:
    assert steady_rate(400, 100, variance=np.inf, smoothing=1, max_change=9)[0] == pytest.approx(100)
    rate, why = steady_rate(400, 100, variance=0, smoothing=1, max_change=9)
    assert rate == pytest.approx(400)
    assert why == ""
    rate, why = steady_rate(400, 100, variance=0.1, smoothing=1, max_change=9)
    assert rate == pytest.approx(200)
    assert why == (
        "the window asks for 400.0 alerts a day, the calibration before gave 100.0; "
        "with weight 0.50 on the window it is 200.0"
    )


def test_one_day_with_frauds_says_nothing_of_how_days_differ() -> None:
    assert log_variance(np.array([3.0, 3.0]), 1) == np.inf
    assert log_variance(np.array([3.0, np.nan]), 5) == np.inf
    assert log_variance(np.array([1.0, np.e**2]), 2) == pytest.approx(2.0)


def test_without_a_previous_calibration_the_point_of_the_curve_is_taken() -> None:
    fitted = fit(scored_window())
    assert fitted.adjustment == ""
    assert fitted.alerts_per_day.value == fitted.fitted_alerts_per_day.value == fitted.smoothed_alerts_per_day


def test_the_same_window_again_moves_nothing() -> None:
    first = fit(scored_window())
    again = fit(scored_window(), first)
    assert (again.threshold, again.adjustment) == (first.threshold, "")


def test_a_smoothed_threshold_records_both_rates_and_why() -> None:
    plain = fit(scored_window())
    steady = fit(scored_window(), with_rate(plain, 2 * plain.alerts_per_day.value))
    assert steady.fitted_alerts_per_day == plain.fitted_alerts_per_day
    assert plain.alerts_per_day.value < steady.alerts_per_day.value <= steady.smoothed_alerts_per_day
    assert steady.threshold < plain.threshold
    assert steady.feasible
    assert steady.limit == ""
    assert steady.adjustment.startswith(f"the window asks for {plain.alerts_per_day.value:.1f} alerts a day, ")


def test_the_budget_wins_over_the_smoothed_rate() -> None:
    plain = fit(scored_window())
    budget = plain.alerts_per_day.value + 0.5
    fitted = fit(scored_window(), with_rate(plain, 1e3), max_alerts_per_day=budget)
    assert fitted.feasible
    assert plain.alerts_per_day.value <= fitted.alerts_per_day.value <= budget
    assert fitted.adjustment.endswith(f"; alert budget allows only {fitted.alerts_per_day.value:.1f}")


def test_the_ceiling_wins_over_the_smoothed_rate() -> None:
    plain = fit(scored_window())
    ceiling = plain.false_positive_rate.value
    fitted = fit(scored_window(), with_rate(plain, 1e3), max_false_positive_rate=ceiling)
    assert fitted.feasible
    assert fitted.false_positive_rate.value <= ceiling
    assert "; false positive ceiling allows only" in fitted.adjustment


def test_a_target_out_of_reach_keeps_the_previous_alert_rate() -> None:
    scored = scored_window()
    reachable = fit(scored, target_recall=0.99, max_false_positive_rate=0.1)
    assert not reachable.feasible
    kept = fit(
        scored,
        with_rate(reachable, reachable.alerts_per_day.value / 2),
        target_recall=0.99,
        max_false_positive_rate=0.1,
    )
    assert not kept.feasible
    assert kept.limit == reachable.limit
    assert kept.alerts_per_day.value == pytest.approx(reachable.alerts_per_day.value / 2, rel=0.05)
    assert kept.recall.value < kept.reachable_recall == reachable.recall.value
    assert kept.adjustment.startswith("the target is out of reach, so the ")


def test_a_previous_alert_rate_that_breaks_the_limits_is_not_kept() -> None:
    reachable = fit(scored_window(), target_recall=0.99, max_false_positive_rate=0.1)
    fitted = fit(scored_window(), with_rate(reachable, 1e3), target_recall=0.99, max_false_positive_rate=0.1)
    assert fitted.threshold == reachable.threshold
    assert "false positive ceiling allows only" in fitted.adjustment


def test_ties_at_the_top_alert_together_even_beyond_the_previous_rate() -> None:
    scored = scored_window().assign(anomaly_score=lambda rows: rows["anomaly_score"].round(1))
    plain = fit(scored, target_recall=0.2)
    top = scored["anomaly_score"].max()
    fitted = fit(scored, with_rate(plain, 0.01), target_recall=0.2, max_change=1.0)
    assert fitted.threshold == top


def test_what_steadied_a_threshold_survives_json() -> None:
    plain = fit(scored_window())
    steady = fit(scored_window(), with_rate(plain, 2 * plain.alerts_per_day.value), max_alerts_per_day=500)
    restored = Calibration.from_json(json.loads(json.dumps(steady.to_json(), allow_nan=False)))
    assert restored.to_json() == steady.to_json()
    assert restored.max_alerts_per_day == 500
    assert restored.fitted_alerts_per_day == steady.fitted_alerts_per_day


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.booleans()), min_size=2, max_size=40).filter(
        lambda rows: any(is_fraud for *_, is_fraud in rows)
    ),
    drawn=st.lists(st.integers(0, 3), min_size=4, max_size=4),
    target=st.sampled_from((0.3, 0.5, 0.85, 1.0)),
)
def test_a_refitted_rate_is_that_of_the_threshold_of_its_sample(
    rows: list[tuple[int, int, bool]], drawn: list[int], target: float
) -> None:
    scored = pd.DataFrame(rows, columns=["day", "anomaly_score", "is_fraud"])
    window = Window(scored["anomaly_score"].to_numpy(float), scored["day"].to_numpy(np.int64), 4)
    (rate,) = window.refitted_rates(scored["is_fraud"].to_numpy(), target, np.array([drawn], dtype=np.float64))
    sample = pd.concat(
        [scored[scored["day"] == day] for day, times in enumerate(drawn) for _ in range(times)] or [scored[:0]]
    )
    frauds = sample.loc[sample["is_fraud"], "anomaly_score"]
    if frauds.empty:
        assert np.isnan(rate)
        return
    threshold = max(score for score in frauds if (frauds >= score).mean() >= target)
    assert rate == (sample["anomaly_score"] >= threshold).sum() / 4
