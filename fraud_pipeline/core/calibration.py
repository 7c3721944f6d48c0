"""The alert threshold: found on labelled days that no detector was fitted on.

The threshold is the highest score whose recall on the calibration window
reaches the target (precision-recall curve; Davis and Goadrich, ICML 2006). It
has nothing to do with a detector's ``contamination``.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.errors import TrainingError

_INTERVAL = (0.05, 0.95)
_CURVE_POINTS = 200


@dataclass(frozen=True)
class Estimate:
    """A figure and the 5 % and 95 % quantiles of its bootstrap distribution."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RiskCutoffs:
    """Lowest ``anomaly_score`` of each risk level; below ``medium`` is LOW and raises no alert."""

    medium: float
    high: float
    critical: float


@dataclass(frozen=True)
class Calibration:
    """A threshold and what to expect of it.

    ``feasible`` is False when the target recall cannot be had under the ceiling
    on false positives; the threshold is then the lowest that keeps to the
    ceiling, and ``limit`` says what stood in the way.
    """

    threshold: float
    cutoffs: RiskCutoffs
    target_recall: float
    max_false_positive_rate: float
    feasible: bool
    limit: str
    recall: Estimate
    false_positive_rate: Estimate
    precision: Estimate
    alerts_per_day: Estimate
    days: int
    transactions: int
    frauds: int
    alert_amount_median: float
    recall_curve: tuple[float, ...]
    precision_curve: tuple[float, ...]
    reference: ScoreReference

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able form; ``from_json`` restores it."""
        return asdict(self) | {"reference": self.reference.scores.tolist()}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Restore what ``to_json`` gave."""
        estimates = ("recall", "false_positive_rate", "precision", "alerts_per_day")
        return cls(
            **stored
            | {name: Estimate(**stored[name]) for name in estimates}
            | {
                "cutoffs": RiskCutoffs(**stored["cutoffs"]),
                "recall_curve": tuple(stored["recall_curve"]),
                "precision_curve": tuple(stored["precision_curve"]),
                "reference": ScoreReference(np.array(stored["reference"], dtype=np.float64)),
            }
        )


def fit_threshold(
    scored: pd.DataFrame,
    *,
    target_recall: float = 0.85,
    max_false_positive_rate: float = 0.5,
    resamples: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Find the threshold on a labelled window of scored days.

    Parameters
    ----------
    scored : DataFrame
        ``day``, ``anomaly_score`` (HIGHER = MORE ANOMALOUS, in [0, 1]), ``amount`` and
        ``is_fraud`` of every matured transaction of the window.
    target_recall : float
        Share of the frauds to be alerted on, in (0, 1].
    max_false_positive_rate : float
        Ceiling on the share of genuine transactions that may be alerted on.
    resamples : int
        Bootstrap samples; whole days are drawn, since frauds of a day hang together.
    seed : int

    Returns
    -------
    Calibration

    Raises
    ------
    TrainingError
        If the window has no fraud or no genuine transaction.
    """
    from sklearn.metrics import precision_recall_curve

    scores = scored["anomaly_score"].to_numpy(dtype=np.float64)
    is_fraud = scored["is_fraud"].to_numpy(dtype=bool)
    frauds, genuine = int(is_fraud.sum()), int((~is_fraud).sum())
    if not frauds or not genuine:
        raise TrainingError(
            f"the calibration window has {frauds} frauds and {genuine} genuine transactions with a matured label; "
            "both are needed: choose a longer or earlier window, or bring in label files."
        )
    precision, recall, candidates = precision_recall_curve(is_fraud, scores)
    ordered_genuine = np.sort(scores[~is_fraud])
    # Counts first: 1 - 0.7 would be above a ceiling of 0.3.
    false_positive_rate = (genuine - np.searchsorted(ordered_genuine, candidates, side="left")) / genuine
    reaches = np.flatnonzero(recall[:-1] >= target_recall)
    wanted = int(reaches[-1])
    affordable = np.flatnonzero(false_positive_rate <= max_false_positive_rate)
    feasible = bool(false_positive_rate[wanted] <= max_false_positive_rate)
    if not feasible and not len(affordable):
        raise TrainingError(
            f"even the highest score is shared by more than {max_false_positive_rate:.1%} of the genuine transactions; "
            "the detectors do not separate: check their feature columns."
        )
    chosen = wanted if feasible else int(affordable[0])
    limit = (
        ""
        if feasible
        else f"recall {target_recall:.2f} would alert on {false_positive_rate[wanted]:.1%} of genuine transactions, "
        f"over the ceiling of {max_false_positive_rate:.1%}"
    )
    threshold = float(candidates[chosen])
    alerted = scores >= threshold
    kept = np.linspace(0, len(recall) - 1, num=min(_CURVE_POINTS, len(recall))).round().astype(np.int64)
    return Calibration(
        threshold=threshold,
        cutoffs=RiskCutoffs(threshold, *(float(q) for q in np.quantile(scores[alerted], (0.5, 0.9)))),
        target_recall=target_recall,
        max_false_positive_rate=max_false_positive_rate,
        feasible=feasible,
        limit=limit,
        **_estimates(scored["day"], alerted, is_fraud, resamples, seed),
        days=int(scored["day"].nunique()),
        transactions=len(scored),
        frauds=frauds,
        alert_amount_median=float(np.median(np.abs(scored["amount"].to_numpy()[alerted]))),
        recall_curve=tuple(recall[kept].tolist()),
        precision_curve=tuple(precision[kept].tolist()),
        reference=ScoreReference.of(scores),
    )


def _estimates(
    day: pd.Series, alerted: np.ndarray, is_fraud: np.ndarray, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Figures at the threshold, with intervals from resampling whole days."""
    per_day = (
        pd.DataFrame({"hit": alerted & is_fraud, "false": alerted & ~is_fraud, "fraud": is_fraud, "row": True})
        .groupby(day.to_numpy())
        .sum()
        .to_numpy(dtype=np.float64)
    )
    drawn = np.random.default_rng(seed).integers(len(per_day), size=(resamples, len(per_day)))
    figures = _figures(per_day.sum(axis=0)[None, :], len(per_day))
    spread = _figures(per_day[drawn].sum(axis=1), len(per_day))
    return {
        name: Estimate(float(figures[name][0]), *(float(q) for q in np.nanquantile(spread[name], _INTERVAL)))
        for name in figures
    }


def _figures(totals: Floats, days: int) -> dict[str, Floats]:
    hit, false, fraud, rows = totals.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "recall": hit / fraud,
            "false_positive_rate": false / (rows - fraud),
            "precision": hit / (hit + false),
            "alerts_per_day": (hit + false) / days,
        }
