"""Whether a newly trained model takes over: champion and challenger on the same labelled rows."""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from fraud_pipeline.core import drift
from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.operating_point import Estimate, Window

DEFAULT_TOLERANCE: Final = 0.02
DEFAULT_RECALL_TOLERANCE: Final = 0.02

_NO_CHAMPION = "there is no champion yet"
_NO_FRAUD = "no fraud of the window has a matured label, so nothing tells the two models apart"


@dataclass(frozen=True)
class Verdict:
    """Both models on one window, and who goes on.

    What compares with a champion is None without one; a figure that has no denominator, as without a fraud, is NaN.

    Parameters
    ----------
    challenger_average_precision, champion_average_precision : float or None
    promoted : bool
    reason : str
    alerts : int
        How many highest scores of each model count as its alerts below.
    challenger_recall, champion_recall : float or None
        Share of the frauds among these alerts.
    average_precision_difference : Estimate or None
        Challenger less champion. The interval is paired: in each bootstrap sample both see the same days.
    alert_overlap : float or None
        Share of the champion's alerts that the challenger alerts on too.
    alert_jaccard : float or None
        Alerts of both over alerts of either.
    rank_correlation : float or None
        Spearman's, over all rows: whether the two order the transactions alike.
    score_psi : float or None
        Population stability index of the challenger's scores against the champion's on the same rows: how far a plot of
        raw scores over time jumps with the change of model. Says nothing of quality, since any
        increasing transformation of the scores moves it.
    """

    challenger_average_precision: float
    champion_average_precision: float | None
    promoted: bool
    reason: str
    alerts: int
    challenger_recall: float
    champion_recall: float | None = None
    average_precision_difference: Estimate | None = None
    alert_overlap: float | None = None
    alert_jaccard: float | None = None
    rank_correlation: float | None = None
    score_psi: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able form with all figures; unknown ones are None."""
        plain = asdict(self)
        return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in plain.items()}

    @property
    def figures(self) -> dict[str, float]:
        """Flat known figures by name, for metadata, tags and metrics."""
        plain = self.to_json()
        difference = plain.pop("average_precision_difference") or {}
        plain |= {f"average_precision_difference_{part}": figure for part, figure in difference.items()}
        known = {name: value for name, value in plain.items() if isinstance(value, int | float)}
        return {name: float(value) for name, value in known.items() if not isinstance(value, bool)}


def compare(
    is_fraud: np.ndarray,
    challenger: Floats,
    champion: Floats | None,
    *,
    day: np.ndarray | pd.Series | None = None,
    alerts_per_day: float | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    recall_tolerance: float = DEFAULT_RECALL_TOLERANCE,
    resamples: int = 1000,
    seed: int = 0,
) -> Verdict:
    """Compare two models on the matured rows of the calibration window.

    The challenger takes over if there is no champion, or if all of these hold:

    - its average precision is higher than the champion's,
    - and not by the luck of a few days: the paired bootstrap's 5 % quantile of the difference is above
      ``-tolerance``,
    - its recall at the same number of alerts is not lower by more than ``recall_tolerance``.

    A tie keeps the champion, and so does a window without a fraud.

    Parameters
    ----------
    is_fraud : bool, shape (n,)
        At least one row.
    challenger, champion : float64, shape (n,)
        ``anomaly_score`` of each model, HIGHER = MORE ANOMALOUS; None without a champion.
    day : shape (n,), optional
        Day of each row; whole days are resampled. Without it all rows are of one day and the interval has no width.
    alerts_per_day : float, optional
        Budget at which recall and alerts are compared; without it there are as many alerts as frauds.
    tolerance, recall_tolerance : float
        0 or more.
    resamples : int
    seed : int

    Returns
    -------
    Verdict
    """
    from scipy.stats import spearmanr

    days = np.zeros(len(is_fraud), dtype=np.int64) if day is None else np.asarray(day)
    window = Window.of(pd.DataFrame({"day": days, "anomaly_score": challenger}))
    frauds = int(is_fraud.sum())
    alerts = frauds if alerts_per_day is None else round(alerts_per_day * window.days)
    alerts = min(alerts, len(is_fraud))
    new_alerts = _top(challenger, alerts)
    new_precision, new_recall = _average_precision(is_fraud, challenger), _recall(is_fraud, new_alerts)
    if champion is None:
        return Verdict(new_precision, None, True, _NO_CHAMPION, alerts, new_recall)
    old_alerts = _top(champion, alerts)
    old_precision, old_recall = _average_precision(is_fraud, champion), _recall(is_fraud, old_alerts)
    difference = None
    promoted, reason = False, _NO_FRAUD
    if frauds:
        drawn = window.resample(resamples, seed)
        spread = [resampled_average_precision(is_fraud, scores, window.day, drawn) for scores in (challenger, champion)]
        difference = Estimate.of(new_precision - old_precision, spread[0] - spread[1])
        objections = _objections(difference, new_recall - old_recall, alerts, tolerance, recall_tolerance)
        better = difference.value > 0
        promoted = better and not objections
        outcome = "above" if better else "not above"
        reason = f"average precision {new_precision:.3f} is {outcome} the champion's {old_precision:.3f}"
        reason += "".join(f", {objection}" for objection in objections if better)
    both, either = int((new_alerts & old_alerts).sum()), int((new_alerts | old_alerts).sum())
    # One score for all rows has no ranks to correlate.
    flat = len(window.candidates) == 1 or champion.min() == champion.max()
    return Verdict(
        new_precision,
        old_precision,
        promoted,
        reason,
        alerts,
        new_recall,
        old_recall,
        difference,
        alert_overlap=both / alerts if alerts else np.nan,
        alert_jaccard=both / either if either else np.nan,
        rank_correlation=np.nan if flat else float(spearmanr(challenger, champion).statistic),
        score_psi=drift.stability(champion, challenger).psi,
    )


def resampled_average_precision(is_fraud: np.ndarray, scores: Floats, day: np.ndarray, drawn: Floats) -> Floats:
    """Average precision in each bootstrap sample of whole days, without sorting again for each.

    Parameters
    ----------
    is_fraud : bool, shape (n,)
    scores : float64, shape (n,)
    day : int64, shape (n,)
        From 0 to ``days - 1``.
    drawn : float64, shape (resamples, days)
        How often each day was drawn.

    Returns
    -------
    float64, shape (resamples,)
        ``sum((recall step) * precision)`` over the distinct scores of frauds, as scikit-learn's
        ``average_precision_score`` with the days' counts as sample weights; NaN without a fraud.
    """
    steps = np.unique(scores[is_fraud])
    at_least = np.zeros((2, drawn.shape[1], len(steps)))
    for each in range(drawn.shape[1]):
        of_day = day == each
        for kind, rows in enumerate((of_day, of_day & is_fraud)):
            ordered = np.sort(scores[rows])
            at_least[kind, each] = len(ordered) - np.searchsorted(ordered, steps, side="left")
    averages = np.full(len(drawn), np.nan)
    # One sample at a time: all at once would be a matrix of resamples by frauds.
    for position, weights in enumerate(drawn):
        rows, hits = np.tensordot(weights, at_least, axes=(0, 1))
        found = hits - np.append(hits[1:], 0.0)
        if hits[0] > 0:
            # Where no row is left, no fraud is found either.
            averages[position] = (found * hits / np.maximum(rows, 1.0)).sum() / hits[0]
    return averages


def _top(scores: Floats, alerts: int) -> np.ndarray:
    """Mark the ``alerts`` highest scores; of equal ones the earlier row, so that both models alert equally often."""
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[np.argsort(-scores, kind="stable")[:alerts]] = True
    return chosen


def _average_precision(is_fraud: np.ndarray, scores: Floats) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_fraud, scores)) if is_fraud.any() else np.nan


def _recall(is_fraud: np.ndarray, alerted: np.ndarray) -> float:
    return float(alerted[is_fraud].mean()) if is_fraud.any() else np.nan


def _objections(
    difference: Estimate, recall_difference: float, alerts: int, tolerance: float, recall_tolerance: float
) -> list[str]:
    """List what speaks against a challenger whose average precision is higher."""
    objections = []
    if difference.low <= -tolerance:
        objections.append(f"but may be lower by {-difference.low:.3f} on other days (tolerated: {tolerance:.3f})")
    if recall_difference < -recall_tolerance:
        objections.append(
            f"but {alerts:,} alerts find {-recall_difference:.1%} fewer of the frauds "
            f"(tolerated: {recall_tolerance:.1%})"
        )
    return objections
