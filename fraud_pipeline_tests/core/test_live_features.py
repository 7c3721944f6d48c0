"""Features of single transactions from the histories of their entities: those of a rebuild, bit by bit."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from fraud_pipeline.core import entity_risk, features, live_features
from fraud_pipeline.core.days import DAY, microseconds, wall_clock
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.live_features import EntityHistory, LiveRows
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline_tests import builders
from fraud_pipeline_tests.builders import SECOND, Event, Row
from fraud_pipeline_tests.core.compiled import both

BASELINE_DAYS = 30


class World(NamedTuple):
    """Transactions, what a rebuild makes of them, and the histories of their entities."""

    rows: pd.DataFrame
    built: np.ndarray
    users: dict[str, EntityHistory]
    merchants: dict[str, EntityHistory]
    time_zone: str

    def live(self, positions: ArrayLike, contexts: ArrayLike, **changed: np.ndarray) -> np.ndarray:
        """Features of some of the rows, which the histories hold as well."""
        chosen = self.rows.iloc[np.asarray(positions)]
        live = live_rows(chosen, contexts, list(self.users), list(self.merchants), self.time_zone)
        columns = live_features.build(
            live._replace(**changed), list(self.users.values()), list(self.merchants.values()), BASELINE_DAYS
        )
        return columns.table.T


def objects(values: Sequence[str]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def live_rows(
    chosen: pd.DataFrame, contexts: ArrayLike, users: list[str], merchants: list[str], time_zone: str
) -> LiveRows:
    at_merchant = np.array([merchants.index(name) for name in chosen["merchant_id"]], dtype=np.int64)
    return LiveRows(
        context=np.array(contexts, dtype=np.int64),
        user=np.array([users.index(name) for name in chosen["user_id"]], dtype=np.int64),
        merchant=at_merchant,
        time=microseconds(chosen["event_time"]),
        clock=wall_clock(chosen["event_time"], time_zone),
        amount=chosen["amount"].to_numpy(copy=True),
        other=at_merchant,
        key=np.array([hash(name) for name in chosen["transaction_id"]], dtype=np.int64),
        ids=objects(chosen["transaction_id"].tolist()),
    )


def world(rows: list[Row], events: list[Event], time_zone: str = "UTC") -> World:
    frame, known = builders.transactions(rows), builders.label_events(sorted(events))
    built = features.build(frame, features.no_history(), known, time_zone=time_zone, baseline_days=BASELINE_DAYS)
    known = builders.with_zscores(known, [built])
    known = known.assign(rank=entity_risk.rank_events(known))
    merchants = frame["merchant_id"].unique().tolist()

    def histories(entity: str) -> dict[str, EntityHistory]:
        found = {}
        for name in frame[entity].unique().tolist():
            own, events = frame[frame[entity] == name], known[known[entity] == name]
            rows = live_rows(own, [0] * len(own), frame["user_id"].tolist(), merchants, time_zone)
            found[name] = EntityHistory(
                rows.time,
                rows.clock // DAY,
                rows.amount,
                rows.other,
                rows.key,
                rows.ids,
                microseconds(events["label_known_at"]),
                events["rank"].to_numpy(dtype=np.int64),
            )
        return found

    table = built[list(FEATURE_COLUMNS)].to_numpy()
    return World(frame, table, histories("user_id"), histories("merchant_id"), time_zone)


def crowded(seed: int = 0, *, days: int = 60, rows: int = 1500, time_zone: str = "UTC") -> World:
    """Rows at whole minutes, many at the same, and labels of half of them."""
    rng = np.random.default_rng(seed)
    drawn = builders.random_rows(rows, users=12, merchants=5, days=days, seed=seed)
    drawn = [row._replace(time=row.time // (600 * SECOND) * 600 * SECOND) for row in drawn]
    events = [
        Event(
            row.time + int(rng.integers(12 * DAY)),
            row.user_id,
            row.merchant_id,
            bool(rng.random() < 0.3),
            row.transaction_id,
            row.time,
        )
        for row in drawn[::2]
    ]
    return world(drawn, events, time_zone)


@pytest.fixture(scope="module")
def paris() -> World:
    return crowded(days=100, time_zone="Europe/Paris")


def test_each_transaction_alone_is_that_of_a_rebuild(paris: World) -> None:
    chosen = np.random.default_rng(1).permutation(len(paris.rows))[:300]
    np.testing.assert_array_equal(paris.live(chosen, np.arange(300)), paris.built[chosen])


def test_all_transactions_together_are_those_of_a_rebuild_in_any_order(paris: World) -> None:
    chosen = np.random.default_rng(2).permutation(len(paris.rows))
    np.testing.assert_array_equal(paris.live(chosen, np.zeros(len(chosen))), paris.built[chosen])


def test_transactions_that_no_table_holds_are_seen_by_the_later_ones_of_their_context() -> None:
    whole = crowded(3)
    cut = int(len(whole.rows) * 0.7)
    new = list(range(cut, len(whole.rows)))
    last = microseconds(whole.rows["event_time"])[cut]

    def before(history: EntityHistory) -> EntityHistory:
        known = [name not in set(whole.rows["transaction_id"][cut:]) for name in history.ids]
        return history._replace(**{field: getattr(history, field)[known] for field in history._fields[:6]})

    shorter = whole._replace(
        users={name: before(each) for name, each in whole.users.items()},
        merchants={name: before(each) for name, each in whole.merchants.items()},
    )
    assert last > 0
    np.testing.assert_array_equal(shorter.live(new, [0] * len(new)), whole.built[new])
    alone = shorter.live(new, new)
    assert (alone != whole.built[new]).any()


def test_contexts_do_not_see_each_other(paris: World) -> None:
    chosen = np.arange(len(paris.rows) - 40, len(paris.rows))
    raised = paris.rows["amount"].to_numpy()[chosen] + 1000.0
    apart = paris.live(chosen, np.arange(40), amount=raised)
    for position in range(40):
        alone = paris.live(chosen[[position]], [0], amount=raised[[position]])
        np.testing.assert_array_equal(apart[[position]], alone)


def test_a_known_transaction_counts_once_and_as_it_is_given() -> None:
    minute = 60 * SECOND
    start = builders.JANUARY + 3 * DAY
    rows = [Row(start, "a", amount=10.0), Row(start + minute, "b", amount=20.0), Row(start + 2 * minute, "c")]
    found = world(rows, [])
    # The same transaction, a minute earlier than the table says: it is not before itself.
    again = found.live([1], [0], time=np.array([start + 3 * minute]), amount=np.array([99.0]))
    columns = dict(zip(FEATURE_COLUMNS, again[0], strict=True))
    assert columns["user_count_transactions_24h"] == 3
    assert columns["user_mean_amount_1d"] == 10.0
    assert columns["amount"] == 99.0


def test_the_same_identifier_on_another_day_is_another_transaction() -> None:
    start = builders.JANUARY + 3 * DAY
    found = world([Row(start, "a", amount=10.0), Row(start + DAY, "b", amount=20.0)], [])
    again = found.live([1], [0], key=np.array([hash("a")]), ids=objects(["a"]))
    # The row b stays in the table beside it, at the same time but after it.
    np.testing.assert_array_equal(again, found.built[[1]])


def test_an_entity_without_history_is_new() -> None:
    found = world([Row(builders.JANUARY, "a")], [Event(builders.JANUARY + DAY)])
    nothing = EntityHistory._make(column[:0] for column in next(iter(found.users.values())))
    alone = found._replace(users={"u1": nothing}, merchants={"m1": nothing})
    np.testing.assert_array_equal(alone.live([0], [0]), found.built[[0]])


def test_amounts_that_cannot_be_summed_exactly_are_refused() -> None:
    found = world([Row(builders.JANUARY, "a")], [])
    with pytest.raises(InvalidDataError, match="too large to be summed"):
        found.live([0], [0], amount=np.array([1e16]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), contexts=st.integers(1, 4))
def test_however_transactions_are_cut_into_contexts_they_are_those_of_a_rebuild(seed: int, contexts: int) -> None:
    found = crowded(seed, days=12, rows=60)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(60)[: rng.integers(1, 60)]
    np.testing.assert_array_equal(found.live(chosen, rng.integers(0, contexts, len(chosen))), found.built[chosen])


def test_compiled_loops_do_what_they_say() -> None:
    from fraud_pipeline.core import lookback

    start, first = np.array([0, 3, 4]), np.array([0, 2, 3])
    time, day, key = np.array([5, 7, 7, 2]), np.array([0, 0, 0, 0]), np.array([11, 12, 13, 14])
    new_time, new_day, new_key = np.array([6, 7, 1]), np.array([0, 0, 0]), np.array([21, 13, 31])
    before, tied, at = np.empty((3, 3), dtype=np.int64)
    assert both(lookback.earlier_rows, start, time, first, new_time, before, tied) == 1
    assert before.tolist() == [1, 1, 3]
    assert tied.tolist() == [1, 3, 3]
    merged, merged_start = np.zeros(7, dtype=np.int64), np.zeros(3, dtype=np.int64)
    before[1] = 2  # by its identifier after one of the two at its time
    both(lookback.interleave, start, day, key, first, new_day, new_key, before, 30, merged, merged_start, at)
    # Row 2 is the new one of key 13, and row 3 comes after all new ones of its group.
    assert merged[: merged_start[-1]].tolist() == [0, 4, 1, 5, 6]
    assert merged_start.tolist() == [0, 4, 5]
    assert at.tolist() == [1, 3, 4]
    skip = np.array([1, 0])
    value, spans = np.arange(5) * 10_000, np.array([100])
    rows = np.array([5, 6, 7, 7, 1])
    out = np.zeros((2, 4))
    at_count, at_mean = np.array([0]), np.array([1])
    most = both(lookback.trailing_by_group, merged_start, skip, rows, value, spans, 1e4, out, at_count, at_mean)
    assert most == 3
    assert out.tolist() == [[2, 3, 4, 1], [0, 0.5, 1, 0]]
    since = np.zeros(4, dtype=np.int64)
    both(lookback.since_pair_by_group, merged_start, skip, np.array([1, 2, 1, 2, 1]), rows, since)
    assert since[1:3].tolist() == [2, 1]
    assert min(since[0], since[3]) > 2**60
    known, last = np.zeros((3, 3)), np.zeros(3, dtype=np.int64)
    events = (np.array([0, 2, 3]), np.array([2, 6, 0]), np.array([0, 2, 1]))
    rank_at = np.array([[0], [1], [2]])
    both(lookback.known_events_by_group, first, new_time, *events, np.array([4]), known, rank_at, last)
    assert known.tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 0]]
    assert last[1:].tolist() == [6, 0]
