"""Random reviews: who is drawn, and that what they say of recall is not biased."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.labels import no_labels
from fraud_pipeline.core.reviews import estimate_recall, sample_below_threshold, with_outcomes
from fraud_pipeline.core.schema import LABEL_COLUMNS

DAY = date(2026, 3, 1)


def scores(rows: int, alerts: int = 0) -> pd.DataFrame:
    """Transactions of a day, the first of them alerts."""
    return pd.DataFrame({"transaction_id": [f"t{n}" for n in range(rows)], "is_alert": np.arange(rows) < alerts})


def population(days: int = 5, seed: int = 0) -> pd.DataFrame:
    """Days of different size and quality; a part of the missed frauds is reported."""
    rng = np.random.default_rng(seed)
    frames = []
    for day in range(days):
        rows = int(rng.integers(100, 400))
        is_fraud = rng.random(rows) < rng.uniform(0.01, 0.06)
        is_alert = np.where(is_fraud, rng.random(rows) < 0.6, rng.random(rows) < 0.02)
        frame = pd.DataFrame({"is_alert": is_alert, "is_fraud": is_fraud})
        frame["is_reported"] = is_fraud & (rng.random(rows) < 0.4)
        frames.append(frame.assign(day=day, transaction_id=[f"{day}-{n}" for n in range(rows)]))
    return pd.concat(frames, ignore_index=True)


def reviewed(everything: pd.DataFrame, size: int, seed: int) -> pd.DataFrame:
    drawn = [sample_below_threshold(of_day, DAY, size, seed) for _, of_day in everything.groupby("day")]
    ids = pd.concat(drawn)["transaction_id"]
    return everything.assign(is_reviewed=everything["transaction_id"].isin(ids))


@given(st.integers(0, 60), st.integers(0, 20), st.integers(0, 10), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_the_draw_has_the_size_asked_for_is_below_the_threshold_and_knows_no_order(
    rows: int, alerts: int, size: int, seed: int
) -> None:
    day_scores = scores(rows, min(alerts, rows))
    drawn = sample_below_threshold(day_scores, DAY, size, seed)
    assert len(drawn) == min(size, rows - min(alerts, rows))
    assert not drawn["is_alert"].any()
    shuffled = sample_below_threshold(day_scores.sample(frac=1, random_state=1), DAY, size, seed)
    assert set(shuffled["transaction_id"]) == set(drawn["transaction_id"])


def test_the_draw_depends_on_seed_and_day() -> None:
    draws = {
        tuple(sample_below_threshold(scores(500), day, 5, seed)["transaction_id"])
        for day in (DAY, date(2026, 3, 2))
        for seed in (0, 1)
    }
    assert len(draws) == 4


def test_a_transaction_that_rises_above_the_threshold_is_replaced_and_the_others_stay() -> None:
    before = sample_below_threshold(scores(500), DAY, 5, 0)["transaction_id"]
    rescored = scores(500).assign(is_alert=lambda frame: frame["transaction_id"] == before.iloc[2])
    after = sample_below_threshold(rescored, DAY, 5, 0)["transaction_id"]
    assert len(after) == 5
    assert set(before) - set(after) == {before.iloc[2]}


def test_every_transaction_is_drawn_equally_often() -> None:
    counts = np.zeros(40)
    for seed in range(800):
        drawn = sample_below_threshold(scores(40), DAY, 5, seed)
        counts[drawn["transaction_id"].str[1:].astype(int)] += 1
    expected = 800 * 5 / 40
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 80  # 39 degrees of freedom, a draw without replacement: beyond the 99.99 % point


@pytest.mark.parametrize("size", [5, 25])
def test_missed_frauds_are_estimated_without_bias_and_the_interval_holds(size: int) -> None:
    everything = population()
    missed = (everything["is_fraud"] & ~everything["is_alert"]).sum()
    recall = everything.loc[everything["is_fraud"], "is_alert"].mean()
    estimates = [estimate_recall(reviewed(everything, size, seed)) for seed in range(60)]
    values = np.array([estimate.missed for estimate in estimates])
    assert abs(values.mean() - missed) < 4 * values.std() / np.sqrt(len(values))
    held = [estimate.recall_low <= recall <= estimate.recall_high for estimate in estimates]
    assert np.mean(held) >= 0.95


def test_reviewing_everything_gives_the_recall_itself() -> None:
    everything = population()
    estimate = estimate_recall(reviewed(everything, 10_000, 0))
    assert estimate.recall == pytest.approx(everything.loc[everything["is_fraud"], "is_alert"].mean())
    assert estimate.missed == (everything["is_fraud"] & ~everything["is_alert"]).sum()
    assert estimate.reviewed == estimate.below


def test_a_reviewed_fraud_stands_for_all_that_were_not_drawn() -> None:
    frame = pd.DataFrame({"day": 0, "is_alert": [True] * 4 + [False] * 101})
    frame["is_fraud"] = [True] * 3 + [False] + [True, True] + [False] * 99
    frame["is_reported"] = frame.index == 4
    frame["is_reviewed"] = (frame.index > 4) & (frame.index < 25)
    estimate = estimate_recall(frame)
    # One of 20 reviewed among the 100 that nobody reported, and one that was reported.
    assert (estimate.found, estimate.reported, estimate.missed) == (3, 1, 6.0)
    assert estimate.recall == pytest.approx(3 / 9)
    # Garwood's exact interval for one Poisson count, 0.0253 to 5.572, five times; but one fraud was seen.
    assert estimate.missed_low == pytest.approx(1 + 1)
    assert estimate.missed_high == pytest.approx(1 + 5 * 5.572, abs=0.05)
    assert estimate.recall_low == pytest.approx(3 / (3 + estimate.missed_high))


def test_without_a_fraud_in_the_draw_the_interval_says_how_many_there_may_be() -> None:
    frame = pd.DataFrame({"day": 0, "is_alert": [True] + [False] * 1000, "is_fraud": [True] + [False] * 1000})
    frame = frame.assign(is_reported=False, is_reviewed=frame.index > 900)
    estimate = estimate_recall(frame)
    assert (estimate.recall, estimate.recall_high) == (1.0, 1.0)
    assert estimate.missed_high == pytest.approx(3.689 * 10, rel=0.01)


def test_more_reviews_narrow_the_interval() -> None:
    everything = population()
    widths = [
        np.mean(
            [e.missed_high - e.missed_low for e in (estimate_recall(reviewed(everything, n, s)) for s in range(10))]
        )
        for n in (5, 20, 80)
    ]
    assert widths[0] > widths[1] > widths[2]


def test_days_without_a_decided_review_are_left_out_altogether() -> None:
    everything = reviewed(population(days=3), 20, 0)
    without = everything.assign(is_reviewed=everything["is_reviewed"] & (everything["day"] != 1))
    estimate, expected = estimate_recall(without), estimate_recall(everything[everything["day"] != 1])
    assert (estimate.days, estimate.days_left_out) == (2, 1)
    assert (estimate.missed, estimate.found, estimate.below) == (expected.missed, expected.found, expected.below)


def test_without_any_decided_review_there_is_no_estimate() -> None:
    with pytest.raises(InvalidDataError, match="no random review of these days has been decided"):
        estimate_recall(reviewed(population(days=2), 0, 0))


def test_without_any_fraud_recall_is_not_a_number() -> None:
    quiet = reviewed(population(days=1).assign(is_fraud=False, is_reported=False), 10, 0)
    estimate = estimate_recall(quiet)
    assert np.isnan(estimate.recall)
    assert estimate.recall_low == 0.0


def test_only_what_was_drawn_and_decided_is_reviewed_and_only_chargebacks_are_reported() -> None:
    known = pd.DataFrame(
        [
            ("t0", True, "analyst"),
            ("t1", True, "chargeback_file"),
            ("t2", False, "unreported"),
            ("t3", False, "analyst"),
            ("t4", True, "analyst"),
        ],
        columns=["transaction_id", "is_fraud", "label_source"],
    ).assign(user_id="u", merchant_id="m", event_time=datetime(2026, 3, 1, tzinfo=UTC))
    known["label_known_at"] = datetime(2026, 3, 2, tzinfo=UTC)
    known = known[list(LABEL_COLUMNS)].astype(no_labels().dtypes)
    drawn = pd.DataFrame({"transaction_id": ["t2", "t3", "t5"]})
    outcomes = with_outcomes(scores(6, alerts=1).assign(day=0), drawn, known)
    flags = outcomes[["is_fraud", "is_reported", "is_reviewed"]].astype(int).to_numpy().tolist()
    assert flags == [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]]
