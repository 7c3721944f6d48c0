"""What the tests of compiled loops share: run both forms, and rows of entities in the order of time."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Ints = NDArray[np.int64]

ENTITIES = 4
# Entity and time, in the order of time; -1 is nobody.
keyed_times = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 20)), max_size=25).map(
    lambda rows: sorted(rows, key=lambda row: row[1])
)


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
