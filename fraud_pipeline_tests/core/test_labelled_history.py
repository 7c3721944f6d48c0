"""All days with their features, and labels that become known no earlier than they did."""

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core import features
from fraud_pipeline.core.errors import TrainingError
from fraud_pipeline.core.labelled_history import LabelledHistory
from fraud_pipeline.core.schema import EVENT_KEYS, FEATURE_COLUMNS
from fraud_pipeline_tests.builders import random_rows, transactions

FIRST = date(2026, 1, 1)
DAYS = 5
ROWS = 150


class Case(NamedTuple):
    """Random transactions, the truth about them, and the zone of the days."""

    transactions: pd.DataFrame
    truth: pd.DataFrame
    time_zone: str

    def history(self, **changes: pd.Series) -> LabelledHistory:
        return LabelledHistory(self.transactions, self.truth.assign(**changes), time_zone=self.time_zone)


def case(seed: int = 0, time_zone: str = "UTC") -> Case:
    """Few users and merchants, many frauds, labels after hours or days, a tenth of them never."""
    rng = np.random.default_rng(seed)
    rows = transactions(random_rows(ROWS, users=6, merchants=3, days=DAYS, seed=seed))
    delay = pd.to_timedelta(rng.integers(3600, 4 * 86_400, size=ROWS), unit="s")
    known_at = (rows["event_time"] + delay).mask(pd.Series(rng.random(ROWS) < 0.1))
    truth = pd.DataFrame({"transaction_id": rows["transaction_id"], "is_fraud": rng.random(ROWS) < 0.4})
    truth["label_known_at"] = known_at
    return Case(rows, truth.sample(frac=1, random_state=seed), time_zone)


cases = st.builds(case, st.integers(0, 2**32 - 1), st.sampled_from(("UTC", "Asia/Tokyo", "America/New_York")))
positions = st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=30).map(lambda rows: np.array(rows, dtype=np.int64))


def day(number: int) -> date:
    return FIRST + timedelta(number)


def of_day(history: LabelledHistory, number: int) -> pd.DataFrame:
    return history.features.iloc[history.rows(day(number), day(number))]


@given(cases)
def test_the_features_are_those_that_a_build_with_these_label_events_gives(given: Case) -> None:
    rows, truth, time_zone = given
    events = rows[list(EVENT_KEYS)].merge(truth[truth["label_known_at"].notna()], on="transaction_id")
    built = features.build(rows, features.no_history(), events, time_zone=time_zone)
    history = given.history()
    pd.testing.assert_frame_equal(history.features.drop(columns="day"), built)
    days = rows["event_time"].dt.tz_convert(time_zone).dt.strftime("%Y-%m-%d")
    assert history.features["day"].tolist() == days.tolist()


def test_a_transaction_that_the_truth_does_not_know_is_genuine_and_never_labelled() -> None:
    rows, truth, _ = case()
    known = truth[truth["transaction_id"] != rows["transaction_id"].iloc[3]]
    history = LabelledHistory(rows, known.astype({"is_fraud": object}))
    assert not history.is_fraud[3]
    assert pd.isna(history.known_at.iloc[3])
    assert history.is_fraud.sum() == known["is_fraud"].sum()


def test_the_baseline_reaches_back_as_many_days_as_it_is_told() -> None:
    rows, truth, _ = case()
    short, long = (LabelledHistory(rows, truth, baseline_days=days).features for days in (1, 90))
    differs = short["user_mean_amount_90d"] != long["user_mean_amount_90d"]
    assert differs.any()
    assert not differs[short["day"] <= day(1).isoformat()].any()


def test_scenarios_are_kept_and_empty_where_unknown() -> None:
    rows, truth, _ = case()
    told = truth.assign(scenario=truth["is_fraud"].map({True: "skimmed", False: None}))
    history = LabelledHistory(rows, told)
    assert history.scenario.tolist() == np.where(history.is_fraud, "skimmed", "").tolist()
    assert set(LabelledHistory(rows, truth).scenario) == {""}


@given(cases, st.integers(0, DAYS - 1), st.integers(0, DAYS - 1))
def test_rows_of_a_window_are_those_of_its_days(given: Case, first: int, more: int) -> None:
    history = given.history()
    where = history.rows(day(first), day(first + more))
    days = {day(number).isoformat() for number in range(first, first + more + 1)}
    assert np.flatnonzero(history.features["day"].isin(days)).tolist() == list(range(where.start, where.stop))


@given(cases, st.integers(1, DAYS + 4))
def test_labels_known_at_or_after_the_as_of_day_are_hidden(given: Case, as_of: int) -> None:
    history = given.history()
    window = history.labelled(day(-1), day(DAYS), day(as_of))
    known = history.known_at < pd.Timestamp(day(as_of), tz=given.time_zone)
    assert window["is_fraud"].notna().tolist() == known.tolist()
    assert window.loc[known, "is_fraud"].tolist() == history.is_fraud[known].tolist()


def test_a_label_that_is_known_at_the_very_start_of_the_as_of_day_is_hidden() -> None:
    given = case(time_zone="Asia/Tokyo")
    midnight = pd.Timestamp(day(3), tz="Asia/Tokyo").tz_convert("UTC")
    at = [midnight - pd.Timedelta(microseconds=1), midnight]
    history = given.history(label_known_at=pd.Series([at[n % 2] for n in range(ROWS)], index=given.truth.index))
    window = history.labelled(FIRST, day(DAYS), day(3))
    assert window["is_fraud"].notna().tolist() == (history.known_at < midnight).tolist()
    assert 0 < window["is_fraud"].isna().sum() < ROWS


def test_a_window_without_transactions_is_refused() -> None:
    with pytest.raises(TrainingError, match="no transactions from 2026-03-01 to 2026-03-02; choose days that the so"):
        case().history().labelled(date(2026, 3, 1), date(2026, 3, 2), date(2026, 4, 1))


@given(cases, positions, st.integers(0, DAYS + 1))
def test_learning_never_makes_a_label_known_later(given: Case, rows: np.ndarray, at: int) -> None:
    history = given.history()
    before, instant = history.known_at.copy(), history.start_of(day(at))
    history.learn(rows, instant)
    expected = before.copy()
    for row in rows:
        expected.iloc[row] = instant if pd.isna(before.iloc[row]) else min(before.iloc[row], instant)
    pd.testing.assert_series_equal(history.known_at, expected)


@given(cases, positions, st.integers(0, DAYS - 1), st.integers(0, DAYS - 1))
def test_a_relabelled_day_is_that_of_a_full_rebuild_with_the_same_knowledge(
    given: Case, rows: np.ndarray, learnt_on: int, relabelled: int
) -> None:
    history = given.history()
    # What is learnt of a day is learnt after it.
    earlier = rows[rows < history.rows(day(learnt_on), day(learnt_on)).start]
    history.learn(earlier, history.start_of(day(learnt_on)))
    history.relabel(day(relabelled))
    by_row = given.transactions[["transaction_id"]].assign(known_at=history.known_at)
    known_at = given.truth[["transaction_id"]].merge(by_row, on="transaction_id")["known_at"]
    rebuilt = given.history(label_known_at=known_at.set_axis(given.truth.index))
    pd.testing.assert_series_equal(rebuilt.known_at, history.known_at)
    pd.testing.assert_frame_equal(of_day(history, relabelled), of_day(rebuilt, relabelled))


@given(cases, positions, st.integers(0, DAYS - 1))
def test_what_is_learnt_after_a_day_does_not_change_the_rows_of_the_day(given: Case, rows: np.ndarray, at: int) -> None:
    history = given.history()
    before = of_day(history, at).copy()
    history.learn(rows, history.start_of(day(at + 1)))
    history.relabel(day(at))
    pd.testing.assert_frame_equal(of_day(history, at), before)


@given(cases, positions, st.integers(0, DAYS - 1), st.integers(0, 86_399))
def test_what_is_learnt_during_a_day_changes_only_later_rows_of_it(
    given: Case, rows: np.ndarray, at: int, second: int
) -> None:
    history = given.history()
    instant = history.start_of(day(at)) + pd.Timedelta(seconds=second)
    is_before = (given.transactions["event_time"] <= instant).to_numpy()
    before = history.features[is_before].copy()
    history.learn(rows[is_before[rows]], instant)
    history.relabel(day(at))
    pd.testing.assert_frame_equal(history.features[is_before], before)


def test_what_is_learnt_changes_the_next_day() -> None:
    history = case().history(label_known_at=pd.Series(pd.NaT, index=case().truth.index, dtype="datetime64[us, UTC]"))
    before = of_day(history, 1).copy()
    first = history.rows(FIRST, FIRST)
    history.learn(np.arange(first.start, first.stop), history.start_of(day(1)))
    history.relabel(day(1))
    changed = of_day(history, 1)
    assert before["merchant_known_frauds_7d"].eq(0).all()
    assert changed["merchant_known_frauds_7d"].gt(0).any()
    others = [name for name in FEATURE_COLUMNS if "known" not in name and "fraud" not in name and "genuine" not in name]
    pd.testing.assert_frame_equal(changed[others], before[others])


def test_a_copy_leaves_the_original_alone() -> None:
    given = case()
    history, untouched = given.history(), given.history()
    twin = history.copy()
    twin.learn(np.arange(ROWS // 2), twin.start_of(FIRST))
    for number in range(DAYS):
        twin.relabel(day(number))
    assert not twin.features.equals(history.features)
    pd.testing.assert_frame_equal(history.features, untouched.features)
    pd.testing.assert_series_equal(history.known_at, untouched.known_at)
