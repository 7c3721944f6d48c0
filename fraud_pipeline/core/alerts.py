"""Which scored transactions become alerts, and why."""

from collections.abc import Mapping

import pandas as pd

from fraud_pipeline.core import explanations
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.scoring import ScoringModel

_SCORE_FIELDS = ("anomaly_score", "score_percentile", "confidence", "risk_level", "priority")


def raise_alerts(
    scores: pd.DataFrame, features: pd.DataFrame, model: ScoringModel, references: Mapping[str, ScoreReference]
) -> pd.DataFrame:
    """Turn every row at or above the threshold into one alert with its reasons.

    Parameters
    ----------
    scores : DataFrame
        ``SCORE_COLUMNS`` of one or more days.
    features : DataFrame
        Features of the same transactions, in the same order.
    model : ScoringModel
        What they were scored by; it explains the alerts and only those.
    references : mapping of column to ScoreReference
        Training distribution of the features, as far as known.

    Returns
    -------
    DataFrame
        One row an alert: keys, amount, score, risk, ``reasons`` (list of dict) and
        ``reason_text``, most urgent first.

    Raises
    ------
    InvalidDataError
        If scores and features are not of the same transactions, or the model cannot explain its alerts.
    """
    if not scores["transaction_id"].reset_index(drop=True).equals(features["transaction_id"].reset_index(drop=True)):
        raise InvalidDataError("scores and features are of different transactions; score the day again.")
    is_alert = scores["is_alert"].to_numpy()
    chosen = scores[is_alert].reset_index(drop=True)
    keys = ["transaction_id", "user_id", "merchant_id", "event_time", "amount", *_SCORE_FIELDS]
    alerts = chosen[keys].copy()
    # A stacked classifier reads the scores of the other detectors like features.
    seen = [column for column in chosen.columns if column.endswith("_score")]
    rows = pd.concat([features[is_alert].reset_index(drop=True), chosen[seen]], axis=1)
    alerts["reasons"] = pd.Series(explanations.explain(rows, model, references), dtype=object)
    alerts["reason_text"] = alerts["reasons"].map(explanations.sentence).astype("str")
    return alerts.sort_values(
        ["priority", "anomaly_score", "transaction_id"], ascending=[True, False, True], ignore_index=True
    )
