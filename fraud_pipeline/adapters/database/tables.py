"""Tables that the pipeline alone writes, as SQLAlchemy Core sees them.

``migrations/`` holds the same definitions as history; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    Index,
    Table,
    Text,
)

from fraud_pipeline.adapters.database.columns import (
    MONEY_STATISTIC,
    TIME,
    amount,
    event_columns,
    lineage_columns,
    metadata,
    verdict_checks,
    verdict_columns,
)
from fraud_pipeline.adapters.database.feature_comments import FEATURE_COMMENTS
from fraud_pipeline.core.schema import FEATURE_COLUMNS

transactions = Table(
    "transactions",
    metadata,
    *event_columns(),
    amount(),
    Column("source_name", Text, nullable=False, comment="Source that delivered the row"),
    Column("source_file", Text, nullable=False, comment="Landing file that held the row"),
    Column("row_number", BigInteger, nullable=False, comment="Data row of the file, counted from 1"),
    Column("file_sha256", Text, nullable=False, comment="SHA-256 of the landing file"),
    CheckConstraint("row_number >= 1", name="row_number"),
    comment="Valid transactions, one row each",
)
# Replacing a day, reports over days.
Index(None, transactions.c.event_day)
# The history of a card holder, shown beside an alert.
Index(None, transactions.c.user_id, transactions.c.event_time)
# The history of a merchant, shown beside an alert.
Index(None, transactions.c.merchant_id, transactions.c.event_time)

transaction_features = Table(
    "transaction_features",
    metadata,
    *event_columns(),
    *(Column(name, Double, comment=FEATURE_COMMENTS[name]) for name in FEATURE_COLUMNS),
    comment="Features of each transaction, known at the moment of the event; NULL where nothing was known",
)
# Replacing a day, drift of a feature between days.
Index(None, transaction_features.c.event_day)
# How the features of a card holder developed before an alert.
Index(None, transaction_features.c.user_id, transaction_features.c.event_time)

anomaly_scores = Table(
    "anomaly_scores",
    metadata,
    # Merchant and amount are in the table transactions.
    *(column for column in event_columns() if column.name != "merchant_id"),
    Column("isolation_forest_score", Double, nullable=False, comment="Detector score, higher is more anomalous"),
    Column("local_outlier_factor_score", Double, nullable=False, comment="Detector score, higher is more anomalous"),
    Column("ensemble_score", Double, nullable=False, comment="Blend of the two detectors, 0 to 1"),
    Column("feedback_classifier_score", Double, comment="Score learnt from labels, 0 to 1; NULL before labels arrive"),
    *verdict_columns(),
    Column("is_alert", Boolean, nullable=False, comment="Whether the score reached the threshold"),
    *lineage_columns(),
    *verdict_checks(),
    comment="Scores of every transaction and what they were computed from",
)
# Replacing a day, and the most anomalous transactions of a day.
Index(None, anomaly_scores.c.event_day, anomaly_scores.c.anomaly_score.desc())
# The earlier scores of a card holder.
Index(None, anomaly_scores.c.user_id, anomaly_scores.c.event_time)
# Which days a model version scored, to compare or recompute them.
Index(None, anomaly_scores.c.model_version, anomaly_scores.c.event_day)

model_metrics = Table(
    "model_metrics",
    metadata,
    Column("event_day", Date, primary_key=True, comment="Partition day that was scored"),
    Column("model_version", Text, primary_key=True, comment="Registered model version that gave the scores"),
    Column("metric", Text, primary_key=True, comment="Name of the metric"),
    Column("value", Double, comment="Value, NULL while too few labels are known"),
    Column("low", Double, comment="Lower end of the confidence interval"),
    Column("high", Double, comment="Upper end of the confidence interval"),
    Column("computed_as_of", TIME, nullable=False, comment="Labels known up to here were used"),
    comment="What became of the scores of a day, by model version",
)
# The course of one metric of one model over the days.
Index(None, model_metrics.c.model_version, model_metrics.c.metric, model_metrics.c.event_day)

user_profiles = Table(
    "user_profiles",
    metadata,
    Column("user_id", Text, primary_key=True, comment="Identity of the card holder"),
    Column("as_of_day", Date, nullable=False, comment="Last day that the profile includes"),
    Column("n", BigInteger, nullable=False, comment="Transactions in the profile's window"),
    Column("mean_amount", MONEY_STATISTIC, nullable=False, comment="Mean amount in the reporting currency"),
    Column("std_amount", MONEY_STATISTIC, comment="Standard deviation of the amounts, NULL where undefined"),
    Column("first_event_time", TIME, nullable=False, comment="First event in the window"),
    Column("last_event_time", TIME, nullable=False, comment="Last event in the window"),
    CheckConstraint("n >= 1", name="n"),
    CheckConstraint("std_amount >= 0", name="std_amount"),
    CheckConstraint("first_event_time <= last_event_time", name="event_times"),
    comment="Newest profile of each card holder",
)
# Which profiles are stale.
Index(None, user_profiles.c.as_of_day)
# Card holders by last activity.
Index(None, user_profiles.c.last_event_time)
