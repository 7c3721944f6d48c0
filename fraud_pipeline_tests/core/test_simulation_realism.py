"""Whether the simulated stream is believable: rates, rhythm, scenarios, delays."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from fraud_pipeline.core.simulation import (
    FRAUD_SCENARIOS,
    MAX_LABEL_DELAY_DAYS,
    Population,
    SimulationConfig,
    build_population,
    simulate_day,
)

Indices = NDArray[np.int64]
FIRST = date(2025, 3, 1)
DAYS = 60
USERS = 1500


@pytest.fixture(scope="module")
def population() -> Population:
    return build_population(SimulationConfig(users=USERS, merchants=500, first_day=FIRST, seed=1))


@pytest.fixture(scope="module")
def rows(population: Population) -> pd.DataFrame:
    """Sixty days of transactions with the true scenario ("" if genuine), their label, and the day number."""
    days = [simulate_day(population, FIRST + timedelta(days=k)) for k in range(DAYS)]
    labels = pd.concat([day.labels for day in days])[["transaction_id", "is_fraud", "label_known_at"]]
    found = pd.concat([day.transactions for day in days], ignore_index=True)
    found = found.merge(pd.concat([day.frauds for day in days]), how="left").merge(labels, how="left")
    found["scenario"] = found["scenario"].fillna("")
    found["day"] = (found["event_time"].dt.floor("D") - pd.Timestamp(FIRST, tz="UTC")).dt.days
    return found


def of(rows: pd.DataFrame, scenario: str) -> pd.DataFrame:
    return rows[rows["scenario"] == scenario]


def ratio_to_usual(rows: pd.DataFrame, scenario: str) -> pd.Series:
    usual = of(rows, "").query("amount > 0").groupby("user_id")["amount"].median()
    chosen = of(rows, scenario)
    return chosen["amount"] / chosen["user_id"].map(usual)


def test_volume_is_two_to_two_and_a_half_a_user_and_day(rows: pd.DataFrame) -> None:
    assert 2.0 < len(rows) / USERS / DAYS < 2.5


def test_fraud_rate_and_mix_are_as_configured(rows: pd.DataFrame) -> None:
    frauds = rows[rows["scenario"] != ""]
    assert 0.007 < len(frauds) / len(rows) < 0.012
    mix = frauds["scenario"].value_counts(normalize=True)
    assert set(mix.index) == set(FRAUD_SCENARIOS)
    assert 0.5 < mix["compromised_merchant"] < 0.7
    assert mix.min() > 0.02


def test_genuine_refunds_outnumber_refund_abuse(rows: pd.DataFrame) -> None:
    genuine = of(rows, "")
    assert 0.025 < (genuine["amount"] < 0).mean() < 0.035
    abuse = of(rows, "refund_abuse")
    assert (abuse["amount"] < 0).all()
    assert len(abuse) < 0.05 * (genuine["amount"] < 0).sum()


def test_users_have_amounts_hours_and_merchants_of_their_own(rows: pd.DataFrame) -> None:
    genuine = of(rows, "").query("amount > 0")
    busy = genuine[genuine.groupby("user_id")["day"].transform("size") >= 60]
    by_user = busy.groupby("user_id")
    assert np.log(by_user["amount"].median()).std() > 0.35
    hour = busy["event_time"].dt.hour.groupby(busy["user_id"]).median()
    assert hour.std() > 1
    visits = busy.groupby(["user_id", "merchant_id"]).size().sort_values(ascending=False)
    top_ten = visits.groupby("user_id").head(10).groupby("user_id").sum()
    assert (top_ten / by_user.size()).median() > 0.75


def test_favourites_are_near_home(population: Population) -> None:
    users = np.arange(0, USERS - 1, 5)
    neighbours = users[population.town[users] == population.town[users + 1]]

    def in_common(left: Indices, right: Indices) -> float:
        pairs = zip(population.favourites[left], population.favourites[right], strict=True)
        return float(np.mean([np.isin(mine, yours).mean() for mine, yours in pairs]))

    assert in_common(neighbours, neighbours + 1) > 2 * in_common(neighbours, (neighbours + USERS // 2) % USERS)


def test_merchants_are_unequal_yet_each_is_visited(rows: pd.DataFrame) -> None:
    visits = rows["merchant_id"].value_counts()
    assert len(visits) == 500
    assert visits.quantile(0.05) > DAYS / 2
    assert visits.quantile(0.95) > 2.5 * visits.median()


def test_the_week_has_a_rhythm(rows: pd.DataFrame) -> None:
    a_day = rows.groupby("day").size()
    weekday = a_day.groupby([(FIRST + timedelta(days=int(k))).weekday() for k in a_day.index]).mean()
    assert weekday.idxmax() in (4, 5)
    assert weekday.max() > 1.15 * weekday.min()


def test_nights_are_quiet(rows: pd.DataFrame) -> None:
    assert 0.02 < of(rows, "")["event_time"].dt.hour.between(1, 5).mean() < 0.10


def test_december_is_busier_and_dearer_than_january(population: Population) -> None:
    december, january = (
        pd.concat([simulate_day(population, first + timedelta(days=k)).transactions for k in range(7)])
        for first in (date(2025, 12, 15), date(2026, 1, 19))
    )
    assert len(december) > 1.25 * len(january)
    assert december["amount"].median() > 1.07 * january["amount"].median()


def test_new_users_appear_and_only_after_they_opened_an_account(population: Population, rows: pd.DataFrame) -> None:
    opened = pd.Series(population.opened - FIRST.toordinal(), index=population.user_ids)
    first_seen = rows.groupby("user_id")["day"].min()
    newcomers = first_seen[opened[first_seen.index] > 0]
    assert len(newcomers) > 10
    assert (newcomers >= opened[newcomers.index]).all()


def test_active_users_fall_silent_for_weeks_and_come_back(population: Population, rows: pd.DataFrame) -> None:
    rate = pd.Series(population.daily_rate, index=population.user_ids)
    silence = rows.groupby("user_id")["day"].apply(lambda day: day.diff().max())
    back = silence[(rate[silence.index] > 1.5) & (silence >= 15)]
    assert len(back) > 20
    cashed_out = of(rows, "cash_out")["user_id"].unique()
    assert 0 < len(np.intersect1d(back.index, cashed_out)) < len(back) / 2


def test_a_compromised_merchant_charges_usual_amounts_for_weeks(rows: pd.DataFrame) -> None:
    till = of(rows, "").query("amount > 0").groupby("merchant_id")["amount"].median()
    fraud = of(rows, "compromised_merchant")
    assert 0.9 < (fraud["amount"] / fraud["merchant_id"].map(till)).median() < 1.1
    span = fraud.groupby("merchant_id")["day"].agg(lambda day: day.max() - day.min() + 1)
    share = (
        rows.assign(fraud=rows["scenario"] == "compromised_merchant").groupby(["merchant_id", "day"])["fraud"].mean()
    )
    assert 14 < span.quantile(0.75) <= 35
    assert 0.6 < share[share > 0].mean() < 0.95


def test_account_takeover_changes_amounts_and_merchants(rows: pd.DataFrame) -> None:
    assert ratio_to_usual(rows, "account_takeover").median() > 1.8
    usual = set(map(tuple, of(rows, "")[["user_id", "merchant_id"]].to_numpy()))
    odd = [tuple(pair) not in usual for pair in of(rows, "account_takeover")[["user_id", "merchant_id"]].to_numpy()]
    assert np.mean(odd) > 0.8


def test_card_testing_is_a_burst_of_small_payments(rows: pd.DataFrame) -> None:
    tests = of(rows, "card_testing")
    assert tests["amount"].between(0.1, 7).all()
    burst = tests.groupby(["user_id", "day"])["event_time"].agg(["size", "min", "max"])
    assert burst["size"].between(4, 9).mean() > 0.95
    assert ((burst["max"] - burst["min"]) <= pd.Timedelta(minutes=25)).mean() > 0.95
    small = rows[rows["amount"].between(0.1, 7)]
    assert (small["scenario"] == "card_testing").mean() < 0.03


def test_large_amounts_hide_among_more_genuine_ones(rows: pd.DataFrame) -> None:
    large = of(rows, "large_amount")
    assert ratio_to_usual(rows, "large_amount").median() > 3
    beyond = rows[rows["amount"] >= large["amount"].median()]
    assert (beyond["scenario"] == "").mean() > 0.7


def test_cash_out_follows_weeks_of_silence(rows: pd.DataFrame) -> None:
    cash_out = of(rows, "cash_out").query("day >= 15")
    assert len(cash_out) > 10
    calm = rows[
        ~rows["scenario"].isin(["cash_out", "account_takeover", "card_testing", "large_amount", "refund_abuse"])
    ]
    for user, day in cash_out[["user_id", "day"]].drop_duplicates().itertuples(index=False):
        before = calm.loc[calm["user_id"] == user, "day"]
        assert not before.between(day - 15, day - 1).any()


def test_labels_come_within_days_with_a_tail(rows: pd.DataFrame) -> None:
    delay = (rows["label_known_at"] - rows["event_time"]).dt.total_seconds() / 86_400
    reported = delay[rows["scenario"] != ""].dropna()
    assert 2 < reported.median() < 3.2
    assert reported.quantile(0.99) > 11
    assert reported.max() <= MAX_LABEL_DELAY_DAYS
    median = delay.groupby(rows["scenario"]).median()
    assert median["account_takeover"] < 2 < median["compromised_merchant"] < 4 < median["refund_abuse"]


def test_some_frauds_are_never_reported_and_some_disputes_are_genuine(rows: pd.DataFrame) -> None:
    fraud = rows["scenario"] != ""
    assert 0.005 < rows.loc[fraud, "is_fraud"].isna().mean() < 0.04
    assert rows.loc[fraud, "is_fraud"].dropna().all()
    disputed = rows.loc[~fraud, "is_fraud"].dropna()
    assert not disputed.any()
    assert 0.0005 < len(disputed) / (~fraud).sum() < 0.0015
