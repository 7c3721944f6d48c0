"""Everything once with made-up rows, so that compiled code is loaded before the first request."""

import numpy as np

from fraud_pipeline.adapters.model_store import StoredModel
from fraud_pipeline.api.history import hash_of, texts
from fraud_pipeline.core import explanations, live_features
from fraud_pipeline.core.days import DAY, HOUR
from fraud_pipeline.core.detectors.feedback_classifier import FeedbackClassifier
from fraud_pipeline.core.live_features import EntityHistory, LiveRows
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.core.scoring import FEEDBACK_CLASSIFIER, score_columns, with_scores


def run(champion: StoredModel, baseline_days: int) -> None:
    """Score two transactions of two contexts with some history, and explain them."""
    import pandas as pd

    steps = np.arange(5)
    ids = texts([f"earlier {step}" for step in steps])
    keys = np.array([hash_of(each) for each in ids])
    history = EntityHistory(
        time=steps * DAY + HOUR,
        day=steps,
        amount=steps.astype(np.float64) + 1.0,
        other=steps % 2,
        key=keys,
        ids=ids,
        known_at=steps * DAY + 2 * HOUR,
        rank=steps % 3,
    )
    time = np.array([5 * DAY, 5 * DAY + HOUR])
    rows = LiveRows(
        context=np.array([0, 1]),
        user=np.array([0, 0]),
        merchant=np.array([0, 0]),
        time=time,
        clock=time,
        amount=np.array([10.0, 20.0]),
        other=np.array([0, 1]),
        key=np.array([hash_of("one"), hash_of("two")]),
        ids=texts(["one", "two"]),
    )
    classifier = champion.model.detectors.get(FEEDBACK_CLASSIFIER)
    if isinstance(classifier, FeedbackClassifier):
        classifier.use_threads(1)
    columns = live_features.build(rows, [history], [history], baseline_days)
    scores = score_columns(columns, champion.model)
    frame = pd.DataFrame(columns.table.T, columns=list(FEATURE_COLUMNS))
    seen = {name.removesuffix("_score"): values for name, values in scores.items() if name.endswith("_score")}
    explanations.explain(with_scores(frame, seen), champion.model, champion.feature_references)
