"""Risk level and priority of a scored transaction."""

from typing import Final

import numpy as np
import pandas as pd

from fraud_pipeline.core.calibration import RiskCutoffs
from fraud_pipeline.core.schema import RISK_LEVELS

_PRIORITY_OF_LEVEL: Final = np.array([5, 4, 3, 2])
"""By position in RISK_LEVELS; a large amount lifts an alert by one."""


def assign(scores: pd.DataFrame, cutoffs: RiskCutoffs, large_amount: float) -> pd.DataFrame:
    """Add risk level, priority and the alert decision.

    Parameters
    ----------
    scores : DataFrame
        With ``anomaly_score`` (HIGHER = MORE ANOMALOUS) and ``amount`` (money), n rows.
    cutoffs : RiskCutoffs
        Lowest score of MEDIUM, HIGH and CRITICAL.
    large_amount : float
        Money; the median amount of the calibration window's alerts.

    Returns
    -------
    DataFrame
        A copy with ``risk_level`` (LOW, MEDIUM, HIGH, CRITICAL), ``priority`` (1 most
        urgent to 5) and ``is_alert``. All three are monotone in the score at a given amount:
        a CRITICAL alert of a large amount has priority 1, a LOW row always 5.
    """
    bounds = np.array([cutoffs.medium, cutoffs.high, cutoffs.critical])
    level = np.searchsorted(bounds, scores["anomaly_score"].to_numpy(), side="right")
    is_alert = level > 0
    is_large = scores["amount"].abs().to_numpy() >= large_amount
    return scores.assign(
        risk_level=pd.Series(np.array(RISK_LEVELS)[level], index=scores.index, dtype="str"),
        priority=(_PRIORITY_OF_LEVEL[level] - (is_alert & is_large)).astype(np.int64),
        is_alert=is_alert,
    )
