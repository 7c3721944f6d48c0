"""From features to answers: scores, and reasons for what is an alert."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.adapters.model_store import StoredModel
from fraud_pipeline.api.models import Detection, TransactionIn
from fraud_pipeline.core import explanations
from fraud_pipeline.core.columns import FeatureColumns
from fraud_pipeline.core.detectors.feedback_classifier import FeedbackClassifier
from fraud_pipeline.core.schema import FEATURE_COLUMNS, FEATURE_SET_VERSION, RISK_LEVELS
from fraud_pipeline.core.scoring import FEEDBACK_CLASSIFIER, score_column, score_columns

MANY: Final = 32
"""So many explanations are worth the threads; one is not."""
ALL_CORES: Final = 0

_COLUMNS: Final = (
    "anomaly_score",
    "score_percentile",
    "confidence",
    "risk_level",
    "priority",
    "is_alert",
    "isolation_forest_score",
    "local_outlier_factor_score",
    "feedback_classifier_score",
)


def answers(
    transactions: Sequence[TransactionIn], columns: FeatureColumns, champion: StoredModel, explained: NDArray[np.bool_]
) -> list[Detection]:
    """Score transactions.

    Parameters
    ----------
    transactions : sequence of TransactionIn
    columns : FeatureColumns
        Their features, in the same order.
    champion : StoredModel
    explained : bool, shape (n,)
        Which of them get reasons if they are alerts.

    Returns
    -------
    list of Detection
        In the same order; only alerts have reasons, as in the table of alerts.
    """
    scores = score_columns(columns, champion.model)
    alerts = np.flatnonzero(scores["is_alert"] & explained)
    reasons: dict[int, list[dict[str, Any]]] = {}
    if len(alerts):
        reasons = dict(zip(alerts.tolist(), _explain(columns, scores, alerts, champion), strict=True))
    has_classifier = FEEDBACK_CLASSIFIER in champion.model.detectors
    versions: dict[str, Any] = {
        "threshold": champion.model.calibration.threshold,
        "model_version": str(champion.version.version),
        "threshold_version": champion.threshold_version,
        "feature_set_version": FEATURE_SET_VERSION,
    }
    values = zip(transactions, *(scores[name].tolist() for name in _COLUMNS), strict=True)
    return [
        Detection(
            transaction_id=transaction.transaction_id,
            anomaly_score=score,
            score_percentile=percentile,
            confidence=confidence,
            risk_level=RISK_LEVELS[level],
            priority=priority,
            is_alert=is_alert,
            isolation_forest_score=forest,
            local_outlier_factor_score=factor,
            feedback_classifier_score=feedback if has_classifier else None,
            reasons=reasons.get(position, []),
            reason_text=explanations.sentence(reasons[position]) if position in reasons else "",
            **versions,
        )
        for position, (
            transaction,
            score,
            percentile,
            confidence,
            level,
            priority,
            is_alert,
            forest,
            factor,
            feedback,
        ) in enumerate(values)
    ]


def _explain(
    columns: FeatureColumns, scores: dict[str, np.ndarray], alerts: np.ndarray, champion: StoredModel
) -> list[list[dict[str, Any]]]:
    model = champion.model
    rows = pd.DataFrame(columns.table[:, alerts].T, columns=list(FEATURE_COLUMNS))
    # A stacked classifier reads the scores of the other detectors like features.
    seen = {score_column(name): scores[score_column(name)][alerts] for name in model.detectors}
    classifier = model.detectors.get(FEEDBACK_CLASSIFIER)
    threads = ALL_CORES if len(alerts) >= MANY else 1
    if isinstance(classifier, FeedbackClassifier):
        classifier.use_threads(threads)
    return explanations.explain(rows.assign(**seen), model, champion.feature_references)
