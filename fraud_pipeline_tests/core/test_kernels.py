"""Each compiled window, its plain Python form and a brute-force computation agree."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core import kernels
from fraud_pipeline_tests.core.compiled import ENTITIES, both, columns, keyed_times

windows = st.lists(st.integers(0, 12), min_size=1, max_size=3)
numbers_of_pairs = st.tuples(st.integers(0, 2), st.integers(0, 2))


@given(rows=keyed_times, looked_back=st.integers(0, 25), spans=windows)
def test_trailing_counts_and_averages_by_definition(
    rows: list[tuple[int, int]], looked_back: int, spans: list[int]
) -> None:
    entity, time = columns(rows)
    skip = min(looked_back, len(rows))
    value = np.arange(len(rows), dtype=np.int64) ** 2 - 50
    out = np.full((2 * len(spans), len(rows) - skip), -1.0)
    at = np.arange(2 * len(spans))
    windows = np.array(spans, dtype=np.int64)
    most = both(kernels.trailing, entity, time, value, windows, ENTITIES, skip, 10.0, out, at[::2], at[1::2])
    largest = 0
    for row in range(skip, len(rows)):
        for number, span in enumerate(spans):
            own = [
                int(value[other])
                for other in range(row)
                if entity[other] == entity[row] and time[other] >= time[row] - span
            ]
            expected = [len(own) + 1, sum(own) / (max(len(own), 1) * 10.0)] if entity[row] >= 0 else [-1.0, -1.0]
            assert out[2 * number : 2 * number + 2, row - skip].tolist() == expected
            largest = max(largest, len(own) if entity[row] >= 0 else 0)
    assert most == largest


def test_trailing_sums_stay_exact_when_the_sum_of_all_would_overflow() -> None:
    rows = 10
    value = np.full(rows, 2**61, dtype=np.int64)
    out = np.empty((2, rows))
    times = np.arange(rows)
    both(
        kernels.trailing,
        np.zeros(rows, dtype=np.int64),
        times,
        value,
        np.array([2]),
        1,
        0,
        1.0,
        out,
        *np.arange(2)[:, None],
    )
    assert out[1].tolist() == [0.0] + [float(2**61)] * 9


@given(rows=keyed_times, events=keyed_times, spans=windows, data=st.data())
def test_known_events_count_by_definition(
    rows: list[tuple[int, int]], events: list[tuple[int, int]], spans: list[int], data: st.DataObject
) -> None:
    rows = [row for row in rows if row[0] >= 0]
    entity, time = columns(rows)
    event_entity, event_time = columns(events)
    rank = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(events), max_size=len(events))), dtype=np.int64)
    out = np.full((3 * len(spans) + 1, len(rows)), -1.0)
    at = np.arange(3 * len(spans)).reshape(3, len(spans))
    at[2, 0] = -1
    last = np.empty(len(rows), dtype=np.int64)
    windows = np.array(spans, dtype=np.int64)
    both(kernels.known_events, entity, time, event_entity, event_time, rank, windows, ENTITIES, out, at, last)
    for row, (who, now) in enumerate(rows):
        before = [(when, r) for (other, when), r in zip(events, rank, strict=True) if other == who and when < now]
        assert last[row] == max((when for when, r in before if r), default=-(2**62))
        for number, span in enumerate(spans):
            ranks = [r for when, r in before if when >= now - span]
            assert out[at[0, number], row] == ranks.count(0)
            assert out[at[1, number], row] == len(ranks) - ranks.count(0)
            if number:
                assert out[at[2, number], row] == ranks.count(2)
    assert (out[2 * len(spans)] == -1.0).all()


@given(
    looked_back=st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 2)), max_size=20),
    rows=st.lists(numbers_of_pairs, max_size=20),
)
def test_since_pair_is_the_time_since_the_same_two_met(
    looked_back: list[tuple[int, int]], rows: list[tuple[int, int]]
) -> None:
    both_parts = looked_back + rows
    left, right = columns(both_parts)
    time, skip = np.arange(len(both_parts)) ** 2, len(looked_back)
    out = np.empty(len(rows), dtype=np.int64)
    # As full as it may get: every pair must still be found.
    room = np.full((1 << len(rows).bit_length(), 3), -1)
    both(kernels.since_pair, left, right, time, skip, room, out)
    for row, pair in enumerate(rows, skip):
        earlier = [time[other] for other in range(row) if both_parts[other] == pair]
        assert out[row - skip] == time[row] - (earlier[-1] if earlier else -(2**62))


def test_pairs_that_would_share_a_slot_get_different_ones() -> None:
    empty, room = np.full((4, 3), -1), np.full((4, 3), -1)
    slot = kernels._slot_of(0, 0, empty)
    rival = next(number for number in range(1, 100) if kernels._slot_of(number, 0, empty) == slot)
    room[slot, :2] = (0, 0)
    assert both(kernels._slot_of, 0, 0, room) == slot
    assert both(kernels._slot_of, rival, 0, room) == (slot + 1) % 4


@given(
    events=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 2)), max_size=15),
    window=st.integers(0, 5),
)
def test_has_company_looks_back_a_window_for_another_subject(events: list[tuple[int, int, int]], window: int) -> None:
    events.sort(key=lambda event: event[:2])
    table = np.array(events, dtype=np.int64).reshape(-1, 3)
    found = both(kernels.has_company, *np.ascontiguousarray(table.T), window)
    assert found.tolist() == [
        any(other == who and when - window <= then <= when and what != subject for other, then, what in events)
        for who, when, subject in events
    ]
