"""No row learns from what happened, or became known, after it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core.schema import FEATURE_COLUMNS
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
from fraud_pipeline_tests.core.streams import FEW_DAYS, Stream, streams

NOON = JANUARY + DAY // 2


def feature_bytes(rows: list[Row], events: list[Event], first: int) -> bytes:
    built = features_by_day(transactions(rows), label_events(events))
    return built[list(FEATURE_COLUMNS)].to_numpy()[:first].tobytes()


@given(stream=streams(FEW_DAYS), other=streams(FEW_DAYS), data=st.data())
def test_no_later_transaction_moves_a_bit_of_an_earlier_row(stream: Stream, other: Stream, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, len(stream.rows)))
    past, future = stream.rows[:kept], stream.rows[kept:]
    renamed = [row._replace(transaction_id=f"x{row.transaction_id}") for row in other.rows]
    instead = [row for row in renamed if row > past[-1]]
    changed = [row._replace(amount=row.amount + 1e6, user_id="u1", merchant_id="m1") for row in future]
    later = data.draw(st.sampled_from((future, instead, changed, future + instead)))
    assert feature_bytes(past + later, stream.events, kept) == feature_bytes(past, stream.events, kept)


@given(stream=streams(FEW_DAYS), other=streams(FEW_DAYS), data=st.data())
def test_no_label_known_later_moves_a_bit_of_an_earlier_row(stream: Stream, other: Stream, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, len(stream.rows)))
    now = stream.rows[kept - 1].time
    at_once = [Event(now, row.user_id, row.merchant_id, is_fraud) for row in stream.rows for is_fraud in (True, False)]
    later = [event for event in (*at_once, *other.events) if event.time >= now]
    assert feature_bytes(stream.rows, stream.events + later, kept) == feature_bytes(stream.rows, stream.events, kept)


def test_the_order_of_label_events_does_not_matter() -> None:
    rows = random_rows(60, days=3)
    events = [Event(row.time + DAY // 3, row.user_id, row.merchant_id, row.amount < 20) for row in rows]
    assert feature_bytes(rows, events[::-1], 60) == feature_bytes(rows, events, 60)


@pytest.mark.parametrize(
    ("known_at", "seen"),
    [(NOON, 0.0), (NOON + 1, 0.0), (NOON - 1, 1.0), (NOON - 7 * DAY, 1.0), (NOON - 7 * DAY - 1, 0.0)],
)
def test_a_label_counts_from_just_after_it_is_known_until_the_window_ends(known_at: int, seen: float) -> None:
    built = features_by_day(transactions([Row(NOON, "t1")]), label_events([Event(known_at)]))
    assert built["merchant_known_frauds_7d"].item() == seen
    assert built["merchant_fraud_rate_7d"].item() == seen
    assert built["user_known_frauds_7d"].item() == seen


def test_of_equal_times_only_the_smaller_id_is_earlier() -> None:
    rows = [Row(NOON, "t2", amount=100.0), Row(NOON, "t1", amount=1.0), Row(NOON, "t3", amount=5.0)]
    built = features_by_day(transactions(rows), label_events([]))
    assert built["transaction_id"].tolist() == ["t1", "t2", "t3"]
    assert built["user_count_transactions_24h"].tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_allclose(built["user_mean_amount_90d"], [0.0, 1.0, 50.5])
    assert built["user_seconds_since_last"].tolist() == [90 * 86_400.0, 0.0, 0.0]


def test_a_later_second_of_the_same_day_is_not_in_the_count_of_an_earlier_one() -> None:
    rows = [Row(NOON + second * SECOND, f"t{second}", user_id=f"u{second}") for second in range(4)]
    built = features_by_day(transactions(rows), label_events([]))
    assert built["merchant_count_transactions_1d"].tolist() == [1.0, 2.0, 3.0, 4.0]
