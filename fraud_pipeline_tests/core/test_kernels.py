"""Each compiled loop, its plain Python form and a brute-force computation agree."""

import statistics
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fraud_pipeline.core import kernels

Ints = NDArray[np.int64]

# Entity and time, in the order of time; -1 is nobody.
keyed_times = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 20)), max_size=25).map(
    lambda rows: sorted(rows, key=lambda row: row[1])
)
windows = st.lists(st.integers(0, 12), min_size=1, max_size=3)
ENTITIES = 4
amounts = st.integers(-100_000, 100_000).map(lambda cents: cents / 100)
keyed_amounts = st.lists(st.tuples(st.integers(0, 3), amounts), max_size=25)


def both(kernel: Any, *arguments: object) -> Any:  # noqa: ANN401 - numba ships no types
    """Run the compiled and the plain form: the same to the last bit, and only the plain one shows in coverage.

    That holds for what they return and for what they write to.
    """
    copies = [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments]
    compiled, plain = kernel(*arguments), kernel.py_func(*copies)
    for left, right in zip((compiled, *arguments), (plain, *copies), strict=True):
        pairs = zip(left, right, strict=True) if isinstance(left, tuple) else [(left, right)]
        for mine, other in pairs:
            np.testing.assert_array_equal(mine, other)
    return compiled


def columns(pairs: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


def mean(values: list[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def squares(values: list[float]) -> float:
    """Sum of squared deviations from the mean."""
    return statistics.variance(values) * (len(values) - 1) if len(values) > 1 else 0.0


def assert_moments(found: NDArray[np.float64], groups: list[list[float]]) -> None:
    """Compare count, mean and squared deviations, each of shape (n,), with those of the values themselves."""
    assert found[0].tolist() == [len(values) for values in groups]
    np.testing.assert_allclose(found[1], [mean(values) for values in groups], atol=1e-9)
    np.testing.assert_allclose(found[2], [squares(values) for values in groups], rtol=1e-9, atol=1e-9)


@given(rows=keyed_times)
def test_group_gathers_rows_in_their_order(rows: list[tuple[int, int]]) -> None:
    entity, _ = columns(rows)
    order, start = both(kernels.group, entity, ENTITIES)
    assert start.tolist() == [sum(0 <= who < below for who in entity) for below in range(ENTITIES + 1)]
    assert order.tolist() == [row for who in range(ENTITIES) for row in np.flatnonzero(entity == who)]


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


@given(rows=st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 2)), max_size=30))
def test_since_pair_is_the_time_since_the_same_two_met(rows: list[tuple[int, int]]) -> None:
    left, right = columns(rows)
    time = np.arange(len(rows)) ** 2
    out = np.full(len(rows), -1)
    # As full as it may get: every pair must still be found.
    both(kernels.since_pair, left, right, time, np.full((1 << len(rows).bit_length(), 3), -1), out)
    for row, pair in enumerate(rows):
        if min(pair) < 0:
            assert out[row] == -1
        else:
            earlier = [time[other] for other in range(row) if rows[other] == pair]
            assert out[row] == (time[row] - earlier[-1] if earlier else 2**62)


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


@given(rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=20))
def test_number_days_gives_each_entity_and_day_one_number(rows: list[tuple[int, int]]) -> None:
    rows.sort(key=lambda row: row[1])
    entity, day = columns(rows)
    code, first, last = np.full((3, len(rows)), -1)
    found = both(kernels.number_days, entity, day, ENTITIES, code, first, last)
    in_order = list(dict.fromkeys(rows))
    assert found == len(in_order)
    assert code.tolist() == [in_order.index(row) for row in rows]
    assert first[:found].tolist() == [rows.index(row) for row in in_order]
    assert last[:found].tolist() == [len(rows) - 1 - rows[::-1].index(row) for row in in_order]


@given(rows=keyed_amounts)
def test_running_and_summary_describe_the_values(rows: list[tuple[int, float]]) -> None:
    entity = np.array([who for who, _ in rows], dtype=np.int64)
    value = np.array([amount for _, amount in rows], dtype=np.float64)
    time = np.arange(len(rows)) * 7
    out = np.empty((5, len(rows)))
    both(kernels.running, entity, time, value, np.zeros((ENTITIES, 3)), np.zeros((ENTITIES, 2), dtype=np.int64), out)
    own = [[row for row in range(now) if entity[row] == who] for now, who in enumerate(entity)]
    assert_moments(out[:3], [[float(value[row]) for row in before] for before in own])
    assert out[3].tolist() == [(now - before[0]) * 7 if before else 0 for now, before in enumerate(own)]
    assert out[4].tolist() == [(now - before[-1]) * 7 if before else 0 for now, before in enumerate(own)]
    whole = [[amount for other, amount in rows if other == who] for who in range(ENTITIES)]
    assert_moments(both(kernels.summarise, entity, value, ENTITIES).T, whole)


def test_running_goes_on_from_the_state_before() -> None:
    # Code 1 paid 2 and 4 before, at 3 and 5; code 0 nothing.
    state, span = np.array([[0.0, 0.0, 0.0], [2.0, 3.0, 2.0]]), np.array([[0, 0], [3, 5]])
    out = np.empty((5, 3))
    both(kernels.running, np.array([0, 1, 1]), np.array([8, 8, 9]), np.array([5.0, 1.0, 4.0]), state, span, out)
    assert_moments(out[:3], [[], [2.0, 4.0], [2.0, 4.0, 1.0]])
    assert out[3:].tolist() == [[0.0, 5.0, 6.0], [0.0, 3.0, 1.0]]


keyed_parts = st.lists(st.tuples(st.integers(0, 2), st.lists(amounts, min_size=1, max_size=6)), max_size=12)


def moments_of(parts: list[list[float]]) -> NDArray[np.float64]:
    return np.array([[len(part), mean(part), squares(part)] for part in parts], dtype=np.float64).reshape(-1, 3)


@given(parts=keyed_parts)
def test_merging_parts_gives_the_moments_of_the_whole(parts: list[tuple[int, list[float]]]) -> None:
    entity = np.array([who for who, _ in parts], dtype=np.int64)
    whole = [[value for other, part in parts if other == who for value in part] for who in range(3)]
    assert_moments(both(kernels.merge, entity, moments_of([part for _, part in parts]), 3).T, whole)


@given(days=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 12))), length=st.integers(1, 5), data=st.data())
def test_merge_trailing_covers_the_days_before(days: set[tuple[int, int]], length: int, data: st.DataObject) -> None:
    ordered = sorted(days)
    values = [data.draw(st.lists(amounts, min_size=1, max_size=3)) for _ in ordered]
    start = np.array([sum(who < below for who, _ in ordered) for below in range(4)])
    day = columns(ordered)[1]
    span = np.column_stack([day * 10, day * 10 + 5])
    before, before_span = np.empty((len(day), 3)), np.full((len(day), 2), -1)
    assert both(kernels.merge_trailing, start, day, moments_of(values), span, length, before, before_span) == -1
    within = [
        [other for other, (whose, earlier) in enumerate(ordered) if whose == who and now - length <= earlier < now]
        for who, now in ordered
    ]
    assert_moments(before.T, [[value for other in own for value in values[other]] for own in within])
    for own, (first, last) in zip(within, before_span.tolist(), strict=True):
        assert (first, last) == ((day[own[0]] * 10, day[own[-1]] * 10 + 5) if own else (-1, -1))


def test_merge_trailing_finds_a_day_that_is_there_twice() -> None:
    day, moments, span = np.array([1, 2, 2]), moments_of([[1.0]] * 3), np.zeros((3, 2), dtype=np.int64)
    room = np.empty((3, 3)), np.empty((3, 2), dtype=np.int64)
    assert both(kernels.merge_trailing, np.array([0, 3]), day, moments, span, 9, *room) == 2
    assert both(kernels.merge_trailing, np.array([0, 2, 3]), day, moments, span, 9, *room) == -1


def test_merging_one_part_gives_that_part_to_the_last_bit() -> None:
    means = np.random.default_rng(0).lognormal(size=500)
    parts = np.column_stack([np.arange(1.0, 501.0), means, means])
    np.testing.assert_array_equal(both(kernels.merge, np.arange(500), parts, 500), parts)


def test_a_million_equal_large_values_have_no_spread() -> None:
    value = np.full(1_000_000, 1e8 + 1e-2)
    ((n, average, m2),) = kernels.summarise(np.zeros(1_000_000, dtype=np.int64), value, 1)
    assert (n, average, m2) == (1_000_000.0, 1e8 + 1e-2, 0.0)


def test_a_large_offset_does_not_cancel() -> None:
    small = np.random.default_rng(0).integers(-1000, 1000, size=10_000) / 1000
    ((_, _, m2),) = kernels.summarise(np.zeros(10_000, dtype=np.int64), small + 1e9, 1)
    shifted = (small + 1e9) - 1e9
    np.testing.assert_allclose(m2, squares(shifted.tolist()), rtol=1e-7)


@given(n=st.integers(0, 3), value=amounts)
def test_the_steps_of_the_sweeps_are_plain_arithmetic(n: int, value: float) -> None:
    values = [float(number) for number in range(n)]
    state = (float(n), mean(values), squares(values))
    assert_moments(np.array([both(kernels.add_value, *state, value)]).T, [[*values, value]])
    merged = both(kernels.add_moments, *state, 2.0, value, 8.0)
    assert_moments(np.array([merged]).T, [[*values, value - 2.0, value + 2.0]])
