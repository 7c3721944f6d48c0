"""Risk level and priority of a scored transaction."""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core.calibration import RiskCutoffs
from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.schema import RISK_LEVELS

_PRIORITY_OF_LEVEL: Final = np.array([5, 4, 3, 2])
"""By position in RISK_LEVELS."""


def assign(
    scores: pd.DataFrame, cutoffs: RiskCutoffs, large_amount: float, user_known_frauds: Floats | None = None
) -> pd.DataFrame:
    """Add risk level, priority and the alert decision.

    The level depends on the score alone. From it, what is at stake and what is known of the user follows the priority:

    ========  =======  ============  =============  ====
    level     neither  large amount  known frauds   both
    ========  =======  ============  =============  ====
    CRITICAL  2        1             1              1
    HIGH      3        2             2              1
    MEDIUM    4        3             3              2
    LOW       5        5             5              5
    ========  =======  ============  =============  ====

    Parameters
    ----------
    scores : DataFrame
        With ``anomaly_score`` (HIGHER = MORE ANOMALOUS) and ``amount`` (money), n rows.
    cutoffs : RiskCutoffs
        Lowest score of MEDIUM, HIGH and CRITICAL.
    large_amount : float
        Money; the median amount of the calibration window's alerts. Refunds count by their size.
    user_known_frauds : float64, shape (n,), optional
        Frauds of each row's user that were known at the event (``user_known_frauds_30d``); any at all lifts an alert.
        Without it nobody's history counts.

    Returns
    -------
    DataFrame
        A copy with ``risk_level`` (LOW, MEDIUM, HIGH, CRITICAL), ``priority`` (1 most
        urgent to 5) and ``is_alert``. All three are monotone in the score for a given amount and history.
    """
    score, amount = scores["anomaly_score"].to_numpy(), scores["amount"].to_numpy()
    level, priority = decide(score, amount, cutoffs, large_amount, user_known_frauds)
    return scores.assign(
        risk_level=pd.Series(np.array(RISK_LEVELS)[level], index=scores.index, dtype="str"),
        priority=priority,
        is_alert=level > 0,
    )


def decide(
    anomaly_score: Floats, amount: Floats, cutoffs: RiskCutoffs, large_amount: float, user_known_frauds: Floats | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Decide as :func:`assign` does, on arrays; gives positions in ``RISK_LEVELS``, 0 for no alert, and priorities."""
    bounds = np.array([cutoffs.medium, cutoffs.high, cutoffs.critical])
    level = np.searchsorted(bounds, anomaly_score, side="right")
    lifts = (np.abs(amount) >= large_amount).astype(np.int64)
    if user_known_frauds is not None:
        lifts += user_known_frauds > 0
    return level, np.maximum(_PRIORITY_OF_LEVEL[level] - np.where(level > 0, lifts, 0), 1).astype(np.int64)
