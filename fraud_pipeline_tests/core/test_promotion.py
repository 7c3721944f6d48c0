"""A challenger takes over only if it is better on the same rows, and not by luck."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.promotion import Verdict, compare, resampled_average_precision
from fraud_pipeline_tests.builders import scored_window

IS_FRAUD = np.array([True, False, True, False, False])
PERFECT = np.array([0.9, 0.1, 0.8, 0.2, 0.3])
SECOND_BEST = np.array([0.9, 0.1, 0.2, 0.8, 0.15])
WINDOW = scored_window(4000, seed=1)
SCORES = WINDOW["anomaly_score"].to_numpy()
TRUTH = WINDOW["is_fraud"].to_numpy()
NOISE = np.random.default_rng(0).standard_normal(4000)


def duel(challenger: Floats, champion: Floats | None, **asked: float) -> Verdict:
    return compare(TRUTH, challenger, champion, day=WINDOW["day"], resamples=200, **asked)  # type: ignore[arg-type]  # numbers by name


def test_without_a_champion_the_challenger_is_promoted() -> None:
    verdict = compare(IS_FRAUD, SECOND_BEST, None)
    assert verdict.promoted
    assert verdict.champion_average_precision is None
    assert verdict.average_precision_difference is None
    assert verdict.reason == "there is no champion yet"
    assert verdict.challenger_recall == 0.5


def test_a_better_challenger_takes_over() -> None:
    verdict = compare(IS_FRAUD, PERFECT, SECOND_BEST)
    assert verdict.promoted
    assert verdict.challenger_average_precision == pytest.approx(1.0)
    # Frauds are on ranks 1 and 3: (1/1 + 2/3) / 2.
    assert verdict.champion_average_precision == pytest.approx(5 / 6)
    assert verdict.reason == "average precision 1.000 is above the champion's 0.833"


@pytest.mark.parametrize("champion", [PERFECT, PERFECT * 0.5], ids=["the same scores", "the same order"])
def test_a_tie_keeps_the_champion(champion: np.ndarray) -> None:
    verdict = compare(IS_FRAUD, PERFECT, champion)
    assert not verdict.promoted
    assert verdict.reason == "average precision 1.000 is not above the champion's 1.000"


def test_a_worse_challenger_is_not_promoted() -> None:
    verdict = duel(SCORES + 0.2 * NOISE, SCORES)
    assert not verdict.promoted
    assert "is not above the champion's" in verdict.reason


def test_a_challenger_that_is_better_on_all_days_alike_wins() -> None:
    verdict = duel(SCORES, SCORES + 0.2 * NOISE, alerts_per_day=20)
    assert verdict.promoted
    assert verdict.average_precision_difference is not None
    assert 0 < verdict.average_precision_difference.low < verdict.average_precision_difference.value


def one_good_day() -> tuple[Floats, Floats]:
    """The challenger is right on every fraud of one day, and a little worse on the other days."""
    on_the_day = (WINDOW["day"] == WINDOW["day"].max()).to_numpy() & TRUTH
    return np.where(on_the_day, 1.0 + SCORES, SCORES + 0.05 * NOISE), np.where(on_the_day, 0.3 * SCORES, SCORES)


def test_a_challenger_that_is_better_by_the_luck_of_a_day_does_not() -> None:
    challenger, champion = one_good_day()
    verdict = duel(challenger, champion, tolerance=0.0)
    assert verdict.average_precision_difference is not None
    assert verdict.average_precision_difference.value > 0 > verdict.average_precision_difference.low
    assert not verdict.promoted
    assert "above the champion's" in verdict.reason
    assert "on other days (tolerated: 0.000)" in verdict.reason
    assert duel(challenger, champion, tolerance=0.5).promoted


def test_lower_recall_at_the_budget_keeps_the_champion() -> None:
    # The challenger puts half of the frauds at the very top, and the others beyond what the budget reaches.
    frauds = np.flatnonzero(TRUTH)
    top = frauds[: len(frauds) // 2]
    challenger, champion = np.where(TRUTH, 0.4, SCORES), np.where(TRUTH, 0.62, SCORES)
    challenger[top] = 2.0
    asked = {"alerts_per_day": 40, "tolerance": 1.0}
    verdict = duel(challenger, champion, **asked)
    assert verdict.champion_recall is not None
    assert verdict.challenger_recall < verdict.champion_recall - 0.02
    assert verdict.champion_average_precision is not None
    assert verdict.challenger_average_precision > verdict.champion_average_precision
    assert not verdict.promoted
    assert verdict.reason.endswith("fewer of the frauds (tolerated: 2.0%)")
    assert "560 alerts find" in verdict.reason
    assert duel(challenger, champion, recall_tolerance=1.0, **asked).promoted


def test_recall_and_overlap_are_those_of_the_highest_scores() -> None:
    # Two alerts each: rows 0 and 2 of the challenger, 0 and 3 of the champion.
    verdict = compare(IS_FRAUD, PERFECT, SECOND_BEST, alerts_per_day=2)
    assert verdict.alerts == 2
    assert (verdict.challenger_recall, verdict.champion_recall) == (1.0, 0.5)
    assert verdict.alert_overlap == 0.5
    assert verdict.alert_jaccard == pytest.approx(1 / 3)


def test_without_a_budget_there_are_as_many_alerts_as_frauds() -> None:
    assert duel(SCORES, SCORES).alerts == TRUTH.sum()
    assert duel(SCORES, SCORES, alerts_per_day=20).alerts == 280
    assert duel(SCORES, SCORES, alerts_per_day=1e6).alerts == 4000


def test_the_same_ranking_on_another_scale_overlaps_wholly_but_jumps_in_a_plot_of_scores() -> None:
    verdict = duel(SCORES**4, SCORES)
    assert (verdict.alert_overlap, verdict.alert_jaccard) == (1.0, 1.0)
    assert verdict.rank_correlation == pytest.approx(1.0)
    assert verdict.score_psi is not None
    assert verdict.score_psi > 0.25
    assert duel(SCORES, SCORES).score_psi == 0


def test_one_score_for_all_rows_has_no_rank_correlation() -> None:
    verdict = duel(SCORES, np.full(4000, 0.5))
    assert verdict.rank_correlation is not None
    assert np.isnan(verdict.rank_correlation)


def test_a_window_without_a_fraud_keeps_the_champion() -> None:
    verdict = compare(np.zeros(5, dtype=bool), PERFECT, SECOND_BEST)
    assert not verdict.promoted
    assert verdict.reason == "no fraud of the window has a matured label, so nothing tells the two models apart"
    assert np.isnan(verdict.challenger_average_precision)
    assert compare(np.zeros(5, dtype=bool), PERFECT, None).promoted


@pytest.mark.parametrize("is_fraud", [IS_FRAUD, np.zeros(5, dtype=bool)], ids=["frauds", "no fraud"])
@pytest.mark.parametrize("champion", [SECOND_BEST, None], ids=["champion", "first model"])
def test_a_verdict_is_json_and_its_known_figures_are_flat(is_fraud: np.ndarray, champion: Floats | None) -> None:
    verdict = compare(is_fraud, PERFECT, champion)
    plain = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert plain["promoted"] == verdict.promoted
    assert set(plain) == set(Verdict.__dataclass_fields__)
    assert all(isinstance(value, float) and np.isfinite(value) for value in verdict.figures.values())
    assert ("average_precision_difference_low" in verdict.figures) == (champion is not None and is_fraud.any())
    assert "promoted" not in verdict.figures


def test_the_same_seed_gives_the_same_verdict() -> None:
    assert duel(SCORES, SCORES + 0.1 * NOISE) == duel(SCORES, SCORES + 0.1 * NOISE)
    assert duel(SCORES, SCORES + 0.1 * NOISE) != duel(SCORES, SCORES + 0.1 * NOISE, seed=1)


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.booleans()), min_size=1, max_size=40).filter(
        lambda rows: any(is_fraud for *_, is_fraud in rows)
    ),
    drawn=st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_a_resampled_average_precision_is_that_of_scikit_learn_with_weights(
    rows: list[tuple[int, int, bool]], drawn: list[int]
) -> None:
    frame = pd.DataFrame(rows, columns=["day", "score", "is_fraud"])
    weights = np.array(drawn)[frame["day"]]
    (found,) = resampled_average_precision(
        frame["is_fraud"].to_numpy(), frame["score"].to_numpy(float), frame["day"].to_numpy(), np.array([drawn], float)
    )
    if not weights[frame["is_fraud"]].any():
        assert np.isnan(found)
        return
    assert found == pytest.approx(average_precision_score(frame["is_fraud"], frame["score"], sample_weight=weights))
