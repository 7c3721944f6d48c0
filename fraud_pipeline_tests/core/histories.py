"""Simulated histories with the truth about them, small enough to train on within a second."""

from datetime import date, timedelta
from functools import cache

import pandas as pd

from fraud_pipeline.core.labelled_history import LabelledHistory
from fraud_pipeline.core.simulation import SimulationConfig, build_population, simulate_day
from fraud_pipeline.core.training import TrainingConfig
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS

FIRST = date(2026, 1, 1)
DAYS = 49
DELAY_DAYS = 8

QUICK = TrainingConfig(
    detector_features=DETECTOR_COLUMNS,
    isolation_forest={"trees": 20},
    local_outlier_factor={"neighbours": 10, "reference_rows": 300},
    feedback_classifier={"rounds": 20},
    threshold={"target_recall": 0.8},
    label_free={"max_alerts_per_day": 3, "resamples": 20},
    seed=3,
)


def day(number: int) -> date:
    """Day of the history by its number from 0."""
    return FIRST + timedelta(number)


@cache
def simulated(delay_days: float = DELAY_DAYS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Transactions and truth of all days; each label is known so long after its transaction."""
    config = SimulationConfig(users=60, merchants=30, first_day=FIRST, seed=5, fraud_rate=0.05)
    population = build_population(config)
    days = [simulate_day(population, day(number)) for number in range(DAYS)]
    transactions = pd.concat([each.transactions for each in days], ignore_index=True)
    frauds = pd.concat([each.frauds for each in days], ignore_index=True)
    truth = transactions[["transaction_id"]].merge(frauds, on="transaction_id", how="left")
    known_at = transactions["event_time"] + pd.Timedelta(days=delay_days)
    return transactions, truth.assign(is_fraud=truth["scenario"].notna(), label_known_at=known_at)


@cache
def simulated_history(delay_days: float = DELAY_DAYS) -> LabelledHistory:
    """Give the history of :func:`simulated`; to be left as it is."""
    return LabelledHistory(*simulated(delay_days))
