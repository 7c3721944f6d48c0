"""Users and merchants as small numbers."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core.errors import InvalidDataError

Ints = NDArray[np.int64]


class Numbering:
    """Numbers the entities of some rows from 0, in the order of their first row.

    Parameters
    ----------
    ids : Series of text
        May be categorical, which saves the hashing.

    Raises
    ------
    InvalidDataError
        If one is missing.
    """

    def __init__(self, ids: pd.Series) -> None:
        self.codes, self.names = _factorize(ids)
        if len(self.codes) and self.codes.min() < 0:
            raise InvalidDataError(f"{ids.name} is missing in row {int(self.codes.argmin())}; reject such rows first.")

    def of(self, ids: pd.Series) -> Ints:
        """Numbers of other rows' entities; -1 for one that is not numbered."""
        codes, names = _factorize(ids)
        # A last -1, because that is where the code of a missing id points.
        return np.append(self.names.get_indexer(names), -1).astype(np.int64)[codes]

    def __len__(self) -> int:
        return len(self.names)


def _factorize(ids: pd.Series) -> tuple[Ints, pd.Index]:
    if isinstance(ids.dtype, pd.CategoricalDtype):
        # Of a part of a larger frame only the categories in use.
        return _compact(ids.cat.codes.to_numpy(), ids.cat.categories)
    codes, names = pd.factorize(ids)
    return codes.astype(np.int64, copy=False), pd.Index(names)


def _compact(codes: np.ndarray, categories: pd.Index) -> tuple[Ints, pd.Index]:
    used = np.zeros(len(categories) + 1, dtype=bool)
    used[codes] = True
    numbers = np.append(np.cumsum(used[:-1]) - 1, -1).astype(np.int64)
    return numbers[codes], categories[used[:-1]]
