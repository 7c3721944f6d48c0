"""Spoiled deliveries: every kind of dirt, seeded, input untouched."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from fraud_pipeline.core.errors import ConfigurationError, InvalidDataError
from fraud_pipeline.core.simulation import DIRT, SimulationConfig, build_population, simulate_day, spoil

POPULATION = build_population(SimulationConfig(users=100, merchants=30, first_day=date(2025, 1, 1)))
ROWS = simulate_day(POPULATION, date(2025, 1, 1)).transactions.astype("str").assign(channel="till")


def kinds(dirty: pd.DataFrame) -> dict[str, int]:
    identifiers = dirty[["transaction_id", "user_id", "merchant_id"]]
    return {
        "unparsable_amount": int(pd.to_numeric(dirty["amount"], errors="coerce").isna().sum()),
        "missing_identifier": int((identifiers == "").any(axis=1).sum()),
        "impossible_time": int(pd.to_datetime(dirty["event_time"], errors="coerce", format="ISO8601").isna().sum()),
        "duplicated_row": int(dirty.duplicated().sum()),
    }


def test_clean_rows_stay_as_they_are_at_rate_nought() -> None:
    assert_frame_equal(spoil(ROWS, np.random.default_rng(0), 0), ROWS)
    assert sum(kinds(ROWS).values()) == 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), rate=st.floats(0.03, 1))
def test_each_kind_of_dirt_occurs_equally_often(seed: int, rate: float) -> None:
    found = kinds(spoil(ROWS, np.random.default_rng(seed), rate))
    assert set(found) == set(DIRT)
    assert sum(found.values()) == np.ceil(rate * len(ROWS))
    assert max(found.values()) - min(found.values()) <= 1


def test_spoiling_is_seeded_and_leaves_its_input_alone() -> None:
    before = ROWS.copy(deep=True)
    first, again, other = (spoil(ROWS, np.random.default_rng(seed), 0.1) for seed in (1, 1, 2))
    assert_frame_equal(first, again)
    assert not first.equals(other)
    assert_frame_equal(ROWS, before)


def test_untouched_rows_keep_order_and_a_copy_follows_its_original() -> None:
    dirty = spoil(ROWS, np.random.default_rng(3), 0.2)
    assert list(dirty.columns) == list(ROWS.columns)
    assert list(dirty.dtypes) == list(ROWS.dtypes)
    copies = np.flatnonzero(dirty.duplicated())
    assert dirty.iloc[copies].reset_index(drop=True).equals(dirty.iloc[copies - 1].reset_index(drop=True))
    kept = dirty["transaction_id"][lambda name: name != ""].drop_duplicates()
    assert kept.is_monotonic_increasing


def test_any_rate_spoils_at_least_one_row_and_an_empty_delivery_none() -> None:
    assert sum(kinds(spoil(ROWS.head(3), np.random.default_rng(0), 0.01)).values()) == 1
    assert spoil(ROWS.head(0), np.random.default_rng(0), 1).empty


def test_a_rate_outside_nought_to_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"from 0 to 1, not 1\.5"):
        spoil(ROWS, np.random.default_rng(0), 1.5)


def test_rows_without_the_fields_are_refused() -> None:
    with pytest.raises(InvalidDataError, match="amount"):
        spoil(ROWS.drop(columns="amount"), np.random.default_rng(0), 0.1)
