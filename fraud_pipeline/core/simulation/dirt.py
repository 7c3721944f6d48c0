"""The dirt that real exports contain, for demonstrations of rejected rows."""

from typing import Final

import numpy as np
import pandas as pd

from fraud_pipeline.core.errors import ConfigurationError, InvalidDataError
from fraud_pipeline.core.schema import TRANSACTION_FIELDS

DIRT: Final = ("unparsable_amount", "missing_identifier", "impossible_time", "duplicated_row")
"""Kinds of dirt, in equal numbers."""

_AMOUNTS: Final = ("", "n/a", "12,3x", "#VALUE!", "--5.00")
_TIMES: Final = ("2025-02-30T10:00:00", "2025-06-31 25:61:00", "0000-00-00", "yesterday")
_IDENTIFIERS: Final = ("transaction_id", "user_id", "merchant_id")


def spoil(rows: pd.DataFrame, rng: np.random.Generator, rate: float) -> pd.DataFrame:
    """Return a copy of an all-text delivery with a few rows spoiled.

    Parameters
    ----------
    rows : pandas.DataFrame
        Text columns, among them the five transaction fields.
    rng : numpy.random.Generator
        Which rows, and how; an equal state gives an equal result.
    rate : float
        Share of the rows to spoil, 0 to 1; any rate above 0 spoils at least one. Each row gets one kind of
        `DIRT`; the kinds occur equally often.

    Returns
    -------
    pandas.DataFrame
        The rows in their order, numbered anew; the copy of a duplicated row follows the original.

    Raises
    ------
    ConfigurationError
        If the rate is not within 0 to 1.
    InvalidDataError
        If one of the five fields is missing.
    """
    if not 0 <= rate <= 1:
        raise ConfigurationError(f"The rate of spoiled rows must be from 0 to 1, not {rate}.")
    missing = [name for name in TRANSACTION_FIELDS if name not in rows]
    if missing:
        raise InvalidDataError(f"Cannot spoil rows without the columns {', '.join(missing)}; give all five fields.")
    dirty = rows.reset_index(drop=True)
    count = int(np.ceil(rate * len(dirty)))
    chosen = rng.permutation(len(dirty))[:count]
    amounts, lost, times, doubled = (chosen[kind :: len(DIRT)] for kind in range(len(DIRT)))
    dirty.loc[amounts, "amount"] = rng.choice(_AMOUNTS, len(amounts)).astype(object)
    dirty.loc[times, "event_time"] = rng.choice(_TIMES, len(times)).astype(object)
    for row, name in zip(lost, rng.choice(_IDENTIFIERS, len(lost)), strict=True):
        dirty.loc[row, name] = ""
    return pd.concat([dirty, dirty.loc[doubled]]).sort_index(kind="stable", ignore_index=True)
