"""The tables of the pipeline, as SQLAlchemy Core sees them.

``migrations/`` holds the same definitions as history; a test compares the two. Triggers are there alone: a change of an
alert raises its version and time, and an alert that is closed with an outcome leaves a row in ``review_decisions``.
There are no foreign keys on purpose: a day is reloaded whole, and a reload must neither
fail on, nor cascade into, an alert that an analyst has already worked on.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    column,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from fraud_pipeline.core.schema import FEATURE_COLUMNS, RISK_LEVELS

ALERT_STATUSES: Final = ("open", "investigating", "closed")
ALERT_OUTCOMES: Final = ("confirmed_fraud", "false_positive", "inconclusive")
ALERT_SELECTIONS: Final = ("threshold", "random_sample")
"""Why a row of ``alerts`` is there. Analysts have one queue with one set of states, so what was drawn at random from
below the threshold waits in it, too; it is no alert, and no figure about alerts counts it."""
DECISION_ORIGINS: Final = ("alert", "random", "bulk")
"""What put a transaction before the analyst: an alert, the random sample, or its likeness to another one."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_TIME: Final = DateTime(timezone=True)
# Exact in SQL, float64 in frames.
_MONEY: Final = Numeric(18, 2, asdecimal=False)
_MONEY_STATISTIC: Final = Numeric(20, 6, asdecimal=False)

_FEATURE_COMMENTS: Final = {
    "amount": "Amount in the reporting currency",
    "amount_log1p": "Logarithm of one plus the amount",
    "amount_sqrt": "Square root of the amount",
    "user_amount_ratio_90d": "Amount relative to the user's mean of the 90 days before",
    "user_amount_zscore_90d": "Standard deviations of the amount from the user's mean of the 90 days before",
    "hour_of_day": "Hour of the event, 0 to 23",
    "day_of_week": "Day of the week of the event",
    "is_weekend": "1 on Saturday and Sunday, else 0",
    "is_night": "1 at night, else 0",
    "user_seconds_since_last": "Seconds since the user's previous event",
    "user_mean_amount_90d": "The user's mean amount of the 90 days before",
    "user_std_amount_90d": "The user's standard deviation of amounts of the 90 days before",
    "user_transactions_per_day_90d": "The user's transactions a day in the 90 days before",
    "user_amount_deviation_90d": "Distance of the amount from the user's mean of the 90 days before",
    "user_count_transactions_24h": "The user's transactions in the 24 hours before",
    "amount_x_hour": "Interaction of amount and hour of day",
    "amount_x_night": "Interaction of amount and night",
    "zscore_x_velocity": "Interaction of the amount's z-score and the user's pace",
    "user_count_transactions_7d": "The user's transactions in the 7 days before",
    "user_count_transactions_30d": "The user's transactions in the 30 days before",
    "user_mean_amount_1d": "The user's mean amount in the day before",
    "user_mean_amount_7d": "The user's mean amount in the 7 days before",
    "user_mean_amount_30d": "The user's mean amount in the 30 days before",
    "merchant_count_transactions_1d": "Transactions at the merchant in the day before",
    "merchant_count_transactions_7d": "Transactions at the merchant in the 7 days before",
    "merchant_count_transactions_30d": "Transactions at the merchant in the 30 days before",
    "merchant_mean_amount_1d": "Mean amount at the merchant in the day before",
    "merchant_mean_amount_7d": "Mean amount at the merchant in the 7 days before",
    "merchant_mean_amount_30d": "Mean amount at the merchant in the 30 days before",
    "merchant_known_frauds_1d": "Frauds at the merchant in the day before, as known at the event",
    "merchant_known_frauds_7d": "Frauds at the merchant in the 7 days before, as known at the event",
    "merchant_known_frauds_30d": "Frauds at the merchant in the 30 days before, as known at the event",
    "merchant_known_genuine_1d": "Genuine transactions at the merchant in the day before, as known at the event",
    "merchant_known_genuine_7d": "Genuine transactions at the merchant in the 7 days before, as known at the event",
    "merchant_known_genuine_30d": "Genuine transactions at the merchant in the 30 days before, as known at the event",
    "merchant_fraud_rate_1d": "The merchant's fraud rate over a day, as known at the event",
    "merchant_fraud_rate_7d": "The merchant's fraud rate over 7 days, as known at the event",
    "merchant_fraud_rate_30d": "The merchant's fraud rate over 30 days, as known at the event",
    "merchant_genuine_share_7d": "Known genuine labels over the merchant's transactions of 7 days",
    "merchant_genuine_share_30d": "Known genuine labels over the merchant's transactions of 30 days",
    "merchant_days_since_known_fraud": "Days since a fraud at the merchant became known, 30 at most",
    "merchant_unexplained_frauds_7d": "Known frauds of 7 days at the merchant that neither amount nor card explains",
    "merchant_unexplained_frauds_30d": "Known frauds of 30 days at the merchant that neither amount nor card explains",
    "user_known_frauds_7d": "Frauds of the user in the 7 days before, as known at the event",
    "user_known_frauds_30d": "Frauds of the user in the 30 days before, as known at the event",
    "user_known_genuine_7d": "Genuine transactions of the user in the 7 days before, as known at the event",
    "user_known_genuine_30d": "Genuine transactions of the user in the 30 days before, as known at the event",
    "user_days_since_known_fraud": "Days since a fraud of the user became known, 30 at most",
    "is_new_merchant_30d": "1 if the user did not pay at the merchant in the 30 days before, else 0",
}


def _event_columns(*, key: bool = True) -> tuple[Column[Any], ...]:
    return (
        Column(
            "transaction_id", Text, primary_key=key, nullable=False, comment="Identity of the transaction at its source"
        ),
        Column("user_id", Text, nullable=False, comment="Identity of the card holder"),
        Column("merchant_id", Text, nullable=False, comment="Identity of the merchant"),
        Column("event_time", _TIME, nullable=False, comment="When the transaction happened"),
        Column("event_day", Date, nullable=False, comment="Partition day in the time zone of the deployment"),
    )


def _amount() -> Column[float]:
    return Column("amount", _MONEY, nullable=False, comment="Amount in the reporting currency")


def _verdict_columns() -> tuple[Column[Any], ...]:
    return (
        Column("anomaly_score", Double, nullable=False, comment="Score that decides, 0 to 1, higher is more anomalous"),
        Column("score_percentile", Double, nullable=False, comment="Share of reference scores at or below, 0 to 1"),
        Column("confidence", Double, nullable=False, comment="Confidence in the score, 0 to 1"),
        Column("risk_level", Text, nullable=False, comment="LOW, MEDIUM, HIGH or CRITICAL"),
        Column("priority", SmallInteger, nullable=False, comment="Urgency, 1 (most urgent) to 5"),
    )


def _verdict_checks() -> tuple[CheckConstraint, ...]:
    return (
        CheckConstraint("anomaly_score BETWEEN 0 AND 1", name="anomaly_score"),
        CheckConstraint("score_percentile BETWEEN 0 AND 1", name="score_percentile"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),
        CheckConstraint(column("risk_level").in_(RISK_LEVELS), name="risk_level"),
        CheckConstraint("priority BETWEEN 1 AND 5", name="priority"),
    )


def _lineage_columns() -> tuple[Column[Any], ...]:
    return (
        Column("run_id", Text, nullable=False, comment="Run that computed the row"),
        Column("model_version", Text, nullable=False, comment="Registered model version that gave the score"),
        Column("artefact_sha256", Text, nullable=False, comment="SHA-256 of the model artefact"),
        Column("threshold_version", Text, nullable=False, comment="Version of the calibrated threshold"),
        Column("feature_set_version", Text, nullable=False, comment="Version of the feature definitions"),
    )


transactions = Table(
    "transactions",
    metadata,
    *_event_columns(),
    _amount(),
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
    *_event_columns(),
    *(Column(name, Double, comment=_FEATURE_COMMENTS[name]) for name in FEATURE_COLUMNS),
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
    *(column for column in _event_columns() if column.name != "merchant_id"),
    Column("isolation_forest_score", Double, nullable=False, comment="Detector score, higher is more anomalous"),
    Column("local_outlier_factor_score", Double, nullable=False, comment="Detector score, higher is more anomalous"),
    Column("ensemble_score", Double, nullable=False, comment="Blend of the two detectors, 0 to 1"),
    Column("feedback_classifier_score", Double, comment="Score learnt from labels, 0 to 1; NULL before labels arrive"),
    *_verdict_columns(),
    Column("is_alert", Boolean, nullable=False, comment="Whether the score reached the threshold"),
    *_lineage_columns(),
    *_verdict_checks(),
    comment="Scores of every transaction and what they were computed from",
)
# Replacing a day, and the most anomalous transactions of a day.
Index(None, anomaly_scores.c.event_day, anomaly_scores.c.anomaly_score.desc())
# The earlier scores of a card holder.
Index(None, anomaly_scores.c.user_id, anomaly_scores.c.event_time)
# Which days a model version scored, to compare or recompute them.
Index(None, anomaly_scores.c.model_version, anomaly_scores.c.event_day)

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the alert"),
    *_event_columns(key=False),
    _amount(),
    *_verdict_columns(),
    Column("reasons", JSONB, nullable=False, comment="Reasons for the score, a list of objects, strongest first"),
    Column("reason_text", Text, nullable=False, comment="The reasons as a sentence"),
    *_lineage_columns(),
    Column("raised_at", _TIME, nullable=False, server_default=func.now(), comment="When the pipeline raised the alert"),
    Column("status", Text, nullable=False, server_default="open", comment="Analyst: open, investigating or closed"),
    Column("outcome", Text, comment="Analyst: what a closed alert turned out to be"),
    Column("assignee", Text, comment="Analyst: who works on the alert"),
    Column("version", Integer, nullable=False, server_default="1", comment="Analyst: raised by one on every change"),
    Column("created_at", _TIME, nullable=False, server_default=func.now(), comment="When the row was inserted"),
    Column("updated_at", _TIME, nullable=False, server_default=func.now(), comment="Analyst: time of the last change"),
    Column(
        "selection",
        Text,
        nullable=False,
        server_default="threshold",
        comment="threshold: an alert; random_sample: drawn below the threshold as a yardstick, no alert",
    ),
    *_verdict_checks(),
    UniqueConstraint("transaction_id"),
    CheckConstraint("jsonb_typeof(reasons) = 'array'", name="reasons"),
    CheckConstraint(column("status").in_(ALERT_STATUSES), name="status"),
    CheckConstraint(column("outcome").in_(ALERT_OUTCOMES), name="outcome"),
    CheckConstraint("outcome IS NULL OR status = 'closed'", name="outcome_needs_closed"),
    CheckConstraint(column("selection").in_(ALERT_SELECTIONS), name="selection"),
    CheckConstraint("version >= 1", name="version"),
    comment="One review a transaction for ever: written once by the pipeline, then owned by analysts",
)
# The work queue of an analyst: one status, most urgent and newest first.
Index(None, alerts.c.status, alerts.c.priority, alerts.c.event_time.desc())
# The most urgent alerts of all days.
Index(None, alerts.c.priority, alerts.c.anomaly_score.desc())
# The alerts of a day.
Index(None, alerts.c.event_day)
# Counts and lists by risk level over a range of days.
Index(None, alerts.c.risk_level, alerts.c.event_day)
# Other alerts of the same card holder.
Index(None, alerts.c.user_id, alerts.c.event_time)
# Other alerts at the same merchant.
Index(None, alerts.c.merchant_id, alerts.c.event_time)
# The alerts that a person works on; most alerts have nobody, so the index is partial and small.
Index(None, alerts.c.assignee, alerts.c.status, postgresql_where=alerts.c.assignee.is_not(None))

review_decisions = Table(
    "review_decisions",
    metadata,
    Column("decision_id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the decision"),
    Column("transaction_id", Text, nullable=False, comment="Transaction that was decided on"),
    Column("outcome", Text, nullable=False, comment="What the transaction turned out to be"),
    Column("decided_at", _TIME, nullable=False, server_default=func.now(), comment="When it was decided"),
    Column("decided_by", Text, nullable=False, comment="Who decided"),
    Column("origin", Text, nullable=False, comment="alert, random (drawn below the threshold) or bulk (a related one)"),
    Column("alert_id", BigInteger, comment="Alert that the decision closed, NULL for a transaction without one"),
    CheckConstraint(column("outcome").in_(ALERT_OUTCOMES), name="outcome"),
    CheckConstraint("decided_by <> ''", name="decided_by"),
    CheckConstraint(column("origin").in_(DECISION_ORIGINS), name="origin"),
    CheckConstraint("(origin = 'bulk') = (alert_id IS NULL)", name="alert_id"),
    comment="What analysts decided, append-only: a decision stays when its alert is opened again or changed",
)
# The labels of a day.
Index(None, review_decisions.c.decided_at)
# The newest decision on a transaction.
Index(None, review_decisions.c.transaction_id, review_decisions.c.decided_at)

model_metrics = Table(
    "model_metrics",
    metadata,
    Column("event_day", Date, primary_key=True, comment="Partition day that was scored"),
    Column("model_version", Text, primary_key=True, comment="Registered model version that gave the scores"),
    Column("metric", Text, primary_key=True, comment="Name of the metric"),
    Column("value", Double, comment="Value, NULL while too few labels are known"),
    Column("low", Double, comment="Lower end of the confidence interval"),
    Column("high", Double, comment="Upper end of the confidence interval"),
    Column("computed_as_of", _TIME, nullable=False, comment="Labels known up to here were used"),
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
    Column("mean_amount", _MONEY_STATISTIC, nullable=False, comment="Mean amount in the reporting currency"),
    Column("std_amount", _MONEY_STATISTIC, comment="Standard deviation of the amounts, NULL where undefined"),
    Column("first_event_time", _TIME, nullable=False, comment="First event in the window"),
    Column("last_event_time", _TIME, nullable=False, comment="Last event in the window"),
    CheckConstraint("n >= 1", name="n"),
    CheckConstraint("std_amount >= 0", name="std_amount"),
    CheckConstraint("first_event_time <= last_event_time", name="event_times"),
    comment="Newest profile of each card holder",
)
# Which profiles are stale.
Index(None, user_profiles.c.as_of_day)
# Card holders by last activity.
Index(None, user_profiles.c.last_event_time)
