"""Determinism, streaming, identifiers and configuration of the transaction simulator."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.schema import TIME_DTYPE, TRANSACTION_FIELDS
from fraud_pipeline.core.simulation import (
    FRAUD_SCENARIOS,
    MAX_LABEL_DELAY_DAYS,
    DayOfTransactions,
    ScenarioMix,
    SimulationConfig,
    build_population,
    labels_known_on,
    simulate,
    simulate_day,
)

FIRST = date(2025, 3, 1)
ONE_DAY = timedelta(days=1)
POPULATION = build_population(SimulationConfig(users=150, merchants=60, first_day=FIRST, seed=7, fraud_rate=0.03))

configs = st.builds(
    SimulationConfig,
    users=st.integers(1, 120),
    merchants=st.integers(10, 80),
    first_day=st.dates(date(2000, 1, 1), date(2050, 1, 1)),
    seed=st.integers(0, 2**32 - 1),
    transactions_per_user_day=st.floats(0.1, 4),
    fraud_rate=st.floats(0, 0.05),
    dormancies_per_quarter=st.floats(0.2, 0.5),
    new_user_share=st.floats(0, 0.9),
)
offsets = st.integers(0, 800).map(timedelta)


def frames(day: DayOfTransactions) -> list[pd.DataFrame]:
    return [day.transactions, day.labels, day.frauds]


def run_days(first: int, last: int, label_days_after: int = 0) -> Iterator[tuple[date, pd.DataFrame, pd.DataFrame]]:
    for day in simulate(POPULATION, FIRST + first * ONE_DAY, FIRST + last * ONE_DAY, label_days_after):
        yield day.day, day.transactions, day.labels_known


@settings(max_examples=25, deadline=None)
@given(config=configs, offset=offsets, other=offsets)
def test_a_day_is_the_same_whatever_was_drawn_before(
    config: SimulationConfig, offset: timedelta, other: timedelta
) -> None:
    population = build_population(config)
    simulate_day(population, config.first_day + other)
    late = simulate_day(population, config.first_day + offset)
    alone = simulate_day(build_population(config), config.first_day + offset)
    for left, right in zip(frames(late), frames(alone), strict=True):
        assert_frame_equal(left, right)


@settings(max_examples=25, deadline=None)
@given(config=configs, offset=offsets)
def test_every_day_of_every_world_keeps_the_contract(config: SimulationConfig, offset: timedelta) -> None:
    day = config.first_day + offset
    drawn = simulate_day(build_population(config), day)
    rows, labels = drawn.transactions, drawn.labels
    assert tuple(rows) == TRANSACTION_FIELDS
    assert [str(kind) for kind in rows.dtypes] == ["str", "str", "str", TIME_DTYPE, "float64"]
    assert rows.equals(rows.sort_values(["event_time", "transaction_id"], ignore_index=True))
    assert rows["transaction_id"].is_unique
    assert (rows["event_time"].dt.date == day).all()
    assert (rows["amount"] == rows["amount"].round(2)).all()
    assert (rows["amount"] != 0).all()
    assert tuple(labels) == ("transaction_id", "is_fraud", "label_known_at", "scenario")
    assert [str(kind) for kind in labels.dtypes] == ["str", "bool", TIME_DTYPE, "str"]
    assert labels["transaction_id"].is_unique
    delay = (
        labels["label_known_at"] - rows.set_index("transaction_id")["event_time"].loc[labels["transaction_id"]].array
    )
    assert delay.between(pd.Timedelta("1min"), pd.Timedelta(days=MAX_LABEL_DELAY_DAYS)).all()
    assert set(labels.loc[labels["is_fraud"], "transaction_id"]) <= set(drawn.frauds["transaction_id"])
    assert not set(labels.loc[~labels["is_fraud"], "transaction_id"]) & set(drawn.frauds["transaction_id"])


def test_another_seed_gives_another_world() -> None:
    other = build_population(replace(POPULATION.config, seed=8))
    assert not simulate_day(other, FIRST).transactions.equals(simulate_day(POPULATION, FIRST).transactions)


def test_no_two_days_are_alike_and_identifiers_are_unique_over_days() -> None:
    rows = pd.concat([transactions for _, transactions, _ in run_days(0, 29)])
    assert rows["transaction_id"].is_unique
    assert not rows.duplicated(["user_id", "merchant_id", "event_time", "amount"]).any()
    assert rows["amount"].groupby(rows["event_time"].dt.date).sum().is_unique


def test_the_stream_delivers_the_transactions_of_each_day() -> None:
    days = list(run_days(0, 9))
    assert [day for day, _, _ in days] == [FIRST + k * ONE_DAY for k in range(10)]
    for day, transactions, _ in days:
        assert_frame_equal(transactions, simulate_day(POPULATION, day).transactions)


def test_every_label_is_delivered_once_on_the_day_it_becomes_known() -> None:
    days = list(run_days(0, 29, label_days_after=MAX_LABEL_DELAY_DAYS))
    delivered = pd.concat([labels for _, _, labels in days])
    drawn = pd.concat([simulate_day(POPULATION, FIRST + k * ONE_DAY).labels for k in range(30)])
    assert len(drawn) > 50
    assert_frame_equal(
        delivered.sort_values("transaction_id", ignore_index=True),
        drawn.drop(columns="scenario").sort_values("transaction_id", ignore_index=True),
    )
    for day, _, labels in days:
        assert (labels["label_known_at"].dt.date == day).all()


def test_after_the_last_day_only_labels_arrive() -> None:
    days = list(run_days(0, 9, label_days_after=MAX_LABEL_DELAY_DAYS + 2))
    after = days[10:]
    assert len(after) == MAX_LABEL_DELAY_DAYS + 2
    assert all(transactions.empty and tuple(transactions) == TRANSACTION_FIELDS for _, transactions, _ in after)
    assert sum(len(labels) for _, _, labels in after) > 0
    assert after[-1][2].empty


@pytest.mark.parametrize("cut", [1, 23])
def test_a_stream_can_be_cut_anywhere_and_resumed(cut: int) -> None:
    whole = list(run_days(0, 24))
    for (day, rows, labels), (same_day, same_rows, same_labels) in zip(
        [*run_days(0, cut - 1), *run_days(cut, 24)], whole, strict=True
    ):
        assert day == same_day
        assert_frame_equal(rows, same_rows)
        assert_frame_equal(labels, same_labels)


def test_labels_known_on_a_day_are_those_of_the_stream() -> None:
    day, _, labels = list(run_days(0, 25))[-1]
    assert len(labels) > 0
    assert_frame_equal(labels_known_on(POPULATION, day), labels)


def test_a_stream_of_a_century_starts_at_once_and_forgets_each_day() -> None:
    days = simulate(POPULATION, FIRST, FIRST + 36_500 * ONE_DAY)
    seen = [weakref.ref(day.transactions) for day in islice(days, 5)]
    gc.collect()
    assert [frame() is None for frame in seen] == [True] * 4 + [False]


def test_frauds_leave_the_genuine_traffic_as_it_is() -> None:
    peaceful = build_population(replace(POPULATION.config, fraud_rate=0))
    columns, added = list(TRANSACTION_FIELDS[1:]), 0
    for day in (FIRST + k * ONE_DAY for k in range(5)):
        without, drawn = simulate_day(peaceful, day), simulate_day(POPULATION, day)
        assert without.frauds.empty
        assert not without.labels["is_fraud"].any()
        extra = drawn.frauds.loc[drawn.frauds["scenario"] != "compromised_merchant", "transaction_id"]
        rest = drawn.transactions[~drawn.transactions["transaction_id"].isin(extra)]
        assert_frame_equal(
            rest[columns].sort_values(columns, ignore_index=True),
            without.transactions[columns].sort_values(columns, ignore_index=True),
        )
        added += len(extra)
    assert added > 10


@pytest.mark.parametrize("scenario", FRAUD_SCENARIOS)
def test_the_mix_can_leave_a_single_scenario(scenario: str) -> None:
    mix = ScenarioMix(**{name: float(name == scenario) for name in FRAUD_SCENARIOS})
    config = replace(POPULATION.config, users=1000, scenario_mix=mix, fraud_rate=0.008, dormancies_per_quarter=0.5)
    population = build_population(config)
    found = pd.concat([simulate_day(population, FIRST + k * 9 * ONE_DAY).frauds for k in range(10)])
    assert set(found["scenario"]) == {scenario}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("users", 0),
        ("users", 10.5),
        ("users", True),
        ("merchants", 9),
        ("seed", -1),
        ("seed", 2**32),
        ("fraud_rate", 0.06),
        ("fraud_rate", float("nan")),
        ("fraud_rate", "0.01"),
        ("transactions_per_user_day", 0),
        ("refund_share", -0.1),
        ("new_user_share", 1.0),
        ("dormancies_per_quarter", 0.6),
        ("unreported_share", 1.1),
        ("dispute_rate", 0.06),
        ("first_day", "2025-01-01"),
        ("first_day", datetime(2025, 1, 1, 12)),  # noqa: DTZ001 - a naive time is the mistake under test
    ],
)
def test_a_value_out_of_range_is_refused_with_its_name(field: str, value: object) -> None:
    values: dict[str, Any] = {"first_day": FIRST, field: value}
    with pytest.raises(ConfigurationError, match=f"^{field} must be"):
        SimulationConfig(**values)


def test_cash_outs_need_enough_dormant_periods() -> None:
    with pytest.raises(ConfigurationError, match="raise it, or lower fraud_rate"):
        SimulationConfig(first_day=FIRST, dormancies_per_quarter=0)
    assert SimulationConfig(first_day=FIRST, fraud_rate=0.05).cash_out_probability <= 1
    without = ScenarioMix(cash_out=0, compromised_merchant=0.68)
    calm = SimulationConfig(first_day=FIRST, dormancies_per_quarter=0, scenario_mix=without)
    assert calm.cash_out_probability == 0


@pytest.mark.parametrize("shares", [{"cash_out": 0.5}, {"cash_out": -0.04, "large_amount": 0.15}])
def test_a_mix_that_does_not_add_up_is_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="add up to 1"):
        ScenarioMix(**shares)


def test_impossible_days_are_refused_before_the_first_is_drawn() -> None:
    with pytest.raises(ConfigurationError, match="starts on 2025-03-01"):
        simulate_day(POPULATION, FIRST - ONE_DAY)
    with pytest.raises(ConfigurationError, match="2025-02-28 to 2025-03-01"):
        simulate(POPULATION, FIRST - ONE_DAY, FIRST)
    with pytest.raises(ConfigurationError, match="must not be after the last"):
        simulate(POPULATION, FIRST + ONE_DAY, FIRST)
    with pytest.raises(ConfigurationError, match="label_days_after must be 0 or more"):
        simulate(POPULATION, FIRST, FIRST, label_days_after=-1)


def test_identifiers_tell_neither_home_nor_popularity() -> None:
    population = build_population(SimulationConfig(first_day=FIRST, seed=3))
    number = np.array([int(name[1:]) for name in population.user_ids])
    assert abs(np.corrcoef(number, population.town)[0, 1]) < 0.1
    shop = np.array([int(name[1:]) for name in population.merchant_ids])
    assert abs(np.corrcoef(shop, population.visit_share)[0, 1]) < 0.15
