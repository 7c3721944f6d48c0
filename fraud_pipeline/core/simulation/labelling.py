"""When a bank learns what a transaction was: chargebacks and disputes come days later, or never."""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core.simulation.configuration import FRAUD_SCENARIOS, SimulationConfig
from fraud_pipeline.core.simulation.population import Floats, Integers

MAX_LABEL_DELAY_DAYS: Final = 20
GENUINE_DISPUTE: Final = "genuine_dispute"

_MEDIAN_DAYS: Final = {
    "compromised_merchant": 3.0,
    "account_takeover": 1.2,
    "card_testing": 1.8,
    "large_amount": 2.0,
    "refund_abuse": 5.0,
    "cash_out": 2.5,
    GENUINE_DISPUTE: 6.0,
}
_SPREAD: Final = 0.75
_SCENARIOS: Final = np.array([*FRAUD_SCENARIOS, GENUINE_DISPUTE], dtype=object)
_MEDIANS: Final = np.array([_MEDIAN_DAYS[name] for name in _SCENARIOS])


def label_transactions(
    transactions: pd.DataFrame, scenario: Integers, config: SimulationConfig, rng: np.random.Generator
) -> pd.DataFrame:
    """Return what the bank will learn about one day's transactions, and when.

    Parameters
    ----------
    transactions : pandas.DataFrame
        Columns ``transaction_id`` and ``event_time``.
    scenario : numpy.ndarray, shape (n,)
        Index into ``FRAUD_SCENARIOS``, negative for a genuine transaction.
    config : SimulationConfig
        Rates of unreported frauds and of disputes.
    rng : numpy.random.Generator
        Randomness of the day's labels.

    Returns
    -------
    pandas.DataFrame
        ``transaction_id``, ``is_fraud``, ``label_known_at``, ``scenario``, sorted by ``(label_known_at,
        transaction_id)``: reported frauds, and disputes found genuine (scenario ``genuine_dispute``). Delays are
        log-normal with the scenario's median, at least a minute and at most ``MAX_LABEL_DELAY_DAYS``.
    """
    draw = rng.random(len(scenario))
    fraud = scenario >= 0
    known = np.flatnonzero(np.where(fraud, draw >= config.unreported_share, draw < config.dispute_rate))
    code = scenario[known]  # -1, genuine, picks the last name and median: the dispute.
    delay = pd.to_timedelta(np.ceil(_delay_days(_MEDIANS[code], rng) * 86_400), unit="s").as_unit("us")
    labels = pd.DataFrame(
        {
            "transaction_id": transactions["transaction_id"].take(known).array,
            "is_fraud": fraud[known],
            "label_known_at": transactions["event_time"].take(known).array + delay,
            "scenario": pd.array(_SCENARIOS[code], dtype="str"),
        }
    )
    return labels.sort_values(["label_known_at", "transaction_id"], ignore_index=True)


def scenario_names(scenario: Integers) -> NDArray[np.object_]:
    """Return the names of fraud scenarios by code."""
    return _SCENARIOS[scenario]


def _delay_days(median: Floats, rng: np.random.Generator) -> Floats:
    delay = median * rng.lognormal(0, _SPREAD, len(median))
    # A bank's deadline ends the tail; spread what lies beyond it, so that no delay is suspiciously frequent.
    late = delay > MAX_LABEL_DELAY_DAYS
    delay[late] = rng.uniform(MAX_LABEL_DELAY_DAYS / 2, MAX_LABEL_DELAY_DAYS, int(late.sum()))
    return np.maximum(delay, 60 / 86_400)
