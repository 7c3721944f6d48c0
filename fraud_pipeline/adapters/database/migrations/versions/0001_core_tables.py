"""The core tables: transactions, features, scores, alerts, metrics and profiles."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _event_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("transaction_id", sa.Text(), nullable=False, comment="Identity of the transaction at its source"),
        sa.Column("user_id", sa.Text(), nullable=False, comment="Identity of the card holder"),
        sa.Column("merchant_id", sa.Text(), nullable=False, comment="Identity of the merchant"),
        sa.Column("event_time", sa.DateTime(timezone=True), nullable=False, comment="When the transaction happened"),
        sa.Column("event_day", sa.Date(), nullable=False, comment="Partition day in the time zone of the deployment"),
    )


def _verdict_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column(
            "anomaly_score", sa.Double(), nullable=False, comment="Ensemble score, 0 to 1, higher is more anomalous"
        ),
        sa.Column(
            "score_percentile", sa.Double(), nullable=False, comment="Share of reference scores at or below, 0 to 1"
        ),
        sa.Column("confidence", sa.Double(), nullable=False, comment="Confidence in the score, 0 to 1"),
        sa.Column("risk_level", sa.Text(), nullable=False, comment="LOW, MEDIUM, HIGH or CRITICAL"),
        sa.Column("priority", sa.SmallInteger(), nullable=False, comment="Urgency, 1 (most urgent) to 5"),
    )


def _lineage_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("run_id", sa.Text(), nullable=False, comment="Run that computed the row"),
        sa.Column("model_version", sa.Text(), nullable=False, comment="Registered model version that gave the score"),
        sa.Column("artefact_sha256", sa.Text(), nullable=False, comment="SHA-256 of the model artefact"),
        sa.Column("threshold_version", sa.Text(), nullable=False, comment="Version of the calibrated threshold"),
        sa.Column("feature_set_version", sa.Text(), nullable=False, comment="Version of the feature definitions"),
    )


def _verdict_checks(table: str) -> tuple[sa.CheckConstraint, ...]:
    return (
        sa.CheckConstraint("anomaly_score BETWEEN 0 AND 1", name=op.f(f"ck_{table}_anomaly_score")),
        sa.CheckConstraint("score_percentile BETWEEN 0 AND 1", name=op.f(f"ck_{table}_score_percentile")),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name=op.f(f"ck_{table}_confidence")),
        sa.CheckConstraint("risk_level IN ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')", name=op.f(f"ck_{table}_risk_level")),
        sa.CheckConstraint("priority BETWEEN 1 AND 5", name=op.f(f"ck_{table}_priority")),
    )


def upgrade() -> None:
    op.create_table(
        "transactions",
        *_event_columns(),
        sa.Column("amount", sa.Numeric(18, 2), nullable=False, comment="Amount in the reporting currency"),
        sa.Column("source_name", sa.Text(), nullable=False, comment="Source that delivered the row"),
        sa.Column("source_file", sa.Text(), nullable=False, comment="Landing file that held the row"),
        sa.Column("row_number", sa.BigInteger(), nullable=False, comment="Data row of the file, counted from 1"),
        sa.Column("file_sha256", sa.Text(), nullable=False, comment="SHA-256 of the landing file"),
        sa.CheckConstraint("row_number >= 1", name=op.f("ck_transactions_row_number")),
        sa.PrimaryKeyConstraint("transaction_id", name=op.f("pk_transactions")),
        comment="Valid transactions, one row each",
    )
    op.create_index("ix_transactions_event_day", "transactions", ["event_day"])
    op.create_index("ix_transactions_merchant_id_event_time", "transactions", ["merchant_id", "event_time"])
    op.create_index("ix_transactions_user_id_event_time", "transactions", ["user_id", "event_time"])
    op.create_table(
        "transaction_features",
        *_event_columns(),
        sa.Column("amount", sa.Double(), comment="Amount in the reporting currency"),
        sa.Column("amount_log1p", sa.Double(), comment="Logarithm of one plus the amount"),
        sa.Column("amount_sqrt", sa.Double(), comment="Square root of the amount"),
        sa.Column(
            "user_amount_ratio_90d", sa.Double(), comment="Amount relative to the user's mean of the 90 days before"
        ),
        sa.Column(
            "user_amount_zscore_90d",
            sa.Double(),
            comment="Standard deviations of the amount from the user's mean of the 90 days before",
        ),
        sa.Column("hour_of_day", sa.Double(), comment="Hour of the event, 0 to 23"),
        sa.Column("day_of_week", sa.Double(), comment="Day of the week of the event"),
        sa.Column("is_weekend", sa.Double(), comment="1 on Saturday and Sunday, else 0"),
        sa.Column("is_night", sa.Double(), comment="1 at night, else 0"),
        sa.Column("user_seconds_since_last", sa.Double(), comment="Seconds since the user's previous event"),
        sa.Column("user_mean_amount_90d", sa.Double(), comment="The user's mean amount of the 90 days before"),
        sa.Column(
            "user_std_amount_90d", sa.Double(), comment="The user's standard deviation of amounts of the 90 days before"
        ),
        sa.Column(
            "user_transactions_per_day_90d", sa.Double(), comment="The user's transactions a day in the 90 days before"
        ),
        sa.Column(
            "user_amount_deviation_90d",
            sa.Double(),
            comment="Distance of the amount from the user's mean of the 90 days before",
        ),
        sa.Column("user_count_transactions_24h", sa.Double(), comment="The user's transactions in the 24 hours before"),
        sa.Column("amount_x_hour", sa.Double(), comment="Interaction of amount and hour of day"),
        sa.Column("amount_x_night", sa.Double(), comment="Interaction of amount and night"),
        sa.Column("zscore_x_velocity", sa.Double(), comment="Interaction of the amount's z-score and the user's pace"),
        sa.Column(
            "merchant_count_transactions_1d", sa.Double(), comment="Transactions at the merchant in the day before"
        ),
        sa.Column(
            "merchant_count_transactions_7d", sa.Double(), comment="Transactions at the merchant in the 7 days before"
        ),
        sa.Column(
            "merchant_count_transactions_30d", sa.Double(), comment="Transactions at the merchant in the 30 days before"
        ),
        sa.Column(
            "merchant_known_frauds_1d",
            sa.Double(),
            comment="Frauds at the merchant in the day before, as known at the event",
        ),
        sa.Column(
            "merchant_known_frauds_7d",
            sa.Double(),
            comment="Frauds at the merchant in the 7 days before, as known at the event",
        ),
        sa.Column(
            "merchant_known_frauds_30d",
            sa.Double(),
            comment="Frauds at the merchant in the 30 days before, as known at the event",
        ),
        sa.Column(
            "merchant_known_genuine_7d",
            sa.Double(),
            comment="Genuine transactions at the merchant in the 7 days before, as known at the event",
        ),
        sa.Column(
            "merchant_known_genuine_30d",
            sa.Double(),
            comment="Genuine transactions at the merchant in the 30 days before, as known at the event",
        ),
        sa.Column(
            "merchant_fraud_rate_7d",
            sa.Double(),
            comment="The merchant's fraud rate over 7 days, as known at the event",
        ),
        sa.Column(
            "merchant_fraud_rate_30d",
            sa.Double(),
            comment="The merchant's fraud rate over 30 days, as known at the event",
        ),
        sa.Column(
            "user_known_frauds_7d",
            sa.Double(),
            comment="Frauds of the user in the 7 days before, as known at the event",
        ),
        sa.Column(
            "user_known_frauds_30d",
            sa.Double(),
            comment="Frauds of the user in the 30 days before, as known at the event",
        ),
        sa.PrimaryKeyConstraint("transaction_id", name=op.f("pk_transaction_features")),
        comment="Features of each transaction, known at the moment of the event; NULL where nothing was known",
    )
    op.create_index("ix_transaction_features_event_day", "transaction_features", ["event_day"])
    op.create_index("ix_transaction_features_user_id_event_time", "transaction_features", ["user_id", "event_time"])
    op.create_table(
        "anomaly_scores",
        *(column for column in _event_columns() if column.name != "merchant_id"),
        sa.Column(
            "isolation_forest_score", sa.Double(), nullable=False, comment="Detector score, higher is more anomalous"
        ),
        sa.Column(
            "local_outlier_factor_score",
            sa.Double(),
            nullable=False,
            comment="Detector score, higher is more anomalous",
        ),
        *_verdict_columns(),
        sa.Column("is_alert", sa.Boolean(), nullable=False, comment="Whether the score reached the threshold"),
        *_lineage_columns(),
        *_verdict_checks("anomaly_scores"),
        sa.PrimaryKeyConstraint("transaction_id", name=op.f("pk_anomaly_scores")),
        comment="Scores of every transaction and what they were computed from",
    )
    op.create_index(
        "ix_anomaly_scores_event_day_anomaly_score", "anomaly_scores", ["event_day", sa.text("anomaly_score DESC")]
    )
    op.create_index("ix_anomaly_scores_model_version_event_day", "anomaly_scores", ["model_version", "event_day"])
    op.create_index("ix_anomaly_scores_user_id_event_time", "anomaly_scores", ["user_id", "event_time"])
    op.create_table(
        "alerts",
        sa.Column("alert_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Number of the alert"),
        *_event_columns(),
        sa.Column("amount", sa.Numeric(18, 2), nullable=False, comment="Amount in the reporting currency"),
        *_verdict_columns(),
        sa.Column(
            "reasons", JSONB(), nullable=False, comment="Reasons for the score, a list of objects, strongest first"
        ),
        sa.Column("reason_text", sa.Text(), nullable=False, comment="The reasons as a sentence"),
        *_lineage_columns(),
        sa.Column(
            "raised_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the pipeline raised the alert",
        ),
        sa.Column(
            "status", sa.Text(), server_default="open", nullable=False, comment="Analyst: open, investigating or closed"
        ),
        sa.Column("outcome", sa.Text(), comment="Analyst: what a closed alert turned out to be"),
        sa.Column("assignee", sa.Text(), comment="Analyst: who works on the alert"),
        sa.Column(
            "version",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="Analyst: raised by one on every change",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the row was inserted",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="Analyst: time of the last change",
        ),
        sa.CheckConstraint("jsonb_typeof(reasons) = 'array'", name=op.f("ck_alerts_reasons")),
        sa.CheckConstraint(
            "outcome IN ('confirmed_fraud', 'false_positive', 'inconclusive')", name=op.f("ck_alerts_outcome")
        ),
        sa.CheckConstraint("outcome IS NULL OR status = 'closed'", name=op.f("ck_alerts_outcome_needs_closed")),
        *_verdict_checks("alerts"),
        sa.CheckConstraint("status IN ('open', 'investigating', 'closed')", name=op.f("ck_alerts_status")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_alerts_version")),
        sa.PrimaryKeyConstraint("alert_id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("transaction_id", name=op.f("uq_alerts_transaction_id")),
        comment="One alert a transaction for ever: written once by the pipeline, then owned by analysts",
    )
    op.create_index(
        "ix_alerts_assignee_status", "alerts", ["assignee", "status"], postgresql_where=sa.text("assignee IS NOT NULL")
    )
    op.create_index("ix_alerts_event_day", "alerts", ["event_day"])
    op.create_index("ix_alerts_merchant_id_event_time", "alerts", ["merchant_id", "event_time"])
    op.create_index("ix_alerts_priority_anomaly_score", "alerts", ["priority", sa.text("anomaly_score DESC")])
    op.create_index("ix_alerts_risk_level_event_day", "alerts", ["risk_level", "event_day"])
    op.create_index(
        "ix_alerts_status_priority_event_time", "alerts", ["status", "priority", sa.text("event_time DESC")]
    )
    op.create_index("ix_alerts_user_id_event_time", "alerts", ["user_id", "event_time"])
    op.create_table(
        "model_metrics",
        sa.Column("event_day", sa.Date(), nullable=False, comment="Partition day that was scored"),
        sa.Column("model_version", sa.Text(), nullable=False, comment="Registered model version that gave the scores"),
        sa.Column("metric", sa.Text(), nullable=False, comment="Name of the metric"),
        sa.Column("value", sa.Double(), comment="Value, NULL while too few labels are known"),
        sa.Column("low", sa.Double(), comment="Lower end of the confidence interval"),
        sa.Column("high", sa.Double(), comment="Upper end of the confidence interval"),
        sa.Column(
            "computed_as_of", sa.DateTime(timezone=True), nullable=False, comment="Labels known up to here were used"
        ),
        sa.PrimaryKeyConstraint("event_day", "model_version", "metric", name=op.f("pk_model_metrics")),
        comment="What became of the scores of a day, by model version",
    )
    op.create_index(
        "ix_model_metrics_model_version_metric_event_day", "model_metrics", ["model_version", "metric", "event_day"]
    )
    op.create_table(
        "user_profiles",
        sa.Column("user_id", sa.Text(), nullable=False, comment="Identity of the card holder"),
        sa.Column("as_of_day", sa.Date(), nullable=False, comment="Last day that the profile includes"),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="Transactions in the profile's window"),
        sa.Column("mean_amount", sa.Numeric(20, 6), nullable=False, comment="Mean amount in the reporting currency"),
        sa.Column("std_amount", sa.Numeric(20, 6), comment="Standard deviation of the amounts, NULL where undefined"),
        sa.Column("first_event_time", sa.DateTime(timezone=True), nullable=False, comment="First event in the window"),
        sa.Column("last_event_time", sa.DateTime(timezone=True), nullable=False, comment="Last event in the window"),
        sa.CheckConstraint("first_event_time <= last_event_time", name=op.f("ck_user_profiles_event_times")),
        sa.CheckConstraint("n >= 1", name=op.f("ck_user_profiles_n")),
        sa.CheckConstraint("std_amount >= 0", name=op.f("ck_user_profiles_std_amount")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_profiles")),
        comment="Newest profile of each card holder",
    )
    op.create_index("ix_user_profiles_as_of_day", "user_profiles", ["as_of_day"])
    op.create_index("ix_user_profiles_last_event_time", "user_profiles", ["last_event_time"])


def downgrade() -> None:
    for table in (
        "user_profiles",
        "model_metrics",
        "alerts",
        "anomaly_scores",
        "transaction_features",
        "transactions",
    ):
        op.drop_table(table)
