"""Whether a newly trained model takes over: champion and challenger on the same labelled rows."""

from dataclasses import dataclass

import numpy as np

from fraud_pipeline.core.detectors.base import Floats


@dataclass(frozen=True)
class Verdict:
    """Average precision of both models on one window, and who goes on.

    ``champion_average_precision`` is None when there is no champion yet.
    """

    challenger_average_precision: float
    champion_average_precision: float | None
    promoted: bool
    reason: str


def compare(is_fraud: np.ndarray, challenger: Floats, champion: Floats | None) -> Verdict:
    """Compare two models on the matured rows of the calibration window.

    Parameters
    ----------
    is_fraud : bool, shape (n,)
    challenger, champion : float64, shape (n,)
        ``anomaly_score`` of each model, HIGHER = MORE ANOMALOUS; None without a champion.

    Returns
    -------
    Verdict
        The challenger wins with a strictly higher average precision.
    """
    from sklearn.metrics import average_precision_score

    new = float(average_precision_score(is_fraud, challenger))
    if champion is None:
        return Verdict(new, None, True, "there is no champion yet")
    old = float(average_precision_score(is_fraud, champion))
    outcome = "above" if new > old else "not above"
    return Verdict(new, old, new > old, f"average precision {new:.3f} is {outcome} the champion's {old:.3f}")
