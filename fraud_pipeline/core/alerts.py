"""Which scored transactions become alerts, and why."""

from collections.abc import Mapping

import pandas as pd

from fraud_pipeline.core import explanations
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.errors import InvalidDataError

_SCORE_FIELDS = ("anomaly_score", "score_percentile", "confidence", "risk_level", "priority")


def raise_alerts(
    scores: pd.DataFrame, features: pd.DataFrame, references: Mapping[str, ScoreReference]
) -> pd.DataFrame:
    """Turn every row at or above the threshold into one alert with its reasons.

    Parameters
    ----------
    scores : DataFrame
        ``SCORE_COLUMNS`` of one or more days.
    features : DataFrame
        Features of the same transactions, in the same order.
    references : mapping of column to ScoreReference
        Training distribution of the features that the detectors read.

    Returns
    -------
    DataFrame
        One row an alert: keys, amount, score, risk, ``reasons`` (list of dict) and
        ``reason_text``, most urgent first.

    Raises
    ------
    InvalidDataError
        If scores and features are not of the same transactions.
    """
    if not scores["transaction_id"].reset_index(drop=True).equals(features["transaction_id"].reset_index(drop=True)):
        raise InvalidDataError("scores and features are of different transactions; score the day again.")
    chosen = scores["is_alert"].to_numpy()
    keys = ["transaction_id", "user_id", "merchant_id", "event_time", "amount", *_SCORE_FIELDS]
    alerts = scores.loc[chosen, keys].reset_index(drop=True)
    alerts["reasons"] = pd.Series(explanations.reasons(features.loc[chosen], references), dtype=object)
    alerts["reason_text"] = alerts["reasons"].map(explanations.sentence).astype("str")
    return alerts.sort_values(
        ["priority", "anomaly_score", "transaction_id"], ascending=[True, False, True], ignore_index=True
    )
