"""Reasons: which features, in which order, in which words."""

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.explanations import feature_reference, reasons, sentence
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features

UNIFORM = ScoreReference(np.arange(100.0))
"""A value of 97 lies above 97 % of these."""


def named(**values: float) -> list[tuple[str, float]]:
    """Features and percentiles of the reasons for one row, each feature having been 0, 1, ... 99."""
    (row_reasons,) = reasons(pd.DataFrame([values]), dict.fromkeys(values, UNIFORM))
    return [(reason["feature"], reason["percentile"]) for reason in row_reasons]


def text(feature: str, value: float) -> str:
    ((reason,),) = reasons(pd.DataFrame([{feature: value}]), {feature: UNIFORM})
    return str(reason["text"])


def test_the_most_extreme_feature_comes_first() -> None:
    assert named(a=96.0, b=99.0, c=97.5) == [("b", 0.99), ("c", 0.98), ("a", 0.96)]


def test_at_most_three_reasons_are_given() -> None:
    assert named(a=96.0, b=97.0, c=98.0, d=99.0, e=100.0) == [("e", 1.0), ("d", 0.99), ("c", 0.98)]


def test_only_notable_features_are_reasons() -> None:
    assert named(a=94.0, b=95.0, c=0.0, d=96.0) == [("d", 0.96), ("b", 0.95)]


def test_a_row_with_nothing_notable_has_its_most_extreme_feature() -> None:
    assert named(a=3.0, b=60.0, c=50.0) == [("b", 0.6)]


def test_equally_extreme_features_come_by_name() -> None:
    assert named(z=99.0, b=99.0, m=99.0, a=99.0) == [("a", 0.99), ("b", 0.99), ("m", 0.99)]


def test_a_value_as_large_as_all_of_the_training_is_not_extreme() -> None:
    ((reason,),) = reasons(pd.DataFrame([{"a": 0.0}]), {"a": ScoreReference(np.zeros(50))})
    assert reason["percentile"] == 0.0


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        ("amount", 1234.5, "amount 1234.50 is unusually large"),
        ("user_amount_ratio_90d", 12.345, "amount 12.3 times the user's mean"),
        ("user_amount_zscore_90d", 7.25, "amount 7.2 standard deviations above the user's mean"),
        ("user_count_transactions_24h", 9.0, "9 transactions of the user within 24 hours"),
        ("merchant_fraud_rate_7d", 0.125, "12% of the merchant's labels of the last 7 days are fraud"),
        ("merchant_fraud_rate_30d", 1.0, "100% of the merchant's labels of the last 30 days are fraud"),
        ("merchant_known_frauds_7d", 4.0, "merchant had 4 confirmed frauds in 7 days"),
        ("merchant_known_frauds_30d", 4.0, "merchant had 4 confirmed frauds in 30 days"),
        ("user_known_frauds_7d", 2.0, "user had 2 confirmed frauds in 7 days"),
        ("user_known_frauds_30d", 2.0, "user had 2 confirmed frauds in 30 days"),
        ("user_std_amount_90d", 98765.4321, "user_std_amount_90d is 9.877e+04"),
    ],
)
def test_a_reason_is_put_in_words(feature: str, value: float, expected: str) -> None:
    assert text(feature, value) == expected


def test_a_sentence_joins_the_reasons_of_a_row() -> None:
    (row,) = reasons(pd.DataFrame([{"amount": 500.0, "other": 200.0}]), {"amount": UNIFORM, "other": UNIFORM})
    assert sentence(row) == "amount 500.00 is unusually large; other is 200"
    assert sentence([]) == ""


def test_a_reason_is_plain_data() -> None:
    ((reason,),) = reasons(pd.DataFrame([{"amount": 500.0}]), {"amount": UNIFORM})
    text = "amount 500.00 is unusually large"
    assert reason == {"feature": "amount", "value": 500.0, "percentile": 1.0, "text": text}
    assert {type(value) for value in reason.values()} == {str, float}


def test_rows_are_explained_in_their_order_and_planted_features_are_named() -> None:
    training = random_features(500, seed=1)
    rows = random_features(20, seed=2)
    rows.loc[[3, 8], "amount"] = 9000.0
    explained = reasons(rows, feature_reference(training, DETECTOR_COLUMNS))
    assert len(explained) == 20
    assert all(1 <= len(row) <= 3 for row in explained)
    assert explained[3][0] == explained[8][0]
    assert (explained[3][0]["feature"], explained[3][0]["percentile"]) == ("amount", 1.0)


def test_no_rows_have_no_reasons() -> None:
    assert reasons(pd.DataFrame({"amount": np.empty(0)}), {"amount": UNIFORM}) == []


def test_a_feature_reference_is_the_distribution_of_each_column() -> None:
    training = random_features(500, seed=1)
    references = feature_reference(training, DETECTOR_COLUMNS, size=50)
    assert tuple(references) == DETECTOR_COLUMNS
    for name, reference in references.items():
        assert len(reference.scores) == 50
        assert (reference.scores[0], reference.scores[-1]) == (training[name].min(), training[name].max())
        assert np.median(reference.scores) == pytest.approx(training[name].median(), abs=training[name].std() / 10)


def test_rows_without_a_feature_of_the_references_are_refused() -> None:
    with pytest.raises(InvalidDataError, match="the features lack amount"):
        reasons(pd.DataFrame({"other": [1.0]}), {"amount": UNIFORM})
