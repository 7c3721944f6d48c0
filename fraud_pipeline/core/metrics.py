"""What became of the alerts once the labels matured."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fraud_pipeline.core.detectors.base import Floats


def evaluate(scores: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Compare decisions with matured labels.

    Parameters
    ----------
    scores : DataFrame
        ``transaction_id``, ``anomaly_score`` (HIGHER = MORE ANOMALOUS) and ``is_alert`` of one or more days.
    truth : DataFrame
        ``transaction_id``, ``is_fraud`` of the transactions whose label counts as known.

    Returns
    -------
    dict of str to float
        ``transactions``, ``alerts``, ``matured``, ``frauds`` (counts), and over the matured rows
        ``recall``, ``false_positive_rate``, ``precision``, ``average_precision``, ``roc_auc``;
        NaN where a figure has no denominator.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    known = scores.merge(truth[["transaction_id", "is_fraud"]], on="transaction_id", how="inner")
    is_fraud, alerted = known["is_fraud"].to_numpy(dtype=bool), known["is_alert"].to_numpy(dtype=bool)
    hits = float((alerted & is_fraud).sum())
    both_classes = bool(is_fraud.any() and not is_fraud.all())
    return {
        "transactions": float(len(scores)),
        "alerts": float(scores["is_alert"].sum()),
        "matured": float(len(known)),
        "frauds": float(is_fraud.sum()),
        "recall": _share(hits, is_fraud.sum()),
        "false_positive_rate": _share((alerted & ~is_fraud).sum(), (~is_fraud).sum()),
        "precision": _share(hits, alerted.sum()),
        "average_precision": average_precision_score(is_fraud, known["anomaly_score"]) if both_classes else np.nan,
        "roc_auc": roc_auc_score(is_fraud, known["anomaly_score"]) if both_classes else np.nan,
    }


def average_precisions(is_fraud: np.ndarray, scores: Mapping[str, Floats]) -> dict[str, float]:
    """Average precision of several scores on the same rows, by name.

    Parameters
    ----------
    is_fraud : bool, shape (n,)
    scores : mapping of name to float64, shape (n,)
        HIGHER = MORE ANOMALOUS.

    Returns
    -------
    dict of name to float
    """
    from sklearn.metrics import average_precision_score

    return {name: float(average_precision_score(is_fraud, values)) for name, values in scores.items()}


def _share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")
