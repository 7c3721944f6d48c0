"""Instants as numbers: microseconds since the epoch, and the calendar day of a time zone."""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ints = NDArray[np.int64]

SECOND: Final = 1_000_000
HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR
"""Microseconds; a window of days is one of 24-hour days, also where the clocks change."""


def microseconds(times: pd.Series) -> Ints:
    """Microseconds since the epoch, in UTC."""
    return times.to_numpy(dtype="datetime64[us]").astype(np.int64)


def wall_clock(times: pd.Series, time_zone: str) -> Ints:
    """Microseconds since the epoch of what the clocks of a zone show; ``// DAY`` is the partition day.

    Parameters
    ----------
    times : Series of instants
    time_zone : str
        IANA name.

    Returns
    -------
    int64, shape (n,)
    """
    return microseconds(times.dt.tz_convert(time_zone).dt.tz_localize(None))
