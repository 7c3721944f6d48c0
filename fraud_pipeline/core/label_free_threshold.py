"""An alert threshold where no label has matured: an alert budget, or conformal p-values.

Neither says anything of recall. They bridge the time until labels arrive. The budget is the robust choice: conformal
p-values need clean rows that are like the genuine ones of the window, and as few as 1 % of frauds among
them can leave nothing to discover.
"""

from typing import Final

import numpy as np
import pandas as pd

from fraud_pipeline.core.calibration import (
    DEFAULT_MAX_CHANGE,
    DEFAULT_SMOOTHING,
    Calibration,
    RiskCutoffs,
    median_alert_amount,
)
from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.errors import ConfigurationError, TrainingError
from fraud_pipeline.core.operating_point import Estimate, Window, steady_rate

METHODS: Final = ("alert_budget", "conformal_fdr")


def conformal_p_values(scores: Floats, clean_scores: Floats) -> Floats:
    """Probability that a genuine row scores at least as high, by counting.

    ``p = (1 + #{clean >= score}) / (1 + #clean)``: valid for any detector if genuine rows and clean ones are
    exchangeable. Bates, Candes, Lei, Romano and Sesia, "Testing for outliers with
    conformal p-values", Annals of Statistics 51(1), 2023.

    Parameters
    ----------
    scores : float64, shape (n,)
        HIGHER = MORE ANOMALOUS.
    clean_scores : float64, shape (m,)
        Of rows without fraud that the detectors were not fitted on. Frauds among them make the p-values
        larger, hence the alerts fewer.

    Returns
    -------
    float64, shape (n,)
        In (0, 1].
    """
    at_least = len(clean_scores) - np.searchsorted(np.sort(clean_scores), scores, side="left")
    p_values: Floats = np.divide(1.0 + at_least, 1.0 + len(clean_scores), dtype=np.float64)
    return p_values


def fit_without_labels(
    scored: pd.DataFrame,
    *,
    method: str = "alert_budget",
    max_alerts_per_day: float | None = None,
    false_discovery_rate: float = 0.1,
    clean_scores: Floats | None = None,
    previous: Calibration | None = None,
    smoothing: float = DEFAULT_SMOOTHING,
    max_change: float = DEFAULT_MAX_CHANGE,
    resamples: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Find a threshold on scored days without labels.

    Parameters
    ----------
    scored : DataFrame
        ``day``, ``anomaly_score`` (HIGHER = MORE ANOMALOUS, in [0, 1]) and ``amount`` of the window.
    method : {"alert_budget", "conformal_fdr"}
        The lowest score whose alerts fit the budget; or the lowest that the Benjamini-Hochberg procedure
        rejects on conformal p-values (:func:`conformal_p_values`). The latter keeps the expected
        share of false alerts in this window under ``false_discovery_rate``, and on later days as far as they
        resemble it.
    max_alerts_per_day : float, optional
        Budget; required for ``alert_budget``, a limit for ``conformal_fdr``.
    false_discovery_rate : float
        In (0, 1).
    clean_scores : float64, shape (m,), optional
        Required for ``conformal_fdr``. The smallest p-value is ``1 / (m + 1)``: m is to be large.
    previous : Calibration, optional
        As in :func:`~fraud_pipeline.core.calibration.fit_threshold`, for ``conformal_fdr``; a budget is steady
        by itself.
    smoothing, max_change : float
        As there.
    resamples : int
        Bootstrap samples of whole days, for the alerts a day.
    seed : int

    Returns
    -------
    Calibration
        Marked with ``method``; recall, false-positive rate and precision are NaN.

    Raises
    ------
    ConfigurationError
        If the method is not known, or lacks its budget or clean scores.
    TrainingError
        If there is nothing to alert on: no row, a highest score shared by more rows than the budget, or no
        row that stands out and no previous alert rate to keep.
    """
    if method not in METHODS:
        raise ConfigurationError(f"threshold method {method!r} is not known; choose from {', '.join(METHODS)}.")
    if not len(scored):
        raise TrainingError("the calibration window has no transactions; choose a window with data.")
    window = Window.of(scored)
    budget = np.inf if max_alerts_per_day is None else max_alerts_per_day
    lowest = int((window.rates > budget).sum())
    if lowest == len(window.candidates):
        raise TrainingError(
            f"even the highest score is shared by more than {budget:,.1f} rows a day; "
            "the detectors do not separate: raise the alert budget or check their feature columns."
        )
    limit = adjustment = ""
    if method == "alert_budget":
        if max_alerts_per_day is None:
            raise ConfigurationError("a threshold by alert budget needs the budget: set the most alerts a day.")
        chosen = wanted = lowest
        goal = float(window.rates[wanted])
    else:
        if clean_scores is None or not len(clean_scores):
            raise ConfigurationError("conformal p-values need clean scores: give those of held-out genuine rows.")
        wanted = _first_rejected(window, conformal_p_values(window.scores, clean_scores), false_discovery_rate)
        goal, adjustment, limit = _steady_discoveries(
            window, wanted, false_discovery_rate, previous, smoothing, max_change
        )
        aimed = window.position_of(goal)
        chosen = max(aimed, lowest)
        if aimed < lowest:
            adjustment += f"{'; ' if adjustment else ''}the alert budget allows only {window.rates[chosen]:,.1f}"
    threshold = float(window.candidates[chosen])
    unlabelled = np.zeros(len(scored), dtype=bool)
    figures = window.figures(threshold, unlabelled, window.resample(resamples, seed))
    fitted = float(window.rates[wanted]) if wanted < len(window.candidates) else 0.0
    return Calibration(
        threshold=threshold,
        cutoffs=RiskCutoffs.of(window.scores, threshold),
        method=method,
        target_recall=None,
        max_false_positive_rate=None,
        max_alerts_per_day=max_alerts_per_day,
        false_discovery_rate=false_discovery_rate if method == "conformal_fdr" else None,
        feasible=not limit,
        limit=limit,
        binding="score_separation" if limit else "",
        reachable_recall=np.nan,
        adjustment=adjustment,
        fitted_alerts_per_day=Estimate(fitted, np.nan, np.nan),
        smoothed_alerts_per_day=goal,
        recall=Estimate.unknown(),
        false_positive_rate=Estimate.unknown(),
        precision=Estimate.unknown(),
        alerts_per_day=figures["alerts_per_day"],
        days=window.days,
        transactions=len(scored),
        frauds=0,
        alert_amount_median=median_alert_amount(scored, threshold),
        recall_curve=(),
        precision_curve=(),
        reference=ScoreReference.of(window.scores),
    )


def _first_rejected(window: Window, p_values: Floats, false_discovery_rate: float) -> int:
    """Position of the lowest candidate that Benjamini-Hochberg rejects; their number if it rejects none."""
    from scipy.stats import false_discovery_control

    rejected = false_discovery_control(p_values, method="bh") <= false_discovery_rate
    if not rejected.any():
        return len(window.candidates)
    return int(np.searchsorted(window.candidates, window.scores[rejected].min()))


def _steady_discoveries(
    window: Window,
    wanted: int,
    false_discovery_rate: float,
    previous: Calibration | None,
    smoothing: float,
    max_change: float,
) -> tuple[float, str, str]:
    """Alerts a day to aim at, why they are not the discoveries, and why there are none."""
    before = None if previous is None else previous.alerts_per_day.value
    if wanted == len(window.candidates):
        limit = f"no transaction stands out from the clean ones at a false discovery rate of {false_discovery_rate:.2f}"
        if before is None:
            raise TrainingError(f"{limit}; give more clean rows, allow a higher rate, or use an alert budget.")
        return before, f"the {before:,.1f} alerts a day of before are kept", limit
    discoveries = float(window.rates[wanted])
    if before is None:
        return discoveries, "", ""
    # Without labels there is no bootstrap of the fitted rate: its full weight counts.
    goal, why = steady_rate(discoveries, before, variance=0.0, smoothing=smoothing, max_change=max_change)
    return goal, why, ""
