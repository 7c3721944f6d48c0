"""Alerts are the rows at or above the threshold, each with its reasons, most urgent first."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core.alerts import raise_alerts
from fraud_pipeline.core.calibration import RiskCutoffs, fit_threshold
from fraud_pipeline.core.detectors.base import Contributions
from fraud_pipeline.core.detectors.ensemble import Ensemble, ScoreReference
from fraud_pipeline.core.detectors.feedback_classifier import FeedbackClassifier
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.explanations import feature_reference, sentence
from fraud_pipeline.core.risk import assign
from fraud_pipeline.core.schema import EVENT_KEYS, SCORE_COLUMNS
from fraud_pipeline.core.scoring import ScoringModel
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features, scored_window

TRAINING = random_features(300, outliers=30, seed=1)
SEEN_COLUMNS = (*DETECTOR_COLUMNS, "isolation_forest_score")

REFERENCES = feature_reference(TRAINING, DETECTOR_COLUMNS)
ANOMALY_SCORES = [0.1, 0.9, 0.5, 0.95, 0.7, 0.49, 0.9, 0.2]
FEATURES = random_features(len(ANOMALY_SCORES), seed=2).assign(amount=[10.0, 10.0, 10.0, 10.0, 500.0, 10.0, 10.0, 10.0])


def scores_of(features: pd.DataFrame) -> pd.DataFrame:
    detectors = ("isolation_forest", "local_outlier_factor", "ensemble", "feedback_classifier")
    shares = [*(f"{name}_score" for name in detectors), "score_percentile", "confidence"]
    scores = features[[*EVENT_KEYS, "amount"]].assign(anomaly_score=ANOMALY_SCORES, **dict.fromkeys(shares, 0.5))
    return assign(scores, RiskCutoffs(0.5, 0.7, 0.9), large_amount=100.0)[list(SCORE_COLUMNS)]


SCORES = scores_of(FEATURES)


class CountsRows(FeedbackClassifier):
    """A classifier that remembers what it was asked to explain."""

    asked: ClassVar[list[pd.DataFrame]] = []

    def contributions(self, features: pd.DataFrame) -> Contributions:
        self.asked.append(features)
        return super().contributions(features)


CLASSIFIER = CountsRows.fit(TRAINING.assign(isolation_forest_score=0.5), SEEN_COLUMNS, np.arange(300) >= 270, rounds=20)
ENSEMBLE = Ensemble({"isolation_forest": ScoreReference(np.arange(9.0))}, {"isolation_forest": 1.0})
MODEL = ScoringModel(
    {"feedback_classifier": CLASSIFIER}, ENSEMBLE, fit_threshold(scored_window(), resamples=20), "stacked"
)


def test_only_rows_at_or_above_the_threshold_are_alerts_most_urgent_first() -> None:
    alerts = raise_alerts(SCORES, FEATURES, MODEL, REFERENCES)
    # Priority 2: the critical ones by score, then by id, with the high one of a large amount; then the medium one.
    assert alerts["transaction_id"].tolist() == ["t00003", "t00001", "t00006", "t00004", "t00002"]
    assert alerts["priority"].tolist() == [2, 2, 2, 2, 4]
    assert alerts["anomaly_score"].tolist() == [0.95, 0.9, 0.9, 0.7, 0.5]
    assert alerts.index.equals(pd.RangeIndex(5))


def test_each_alert_has_the_reasons_of_its_own_transaction() -> None:
    alerts = raise_alerts(SCORES, FEATURES, MODEL, REFERENCES)
    (large,) = alerts[alerts["transaction_id"] == "t00004"].to_dict("records")
    (amount,) = (reason for reason in large["reasons"] if reason["feature"] == "amount")
    assert (amount["value"], amount["percentile"], amount["text"]) == (500.0, 0.9, "amount 500.00")
    for reasons, text in zip(alerts["reasons"], alerts["reason_text"], strict=True):
        assert len(reasons) == 5 + 2
        assert text == sentence(reasons)


def test_the_reasons_of_an_alert_add_up_to_the_score_that_they_explain() -> None:
    alerts = raise_alerts(SCORES, FEATURES, MODEL, REFERENCES).set_index("transaction_id")
    rows = FEATURES.set_index("transaction_id").loc[alerts.index].assign(isolation_forest_score=0.5)
    added = [sum(reason["contribution"] for reason in reasons) for reasons in alerts["reasons"]]
    np.testing.assert_allclose(added, CLASSIFIER.log_odds(rows), atol=1e-5)


def test_only_alerts_are_explained_and_with_the_scores_of_the_other_detectors() -> None:
    CLASSIFIER.asked.clear()
    raise_alerts(SCORES, FEATURES, MODEL, REFERENCES)
    (asked,) = CLASSIFIER.asked
    assert asked["transaction_id"].tolist() == ["t00001", "t00002", "t00003", "t00004", "t00006"]
    assert (asked["isolation_forest_score"] == 0.5).all()


def test_an_alert_carries_what_was_scored() -> None:
    alerts = raise_alerts(SCORES, FEATURES, MODEL, REFERENCES)
    carried = [column for column in SCORE_COLUMNS if column in alerts]
    assert [*carried, "reasons", "reason_text"] == list(alerts)
    expected = SCORES.set_index("transaction_id").loc[alerts["transaction_id"]].reset_index()
    pd.testing.assert_frame_equal(alerts[carried], expected[carried])


def test_the_index_of_the_frames_does_not_matter() -> None:
    shifted = SCORES.set_axis(np.arange(len(SCORES)) + 100)
    pd.testing.assert_frame_equal(
        raise_alerts(shifted, FEATURES.set_axis(list("abcdefgh")), MODEL, REFERENCES),
        raise_alerts(SCORES, FEATURES, MODEL, REFERENCES),
    )


@pytest.mark.parametrize("rows", [SCORES.iloc[:0], SCORES[~SCORES["is_alert"]]], ids=["no rows", "no alerts"])
def test_a_day_without_alerts_has_no_rows_and_the_same_types(rows: pd.DataFrame) -> None:
    none = raise_alerts(rows, FEATURES.loc[rows.index], MODEL, REFERENCES)
    assert len(none) == 0
    assert none.dtypes.equals(raise_alerts(SCORES, FEATURES, MODEL, REFERENCES).dtypes)


@pytest.mark.parametrize("features", [FEATURES[::-1], FEATURES.iloc[1:]], ids=["another order", "a row less"])
def test_features_of_other_transactions_are_refused(features: pd.DataFrame) -> None:
    with pytest.raises(InvalidDataError, match="scores and features are of different transactions; score the day"):
        raise_alerts(SCORES, features, MODEL, REFERENCES)
