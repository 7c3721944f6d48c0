"""The alert threshold: found on labelled days that no detector was fitted on.

The threshold is the highest score whose recall on the calibration window
reaches the target (precision-recall curve; Davis and Goadrich, ICML 2006), kept
under a ceiling on false positives and a budget of alerts a day, and kept steady from
one calibration to the next. It has nothing to do with a detector's ``contamination``.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
import pandas as pd

from fraud_pipeline.core.alert_limits import AlertLimits
from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.errors import TrainingError
from fraud_pipeline.core.operating_point import Estimate, Window, log_variance, steady_rate

DEFAULT_SMOOTHING: Final = 0.5
DEFAULT_MAX_CHANGE: Final = 2.0

_CURVE_POINTS = 200
_ESTIMATES = ("recall", "false_positive_rate", "precision", "alerts_per_day", "fitted_alerts_per_day")


@dataclass(frozen=True)
class RiskCutoffs:
    """Lowest ``anomaly_score`` of each risk level; below ``medium`` is LOW and raises no alert."""

    medium: float
    high: float
    critical: float

    @classmethod
    def of(cls, scores: Floats, threshold: float) -> Self:
        """Begin MEDIUM at the threshold, HIGH at the median of the alerts' scores, CRITICAL at their 90 % quantile."""
        return cls(threshold, *(float(q) for q in np.quantile(scores[scores >= threshold], (0.5, 0.9))))


@dataclass(frozen=True)
class Calibration:
    """A threshold, how it was found, and what to expect of it.

    Parameters
    ----------
    threshold : float
        Rows at or above it are alerts.
    cutoffs : RiskCutoffs
    method : {"precision_recall", "alert_budget", "conformal_fdr"}
        The last two know no labels: recall, false-positive rate and precision are then NaN.
    target_recall, max_false_positive_rate, max_alerts_per_day, false_discovery_rate : float or None
        What was asked for; None where the method has no such figure or there is no limit.
    feasible : bool
        Whether what was asked for can be had within the limits.
    limit : str
        What stood in the way, in words; empty if feasible.
    binding : {"", "false_positive_ceiling", "alert_budget", "score_separation"}
        The constraint that stood in the way. ``score_separation``: where the target is reached the scores are no
        better than chance, so that no looser limit would help.
    reachable_recall : float
        The best recall within the limits on this window; NaN without labels.
    adjustment : str
        Why the alert rate is not the fitted one, in words; empty if it is.
    fitted_alerts_per_day : Estimate
        What the target alone would take on this window. Its interval refits the threshold in each bootstrap
        sample: it is how far chance moves a threshold that nothing steadies.
    smoothed_alerts_per_day : float
        The rate that was aimed at after smoothing, before the limits.
    recall, false_positive_rate, precision, alerts_per_day : Estimate
        What the threshold gives on this window, with whole days resampled.
    days, transactions, frauds : int
        Size of the window; ``frauds`` is 0 without labels.
    alert_amount_median : float
        Money; median absolute amount of the window's alerts.
    recall_curve, precision_curve : tuple of float
        At most 200 points; empty without labels.
    reference : ScoreReference
        The window's scores.
    """

    threshold: float
    cutoffs: RiskCutoffs
    method: str
    target_recall: float | None
    max_false_positive_rate: float | None
    max_alerts_per_day: float | None
    false_discovery_rate: float | None
    feasible: bool
    limit: str
    binding: str
    reachable_recall: float
    adjustment: str
    fitted_alerts_per_day: Estimate
    smoothed_alerts_per_day: float
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

    @property
    def aim(self) -> str:
        """What the threshold was chosen for, in words."""
        if self.method == "alert_budget":
            return f"a budget of {self.max_alerts_per_day:,.1f} alerts a day (no labels)"
        if self.method == "conformal_fdr":
            return f"a false discovery rate of {self.false_discovery_rate:.2f} by conformal p-values (no labels)"
        return f"a recall of {self.target_recall:.2f}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able form, unknown figures as None; ``from_json`` restores it."""
        plain = asdict(self) | {"reference": self.reference.scores.tolist()}
        for name in _ESTIMATES:
            plain[name] = {part: _none_if_nan(figure) for part, figure in plain[name].items()}
        return plain | {"reachable_recall": _none_if_nan(self.reachable_recall)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Restore what ``to_json`` gave."""
        return cls(
            **stored
            | {name: Estimate(**{k: _nan_if_none(v) for k, v in stored[name].items()}) for name in _ESTIMATES}
            | {
                "reachable_recall": _nan_if_none(stored["reachable_recall"]),
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
    max_alerts_per_day: float | None = None,
    previous: Calibration | None = None,
    smoothing: float = DEFAULT_SMOOTHING,
    max_change: float = DEFAULT_MAX_CHANGE,
    resamples: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Find the threshold on a labelled window of scored days.

    A threshold for a recall hangs on the few hardest frauds of its window and swings with them.
    With ``previous`` its alerts a day therefore move only part of the way from the previous calibration's
    (:func:`~fraud_pipeline.core.operating_point.steady_rate`). If the target cannot be had within the limits, the
    previous alert rate is kept; without ``previous`` the threshold is the lowest within the limits.
    The limits win over both.

    Parameters
    ----------
    scored : DataFrame
        ``day``, ``anomaly_score`` (HIGHER = MORE ANOMALOUS, in [0, 1]), ``amount`` and
        ``is_fraud`` of every matured transaction of the window.
    target_recall : float
        Share of the frauds to be alerted on, in (0, 1].
    max_false_positive_rate : float
        Ceiling on the share of genuine transactions that may be alerted on.
    max_alerts_per_day : float, optional
        Budget of alerts a day, on average over the window.
    previous : Calibration, optional
        Of the model in use so far.
    smoothing : float
        Weight of the window against ``previous`` if its alert rate were certain, in (0, 1].
    max_change : float
        Largest factor by which the alert rate may change, at least 1.
    resamples : int
        Bootstrap samples; whole days are drawn, since frauds of a day hang together.
    seed : int

    Returns
    -------
    Calibration

    Raises
    ------
    TrainingError
        If the window has no fraud or no genuine transaction, or even the highest score breaks a limit.
    """
    from sklearn.metrics import precision_recall_curve

    is_fraud = scored["is_fraud"].to_numpy(dtype=bool)
    frauds, genuine = int(is_fraud.sum()), int((~is_fraud).sum())
    if not frauds or not genuine:
        raise TrainingError(
            f"the calibration window has {frauds} frauds and {genuine} genuine transactions with a matured label; "
            "both are needed: choose a longer or earlier window, or bring in label files."
        )
    window = Window.of(scored)
    precision, recall, candidates = precision_recall_curve(is_fraud, window.scores)
    limits = AlertLimits.of(window, is_fraud, max_false_positive_rate, max_alerts_per_day)
    wanted = int(np.flatnonzero(recall[:-1] >= target_recall)[-1])
    feasible = wanted >= limits.lowest
    drawn = window.resample(resamples, seed)
    refitted = window.refitted_rates(is_fraud, target_recall, drawn)
    fitted, chosen = float(window.rates[wanted]), max(wanted, limits.lowest)
    goal, adjustment = float(window.rates[chosen]), ""
    if previous is not None:
        before = previous.alerts_per_day.value
        if feasible:
            doubt = log_variance(refitted, len(np.unique(window.day[is_fraud])))
            goal, adjustment = steady_rate(fitted, before, variance=doubt, smoothing=smoothing, max_change=max_change)
        else:
            goal = before
            adjustment = f"the target is out of reach, so the {before:,.1f} alerts a day of before are kept"
        aimed = window.position_of(goal) if adjustment else wanted
        chosen = max(aimed, limits.lowest)
        if aimed < chosen:
            adjustment += f"; {limits.tighter.replace('_', ' ')} allows only {window.rates[chosen]:,.1f}"
    binding, limit = ("", "") if feasible else limits.explain(target_recall, fitted, recall, wanted)
    threshold = float(candidates[chosen])
    kept = np.linspace(0, len(recall) - 1, num=min(_CURVE_POINTS, len(recall))).round().astype(np.int64)
    return Calibration(
        threshold=threshold,
        cutoffs=RiskCutoffs.of(window.scores, threshold),
        method="precision_recall",
        target_recall=target_recall,
        max_false_positive_rate=max_false_positive_rate,
        max_alerts_per_day=max_alerts_per_day,
        false_discovery_rate=None,
        feasible=feasible,
        limit=limit,
        binding=binding,
        reachable_recall=float(recall[limits.lowest]),
        adjustment=adjustment,
        fitted_alerts_per_day=Estimate.of(fitted, refitted),
        smoothed_alerts_per_day=goal,
        **window.figures(threshold, is_fraud, drawn),
        days=window.days,
        transactions=len(scored),
        frauds=frauds,
        alert_amount_median=median_alert_amount(scored, threshold),
        recall_curve=tuple(recall[kept].tolist()),
        precision_curve=tuple(precision[kept].tolist()),
        reference=ScoreReference.of(window.scores),
    )


def median_alert_amount(scored: pd.DataFrame, threshold: float) -> float:
    """Median absolute ``amount`` (money) of the rows at or above the threshold."""
    alerted = scored["anomaly_score"].to_numpy() >= threshold
    return float(np.median(np.abs(scored["amount"].to_numpy()[alerted])))


def _none_if_nan(figure: float) -> float | None:
    return None if np.isnan(figure) else figure


def _nan_if_none(figure: float | None) -> float:
    return np.nan if figure is None else figure
