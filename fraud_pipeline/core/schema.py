"""Names, order and types of the columns that the stages hand to each other.

Identifiers are text, money is float64 in one reporting currency, times are
``datetime64[us, UTC]``. Every frame of transactions is sorted by
``(event_time, transaction_id)``: that order decides what "before" means.
"""

from typing import Final

TIME_DTYPE: Final = "datetime64[us, UTC]"

ORIGIN_COLUMNS: Final = ("source_name", "source_file", "row_number", "file_sha256")
"""Where a row came from; ``row_number`` counts data rows of the file from 1."""

TRANSACTION_FIELDS: Final = ("transaction_id", "user_id", "merchant_id", "event_time", "amount")
"""The five fields that a source has to deliver."""

RAW_COLUMNS: Final = (*TRANSACTION_FIELDS, "time_zone", "currency", *ORIGIN_COLUMNS)
"""Rows as received: the five fields as text (or missing), zone and currency of their source, origin."""

TRANSACTION_COLUMNS: Final = (*TRANSACTION_FIELDS, *ORIGIN_COLUMNS)
REJECTED_COLUMNS: Final = (*TRANSACTION_FIELDS, *ORIGIN_COLUMNS, "reason")

LANDED_LABEL_COLUMNS: Final = (
    "transaction_id",
    "is_fraud",
    "label_known_at",
    "delay_days",
    "event_day",
    *ORIGIN_COLUMNS,
)
"""Labels as landed. Either ``label_known_at`` is given, or ``event_day`` and ``delay_days`` are."""

LABEL_COLUMNS: Final = (
    "transaction_id",
    "user_id",
    "merchant_id",
    "event_time",
    "is_fraud",
    "label_known_at",
    "label_source",
)

ACTIVITY_COLUMNS: Final = ("user_id", "n", "mean", "m2", "first_event_time", "last_event_time")
"""Per user: count, mean amount, sum of squared deviations from the mean, first and last event."""

EVENT_KEYS: Final = ("transaction_id", "user_id", "merchant_id", "event_time")

BEHAVIOURAL_FEATURES: Final = (
    "amount",
    "amount_log1p",
    "amount_sqrt",
    "user_amount_ratio_90d",
    "user_amount_zscore_90d",
    "hour_of_day",
    "day_of_week",
    "is_weekend",
    "is_night",
    "user_seconds_since_last",
    "user_mean_amount_90d",
    "user_std_amount_90d",
    "user_transactions_per_day_90d",
    "user_amount_deviation_90d",
    "user_count_transactions_24h",
    "amount_x_hour",
    "amount_x_night",
    "zscore_x_velocity",
)
RISK_FEATURES: Final = (
    "user_count_transactions_7d",
    "user_count_transactions_30d",
    "user_mean_amount_1d",
    "user_mean_amount_7d",
    "user_mean_amount_30d",
    "merchant_count_transactions_1d",
    "merchant_count_transactions_7d",
    "merchant_count_transactions_30d",
    "merchant_mean_amount_1d",
    "merchant_mean_amount_7d",
    "merchant_mean_amount_30d",
    "merchant_known_frauds_1d",
    "merchant_known_frauds_7d",
    "merchant_known_frauds_30d",
    "merchant_known_genuine_1d",
    "merchant_known_genuine_7d",
    "merchant_known_genuine_30d",
    "merchant_fraud_rate_1d",
    "merchant_fraud_rate_7d",
    "merchant_fraud_rate_30d",
    "merchant_genuine_share_7d",
    "merchant_genuine_share_30d",
    "merchant_days_since_known_fraud",
    "merchant_unexplained_frauds_7d",
    "merchant_unexplained_frauds_30d",
    "user_known_frauds_7d",
    "user_known_frauds_30d",
    "user_known_genuine_7d",
    "user_known_genuine_30d",
    "user_days_since_known_fraud",
    "is_new_merchant_30d",
)
"""Entity risk: trailing windows of 1, 7 and 30 days; the user's 1-day count is ``user_count_transactions_24h``."""

FEATURE_COLUMNS: Final = (*BEHAVIOURAL_FEATURES, *RISK_FEATURES)
FEATURE_SET_VERSION: Final = "2"
"""Raised whenever a feature's definition changes; part of every score's lineage."""

LINEAGE_COLUMNS: Final = ("run_id", "model_version", "artefact_sha256", "threshold_version", "feature_set_version")
"""What a score or an alert was computed from."""

SCORE_COLUMNS: Final = (
    *EVENT_KEYS,
    "amount",
    "isolation_forest_score",
    "local_outlier_factor_score",
    "ensemble_score",
    "feedback_classifier_score",
    "anomaly_score",
    "score_percentile",
    "confidence",
    "risk_level",
    "priority",
    "is_alert",
)
RISK_LEVELS: Final = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
