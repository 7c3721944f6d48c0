"""Streams of transactions and labels with the times that matter: ties, midnights, the very edge of a window."""

import math
from dataclasses import dataclass
from typing import Final

import pandas as pd
from hypothesis import strategies as st

from fraud_pipeline_tests.builders import DAY, SECOND, Event, Row

STARTS: Final = tuple(pd.Timestamp(day, tz="UTC").value // 1000 for day in ("2026-01-15", "2026-08-10"))
"""The clocks go forward, and back, in the 120 days after each, on either side of the Atlantic."""

TIME_ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")
FEW_DAYS: Final = (0, 0, 1)
EDGE_DAYS: Final = (0, 1, 7, 8, 29, 30, 31, 59, 60, 61, 90, 91, 92, 119)

_users = st.sampled_from(("u1", "u2", "u3"))
_merchants = st.sampled_from(("m1", "m2"))
_amounts = st.sampled_from((0.0, 0.01, 1.0, 20.0, 20.0, -15.5, 999.99)) | st.integers(-100_000, 100_000).map(
    lambda cents: cents / 100
)
_seconds = st.sampled_from((0, 1, 6 * 3600 - 1, 6 * 3600, 12 * 3600, 86_399)) | st.integers(0, 86_399)
_fractions = st.sampled_from((0, 0, 0, 1, SECOND - 1))


@dataclass(frozen=True)
class Stream:
    """Transactions, and labels of these and other users and merchants."""

    rows: list[Row]
    events: list[Event]


@st.composite
def streams(draw: st.DrawFn, days: tuple[int, ...] = EDGE_DAYS, max_rows: int = 15) -> Stream:
    """Draw a stream of at least one transaction."""
    start = draw(st.sampled_from(STARTS))
    times = st.builds(
        lambda day, second, fraction: start + day * DAY + second * SECOND + fraction,
        st.sampled_from(days),
        _seconds,
        _fractions,
    )
    drawn = draw(st.lists(st.tuples(times, _users, _merchants, _amounts), min_size=1, max_size=max_rows))
    names = draw(st.permutations([f"t{position:02}" for position in range(len(drawn))]))
    rows = sorted(
        Row(time, name, user, merchant, amount)
        for name, (time, user, merchant, amount) in zip(names, drawn, strict=True)
    )
    # At, just after and a whole window after a transaction: where "before" and "within" turn.
    lags = st.sampled_from((0, 1, 3600 * SECOND, DAY, 7 * DAY, 30 * DAY, 30 * DAY + 1))
    verdicts = st.builds(
        lambda row, lag, is_fraud: Event(
            row.time + lag, row.user_id, row.merchant_id, is_fraud, row.transaction_id, row.time
        ),
        st.sampled_from(rows),
        lags,
        st.booleans(),
    )
    near = st.builds(lambda row, lag: row.time + lag, st.sampled_from(rows), lags | st.just(-1))
    strangers = st.builds(
        Event,
        near | times,
        _users | st.just("u9"),
        _merchants | st.just("m9"),
        st.booleans(),
        st.sampled_from(("x1", "x2")),
        st.just(start - DAY),
        st.sampled_from((math.nan, 0.0, 2.99, 3.0, -3.0)),
    )
    return Stream(rows, draw(st.lists(verdicts | strangers, max_size=15)))
