"""Each compiled loop, its plain Python form and a brute-force computation agree."""

import statistics
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fraud_pipeline.core import kernels

Ints = NDArray[np.int64]

keyed_times = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=25).map(sorted)
windows = st.integers(0, 12)
amounts = st.integers(-100_000, 100_000).map(lambda cents: cents / 100)
keyed_amounts = st.lists(st.tuples(st.integers(0, 3), amounts), max_size=25)


def both(kernel: Any, *arguments: object) -> Any:  # noqa: ANN401 - numba ships no types
    """Run the compiled and the plain form: the same to the last bit, and only the plain one shows in coverage."""
    compiled = kernel(*arguments)
    np.testing.assert_array_equal(np.array(compiled), np.array(kernel.py_func(*arguments)))
    return compiled


def columns(pairs: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


def mean(values: list[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def squares(values: list[float]) -> float:
    """Sum of squared deviations from the mean."""
    return statistics.variance(values) * (len(values) - 1) if len(values) > 1 else 0.0


def assert_moments(found: tuple[NDArray[np.float64], ...], groups: list[list[float]]) -> None:
    assert found[0].tolist() == [len(values) for values in groups]
    np.testing.assert_allclose(found[1], [mean(values) for values in groups], atol=1e-9)
    np.testing.assert_allclose(found[2], [squares(values) for values in groups], rtol=1e-9, atol=1e-9)


@given(rows=keyed_times, window=windows)
def test_count_earlier_counts_by_definition(rows: list[tuple[int, int]], window: int) -> None:
    assert both(kernels.count_earlier, *columns(rows), window).tolist() == [
        sum(other == entity and time - window <= earlier for other, earlier in rows[:position])
        for position, (entity, time) in enumerate(rows)
    ]


@given(rows=keyed_times, events=keyed_times, window=windows)
def test_count_known_counts_by_definition(
    rows: list[tuple[int, int]], events: list[tuple[int, int]], window: int
) -> None:
    assert both(kernels.count_known, *columns(rows), *columns(events), window).tolist() == [
        sum(other == entity and time - window <= known < time for other, known in events) for entity, time in rows
    ]


@given(rows=keyed_amounts)
def test_running_moments_describe_the_values_before_each_row(rows: list[tuple[int, float]]) -> None:
    rows.sort(key=lambda row: row[0])
    entity = np.array([who for who, _ in rows], dtype=np.int64)
    value = np.array([amount for _, amount in rows], dtype=np.float64)
    before = [[amount for other, amount in rows[:position] if other == who] for position, (who, _) in enumerate(rows)]
    assert_moments(both(kernels.running_moments, entity, value, *np.zeros((3, 4))), before)


def test_running_moments_go_on_from_the_state_before() -> None:
    # Entity 1 paid 2 and 4 before; entity 0 nothing.
    state = (np.array([0.0, 2.0]), np.array([0.0, 3.0]), np.array([0.0, 2.0]))
    found = both(kernels.running_moments, np.array([0, 1, 1]), np.array([5.0, 1.0, 4.0]), *state)
    assert_moments(found, [[], [2.0, 4.0], [2.0, 4.0, 1.0]])


@given(parts=st.lists(st.tuples(st.integers(0, 2), st.lists(amounts, max_size=6)), max_size=12))
def test_merging_parts_gives_the_moments_of_the_whole(parts: list[tuple[int, list[float]]]) -> None:
    entity = np.array([who for who, _ in parts], dtype=np.int64)
    n = np.array([len(values) for _, values in parts], dtype=np.float64)
    means = np.array([mean(values) for _, values in parts], dtype=np.float64)
    m2 = np.array([squares(values) for _, values in parts], dtype=np.float64)
    whole = [[value for other, part in parts if other == who for value in part] for who in range(3)]
    assert_moments(both(kernels.merge_moments, entity, n, means, m2, 3), whole)


def test_merging_one_part_gives_that_part_to_the_last_bit() -> None:
    means = np.random.default_rng(0).lognormal(size=500)
    counts = np.arange(1.0, 501.0)
    merged = both(kernels.merge_moments, np.arange(500), counts, means, means, 500)
    np.testing.assert_array_equal(merged, (counts, means, means))


def test_a_million_equal_large_values_have_no_spread() -> None:
    entity, value = np.zeros(1_000_000, dtype=np.int64), np.full(1_000_000, 1e8 + 1e-2)
    _, means, m2 = kernels.running_moments(entity, value, *np.zeros((3, 1)))
    assert (means[1:] == 1e8 + 1e-2).all()
    assert (m2 == 0).all()
