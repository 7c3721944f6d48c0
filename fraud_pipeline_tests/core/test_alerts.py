"""Alerts are the rows at or above the threshold, each with its reasons, most urgent first."""

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core.alerts import raise_alerts
from fraud_pipeline.core.calibration import RiskCutoffs
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.explanations import feature_reference
from fraud_pipeline.core.risk import assign
from fraud_pipeline.core.schema import EVENT_KEYS, SCORE_COLUMNS
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features

REFERENCES = feature_reference(random_features(300, seed=1), DETECTOR_COLUMNS)
ANOMALY_SCORES = [0.1, 0.9, 0.5, 0.95, 0.7, 0.49, 0.9, 0.2]
FEATURES = random_features(len(ANOMALY_SCORES), seed=2).assign(amount=[10.0, 10.0, 10.0, 10.0, 500.0, 10.0, 10.0, 10.0])


def scores_of(features: pd.DataFrame) -> pd.DataFrame:
    shares = ["isolation_forest_score", "local_outlier_factor_score", "score_percentile", "confidence"]
    scores = features[[*EVENT_KEYS, "amount"]].assign(anomaly_score=ANOMALY_SCORES, **dict.fromkeys(shares, 0.5))
    return assign(scores, RiskCutoffs(0.5, 0.7, 0.9), large_amount=100.0)[list(SCORE_COLUMNS)]


SCORES = scores_of(FEATURES)


def test_only_rows_at_or_above_the_threshold_are_alerts_most_urgent_first() -> None:
    alerts = raise_alerts(SCORES, FEATURES, REFERENCES)
    # Priority 2: the critical ones by score, then by id, with the high one of a large amount; then the medium one.
    assert alerts["transaction_id"].tolist() == ["t00003", "t00001", "t00006", "t00004", "t00002"]
    assert alerts["priority"].tolist() == [2, 2, 2, 2, 4]
    assert alerts["anomaly_score"].tolist() == [0.95, 0.9, 0.9, 0.7, 0.5]
    assert alerts.index.equals(pd.RangeIndex(5))


def test_each_alert_has_the_reasons_of_its_own_transaction() -> None:
    alerts = raise_alerts(SCORES, FEATURES, REFERENCES)
    (large,) = alerts[alerts["transaction_id"] == "t00004"].to_dict("records")
    assert (large["reasons"][0]["feature"], large["reasons"][0]["value"]) == ("amount", 500.0)
    assert large["reason_text"].startswith("amount 500.00 is unusually large")
    for reasons, text in zip(alerts["reasons"], alerts["reason_text"], strict=True):
        assert 1 <= len(reasons) <= 3
        assert text == "; ".join(reason["text"] for reason in reasons)


def test_an_alert_carries_what_was_scored() -> None:
    alerts = raise_alerts(SCORES, FEATURES, REFERENCES)
    carried = [column for column in SCORE_COLUMNS if column in alerts]
    assert [*carried, "reasons", "reason_text"] == list(alerts)
    expected = SCORES.set_index("transaction_id").loc[alerts["transaction_id"]].reset_index()
    pd.testing.assert_frame_equal(alerts[carried], expected[carried])


def test_the_index_of_the_frames_does_not_matter() -> None:
    shifted = SCORES.set_axis(np.arange(len(SCORES)) + 100)
    pd.testing.assert_frame_equal(
        raise_alerts(shifted, FEATURES.set_axis(list("abcdefgh")), REFERENCES),
        raise_alerts(SCORES, FEATURES, REFERENCES),
    )


@pytest.mark.parametrize("rows", [SCORES.iloc[:0], SCORES[~SCORES["is_alert"]]], ids=["no rows", "no alerts"])
def test_a_day_without_alerts_has_no_rows_and_the_same_types(rows: pd.DataFrame) -> None:
    none = raise_alerts(rows, FEATURES.loc[rows.index], REFERENCES)
    assert len(none) == 0
    assert none.dtypes.equals(raise_alerts(SCORES, FEATURES, REFERENCES).dtypes)


@pytest.mark.parametrize("features", [FEATURES[::-1], FEATURES.iloc[1:]], ids=["another order", "a row less"])
def test_features_of_other_transactions_are_refused(features: pd.DataFrame) -> None:
    with pytest.raises(InvalidDataError, match="scores and features are of different transactions; score the day"):
        raise_alerts(SCORES, features, REFERENCES)
