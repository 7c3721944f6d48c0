"""A profile is the same whether it is computed at once or merged from days."""

import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core import profiles
from fraud_pipeline.core.schema import ACTIVITY_COLUMNS, TIME_DTYPE
from fraud_pipeline_tests.builders import DAY, JANUARY, Row, instants, random_rows, transactions
from fraud_pipeline_tests.core.streams import Stream, streams


def days_of(rows: pd.DataFrame) -> list[pd.DataFrame]:
    return [part for _, part in rows.groupby(rows["event_time"].dt.date)]


def merged(rows: pd.DataFrame) -> pd.DataFrame:
    return profiles.merge(pd.concat([profiles.summarise_day(day) for day in days_of(rows)], ignore_index=True))


def deviations(activity: pd.DataFrame) -> np.ndarray:
    return profiles.standard_deviation(activity["n"].to_numpy(np.float64), activity["m2"].to_numpy())


@given(stream=streams())
def test_merged_days_reproduce_the_statistics_of_all_rows(stream: Stream) -> None:
    profile = merged(transactions(stream.rows))
    assert profile["user_id"].tolist() == sorted({row.user_id for row in stream.rows})
    for known, std in zip(profile.to_dict("records"), deviations(profile), strict=True):
        own = [row for row in stream.rows if row.user_id == known["user_id"]]
        amounts = [row.amount for row in own]
        assert known["n"] == len(own)
        assert known["mean"] == pytest.approx(statistics.fmean(amounts), rel=1e-9, abs=1e-9)
        expected = statistics.stdev(amounts) if len(own) > 1 else 0.0
        assert std == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert known["first_event_time"] == instants([own[0].time])[0]
        assert known["last_event_time"] == instants([own[-1].time])[0]


@given(days=st.lists(st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=8), min_size=1, max_size=8))
def test_merging_equals_one_pass_over_everything(days: list[list[int]]) -> None:
    rows = transactions(
        Row(JANUARY + day * DAY + position, f"t{day}-{position}", amount=cents / 100)
        for day, amounts in enumerate(days)
        for position, cents in enumerate(amounts)
    )
    pd.testing.assert_frame_equal(merged(rows), profiles.summarise_day(rows), rtol=1e-9, atol=1e-9)


def test_a_rebuild_repeats_to_the_last_bit() -> None:
    rows = transactions(random_rows(2000, days=60))
    pd.testing.assert_frame_equal(merged(rows), merged(rows), check_exact=True)


def test_other_users_do_not_move_a_bit_of_a_users_summary() -> None:
    rows = transactions(random_rows(1000, users=3, days=1))
    alone = [profiles.summarise_day(own) for _, own in rows.groupby("user_id")]
    together = profiles.summarise_day(rows)
    pd.testing.assert_frame_equal(pd.concat(alone, ignore_index=True), together, check_exact=True)


def test_one_day_merged_alone_stays_as_it_is() -> None:
    day = profiles.summarise_day(transactions(random_rows(300, days=1)))
    pd.testing.assert_frame_equal(profiles.merge(day), day, check_exact=True)


def test_constant_large_amounts_of_a_very_active_user_have_no_spread() -> None:
    rows = transactions(Row(JANUARY + position, f"t{position:06}", amount=1e8 + 1e-2) for position in range(100_000))
    day = profiles.summarise_day(rows)
    days = profiles.merge(pd.concat([day, day, day], ignore_index=True))
    for activity, n in ((day, 100_000), (days, 300_000)):
        assert activity["n"].tolist() == [n]
        assert activity["mean"].tolist() == [1e8 + 1e-2]
        assert deviations(activity).tolist() == [0.0]


def test_large_amounts_that_hardly_differ_keep_their_spread_over_days() -> None:
    cents = np.random.default_rng(0).integers(0, 10, size=100_000)
    rows = transactions(
        Row(JANUARY + (position % 60) * DAY + position, f"t{position:06}", amount=1e8 + int(cent) / 100)
        for position, cent in enumerate(cents)
    )
    (std,) = deviations(merged(rows))
    # A sum of squares would have lost all digits: (1e8)^2 has a last place of 2. The amounts have 1.5e-8.
    assert std == pytest.approx(cents.std(ddof=1) / 100, abs=1.5e-8)


def test_users_come_sorted_with_fixed_columns_and_types() -> None:
    activity = profiles.summarise_day(transactions([Row(JANUARY, "t1", "u2"), Row(JANUARY + 1, "t2", "u10")]))
    assert tuple(activity) == ACTIVITY_COLUMNS
    assert activity["user_id"].tolist() == ["u10", "u2"]
    assert activity["first_event_time"].tolist() == list(instants([JANUARY + 1, JANUARY]))
    types = ["str", "int64", "float64", "float64", TIME_DTYPE, TIME_DTYPE]
    assert activity.dtypes.astype("str").tolist() == types


@pytest.mark.parametrize("make", [profiles.no_activity, lambda: profiles.merge(profiles.no_activity())])
def test_no_activity_has_no_rows_and_the_same_types(make: type[pd.DataFrame]) -> None:
    some = profiles.summarise_day(transactions([Row(JANUARY, "t1")]))
    assert len(make()) == 0
    assert make().dtypes.equals(some.dtypes)


@pytest.mark.parametrize("time_zone", ["UTC", "America/New_York"])
def test_days_summarised_at_once_are_those_summarised_one_by_one(time_zone: str) -> None:
    rows = transactions(random_rows(800, days=30))
    parts = [part for _, part in rows.groupby(rows["event_time"].dt.tz_convert(time_zone).dt.date)]
    one_by_one = pd.concat([profiles.summarise_day(part) for part in parts], ignore_index=True)
    at_once = profiles.summarise_days(rows, time_zone)
    assert at_once["first_event_time"].dt.tz_convert(time_zone).dt.date.is_monotonic_increasing
    by = ["user_id", "first_event_time"]
    pd.testing.assert_frame_equal(
        at_once.sort_values(by, ignore_index=True), one_by_one.sort_values(by, ignore_index=True), check_exact=True
    )
    pd.testing.assert_frame_equal(profiles.merge(at_once), profiles.merge(one_by_one), check_exact=True)


def test_the_index_of_the_transactions_does_not_matter() -> None:
    rows = transactions(random_rows(50, days=1))
    pd.testing.assert_frame_equal(profiles.summarise_day(rows.set_axis(rows.index[::-1])), profiles.summarise_day(rows))


def test_standard_deviation_is_that_of_a_sample_and_0_below_two_values() -> None:
    std = profiles.standard_deviation(np.array([0.0, 1.0, 2.0, 5.0]), np.array([0.0, 0.0, 2.0, 36.0]))
    np.testing.assert_allclose(std, [0.0, 0.0, np.sqrt(2), 3.0])
