"""Every feature has words, and they read right for its value."""

import math

import pytest

from fraud_pipeline.core.phrases import is_known, phrase, topic
from fraud_pipeline.core.schema import FEATURE_COLUMNS


@pytest.mark.parametrize("feature", [*FEATURE_COLUMNS, "isolation_forest_score", "local_outlier_factor_score"])
def test_every_feature_has_a_phrase_for_every_value(feature: str) -> None:
    assert is_known(feature)
    said = {phrase(feature, value) for value in (0.0, 0.004, 0.5, 1.0, 2.0, 23.0, 400.0)}
    assert all(text and f"{feature} is" not in text and not text.endswith(".") for text in said)
    assert len(said) > 1


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        ("amount", 1234.5, "amount 1234.50"),
        ("amount", -12.0, "refund of 12.00"),
        ("amount_log1p", math.log1p(1234.5), "amount 1234.50"),
        ("amount_log1p", -math.log1p(12.0), "refund of 12.00"),
        ("amount_sqrt", math.sqrt(1234.5), "amount 1234.50"),
        ("amount_sqrt", -math.sqrt(12.0), "refund of 12.00"),
        ("user_amount_ratio_90d", 8.42, "amount 8.4 times the user's mean"),
        ("user_amount_ratio_90d", 0.031, "amount 0.031 times the user's mean"),
        ("user_amount_ratio_90d", -2.0, "refund 2.0 times the user's mean"),
        ("user_amount_zscore_90d", 7.25, "amount 7.2 standard deviations above the user's mean"),
        ("user_amount_zscore_90d", -1.0, "amount 1.0 standard deviations below the user's mean"),
        ("user_amount_zscore_90d", 0.0, "amount at the user's mean"),
        ("user_amount_deviation_90d", 250.0, "amount 250.00 above the user's mean"),
        ("user_amount_deviation_90d", -3.5, "amount 3.50 below the user's mean"),
        ("user_amount_deviation_90d", 0.0, "amount at the user's mean"),
        ("hour_of_day", 3.0, "time of day 03:00 to 03:59"),
        ("day_of_week", 0.0, "on a Monday"),
        ("day_of_week", 6.0, "on a Sunday"),
        ("is_weekend", 1.0, "at the weekend"),
        ("is_weekend", 0.0, "on a working day"),
        ("is_night", 1.0, "at night"),
        ("is_night", 0.0, "not at night"),
        ("user_seconds_since_last", 0.0, "0 seconds after the user's previous transaction"),
        ("user_seconds_since_last", 1.0, "1 second after the user's previous transaction"),
        ("user_seconds_since_last", 90.0, "2 minutes after the user's previous transaction"),
        ("user_seconds_since_last", 3600.0, "1 hour after the user's previous transaction"),
        ("user_seconds_since_last", 3 * 86400.0, "3 days after the user's previous transaction"),
        ("user_seconds_since_last", 90 * 86400.0, "user's first transaction in 90 days"),
        ("user_mean_amount_7d", 35.2, "user's mean amount 35.20 in 7 days"),
        ("user_std_amount_90d", 12.3, "user's amounts vary by 12.30 in 90 days (standard deviation)"),
        ("user_transactions_per_day_90d", 0.25, "user makes 0.25 transactions a day"),
        ("user_count_transactions_24h", 1.0, "user's only transaction in 24 hours"),
        ("user_count_transactions_24h", 9.0, "9 transactions of the user in 24 hours"),
        ("merchant_count_transactions_1d", 1.0, "merchant's only transaction in 1 day"),
        ("merchant_count_transactions_30d", 412.0, "412 transactions of the merchant in 30 days"),
        ("amount_x_hour", 2940.0, "amount times hour of day is 2940"),
        ("amount_x_night", 120.0, "amount 120.00 at night"),
        ("amount_x_night", 0.0, "no amount at night"),
        ("zscore_x_velocity", 14.25, "amount's z-score times the user's transactions of 24 hours is 14.2"),
        ("merchant_known_frauds_7d", 5.0, "merchant had 5 confirmed frauds in 7 days"),
        ("merchant_known_frauds_1d", 1.0, "merchant had 1 confirmed fraud in 1 day"),
        ("user_known_frauds_30d", 0.0, "user had no confirmed frauds in 30 days"),
        ("merchant_unexplained_frauds_7d", 1.0, "merchant had 1 otherwise unexplained confirmed fraud in 7 days"),
        ("merchant_known_genuine_30d", 0.0, "merchant had no transactions confirmed genuine in 30 days"),
        ("user_known_genuine_7d", 1.0, "user had 1 transaction confirmed genuine in 7 days"),
        ("merchant_fraud_rate_7d", 0.125, "12% of the merchant's labels of the last 7 days are fraud"),
        ("merchant_fraud_rate_1d", 0.5, "50% of the merchant's labels of the last day are fraud"),
        ("merchant_fraud_rate_30d", 1.0, "100% of the merchant's labels of the last 30 days are fraud"),
        ("merchant_fraud_rate_30d", 0.004, "0.4% of the merchant's labels of the last 30 days are fraud"),
        ("merchant_fraud_rate_30d", 0.0, "none of the merchant's labels of the last 30 days is fraud"),
        ("merchant_genuine_share_7d", 0.4, "40% of the merchant's transactions of the last 7 days are known genuine"),
        ("merchant_genuine_share_7d", 0.0, "none of the merchant's transactions of the last 7 days is known genuine"),
        ("merchant_days_since_known_fraud", 30.0, "merchant had no confirmed frauds in 30 days"),
        ("merchant_days_since_known_fraud", 0.25, "merchant's latest fraud was confirmed 6 hours before"),
        ("user_days_since_known_fraud", 1.2, "user's latest fraud was confirmed 1 day before"),
        ("is_new_merchant_30d", 1.0, "user's first payment at this merchant in 30 days"),
        ("is_new_merchant_30d", 0.0, "user had paid at this merchant within 30 days"),
        ("isolation_forest_score", 0.712, "Isolation Forest score 0.71"),
        ("local_outlier_factor_score", 3.21, "Local Outlier Factor 3.2"),
        ("never_heard_of_7d", 98765.4321, "never_heard_of_7d is 9.877e+04"),
    ],
)  # fmt: skip
def test_a_phrase_fits_the_value(feature: str, value: float, expected: str) -> None:
    assert phrase(feature, value) == expected


def test_features_that_differ_in_window_or_scale_share_a_topic() -> None:
    assert topic("merchant_known_frauds_1d") == topic("merchant_known_frauds_30d") == "merchant_known_frauds"
    assert topic("amount_sqrt") == topic("amount_log1p") == topic("amount") == "amount"
    assert topic("user_amount_ratio_90d") == topic("user_amount_zscore_90d")
    assert topic("user_known_frauds_7d") != topic("merchant_known_frauds_7d")
