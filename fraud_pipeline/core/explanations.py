"""Why a transaction stands out: the detectors' features that lie far in their upper tail."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from fraud_pipeline.core.detectors.base import matrix
from fraud_pipeline.core.detectors.ensemble import ScoreReference

MAX_REASONS: Final = 3
NOTABLE_PERCENTILE: Final = 0.95

_PHRASES: Final[Mapping[str, str]] = {
    "amount": "amount {:.2f} is unusually large",
    "user_amount_ratio_90d": "amount {:.1f} times the user's mean",
    "user_amount_zscore_90d": "amount {:.1f} standard deviations above the user's mean",
    "user_count_transactions_24h": "{:.0f} transactions of the user within 24 hours",
    "merchant_fraud_rate_7d": "{:.0%} of the merchant's labels of the last 7 days are fraud",
    "merchant_fraud_rate_30d": "{:.0%} of the merchant's labels of the last 30 days are fraud",
    "merchant_known_frauds_7d": "merchant had {:.0f} confirmed frauds in 7 days",
    "merchant_known_frauds_30d": "merchant had {:.0f} confirmed frauds in 30 days",
    "user_known_frauds_7d": "user had {:.0f} confirmed frauds in 7 days",
    "user_known_frauds_30d": "user had {:.0f} confirmed frauds in 30 days",
}


def feature_reference(features: pd.DataFrame, columns: Sequence[str], *, size: int = 2000) -> dict[str, ScoreReference]:
    """Keep the distribution of each feature, for later comparison.

    Parameters
    ----------
    features : DataFrame
        Training rows.
    columns : sequence of str
    size : int
        Order statistics kept of each column.

    Returns
    -------
    dict of column to ScoreReference
    """
    values = matrix(features, columns)
    return {name: ScoreReference.of(values[:, position], size=size) for position, name in enumerate(columns)}


def reasons(features: pd.DataFrame, references: Mapping[str, ScoreReference]) -> list[list[dict[str, Any]]]:
    """Name, for each row, the features furthest in their upper tail.

    Parameters
    ----------
    features : DataFrame
        Rows to explain, with the columns of ``references``.
    references : mapping of column to ScoreReference

    Returns
    -------
    list of list of dict
        For each row at most ``MAX_REASONS`` of ``feature``, ``value``, ``percentile``
        (share of training rows below the value) and ``text``, most extreme first. A row
        with nothing above ``NOTABLE_PERCENTILE`` has its single most extreme feature.
    """
    columns = sorted(references)
    values = matrix(features, columns)
    below = np.empty_like(values)
    for position, name in enumerate(columns):
        known = references[name].scores
        below[:, position] = np.searchsorted(known, values[:, position], side="left") / len(known)
    explained = []
    for row_values, row_below in zip(values, below, strict=True):
        ranked = np.argsort(-row_below, kind="stable")
        notable = [position for position in ranked if row_below[position] >= NOTABLE_PERCENTILE]
        explained.append(
            [
                {
                    "feature": columns[position],
                    "value": float(row_values[position]),
                    "percentile": float(row_below[position]),
                    "text": _PHRASES.get(columns[position], columns[position] + " is {:.4g}").format(
                        row_values[position]
                    ),
                }
                for position in (notable or ranked[:1])[:MAX_REASONS]
            ]
        )
    return explained


def sentence(row_reasons: Sequence[Mapping[str, Any]]) -> str:
    """Join one row's reasons into one plain sentence."""
    return "; ".join(str(reason["text"]) for reason in row_reasons)
