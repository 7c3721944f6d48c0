"""No single column and no simple rule separates frauds from genuine transactions; label history helps."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from fraud_pipeline.core.simulation import SimulationConfig, build_population, simulate_day

FIRST = date(2025, 5, 1)
DAYS = 80
SEEDS = (0, 1)
COLUMNS = (
    "amount",
    "size_of_amount",
    "hour",
    "minute",
    "second",
    "day_of_week",
    "day_of_month",
    "serial_number",
    "cents",
    "user_number",
    "merchant_number",
    "user_volume",
    "merchant_popularity",
)


@pytest.fixture(scope="module", params=SEEDS)
def rows(request: pytest.FixtureRequest) -> pd.DataFrame:
    config = SimulationConfig(users=1000, merchants=400, first_day=FIRST, seed=request.param)
    population = build_population(config)
    days = [simulate_day(population, FIRST + timedelta(days=k)) for k in range(DAYS)]
    found = pd.concat([day.transactions for day in days], ignore_index=True)
    time, first_day = found["event_time"].dt, pd.Timestamp(FIRST, tz="UTC")
    found["fraud"] = found["transaction_id"].isin(pd.concat([day.frauds for day in days])["transaction_id"])
    found["day"] = (time.floor("D") - first_day).dt.days
    found["size_of_amount"] = found["amount"].abs()
    found["hour"] = time.hour + time.minute / 60
    found["minute"], found["second"] = time.minute, time.second
    found["day_of_week"], found["day_of_month"] = time.day_of_week, time.day
    found["serial_number"] = found["transaction_id"].str[-8:].astype(int)
    found["cents"] = (found["amount"].abs() * 100).round().astype(int) % 100
    found["user_number"] = found["user_id"].str[1:].astype(int)
    found["merchant_number"] = found["merchant_id"].str[1:].astype(int)
    found["user_volume"] = found["user_id"].map(found["user_id"].value_counts())
    found["merchant_popularity"] = found["merchant_id"].map(found["merchant_id"].value_counts())
    labels = pd.concat([day.labels for day in days]).query("is_fraud")
    found["known_day"] = found["transaction_id"].map(
        (labels.set_index("transaction_id")["label_known_at"].dt.floor("D") - first_day).dt.days
    )
    return found


@pytest.mark.parametrize("column", COLUMNS)
def test_no_column_alone_ranks_frauds(rows: pd.DataFrame, column: str) -> None:
    assert 0.35 < roc_auc_score(rows["fraud"], rows[column]) < 0.65


@pytest.mark.parametrize("depth", [1, 3])
def test_a_simple_rule_on_the_row_stays_poor(rows: pd.DataFrame, depth: int) -> None:
    train, test = rows[rows["day"] < DAYS / 2], rows[rows["day"] >= DAYS / 2]
    tree = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=20, random_state=0)
    score = tree.fit(train[list(COLUMNS)], train["fraud"]).predict_proba(test[list(COLUMNS)])[:, 1]
    assert average_precision_score(test["fraud"], score) < 0.05


def test_the_largest_and_the_smallest_amounts_are_mostly_genuine(rows: pd.DataFrame) -> None:
    by_amount = rows.sort_values("amount")["fraud"]
    for extreme in (by_amount.head(100), by_amount.tail(100), by_amount.head(1000), by_amount.tail(1000)):
        assert extreme.mean() < 0.25


def test_columns_have_the_same_values_in_both_classes(rows: pd.DataFrame) -> None:
    fraud, genuine = rows[rows["fraud"]], rows[~rows["fraud"]]
    for column in ("cents", "day_of_week", "second", "minute"):
        assert set(fraud[column]) <= set(genuine[column])
    # Price endings: .99, .00 and .50 are as frequent in frauds as elsewhere.
    for ending in (99, 0, 50):
        assert abs((fraud["cents"] == ending).mean() - (genuine["cents"] == ending).mean()) < 0.06


def test_known_frauds_of_the_merchant_tell_much_more_than_any_column(rows: pd.DataFrame) -> None:
    merchant = rows["merchant_number"].to_numpy()
    known = np.zeros((merchant.max() + 1, DAYS + 1))
    reported = rows[rows["known_day"] < DAYS]
    np.add.at(known, (reported["merchant_number"], reported["known_day"].astype(int) + 1), 1)
    total = known.cumsum(axis=1)
    late = rows[rows["day"] >= DAYS / 2]
    frauds_30d = total[late["merchant_number"], late["day"]] - total[late["merchant_number"], late["day"] - 30]
    rate = frauds_30d / late["merchant_popularity"]
    assert roc_auc_score(late["fraud"], rate) > 0.7
