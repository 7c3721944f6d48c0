"""A report holds the figures of every round and seed, and what a reader has to know of them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import numpy as np
import pandas as pd

from fraud_pipeline.core import evaluation
from fraud_pipeline.core.backtest import RoundResult
from fraud_pipeline.core.backtest_summary import RESAMPLES, summarise
from fraud_pipeline.core.calibration import Calibration, fit_threshold
from fraud_pipeline.core.evaluation import FIGURES
from fraud_pipeline.core.label_free_threshold import fit_without_labels
from fraud_pipeline.core.splits import TrainingWindows, walk_forward
from fraud_pipeline_tests.builders import scored_window

FIRST = date(2026, 3, 1)
WINDOWS = TrainingWindows(date(2026, 1, 1), date(2026, 1, 21), date(2026, 1, 22), date(2026, 2, 10), FIRST)
ROUNDS = walk_forward(WINDOWS, FIRST + timedelta(12))
SEEDS = (4, 9)
PROTOCOL = {"source": "bank", "review_capacity": 50}


def scored(number: int, seed: int, strength: float) -> pd.DataFrame:
    """Rows of one round; its days and frauds are the same for every seed and model, its scores are not."""
    each = ROUNDS[number]
    days = (each.test_to - each.test_from).days + 1
    rows = 60 * days
    is_fraud = np.random.default_rng(number).random(rows) < 0.1
    score = np.random.default_rng((number, seed)).random(rows) + strength * is_fraud
    return pd.DataFrame(
        {
            "day": [(each.test_from + timedelta(position // 60)).isoformat() for position in range(rows)],
            "user_id": [f"u{position % 40}" for position in range(rows)],
            "amount": 10.0 + np.arange(rows),
            "is_fraud": is_fraud,
            "scenario": np.where(is_fraud, np.where(np.arange(rows) % 2, "stolen", ""), ""),
            "score": score,
            "is_alert": score >= 0.9,
        }
    )


@cache
def calibration(number: int) -> Calibration:
    return fit_threshold(scored_window(400, seed=number), resamples=20)


def result(number: int, seed: int, models: Sequence[str] = ("champion", "ensemble")) -> RoundResult:
    strengths = {"champion": 0.6, "ensemble": 0.3, "feedback_classifier": 0.5}
    return RoundResult(
        {name: scored(number, seed, strengths[name]) for name in models},
        dict.fromkeys(models, calibration(number)),
        "stacked" if seed == SEEDS[0] else "ensemble",
        reviewed=10 * seed,
        reviewed_frauds=seed,
    )


def results(models: Sequence[str] = ("champion", "ensemble")) -> dict[int, list[RoundResult]]:
    return {seed: [result(number, seed, models) for number in range(len(ROUNDS))] for seed in SEEDS}


REPORT = summarise(ROUNDS, results(), PROTOCOL)


def test_the_figures_of_a_model_are_those_of_all_rounds_and_seeds_together() -> None:
    assert list(REPORT.models) == ["champion", "ensemble"]
    for name, figures in REPORT.models.items():
        each = [
            [evaluation.evaluate(of_round.scored[name], resamples=RESAMPLES, seed=seed) for of_round in results()[seed]]
            for seed in SEEDS
        ]
        assert figures == evaluation.combine(each)
    assert REPORT.models["champion"]["recall"].value > REPORT.models["ensemble"]["recall"].value


def test_every_round_seed_and_model_has_a_row() -> None:
    weeks = REPORT.weeks
    assert tuple(weeks) == ("round", "test_from", "test_to", "seed", "model", *FIGURES)
    assert len(weeks) == len(ROUNDS) * len(SEEDS) * 2
    assert not weeks.duplicated(["round", "seed", "model"]).any()
    second = weeks[(weeks["round"] == 2) & (weeks["seed"] == 9) & (weeks["model"] == "ensemble")].iloc[0]
    assert (second["test_from"], second["test_to"]) == ("2026-03-08", "2026-03-13")
    rows = scored(1, 9, 0.3)
    assert second["recall"] == rows.loc[rows["is_fraud"], "is_alert"].mean()


def test_scenarios_count_each_fraud_once_however_many_seeds_there_are() -> None:
    frauds = pd.concat([scored(number, SEEDS[0], 0.6) for number in range(2)]).query("is_fraud")
    listed = REPORT.scenarios.set_index(["model", "scenario"])
    for name in ("champion", "ensemble"):
        assert listed.loc[(name, "stolen"), "frauds"] == (frauds["scenario"] == "stolen").sum()
        assert listed.loc[(name, "unknown"), "frauds"] == (frauds["scenario"] == "").sum()
    found = pd.concat([scored(number, seed, 0.6) for number in range(2) for seed in SEEDS]).query(
        "scenario == 'stolen'"
    )
    assert listed.loc[("champion", "stolen"), "recall"] == found["is_alert"].mean()


def test_alerts_and_frauds_are_counted_for_each_day() -> None:
    volumes = REPORT.volumes
    assert set(volumes) == {"day", "model", "alerts", "frauds"}
    assert len(volumes) == 13 * len(SEEDS) * 2
    of_champion = volumes[volumes["model"] == "champion"]
    rows = pd.concat([scored(number, seed, 0.6) for number in range(2) for seed in SEEDS])
    expected = rows.groupby("day")[["is_alert", "is_fraud"]].sum()
    assert of_champion.groupby("day")["alerts"].sum().tolist() == expected["is_alert"].tolist()
    assert of_champion.groupby("day")["frauds"].sum().tolist() == expected["is_fraud"].tolist()


def test_curves_are_the_mean_over_rounds_and_seeds() -> None:
    curves = [evaluation.curve(scored(number, seed, 0.3)) for seed in SEEDS for number in range(2)]
    pd.testing.assert_frame_equal(REPORT.curves["ensemble"], evaluation.mean_curve(curves))


def test_the_protocol_says_what_was_trained_and_decided_when() -> None:
    assert json.loads(json.dumps(REPORT.protocol))["source"] == "bank"
    first, second = REPORT.protocol["rounds"]
    assert first == {
        "train": "2026-01-01 to 2026-01-21",
        "calibrate": "2026-01-22 to 2026-02-10",
        "test": "2026-03-01 to 2026-03-07",
        "scoring_mode": "stacked, ensemble",
        "threshold": [calibration(0).threshold] * 2,
        "adjustment": "",
        "expected_alerts_per_day": [calibration(0).alerts_per_day.value] * 2,
        "reviewed": 65,
        "reviewed_frauds": 6,
    }
    assert second["train"] == "2026-01-08 to 2026-01-28"
    assert second["threshold"] == [calibration(1).threshold] * 2


def test_a_model_that_a_round_could_not_train_is_left_out() -> None:
    several = results(("champion", "ensemble", "feedback_classifier"))
    assert list(summarise(ROUNDS, several, PROTOCOL).models) == ["champion", "ensemble", "feedback_classifier"]
    several[SEEDS[1]][0] = result(0, SEEDS[1])
    partly = summarise(ROUNDS, several, PROTOCOL)
    assert list(partly.models) == ["champion", "ensemble"]
    assert set(partly.weeks["model"]) == set(partly.curves) == {"champion", "ensemble"}


def test_without_trouble_there_are_no_warnings() -> None:
    assert calibration(0).feasible
    assert REPORT.warnings == []


def test_limits_and_cold_starts_are_told_once_with_their_test_window_and_adjustments_with_their_round() -> None:
    rows = scored_window(400)
    limited = fit_threshold(rows, target_recall=0.99, max_alerts_per_day=2, previous=calibration(0), resamples=20)
    cold = fit_without_labels(rows, max_alerts_per_day=5, resamples=20)
    assert limited.limit
    assert limited.adjustment

    def told(of_round: RoundResult, fitted: Calibration) -> RoundResult:
        return replace(of_round, calibrations={**of_round.calibrations, "champion": fitted})

    troubled = {seed: [told(first, limited), told(second, cold)] for seed, (first, second) in results().items()}
    report = summarise(ROUNDS, troubled, PROTOCOL)
    assert report.warnings == [
        f"test from 2026-03-01: {limited.limit}",
        "test from 2026-03-08: no fraud was known, the threshold is a budget of 5.0 alerts a day (no labels)",
    ]
    assert [each["adjustment"] for each in report.protocol["rounds"]] == [limited.adjustment, ""]
