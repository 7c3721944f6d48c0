"""The two limits of a threshold, a ceiling on false positives and a budget of alerts a day, and which of them binds."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.errors import TrainingError
from fraud_pipeline.core.operating_point import Window


@dataclass(frozen=True)
class AlertLimits:
    """From which candidate threshold on each limit holds; both then hold for every higher one.

    Parameters
    ----------
    max_false_positive_rate, max_alerts_per_day : float
        The ceiling and the budget; infinite if there is none.
    false_positive_rates : float64, shape (candidates,)
        At each candidate of the window.
    under_ceiling, under_budget : int
        Position of the first candidate that keeps to the ceiling, and to the budget.
    """

    max_false_positive_rate: float
    max_alerts_per_day: float
    false_positive_rates: Floats
    under_ceiling: int
    under_budget: int

    @classmethod
    def of(cls, window: Window, is_fraud: np.ndarray, ceiling: float, max_alerts_per_day: float | None) -> Self:
        """Find where the limits begin on a labelled window with at least one genuine row.

        Raises
        ------
        TrainingError
            If even the highest score breaks one of them.
        """
        genuine = np.sort(window.scores[~is_fraud])
        # Counts first: 1 - 0.7 would be above a ceiling of 0.3.
        rates = (len(genuine) - np.searchsorted(genuine, window.candidates, side="left")) / len(genuine)
        budget = np.inf if max_alerts_per_day is None else max_alerts_per_day
        limits = cls(ceiling, budget, rates, int((rates > ceiling).sum()), int((window.rates > budget).sum()))
        if limits.lowest == len(rates):
            over_ceiling = limits.under_ceiling == len(rates)
            shared = f"{ceiling:.1%} of the genuine transactions" if over_ceiling else f"{budget:,.1f} rows a day"
            raise TrainingError(
                f"even the highest score is shared by more than {shared}; "
                "the detectors do not separate: check their feature columns."
            )
        return limits

    @property
    def lowest(self) -> int:
        """Position of the lowest candidate within both limits."""
        return max(self.under_ceiling, self.under_budget)

    @property
    def tighter(self) -> str:
        """Name the limit that decides."""
        return "false_positive_ceiling" if self.under_ceiling >= self.under_budget else "alert_budget"

    def explain(self, target: float, rate: float, recall: Floats, wanted: int) -> tuple[str, str]:
        """Name the constraint that keeps the target out of reach, and put it into words."""
        false_positives = self.false_positive_rates[wanted]
        best = f"; within the limits {recall[self.lowest]:.2f} can be reached"
        alerts_on = f"recall {target:.2f} would alert on {false_positives:.1%} of genuine transactions, "
        if false_positives >= recall[wanted]:
            return "score_separation", f"{alerts_on}no better than chance: the scores do not separate{best}"
        if self.tighter == "alert_budget":
            asked = f"recall {target:.2f} would take {rate:,.1f} alerts a day, over the budget of "
            return self.tighter, f"{asked}{self.max_alerts_per_day:,.1f}{best}"
        return self.tighter, f"{alerts_on}over the ceiling of {self.max_false_positive_rate:.1%}{best}"
