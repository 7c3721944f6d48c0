"""Columns that several tables share, and the metadata that all tables belong to."""

from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, Date, DateTime, Double, MetaData, Numeric, SmallInteger, Text, column

from fraud_pipeline.core.schema import RISK_LEVELS

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

TIME: Final = DateTime(timezone=True)
# Exact in SQL, float64 in frames.
MONEY: Final = Numeric(18, 4, asdecimal=False)
MONEY_STATISTIC: Final = Numeric(20, 6, asdecimal=False)


def event_columns() -> tuple[Column[Any], ...]:
    """Make the columns that name a transaction."""
    return (
        Column("transaction_id", Text, nullable=False, comment="Identity of the transaction at its source"),
        Column("user_id", Text, nullable=False, comment="Identity of the card holder"),
        Column("merchant_id", Text, nullable=False, comment="Identity of the merchant"),
        Column("event_time", TIME, nullable=False, comment="When the transaction happened"),
        Column("event_day", Date, nullable=False, comment="Partition day in the time zone of the deployment"),
    )


def amount() -> Column[float]:
    """Make the column of the money that changed hands."""
    return Column("amount", MONEY, nullable=False, comment="Amount in the reporting currency")


def verdict_columns() -> tuple[Column[Any], ...]:
    """Make the columns of what scoring says of a transaction."""
    return (
        Column("anomaly_score", Double, nullable=False, comment="Score that decides, 0 to 1, higher is more anomalous"),
        Column("score_percentile", Double, nullable=False, comment="Share of reference scores at or below, 0 to 1"),
        Column("confidence", Double, nullable=False, comment="Confidence in the score, 0 to 1"),
        Column("risk_level", Text, nullable=False, comment="LOW, MEDIUM, HIGH or CRITICAL"),
        Column("priority", SmallInteger, nullable=False, comment="Urgency, 1 (most urgent) to 5"),
    )


def verdict_checks() -> tuple[CheckConstraint, ...]:
    """Make the checks of the verdict columns."""
    return (
        CheckConstraint("anomaly_score BETWEEN 0 AND 1", name="anomaly_score"),
        CheckConstraint("score_percentile BETWEEN 0 AND 1", name="score_percentile"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),
        CheckConstraint(column("risk_level").in_(RISK_LEVELS), name="risk_level"),
        CheckConstraint("priority BETWEEN 1 AND 5", name="priority"),
    )


def lineage_columns() -> tuple[Column[Any], ...]:
    """Make the columns of what a verdict was computed from."""
    return (
        Column("run_id", Text, nullable=False, comment="Run that computed the row"),
        Column("model_version", Text, nullable=False, comment="Registered model version that gave the score"),
        Column("artefact_sha256", Text, nullable=False, comment="SHA-256 of the model artefact"),
        Column("threshold_version", Text, nullable=False, comment="Version of the calibrated threshold"),
        Column("feature_set_version", Text, nullable=False, comment="Version of the feature definitions"),
    )
