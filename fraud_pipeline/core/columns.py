"""The feature columns while they are computed: one piece of memory, each column contiguous."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core.schema import EVENT_KEYS, FEATURE_COLUMNS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_POSITION: Final = {name: position for position, name in enumerate(FEATURE_COLUMNS)}


class FeatureColumns:
    """A table of ``FEATURE_COLUMNS``, to be filled column by column.

    Parameters
    ----------
    table : float64, shape (len(FEATURE_COLUMNS), n)
        Is written to.
    """

    def __init__(self, table: Floats) -> None:
        self.table = table

    @classmethod
    def empty(cls, rows: int) -> Self:
        """Make room for so many rows; what is in it is undefined."""
        return cls(np.empty((len(FEATURE_COLUMNS), rows)))

    @classmethod
    def of(cls, built: pd.DataFrame) -> Self:
        """Copy the columns of a frame."""
        return cls(np.stack([built[name].to_numpy(dtype=np.float64) for name in FEATURE_COLUMNS]))

    def __len__(self) -> int:
        return int(self.table.shape[1])

    def __getitem__(self, name: str) -> Floats:
        column: Floats = self.table[_POSITION[name]]
        return column

    def __setitem__(self, name: str, values: NDArray[Any]) -> None:
        self.table[_POSITION[name]] = values

    def at(self, names: Sequence[str]) -> Ints:
        """Positions of columns in ``table``, for a kernel to write there."""
        return np.array([_POSITION[name] for name in names], dtype=np.int64)

    def matrix(self, names: Sequence[str], more: Mapping[str, Floats]) -> Floats:
        """Rows of some columns, of these or of ``more``; float64, shape (n, len(names)), C order."""
        return np.stack([more[name] if name in more else self[name] for name in names], axis=1)

    def take(self, rows: Ints) -> Self:
        """Copy some rows, by position, in that order."""
        return type(self)(np.ascontiguousarray(self.table[:, rows]))

    def frame(self, keys: pd.DataFrame) -> pd.DataFrame:
        """``EVENT_KEYS`` and the columns; the memory is handed over."""
        features = pd.DataFrame(self.table.T, columns=list(FEATURE_COLUMNS), copy=False)
        return pd.concat([keys[list(EVENT_KEYS)].reset_index(drop=True), features], axis=1)
