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
    events = [
        Event(row.time + DAY // 2, row.user_id, row.merchant_id, row.amount < 5, row.transaction_id, row.time)
        for row in rows
    ]
    built = build(rows, events)
    expected = pd.DataFrame(plain_features(rows, events, "UTC")).astype("float64")
    np.testing.assert_allclose(built[list(FEATURE_COLUMNS)], expected[list(FEATURE_COLUMNS)], rtol=1e-9, atol=1e-9)


def test_a_first_transaction_has_the_stated_values() -> None:
    (first,) = build([Row(at("2026-01-03T10:00Z"), "t1", amount=40.0)]).to_dict("records")
    assert first["user_amount_ratio_90d"] == 1.0
    assert first["user_seconds_since_last"] == 90 * 86_400.0
    assert first["user_count_transactions_24h"] == 1.0
    assert [first[f"merchant_count_transactions_{days}d"] for days in (1, 7, 30)] == [1.0, 1.0, 1.0]
    assert first["is_new_merchant_30d"] == 1.0
    assert first["merchant_days_since_known_fraud"] == first["user_days_since_known_fraud"] == 30.0
    ones = ("user_amount_ratio_90d", "is_new_merchant_30d")
    rest = [name for name in FEATURE_COLUMNS if name.startswith(("user_", "merchant_")) and name not in ones]
    nothing_known = [name for name in rest if "count" not in name and "since" not in name]
    assert {first[name] for name in [*nothing_known, "zscore_x_velocity"]} == {0.0}


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
    rows = [Row(JANUARY + second * 900 * SECOND, f"t{second:05}", amount=amounts[second]) for second in range(2000)]
    built = build(rows)
    # Without the 1e8, exact; 1e8 + 0.01 itself is only stored to 1.5e-8.
    std = np.array([cents[:n].std(ddof=1) / 100 for n in range(1000, 2000)])
    np.testing.assert_allclose(built["user_std_amount_90d"][1000:], std, atol=2e-8)
    mean = np.array([cents[n - 96 : n].mean() / 100 for n in range(1000, 2000)])
    np.testing.assert_allclose(built["user_mean_amount_1d"][1000:] - 1e8, mean, atol=3e-8)


def test_a_z_score_survives_amounts_on_a_large_offset() -> None:
    small = np.random.default_rng(1).integers(-200, 200, size=300) / 100
    offset = [Row(JANUARY + n * HOUR, f"t{n:03}", amount=1e7 + amount) for n, amount in enumerate(small)]
    built = build(offset)
    deviation = built["user_amount_deviation_90d"][2:].to_numpy()
    expected = [small[n] - small[:n].mean() for n in range(2, 300)]
    np.testing.assert_allclose(deviation, expected, atol=1e-8)
    std = [small[:n].std(ddof=1) for n in range(2, 300)]
    np.testing.assert_allclose(built["user_std_amount_90d"][2:], std, atol=1e-8)


def test_a_user_with_a_hundred_thousand_transactions_has_exact_windows() -> None:
    amounts = np.random.default_rng(0).integers(1, 10_000_000, size=100_000) / 100
    rows = [Row(JANUARY + n * 10 * SECOND, f"t{n:06}", amount=amount) for n, amount in enumerate(amounts)]
    built = features.build(transactions(rows), features.no_history(), label_events([]))
    cents = np.rint(amounts * 100).astype(np.int64)
    total = int(cents[99_999 - 8640 : 99_999].sum())
    assert built["user_mean_amount_1d"].iloc[-1] == total * 100 / (8640 * 10_000)
    assert built["merchant_count_transactions_7d"].iloc[-1] == 60_481
    assert built["user_mean_amount_90d"].iloc[-1] == pytest.approx(amounts[:-1].mean(), rel=1e-12)
    assert built["user_std_amount_90d"].iloc[-1] == pytest.approx(amounts[:-1].std(ddof=1), rel=1e-12)


def test_days_without_transactions_are_no_days_of_zero() -> None:
    built = build([Row(JANUARY, "t1", amount=4.0), Row(JANUARY + 40 * DAY, "t2"), Row(JANUARY + 41 * DAY, "t3")])
    assert built["user_mean_amount_90d"].tolist() == [0.0, 4.0, 7.0]
    assert built["user_mean_amount_30d"].tolist() == [0.0, 0.0, 10.0]
    assert built["is_new_merchant_30d"].tolist() == [1.0, 1.0, 0.0]


def test_the_baseline_may_cover_fewer_days() -> None:
    rows = transactions([Row(JANUARY, "t1", amount=7.0), Row(JANUARY + 8 * DAY, "t2"), Row(JANUARY + 15 * DAY, "t3")])
    built = features.build(rows, features.no_history(), label_events([]), baseline_days=7)
    assert built["user_mean_amount_90d"].tolist() == [0.0, 0.0, 10.0]
    assert built["user_seconds_since_last"].tolist() == [7 * 86_400.0] * 3


def test_a_label_and_a_later_one_that_contradicts_it_both_count() -> None:
    events = [
        Event(JANUARY + DAY, is_fraud=False, transaction_id="t1", event_time=JANUARY),
        Event(JANUARY + 2 * DAY, is_fraud=True, transaction_id="t1", event_time=JANUARY),
    ]
    last = build([Row(JANUARY, "t1"), Row(JANUARY + 3 * DAY, "t2")], events).iloc[-1]
    assert (last["merchant_known_frauds_7d"], last["merchant_known_genuine_7d"]) == (1.0, 1.0)
    assert last["merchant_fraud_rate_7d"] == 0.5
    assert last["merchant_days_since_known_fraud"] == last["user_days_since_known_fraud"] == 1.0


def fraud(days: float, transaction_id: str = "x1", zscore: float = 0.0, user_id: str = "u9") -> Event:
    return Event(int(JANUARY + days * DAY), user_id, "m1", True, transaction_id, JANUARY - DAY, zscore)


@pytest.mark.parametrize(
    ("events", "unexplained"),
    [
        ([fraud(1)], 1.0),
        ([fraud(1, zscore=2.99)], 1.0),
        ([fraud(1, zscore=3.0)], 0.0),
        ([fraud(1, zscore=-3.0)], 0.0),
        ([fraud(1, zscore=np.nan)], 1.0),
        ([fraud(1), fraud(2, "x2", user_id="u8")], 2.0),
        # The first fraud of a card, then one that the card explains; long after it is alone again.
        ([fraud(1), fraud(2, "x2")], 1.0),
        ([fraud(1), fraud(8, "x2")], 1.0),
        ([fraud(1), fraud(8.001, "x2")], 2.0),
        # Reported together: neither is alone. The same transaction twice is no other fraud.
        ([fraud(1), fraud(1, "x2")], 0.0),
        ([fraud(1), fraud(2)], 2.0),
    ],
)
def test_unexplained_frauds_are_those_that_neither_amount_nor_card_explains(
    events: list[Event], unexplained: float
) -> None:
    assert build([Row(JANUARY + 10 * DAY, "t1")], events)["merchant_unexplained_frauds_30d"].item() == unexplained


def test_the_z_score_of_a_labelled_transaction_is_found_in_the_same_call() -> None:
    usual = [Row(JANUARY + n * HOUR, f"t{n}", amount=10.0 + n) for n in range(5)]
    # Two at the same instant: one far out, one not.
    both = [Row(JANUARY + DAY, "t5", amount=500.0), Row(JANUARY + DAY, "t6", "u2", amount=12.0)]
    events = [Event(JANUARY + 2 * DAY, row.user_id, "m1", True, row.transaction_id, row.time) for row in both]
    rows = transactions([*usual, *both, Row(JANUARY + 3 * DAY, "t7", "u3")])
    found = features.build(rows, features.no_history(), label_events(events))
    assert abs(found["user_amount_zscore_90d"].iloc[5]) > 3
    assert found["merchant_unexplained_frauds_7d"].iloc[-1] == 1.0
    without = label_events(events).drop(columns="user_amount_zscore_90d")
    pd.testing.assert_frame_equal(features.build(rows, features.no_history(), without), found)


def test_rows_come_back_in_their_order_with_fresh_index_and_fixed_types() -> None:
    rows = transactions(random_rows(50, days=1)).set_axis(range(100, 150))
    built = features.build(rows, features.no_history(), label_events([]))
    assert tuple(built) == (*EVENT_KEYS, *FEATURE_COLUMNS)
    assert built.index.equals(pd.RangeIndex(50))
    assert built["transaction_id"].tolist() == rows["transaction_id"].tolist()
    assert [str(built[key].dtype) for key in EVENT_KEYS] == ["str", "str", "str", TIME_DTYPE]
    assert set(built[list(FEATURE_COLUMNS)].dtypes.astype("str")) == {"float64"}


def test_an_empty_day_has_no_rows_and_the_same_types() -> None:
    rows = transactions(random_rows(50, days=1))
    history = features.History(profiles.summarise_day(rows), rows)
    full = features.build(rows, features.no_history(), label_events([]))
    empty = features.build(rows.iloc[:0], history, label_events([Event(JANUARY, "u1", "m1")]))
    assert len(empty) == 0
    assert empty.dtypes.equals(full.dtypes)


def test_identifiers_may_be_categorical_and_of_a_part_of_a_frame() -> None:
    texts = transactions(random_rows(300, days=40))
    events = label_events(
        Event(row.time + DAY, row.user_id, row.merchant_id, row.amount < 9, row.transaction_id, row.time)
        for row in random_rows(300, days=40)
    )
    names = ["user_id", "merchant_id"]
    day = int(texts["event_time"].searchsorted(pd.Timestamp("2026-01-20", tz="UTC")))
    coded = texts.astype(dict.fromkeys(names, "category"))
    expected = features.build(texts[day:], history_of(texts[:day]), events)
    found = features.build(coded[day:], history_of(coded[:day]), events.astype(dict.fromkeys(names, "category")))
    pd.testing.assert_frame_equal(found.astype(dict.fromkeys(names, "str")), expected, check_exact=True)


def history_of(earlier: pd.DataFrame) -> features.History:
    return features.History(profiles.summarise_days(earlier, "UTC"), earlier)


def test_inputs_are_left_as_they_were() -> None:
    rows, events = transactions(random_rows(60, days=2)), label_events([Event(JANUARY + HOUR, "u1", "m1")])
    first = int(rows["event_time"].searchsorted(pd.Timestamp("2026-01-02", tz="UTC")))
    history = features.History(profiles.summarise_day(rows[:first]), rows[:first])
    frames = (rows, history.activity, history.recent, events)
    copies = [frame.copy(deep=True) for frame in frames]
    features.relabel(features.build(rows[first:], history, events), events[:0])
    for frame, copy in zip(frames, copies, strict=True):
        pd.testing.assert_frame_equal(frame, copy)


EARLIER = transactions([Row(JANUARY, "t1"), Row(JANUARY + DAY, "t2")])
TODAY = transactions([Row(JANUARY + 2 * DAY, "t3"), Row(JANUARY + 2 * DAY, "t4")])
ACTIVITY = profiles.summarise_days(EARLIER, "UTC")


@pytest.mark.parametrize(
    ("rows", "activity", "recent", "reason"),
    [
        (TODAY[::-1], ACTIVITY, EARLIER, r"transactions are out of order.*sort them by \(event_time, transaction_id"),
        (EARLIER[::-1], ACTIVITY[:0], EARLIER[:0], "transactions are out of order"),
        (TODAY, ACTIVITY, EARLIER[::-1], "recent transactions are out of order"),
        (TODAY, ACTIVITY[::-1], EARLIER, "activity is out of order; pass the oldest day first"),
        (TODAY[1:], ACTIVITY, TODAY[:1], "recent transactions reach into the days that are built"),
        (TODAY, profiles.summarise_day(TODAY), EARLIER, "activity reaches into the days that are built"),
        (TODAY, profiles.merge(ACTIVITY), EARLIER, "activity of user u1 spans days of UTC"),
        (TODAY, pd.concat([ACTIVITY, ACTIVITY[1:]]), EARLIER, "activity of user u1 has a day twice"),
        (TODAY, ACTIVITY.assign(mean=np.nan), EARLIER, "daily activity of user_id u1 has an impossible mean"),
        (TODAY, ACTIVITY.assign(m2=-1.0), EARLIER, "has an impossible m2"),
        (TODAY, ACTIVITY.assign(n=0), EARLIER, "has an impossible n"),
        (TODAY.assign(amount=[1.0, np.nan]), ACTIVITY, EARLIER, "amount of transaction_id t4 is not finite"),
        (TODAY.assign(amount=[-np.inf, 1.0]), ACTIVITY, EARLIER, "amount of transaction_id t3 is not finite"),
        (TODAY, ACTIVITY, EARLIER.assign(amount=np.inf), "amount of user_id u1 is not finite"),
        (
            TODAY.assign(user_id=TODAY["user_id"].mask(TODAY["transaction_id"] == "t4")),
            ACTIVITY,
            EARLIER,
            "user_id is missing in row 1",
        ),
        (TODAY.assign(amount=1e16), ACTIVITY, EARLIER, r"amounts up to 1e\+16 are too large to be summed"),
        (TODAY.assign(amount=4e14), ACTIVITY, EARLIER.assign(amount=4e14), "too large to be summed"),
    ],
)
def test_inputs_that_would_give_wrong_features_are_refused(
    rows: pd.DataFrame, activity: pd.DataFrame, recent: pd.DataFrame, reason: str
) -> None:
    with pytest.raises(InvalidDataError, match=reason):
        features.build(rows, features.History(activity, recent), label_events([]))
