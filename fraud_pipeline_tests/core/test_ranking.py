"""Figures of a ranking against scikit-learn, and against trying every threshold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.ranking import RANK_FIGURES, Ranking, card_precisions

DAYS = 3


@st.composite
def rankings(draw: st.DrawFn) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64], Floats]:
    """Scores with many ties, truth, day, and how often each day counts."""
    rows = draw(
        st.lists(st.tuples(st.integers(-3, 6), st.booleans(), st.integers(0, DAYS - 1)), min_size=1, max_size=40)
    )
    scores, is_fraud, day = (np.array(column) for column in zip(*rows, strict=True))
    weights = draw(st.lists(st.integers(0, 3), min_size=DAYS, max_size=DAYS))
    return scores / 4.0, is_fraud, day.astype(np.int64), np.array(weights, dtype=np.float64)


@given(rankings())
def test_auc_and_average_precision_are_scikit_learns_with_the_days_as_weights(
    case: tuple[Floats, NDArray[np.bool_], NDArray[np.int64], Floats],
) -> None:
    scores, is_fraud, day, weights = case
    figures = Ranking.of(scores, is_fraud, day, DAYS).figures(weights)
    counted = weights[day]
    if counted[is_fraud].sum() == 0:
        assert all(np.isnan(value) for value in figures.values())
        return
    assert figures["average_precision"] == pytest.approx(
        average_precision_score(is_fraud, scores, sample_weight=counted)
    )
    if counted[~is_fraud].sum() == 0:
        assert np.isnan(figures["roc_auc"])
    else:
        assert figures["roc_auc"] == pytest.approx(roc_auc_score(is_fraud, scores, sample_weight=counted))


@given(rankings())
def test_recall_and_false_positive_rate_at_each_other_are_the_best_of_all_thresholds(
    case: tuple[Floats, NDArray[np.bool_], NDArray[np.int64], Floats],
) -> None:
    scores, is_fraud, day, weights = case
    figures = Ranking.of(scores, is_fraud, day, DAYS).figures(weights)
    repeats = weights[day].astype(np.int64)
    every = pd.DataFrame({"score": scores, "is_fraud": is_fraud}).loc[np.repeat(np.arange(len(scores)), repeats)]
    frauds, genuine = every.loc[every["is_fraud"], "score"], every.loc[~every["is_fraud"], "score"]
    if frauds.empty or genuine.empty:
        assert np.isnan(figures["recall_at_fpr_0.01"])
        assert np.isnan(figures["fpr_at_recall_0.85"])
        return
    thresholds = [np.inf, *every["score"].unique()]
    reached = [((frauds >= each).mean(), (genuine >= each).mean()) for each in thresholds]
    for limit in (0.01, 0.123):
        assert figures[f"recall_at_fpr_{limit}"] == max(recall for recall, rate in reached if rate <= limit)
    for target in (0.85, 0.906):
        assert figures[f"fpr_at_recall_{target}"] == min(rate for recall, rate in reached if recall >= target)


def test_a_limit_that_is_met_exactly_counts_as_met() -> None:
    # 1 of 100 genuine above all but one fraud, 17 of 20 frauds above the next genuine one.
    scores = np.concatenate([np.full(17, 0.9), np.full(3, 0.1), [0.9], np.full(99, 0.5)])
    is_fraud = np.arange(120) < 20
    figures = Ranking.of(scores, is_fraud, np.zeros(120, dtype=np.int64), 1).figures(np.ones(1))
    assert figures["recall_at_fpr_0.01"] == 0.85
    assert figures["fpr_at_recall_0.85"] == 0.01


def test_one_score_for_all_rows_is_one_threshold() -> None:
    is_fraud = np.arange(10) < 4
    figures = Ranking.of(np.zeros(10), is_fraud, np.zeros(10, dtype=np.int64), 1).figures(np.ones(1))
    assert figures == {
        "roc_auc": 0.5,
        "average_precision": 0.4,
        "recall_at_fpr_0.01": 0.0,
        "recall_at_fpr_0.123": 0.0,
        "fpr_at_recall_0.85": 1.0,
        "fpr_at_recall_0.906": 1.0,
    }


def test_without_a_fraud_there_are_no_figures_and_no_curve() -> None:
    ranking = Ranking.of(np.arange(5.0), np.zeros(5, dtype=bool), np.zeros(5, dtype=np.int64), 1)
    assert np.isnan(list(ranking.figures(np.ones(1)).values())).all()
    assert tuple(ranking.figures(np.ones(1))) == RANK_FIGURES
    assert ranking.curve(10).empty


def test_a_curve_has_the_strictest_threshold_of_each_recall() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    is_fraud = np.array([True, False, True, False, False, True])
    curve = Ranking.of(scores, is_fraud, np.zeros(6, dtype=np.int64), 1).curve(6)
    thirds = np.array([1, 1, 2, 2, 3, 3])
    assert curve["recall"].tolist() == (thirds / 3).tolist()
    assert curve["precision"].tolist() == [1, 1, 2 / 3, 2 / 3, 0.5, 0.5]
    assert curve["false_positive_rate"].tolist() == [0, 0, 1 / 3, 1 / 3, 1, 1]


def test_a_curve_without_genuine_rows_knows_no_false_positive_rate() -> None:
    curve = Ranking.of(np.arange(4.0), np.ones(4, dtype=bool), np.zeros(4, dtype=np.int64), 1).curve(4)
    assert curve["precision"].tolist() == [1, 1, 1, 1]
    assert curve["false_positive_rate"].isna().all()


def card_day(rows: Sequence[tuple[int, int, float, bool]], k: int, **options: bool) -> list[float]:
    day, card, scores, is_fraud = (np.array(column) for column in zip(*rows, strict=True))
    return list(card_precisions(scores, is_fraud, card.astype(np.int64), day.astype(np.int64), k, **options))


def test_a_card_ranks_by_its_highest_score_and_counts_if_any_of_its_transactions_was_a_fraud() -> None:
    # Card 0's fraud has a low score, but another transaction brings the card onto the list.
    rows = [(0, 0, 0.9, False), (0, 0, 0.1, True), (0, 1, 0.8, False), (0, 2, 0.7, True)]
    assert card_day(rows, k=1) == [1.0]
    assert card_day(rows, k=2) == [0.5]
    assert card_day(rows, k=3) == [2 / 3]


def test_a_card_that_was_found_counts_again_on_later_days_unless_it_is_removed() -> None:
    rows = [(0, 0, 0.9, True), (1, 0, 0.9, True), (1, 1, 0.1, False), (2, 0, 0.9, True)]
    assert card_day(rows, k=1) == [1.0, 1.0, 1.0]
    # Card 0 is blocked: on day 1 a card without fraud is first, on day 2 nobody is left.
    assert card_day(rows, k=1, remove_found=True) == [1.0, 0.0, 0.0]


def test_a_card_on_the_list_without_a_fraud_that_day_stays_in_play() -> None:
    rows = [(0, 0, 0.9, False), (1, 0, 0.9, True)]
    assert card_day(rows, k=1, remove_found=True) == [0.0, 1.0]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 4), st.booleans()), min_size=1, max_size=60
    ),
    st.integers(1, 4),
    st.booleans(),
)
def test_card_precision_is_what_going_through_the_days_by_hand_gives(
    rows: list[Any], k: int, remove_found: bool
) -> None:
    names, day = np.unique([row[0] for row in rows], return_inverse=True)
    expected, found = [], set[int]()
    for each in names:
        cards = {row[1] for row in rows if row[0] == each} - found
        highest = {card: max(r[2] for r in rows if (r[0], r[1]) == (each, card)) for card in cards}
        listed = sorted(cards, key=lambda card: (-highest[card], card))[:k]
        right = {card for card in listed if any(r[3] for r in rows if (r[0], r[1]) == (each, card))}
        expected.append(len(right) / k)
        found |= right if remove_found else set()
    numbered = [(int(position), *row[1:]) for position, row in zip(day, rows, strict=True)]
    assert card_day(numbered, k, remove_found=remove_found) == expected
