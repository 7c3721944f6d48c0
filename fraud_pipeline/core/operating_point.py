"""How many alerts a threshold gives on a window of scored days, and how surely.

Scores of two models cannot be compared, alert rates on the same days can: an
operating point is therefore carried from one model to the next as alerts a day.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core.detectors.base import Floats

INTERVAL: Final = (0.05, 0.95)
"""Quantiles of the bootstrap distribution that every interval gives."""

HALF_WEIGHT_VARIANCE: Final = 0.1
"""Variance of a fitted log alert rate (one standard error is a factor 1.37) that halves its weight in the smoothing."""


@dataclass(frozen=True)
class Estimate:
    """A figure and the 5 % and 95 % quantiles of its bootstrap distribution; NaN where nothing is known."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, spread: Floats) -> Self:
        """Take the interval from bootstrap values; those that are NaN had no denominator and do not count."""
        known = spread[~np.isnan(spread)]
        return cls(value, *(float(q) for q in np.quantile(known, INTERVAL))) if len(known) else cls.unknown()

    @classmethod
    def unknown(cls) -> Self:
        """Without labels nothing is known of recall, precision or false positives."""
        return cls(np.nan, np.nan, np.nan)

    @property
    def known(self) -> bool:
        """Whether there is a figure at all."""
        return not np.isnan(self.value)


@dataclass(frozen=True)
class Window:
    """Scores of whole days.

    Parameters
    ----------
    scores : float64, shape (n,)
        HIGHER = MORE ANOMALOUS.
    day : int64, shape (n,)
        Which of the ``days`` days a row is of, from 0.
    days : int
    """

    scores: Floats
    day: NDArray[np.int64]
    days: int

    @classmethod
    def of(cls, scored: pd.DataFrame) -> Self:
        """Take ``day`` and ``anomaly_score`` of a frame."""
        names, codes = np.unique(scored["day"].to_numpy(), return_inverse=True)
        return cls(scored["anomaly_score"].to_numpy(dtype=np.float64), codes.astype(np.int64), len(names))

    @cached_property
    def candidates(self) -> Floats:
        """The thresholds that differ: each distinct score, ascending."""
        distinct: Floats = np.unique(self.scores)
        return distinct

    @cached_property
    def rates(self) -> Floats:
        """Alerts a day at each candidate; falling."""
        above = len(self.scores) - np.searchsorted(np.sort(self.scores), self.candidates, side="left")
        rates: Floats = above / self.days
        return rates

    def position_of(self, rate: float) -> int:
        """Find the lowest candidate that gives at most ``rate`` alerts a day; the highest if each gives more."""
        # A rate was counts over days once: without the slack its own threshold may be missed.
        within = np.flatnonzero(self.rates <= rate * (1 + 1e-9))
        return int(within[0]) if len(within) else len(self.candidates) - 1

    def resample(self, resamples: int, seed: int) -> Floats:
        """Draw whole days with replacement, since what happens on a day hangs together.

        Returns
        -------
        float64, shape (resamples, days)
            How often each day was drawn.
        """
        each = np.full(self.days, 1 / self.days)
        return np.random.default_rng(seed).multinomial(self.days, each, size=resamples).astype(np.float64)

    def figures(self, threshold: float, is_fraud: NDArray[np.bool_], drawn: Floats) -> dict[str, Estimate]:
        """Estimate recall, false-positive rate, precision and alerts a day at a threshold, by name."""
        alerted = self.scores >= threshold
        rows = (alerted & is_fraud, alerted & ~is_fraud, is_fraud, np.ones_like(is_fraud))
        per_day = np.column_stack([np.bincount(self.day[chosen], minlength=self.days) for chosen in rows])
        per_day = per_day.astype(np.float64)
        value = _shares(per_day.sum(axis=0)[None, :], self.days)
        spread = _shares(drawn @ per_day, self.days)
        return {name: Estimate.of(float(value[name][0]), spread[name]) for name in value}

    def refitted_rates(self, is_fraud: NDArray[np.bool_], target_recall: float, drawn: Floats) -> Floats:
        """Alerts a day at the threshold that each bootstrap sample itself would have chosen.

        Parameters
        ----------
        is_fraud : bool, shape (n,)
        target_recall : float
        drawn : float64, shape (resamples, days)

        Returns
        -------
        float64, shape (resamples,)
            NaN for a sample without a fraud.
        """
        order = np.argsort(-self.scores[is_fraud], kind="stable")
        fraud_scores = self.scores[is_fraud][order]
        fraud_day = self.day[is_fraud][order]
        frauds = drawn @ np.bincount(fraud_day, minlength=self.days)
        # The slack keeps a product such as 0.85 * 20 from asking for one fraud more than 17.
        goals = target_recall * frauds - 1e-9
        # One sample at a time: all at once would be a matrix of resamples by frauds.
        chosen = [
            np.searchsorted(weights[fraud_day].cumsum(), goal) for weights, goal in zip(drawn, goals, strict=True)
        ]
        thresholds = fraud_scores[chosen]
        alerts = np.zeros(len(drawn))
        for day in range(self.days):
            scores = np.sort(self.scores[self.day == day])
            alerts += drawn[:, day] * (len(scores) - np.searchsorted(scores, thresholds, side="left"))
        rates: Floats = np.where(frauds > 0, alerts / self.days, np.nan)
        return rates


def steady_rate(
    fitted: float, previous: float, *, variance: float, smoothing: float, max_change: float
) -> tuple[float, str]:
    """Move from the previous alert rate towards the fitted one, as far as the evidence carries.

    Exponential smoothing of the log rate (Brown, "Statistical Forecasting for Inventory
    Control", 1959), whose factor shrinks with the uncertainty of the fitted rate as a Kalman gain
    does: ``weight = smoothing / (1 + variance / HALF_WEIGHT_VARIANCE)``. Then the change is
    limited to ``max_change``.

    Parameters
    ----------
    fitted, previous : float
        Alerts a day, positive.
    variance : float
        Of the logarithm of ``fitted``; infinite if nothing can be said of it.
    smoothing : float
        Weight of a fitted rate that is certain, in (0, 1].
    max_change : float
        Largest factor between the previous rate and the result, at least 1.

    Returns
    -------
    rate : float
        Between ``previous`` and ``fitted``.
    why : str
        Why it is not ``fitted``; empty if it is.
    """
    weight = smoothing / (1.0 + variance / HALF_WEIGHT_VARIANCE)
    step = weight * np.log(fitted / previous)
    limited = float(np.clip(step, -np.log(max_change), np.log(max_change)))
    rate = float(previous * np.exp(limited))
    if np.isclose(rate, fitted):
        return rate, ""
    why = (
        f"the window asks for {fitted:,.1f} alerts a day, the calibration before gave {previous:,.1f}; "
        f"with weight {weight:.2f} on the window it is {rate:,.1f}"
    )
    return rate, why if limited == step else f"{why}, the change being limited to a factor of {max_change:g}"


def log_variance(rates: Floats, days_with_fraud: int) -> float:
    """Variance of the log of bootstrapped alert rates, corrected for how few days there are; infinite for one."""
    known = rates[~np.isnan(rates)]
    if days_with_fraud < 2 or len(known) < 2:
        return float("inf")
    return float(np.log(known).var() * days_with_fraud / (days_with_fraud - 1))


def _shares(totals: Floats, days: int) -> dict[str, Floats]:
    hit, false, fraud, rows = totals.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "recall": hit / fraud,
            "false_positive_rate": false / (rows - fraud),
            "precision": hit / (hit + false),
            "alerts_per_day": (hit + false) / days,
        }
