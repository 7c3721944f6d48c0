"""A rebuild, a night and one transaction give the same row, to the last bit."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core import features, profiles
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline_tests.builders import (
    DAY,
    Event,
    Row,
    features_by_day,
    label_events,
    random_rows,
    transactions,
    with_zscores,
)
from fraud_pipeline_tests.core.streams import FEW_DAYS, TIME_ZONES, Stream, streams


def of_one(
    position: int, rows: pd.DataFrame, events: pd.DataFrame, built: pd.DataFrame, time_zone: str
) -> pd.DataFrame:
    """Build one transaction as a service would: from its user's and its merchant's rows, and stored z-scores."""
    row = rows.iloc[position]
    day = rows["event_time"].dt.tz_convert(time_zone).dt.date
    today = day.iloc[position]
    concerned = (rows["user_id"] == row["user_id"]) | (rows["merchant_id"] == row["merchant_id"])
    so_far = rows[concerned & (day == today)].loc[: rows.index[position]]
    earlier = rows[concerned & (day < today)]
    activity = profiles.summarise_days(earlier[earlier["user_id"] == row["user_id"]], time_zone)
    known = events[events["label_known_at"] < row["event_time"]]
    cards = known.loc[known["is_fraud"] & (known["merchant_id"] == row["merchant_id"]), "user_id"]
    known = known[(known["merchant_id"] == row["merchant_id"]) | known["user_id"].isin({*cards, row["user_id"]})]
    known = with_zscores(known, [built.iloc[:position]])
    return features.build(so_far, features.History(activity, earlier), known, time_zone=time_zone)[-1:]


def assert_same_bits(left: pd.DataFrame, right: pd.DataFrame) -> None:
    assert left["transaction_id"].tolist() == right["transaction_id"].tolist()
    for name in FEATURE_COLUMNS:
        assert left[name].to_numpy().tobytes() == right[name].to_numpy().tobytes(), name


@given(stream=streams() | streams(FEW_DAYS), time_zone=st.sampled_from(TIME_ZONES))
def test_rebuild_night_and_single_transaction_agree_to_the_last_bit(stream: Stream, time_zone: str) -> None:
    rows, events = transactions(stream.rows), label_events(stream.events)
    rebuilt = features.build(rows, features.no_history(), events, time_zone=time_zone)
    assert_same_bits(features_by_day(rows, events, time_zone), rebuilt)
    alone = [of_one(position, rows, events, rebuilt, time_zone) for position in range(len(rows))]
    assert_same_bits(pd.concat(alone), rebuilt)


@given(stream=streams() | streams(FEW_DAYS), cut=st.integers(1, 14))
def test_a_rebuild_in_two_calls_agrees_to_the_last_bit(stream: Stream, cut: int) -> None:
    rows, events = transactions(stream.rows), label_events(stream.events)
    whole = features.build(rows, features.no_history(), events)
    day = rows["event_time"].dt.floor("D")
    earlier, later = rows[day < day.iloc[cut % len(rows)]], rows[day >= day.iloc[cut % len(rows)]]
    history = features.History(profiles.summarise_days(earlier, "UTC"), earlier)
    second = features.build(later, history, with_zscores(events, [whole.iloc[: len(earlier)]]))
    assert_same_bits(second, whole.iloc[len(earlier) :])


def busy() -> tuple[list[Row], list[Event]]:
    rows = sorted(random_rows(3000, users=6, merchants=4, days=6))
    rng = np.random.default_rng(0)
    lags, frauds = rng.integers(0, 3 * DAY, size=len(rows)), rng.random(len(rows)) < 0.2
    return rows, [
        Event(row.time + int(lag), row.user_id, row.merchant_id, bool(is_fraud), row.transaction_id, row.time)
        for row, lag, is_fraud in zip(rows, lags, frauds, strict=True)
    ]


def test_busy_days_agree_to_the_last_bit_too() -> None:
    rows, events = transactions(busy()[0]), label_events(busy()[1])
    rebuilt = features.build(rows, features.no_history(), events)
    assert_same_bits(features_by_day(rows, events), rebuilt)
    chosen = [0, 1, 500, 1700, 2999]
    alone = [of_one(position, rows, events, rebuilt, "UTC") for position in chosen]
    assert_same_bits(pd.concat(alone), rebuilt.iloc[chosen])


def test_other_labels_give_what_a_rebuild_with_them_gives() -> None:
    rows, events = transactions(busy()[0]), label_events(busy()[1])
    before = features.build(rows, features.no_history(), events[::3])
    after = features.build(rows, features.no_history(), events)
    assert_same_bits(features.relabel(before, events), after)
    pd.testing.assert_frame_equal(features.relabel(after, events), after, check_exact=True)
    # One day alone: what labels say of earlier days comes with their z-scores.
    today = rows["event_time"].dt.day == 5
    known = with_zscores(events, [after[~today]])
    assert_same_bits(features.relabel(before[today], known), after[today])
