"""What a simulation can be told: sizes, first day, seed and rates."""

from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Final

from fraud_pipeline.core.errors import ConfigurationError

FRAUD_SCENARIOS: Final = (
    "compromised_merchant",
    "account_takeover",
    "card_testing",
    "large_amount",
    "refund_abuse",
    "cash_out",
)

DORMANCY_EPOCH_DAYS: Final = 91
DORMANCY_DAYS: Final = (15, 60)
CASH_OUT_BURST: Final = (3, 6)


@dataclass(frozen=True, kw_only=True)
class ScenarioMix:
    """Share of each scenario in all fraudulent transactions; the six add up to 1.

    Raises
    ------
    ConfigurationError
        If a share is negative or the sum is not 1.
    """

    compromised_merchant: float = 0.64
    account_takeover: float = 0.12
    card_testing: float = 0.08
    large_amount: float = 0.07
    refund_abuse: float = 0.05
    cash_out: float = 0.04

    def __post_init__(self) -> None:
        shares = [getattr(self, name) for name in FRAUD_SCENARIOS]
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
            raise ConfigurationError(
                f"Scenario shares must be 0 or more and add up to 1, not {shares}; adjust the fields of ScenarioMix."
            )


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """One simulated world; equal configurations give identical frames.

    Attributes
    ----------
    users, merchants : int
        Sizes of the population (at least 1 and 10).
    first_day : datetime.date
        First UTC day that has transactions.
    seed : int
        From 0 to 2**32 - 1.
    transactions_per_user_day : float
        Mean of an open account that is not dormant, before season and weekday.
    fraud_rate : float
        Expected share of frauds in all transactions. The default is far above real card fraud, so that a
        small demonstration has enough labels.
    scenario_mix : ScenarioMix
        How the frauds are split among the scenarios.
    refund_share : float
        Share of genuine transactions that are refunds (negative amounts).
    new_user_share : float
        Share of users who open their account within the year after ``first_day``.
    dormancies_per_quarter : float
        Dormant periods of 15 to 60 days that a user enters per 91 days.
    unreported_share : float
        Share of frauds that nobody ever reports: no label.
    dispute_rate : float
        Share of genuine transactions that a customer disputes and the bank finds genuine.

    Raises
    ------
    ConfigurationError
        If a value is outside its range; the message gives the range.
    """

    users: int = 1000
    merchants: int = 500
    first_day: date
    seed: int = 0
    transactions_per_user_day: float = 2.6
    fraud_rate: float = 0.009
    scenario_mix: ScenarioMix = ScenarioMix()
    refund_share: float = 0.03
    new_user_share: float = 0.10
    dormancies_per_quarter: float = 0.12
    unreported_share: float = 0.02
    dispute_rate: float = 0.001

    def __post_init__(self) -> None:
        if not isinstance(self.first_day, date) or isinstance(self.first_day, datetime):
            raise ConfigurationError(
                f"first_day must be a date without a time, such as 2025-01-01, not {self.first_day!r}."
            )
        for field in fields(self):
            if field.name in _RANGES:
                self._check_range(field.name, field.type is int)
        if self.cash_out_probability > 1:
            raise ConfigurationError(
                f"The cash-out frauds that fraud_rate {self.fraud_rate} asks for need more dormant periods than "
                f"dormancies_per_quarter {self.dormancies_per_quarter} gives; raise it, or lower fraud_rate or "
                "scenario_mix.cash_out."
            )

    def _check_range(self, name: str, whole: bool) -> None:
        value, (low, high) = getattr(self, name), _RANGES[name]
        number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise ConfigurationError(f"{name} must be {kind} from {low} to {high}, not {value!r}.")

    @property
    def cash_out_probability(self) -> float:
        """Probability that a dormant period ends in a cash-out, from the wished rate of such frauds."""
        wished = self.frauds_per_user_day("cash_out") * DORMANCY_EPOCH_DAYS / mean_of(CASH_OUT_BURST)
        if wished == 0:
            return 0.0
        return wished / self.dormancies_per_quarter if self.dormancies_per_quarter else float("inf")

    def frauds_per_user_day(self, scenario: str) -> float:
        """Return the expected frauds of one scenario per user and day."""
        return self.transactions_per_user_day * self.fraud_rate * float(getattr(self.scenario_mix, scenario))


def mean_of(bounds: tuple[int, int]) -> float:
    """Return the mean of a whole number that is uniform between both bounds, inclusive."""
    return sum(bounds) / 2


_RANGES: Final[dict[str, tuple[float, float]]] = {
    "users": (1, 10_000_000),
    "merchants": (10, 1_000_000),
    "seed": (0, 2**32 - 1),
    "transactions_per_user_day": (0.1, 50),
    "fraud_rate": (0, 0.05),
    "refund_share": (0, 0.2),
    "new_user_share": (0, 0.9),
    "dormancies_per_quarter": (0, 0.5),
    "unreported_share": (0, 1),
    "dispute_rate": (0, 0.05),
}
