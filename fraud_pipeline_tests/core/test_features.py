"""Definitions of the features, against a plain computation and on cases worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fraud_pipeline.core import features, profiles
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.schema import EVENT_KEYS, FEATURE_COLUMNS, TIME_DTYPE
from fraud_pipeline_tests.builders import (
    DAY,
    JANUARY,
    SECOND,
    Event,
    Row,
    features_by_day,
    label_events,
    random_rows,
    transactions,
)
from fraud_pipeline_tests.core.plain_features import plain_features
from fraud_pipeline_tests.core.streams import TIME_ZONES, Stream, streams

HOUR = 3600 * SECOND


def build(rows: list[Row], events: list[Event] | None = None, time_zone: str = "UTC") -> pd.DataFrame:
    return features_by_day(transactions(rows), label_events(events or []), time_zone)


def at(moment: str) -> int:
    return pd.Timestamp(moment).value // 1000


@given(stream=streams(), time_zone=st.sampled_from(TIME_ZONES))
@example(
    # Berlin lost an hour in between: 30 days of 24 hours begin on the 31st calendar day before.
    stream=Stream([Row(at("2026-03-07T22:45Z"), "t1"), Row(at("2026-04-06T22:30Z"), "t2")], []),
    time_zone="Europe/Berlin",
)
def test_every_feature_is_what_its_definition_says(stream: Stream, time_zone: str) -> None:
    built = build(stream.rows, stream.events, time_zone)
    expected = pd.DataFrame(plain_features(stream.rows, stream.events, time_zone)).astype("float64")
    assert set(expected) == set(FEATURE_COLUMNS)
    for name in FEATURE_COLUMNS:
        np.testing.assert_allclose(built[name], expected[name], rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("seed", range(3))
def test_busy_days_agree_with_the_definition_too(seed: int) -> None:
    rows = random_rows(400, users=4, merchants=3, days=4, seed=seed)
    events = [Event(row.time + DAY // 2, row.user_id, row.merchant_id, row.amount < 5) for row in rows]
    built = build(rows, events)
    expected = pd.DataFrame(plain_features(rows, events, "UTC")).astype("float64")
    np.testing.assert_allclose(built[list(FEATURE_COLUMNS)], expected[list(FEATURE_COLUMNS)], rtol=1e-9, atol=1e-9)


def test_a_first_transaction_has_the_stated_values() -> None:
    (first,) = build([Row(at("2026-01-03T10:00Z"), "t1", amount=40.0)]).to_dict("records")
    assert first["user_amount_ratio_90d"] == 1.0
    assert first["user_seconds_since_last"] == 90 * 86_400.0
    assert first["user_count_transactions_24h"] == 1.0
    assert [first[f"merchant_count_transactions_{days}d"] for days in (1, 7, 30)] == [1.0, 1.0, 1.0]
    unknown = [name for name in FEATURE_COLUMNS if "known" in name or "rate" in name]
    habits = ["zscore_90d", "deviation_90d"]
    profile = ["user_mean_amount_90d", "user_std_amount_90d", "user_transactions_per_day_90d", "zscore_x_velocity"]
    assert {first[name] for name in [*unknown, *(f"user_amount_{habit}" for habit in habits), *profile]} == {0.0}


def test_the_z_score_of_a_user_who_always_pays_the_same_stays_bounded() -> None:
    rows = [Row(JANUARY + hour * HOUR, f"t{hour}", amount=20.0) for hour in range(5)]
    built = build([*rows, Row(JANUARY + 5 * HOUR, "t5", amount=30.0)])
    assert built["user_std_amount_90d"].tolist() == [0.0] * 6
    assert built["user_amount_zscore_90d"].tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 5.0]


def test_the_z_score_of_a_user_who_paid_nothing_so_far_stays_bounded() -> None:
    rows = [Row(JANUARY + hour * HOUR, f"t{hour}", amount=amount) for hour, amount in enumerate((0.0, 0.0, 1.0))]
    assert build(rows)["user_amount_zscore_90d"].tolist() == [0.0, 0.0, 100.0]


def test_more_than_90_days_since_the_last_transaction_count_as_90() -> None:
    built = build([Row(JANUARY, "t1"), Row(JANUARY + 90 * DAY + HOUR, "t2")])
    assert built["user_mean_amount_90d"].tolist() == [0.0, 10.0]
    assert built["user_seconds_since_last"].tolist() == [90 * 86_400.0] * 2


def test_a_new_users_rate_knows_that_a_day_can_have_25_hours() -> None:
    built = build([Row(at("2026-10-24T22:00Z"), "t1"), Row(at("2026-10-25T22:30Z"), "t2")], time_zone="Europe/Berlin")
    assert built["user_transactions_per_day_90d"].tolist() == pytest.approx([0.0, 24 / 24.5])


def test_a_transaction_of_the_91st_day_before_is_forgotten() -> None:
    rows = [Row(JANUARY, "t1", amount=7.0), Row(JANUARY + 90 * DAY, "t2"), Row(JANUARY + 91 * DAY, "t3")]
    assert build(rows[:2])["user_mean_amount_90d"].tolist() == [0.0, 7.0]
    assert build([rows[0], rows[2]])["user_mean_amount_90d"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("zone", "moment", "hour", "weekday"),
    [
        ("UTC", "2026-03-29T00:00Z", 0, 6),
        ("Europe/Berlin", "2026-03-29T00:59:59.999999Z", 1, 6),
        ("Europe/Berlin", "2026-03-29T01:00Z", 3, 6),
        ("Europe/Berlin", "2026-10-25T00:30Z", 2, 6),
        ("Europe/Berlin", "2026-10-25T01:30Z", 2, 6),
        ("America/New_York", "2026-03-02T04:59Z", 23, 6),
        ("America/New_York", "2026-03-02T05:00Z", 0, 0),
    ],
)
def test_hours_and_weekdays_are_those_of_the_deployment(zone: str, moment: str, hour: int, weekday: int) -> None:
    (row,) = build([Row(at(moment), "t1")], time_zone=zone).to_dict("records")
    assert (row["hour_of_day"], row["day_of_week"], row["is_weekend"]) == (hour, weekday, float(weekday > 4))


def test_a_refund_keeps_its_sign() -> None:
    (row,) = build([Row(JANUARY, "t1", amount=-15.0)]).to_dict("records")
    assert (row["amount"], row["amount_log1p"]) == (-15.0, pytest.approx(-np.log(16)))
    assert row["amount_sqrt"] == pytest.approx(-np.sqrt(15))


def test_velocity_stays_exact_for_a_user_with_very_many_transactions() -> None:
    rows = [Row(JANUARY + minute * 60 * SECOND, f"t{minute:05}") for minute in range(5000)]
    velocity = build(rows)["user_count_transactions_24h"].to_numpy()
    np.testing.assert_array_equal(velocity, np.minimum(np.arange(5000), 1440) + 1.0)


def test_large_amounts_that_hardly_differ_do_not_cancel() -> None:
    cents = np.random.default_rng(0).integers(0, 10, size=2000)
    amounts = 1e8 + cents / 100
    rows = [Row(JANUARY + second * SECOND, f"t{second:05}", amount=float(amounts[second])) for second in range(2000)]
    std = build(rows)["user_std_amount_90d"].to_numpy()
    # Without the 1e8, exact; 1e8 + 0.01 itself is only stored to 1.5e-8.
    np.testing.assert_allclose(std[1000:], [cents[:n].std(ddof=1) / 100 for n in range(1000, 2000)], atol=2e-8)


def test_rows_come_back_in_their_order_with_fresh_index_and_fixed_types() -> None:
    rows = transactions(random_rows(50, days=1)).set_axis(range(100, 150))
    built = features.build(rows, profiles.no_activity(), rows.iloc[:0], label_events([]))
    assert tuple(built) == (*EVENT_KEYS, *FEATURE_COLUMNS)
    assert built.index.equals(pd.RangeIndex(50))
    assert built["transaction_id"].tolist() == rows["transaction_id"].tolist()
    assert [str(built[key].dtype) for key in EVENT_KEYS] == ["str", "str", "str", TIME_DTYPE]
    assert set(built[list(FEATURE_COLUMNS)].dtypes.astype("str")) == {"float64"}


def test_an_empty_day_has_no_rows_and_the_same_types() -> None:
    history = transactions(random_rows(50, days=1))
    full = features.build(history, profiles.no_activity(), history.iloc[:0], label_events([]))
    empty = features.build(
        history.iloc[:0], profiles.summarise_day(history), history, label_events([Event(JANUARY, "u1", "m1")])
    )
    assert len(empty) == 0
    assert empty.dtypes.equals(full.dtypes)


def test_inputs_are_left_as_they_were() -> None:
    rows, events = transactions(random_rows(60, days=2)), label_events([Event(JANUARY + HOUR, "u1", "m1")])
    profile = profiles.summarise_day(rows[:30])
    inputs = (rows[30:], profile, rows[:30], events)
    copies = [frame.copy(deep=True) for frame in inputs]
    features.build(*inputs)
    for frame, copy in zip(inputs, copies, strict=True):
        pd.testing.assert_frame_equal(frame, copy)


def test_transactions_out_of_order_are_refused() -> None:
    rows = transactions(random_rows(20, days=1))
    with pytest.raises(InvalidDataError, match=r"out of order.*sort them by \(event_time, transaction_id\)"):
        features.build(rows[::-1], profiles.no_activity(), rows.iloc[:0], label_events([]))


def test_equal_times_in_the_wrong_order_of_ids_are_refused() -> None:
    rows = transactions([Row(JANUARY, "t1"), Row(JANUARY, "t2")])
    with pytest.raises(InvalidDataError, match="out of order"):
        features.build(rows[::-1], profiles.no_activity(), rows.iloc[:0], label_events([]))


def test_recent_transactions_out_of_order_are_refused() -> None:
    rows = transactions(random_rows(20, days=1))
    with pytest.raises(InvalidDataError, match="recent transactions are out of order"):
        features.build(rows[19:], profiles.no_activity(), rows[18::-1], label_events([]))


def test_recent_transactions_of_the_day_itself_are_refused() -> None:
    rows = transactions([Row(JANUARY, "t1"), Row(JANUARY, "t2"), Row(JANUARY + HOUR, "t3")])
    with pytest.raises(InvalidDataError, match="recent transactions reach into the day"):
        features.build(rows[1:], profiles.no_activity(), rows[:1], label_events([]))


def test_a_profile_of_the_day_itself_is_refused() -> None:
    rows = transactions([Row(JANUARY, "t1"), Row(JANUARY + HOUR, "t2")])
    with pytest.raises(InvalidDataError, match="profiles reach into the day"):
        features.build(rows, profiles.summarise_day(rows), rows.iloc[:0], label_events([]))


@pytest.mark.parametrize("amount", [np.nan, np.inf, -np.inf])
def test_an_amount_that_is_not_finite_is_refused_by_transaction(amount: float) -> None:
    rows = transactions([Row(JANUARY, "t1"), Row(JANUARY + HOUR, "t2", amount=amount)])
    with pytest.raises(InvalidDataError, match="feature amount of transaction t2 is not finite"):
        features.build(rows, profiles.no_activity(), rows.iloc[:0], label_events([]))


def test_a_profile_that_is_not_finite_is_refused() -> None:
    rows = transactions([Row(JANUARY, "t1"), Row(JANUARY + DAY, "t2")])
    profile = profiles.summarise_day(rows[:1]).assign(mean=np.nan, n=2)
    with pytest.raises(InvalidDataError, match=r"of transaction t2 is not finite; .* daily activity"):
        features.build(rows[1:], profile, rows[:1], label_events([]))
