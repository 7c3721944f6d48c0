"""Each compiled summary, its plain Python form and the statistics of the values themselves agree."""

import statistics
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fraud_pipeline.core import moments
from fraud_pipeline_tests.core.compiled import ENTITIES, both, columns, keyed_times

amounts = st.integers(-100_000, 100_000).map(lambda cents: cents / 100)
keyed_amounts = st.lists(st.tuples(st.integers(0, 3), amounts), max_size=25)


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
    order, start = both(moments.group, entity, ENTITIES)
    assert start.tolist() == [sum(0 <= who < below for who in entity) for below in range(ENTITIES + 1)]
    assert order.tolist() == [row for who in range(ENTITIES) for row in np.flatnonzero(entity == who)]


@given(rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=20))
def test_number_days_gives_each_entity_and_day_one_number(rows: list[tuple[int, int]]) -> None:
    rows.sort(key=lambda row: row[1])
    entity, day = columns(rows)
    code, first, last = np.full((3, len(rows)), -1)
    found = both(moments.number_days, entity, day, ENTITIES, code, first, last)
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
    both(moments.running, entity, time, value, np.zeros((ENTITIES, 3)), np.zeros((ENTITIES, 2), dtype=np.int64), out)
    own = [[row for row in range(now) if entity[row] == who] for now, who in enumerate(entity)]
    assert_moments(out[:3], [[float(value[row]) for row in before] for before in own])
    assert out[3].tolist() == [(now - before[0]) * 7 if before else 0 for now, before in enumerate(own)]
    assert out[4].tolist() == [(now - before[-1]) * 7 if before else 0 for now, before in enumerate(own)]
    whole = [[amount for other, amount in rows if other == who] for who in range(ENTITIES)]
    assert_moments(both(moments.summarise, entity, value, ENTITIES).T, whole)


def test_running_goes_on_from_the_state_before() -> None:
    # Code 1 paid 2 and 4 before, at 3 and 5; code 0 nothing.
    state, span = np.array([[0.0, 0.0, 0.0], [2.0, 3.0, 2.0]]), np.array([[0, 0], [3, 5]])
    out = np.empty((5, 3))
    both(moments.running, np.array([0, 1, 1]), np.array([8, 8, 9]), np.array([5.0, 1.0, 4.0]), state, span, out)
    assert_moments(out[:3], [[], [2.0, 4.0], [2.0, 4.0, 1.0]])
    assert out[3:].tolist() == [[0.0, 5.0, 6.0], [0.0, 3.0, 1.0]]


keyed_parts = st.lists(st.tuples(st.integers(0, 2), st.lists(amounts, min_size=1, max_size=6)), max_size=12)


def moments_of(parts: list[list[float]]) -> NDArray[np.float64]:
    return np.array([[len(part), mean(part), squares(part)] for part in parts], dtype=np.float64).reshape(-1, 3)


@given(parts=keyed_parts)
def test_merging_parts_gives_the_moments_of_the_whole(parts: list[tuple[int, list[float]]]) -> None:
    entity = np.array([who for who, _ in parts], dtype=np.int64)
    whole = [[value for other, part in parts if other == who for value in part] for who in range(3)]
    assert_moments(both(moments.merge, entity, moments_of([part for _, part in parts]), 3).T, whole)


def parts_of(days: list[tuple[int, int]], values: list[list[float]]) -> moments.Parts:
    """Parts of three entities, given as entity and day, oldest day first; a day spans ten times its number to + 5."""
    who, day = columns(days)
    n, average, m2 = moments_of(values).T.copy()
    return moments.Parts(*moments.group(who, 3), day, n, average, m2, day * 10, day * 10 + 5)


def both_trailing(given_parts: moments.Parts, built: moments.Parts, length: int) -> tuple[Any, Any, Any]:
    (state, span), (state_2, span_2) = (
        (np.empty((len(built.day), 3)), np.full((len(built.day), 2), -1)) for _ in range(2)
    )
    compiled = moments.merge_trailing(given_parts, built, length, state, span)
    assert compiled == moments.merge_trailing.py_func(given_parts, built, length, state_2, span_2)
    np.testing.assert_array_equal(span, span_2)
    if compiled < 0:
        np.testing.assert_array_equal(state, state_2)
    return compiled, state, span


@given(
    days=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 12))),
    first_built=st.integers(0, 13),
    length=st.integers(1, 5),
    data=st.data(),
)
def test_merge_trailing_covers_the_days_before(
    days: set[tuple[int, int]], first_built: int, length: int, data: st.DataObject
) -> None:
    ordered = sorted(days, key=lambda part: part[1])
    values = [data.draw(st.lists(amounts, min_size=1, max_size=3)) for _ in ordered]
    cut = sum(day < first_built for _, day in ordered)
    repeated, state, span = both_trailing(
        parts_of(ordered[:cut], values[:cut]), parts_of(ordered[cut:], values[cut:]), length
    )
    assert repeated == -1
    within = [
        [other for other, (whose, earlier) in enumerate(ordered) if whose == who and now - length <= earlier < now]
        for who, now in ordered[cut:]
    ]
    assert_moments(state.T, [[value for other in own for value in values[other]] for own in within])
    for own, (first, last) in zip(within, span.tolist(), strict=True):
        assert (first, last) == ((ordered[own[0]][1] * 10, ordered[own[-1]][1] * 10 + 5) if own else (-1, -1))


def test_merge_trailing_finds_a_given_day_that_is_there_twice() -> None:
    built = parts_of([(0, 5), (1, 5)], [[1.0]] * 2)
    assert both_trailing(parts_of([(0, 1), (1, 2), (0, 2), (1, 2)], [[1.0]] * 4), built, 9)[0] == 3
    assert both_trailing(parts_of([(0, 1), (1, 2), (0, 2)], [[1.0]] * 3), built, 9)[0] == -1
    # Nothing is built of the third entity, so nothing of it is looked at.
    assert both_trailing(parts_of([(2, 1), (2, 1)], [[1.0]] * 2), built, 9)[0] == -1


def test_merging_one_part_gives_that_part_to_the_last_bit() -> None:
    means = np.random.default_rng(0).lognormal(size=500)
    parts = np.column_stack([np.arange(1.0, 501.0), means, means])
    np.testing.assert_array_equal(both(moments.merge, np.arange(500), parts, 500), parts)


def test_a_million_equal_large_values_have_no_spread() -> None:
    value = np.full(1_000_000, 1e8 + 1e-2)
    ((n, average, m2),) = moments.summarise(np.zeros(1_000_000, dtype=np.int64), value, 1)
    assert (n, average, m2) == (1_000_000.0, 1e8 + 1e-2, 0.0)


def test_a_large_offset_does_not_cancel() -> None:
    small = np.random.default_rng(0).integers(-1000, 1000, size=10_000) / 1000
    ((_, _, m2),) = moments.summarise(np.zeros(10_000, dtype=np.int64), small + 1e9, 1)
    shifted = (small + 1e9) - 1e9
    np.testing.assert_allclose(m2, squares(shifted.tolist()), rtol=1e-7)


@given(n=st.integers(0, 3), value=amounts)
def test_the_steps_of_the_sweeps_are_plain_arithmetic(n: int, value: float) -> None:
    values = [float(number) for number in range(n)]
    state = (float(n), mean(values), squares(values))
    assert_moments(np.array([both(moments.add_value, *state, value)]).T, [[*values, value]])
    merged = both(moments.add_moments, *state, 2.0, value, 8.0)
    assert_moments(np.array([merged]).T, [[*values, value - 2.0, value + 2.0]])
