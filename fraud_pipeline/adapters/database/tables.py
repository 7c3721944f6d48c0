"""Tables that the pipeline alone writes, as SQLAlchemy Core sees them.

``migrations/`` holds the same definitions as history; a test compares the two. The large tables have a partition a
month, made and detached by functions of the database (``partitions``). The first column of the primary key of a
table that is written day by day is that day.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    column,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

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

LABEL_SOURCES: Final = ("chargeback_file", "analyst", "unreported")

transactions = Table(
    "transactions",
    metadata,
    *event_columns(),
    amount(),
    Column("source_name", Text, nullable=False, comment="Source that delivered the row"),
    Column("source_file", Text, nullable=False, comment="Landing file that held the row"),
    Column("row_number", BigInteger, nullable=False, comment="Data row of the file, counted from 1"),
    Column("file_sha256", Text, nullable=False, comment="SHA-256 of the landing file"),
    PrimaryKeyConstraint("event_day", "transaction_id"),
    CheckConstraint("row_number >= 1", name="row_number"),
    comment="Valid transactions, one row each",
    postgresql_partition_by="RANGE (event_day)",
)
# A transaction by its identity, whatever its day.
Index(None, transactions.c.transaction_id)
# The history of a card holder, shown beside an alert.
Index(None, transactions.c.user_id, transactions.c.event_time)
# The history of a merchant, shown beside an alert.
Index(None, transactions.c.merchant_id, transactions.c.event_time)

transaction_features = Table(
    "transaction_features",
    metadata,
    *event_columns(),
    *(Column(name, Double, comment=FEATURE_COMMENTS[name]) for name in FEATURE_COLUMNS),
    PrimaryKeyConstraint("event_day", "transaction_id"),
    comment="Features of each transaction, known at the moment of the event; NULL where nothing was known",
    postgresql_partition_by="RANGE (event_day)",
)

anomaly_scores = Table(
    "anomaly_scores",
    metadata,
    # Merchant and amount are in the table transactions.
    *(each for each in event_columns() if each.name != "merchant_id"),
    Column("isolation_forest_score", Double, nullable=False, comment="Detector score, higher is more anomalous"),
    Column("local_outlier_factor_score", Double, nullable=False, comment="Detector score, higher is more anomalous"),
    Column("ensemble_score", Double, nullable=False, comment="Blend of the two detectors, 0 to 1"),
    Column("feedback_classifier_score", Double, comment="Score learnt from labels, 0 to 1; NULL before labels arrive"),
    *verdict_columns(),
    Column("is_alert", Boolean, nullable=False, comment="Whether the score reached the threshold"),
    *lineage_columns(),
    *verdict_checks(),
    PrimaryKeyConstraint("event_day", "transaction_id"),
    comment="Scores of every transaction and what they were computed from",
    postgresql_partition_by="RANGE (event_day)",
)

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

fraud_labels = Table(
    "fraud_labels",
    metadata,
    Column("known_day", Date, nullable=False, comment="Partition day on which the label became known"),
    *(each for each in event_columns() if each.name != "event_day"),
    Column("event_day", Date, nullable=False, comment="Partition day of the transaction, to find it in its table"),
    Column("is_fraud", Boolean, nullable=False, comment="Whether the transaction was a fraud"),
    Column(
        "label_source",
        Text,
        nullable=False,
        comment="chargeback_file, analyst, or unreported: genuine since nobody reported it in time",
    ),
    Column("label_known_at", TIME, nullable=False, comment="When the label became known"),
    Column("run_id", Text, comment="Run that wrote the row, NULL for the label of an analyst"),
    PrimaryKeyConstraint("known_day", "transaction_id", "label_source", "label_known_at"),
    CheckConstraint(column("label_source").in_(LABEL_SOURCES), name="label_source"),
    CheckConstraint("(label_source = 'analyst') = (run_id IS NULL)", name="run_id"),
    CheckConstraint("NOT (is_fraud AND label_source = 'unreported')", name="unreported"),
    comment="What became known of transactions, and when; an earlier label stays when a later one says otherwise",
    postgresql_partition_by="RANGE (known_day)",
)
# What was known of a card holder at a moment.
Index(None, fraud_labels.c.user_id, fraud_labels.c.label_known_at)
# What was known of a merchant at a moment.
Index(None, fraud_labels.c.merchant_id, fraud_labels.c.label_known_at)
# The labels of a transaction.
Index(None, fraud_labels.c.transaction_id)

rejected_transactions = Table(
    "rejected_transactions",
    metadata,
    Column("event_day", Date, nullable=False, comment="Day of the landing file, in the deployment's zone"),
    Column("source_name", Text, nullable=False, comment="Source that delivered the row"),
    Column("source_file", Text, nullable=False, comment="Landing file that held the row"),
    Column("row_number", BigInteger, nullable=False, comment="Data row of the file, counted from 1"),
    Column("file_sha256", Text, nullable=False, comment="SHA-256 of the landing file"),
    Column("reason", Text, nullable=False, comment="Why the row cannot be used"),
    Column("raw", JSONB, nullable=False, comment="The fields of the row as text, as they were received"),
    Column("run_id", Text, nullable=False, comment="Run that rejected the row"),
    PrimaryKeyConstraint("event_day", "source_name", "source_file", "row_number"),
    CheckConstraint("row_number >= 1", name="row_number"),
    CheckConstraint("jsonb_typeof(raw) = 'object'", name="raw"),
    comment="Rows that could not be used, each with the reason",
    postgresql_partition_by="RANGE (event_day)",
)

pipeline_runs = Table(
    "pipeline_runs",
    metadata,
    Column(
        "pipeline_run_id",
        BigInteger,
        Identity(always=True),
        primary_key=True,
        comment="Rises with every write, so the largest tells whether anything is new",
    ),
    Column("run_id", Text, nullable=False, comment="Run that wrote"),
    Column("asset", Text, nullable=False, comment="What it wrote"),
    Column("event_day", Date, nullable=False, comment="Partition day that it wrote"),
    Column("rows", BigInteger, nullable=False, comment="How many rows the day has of it"),
    Column("written_at", TIME, nullable=False, server_default=func.now(), comment="When it was written"),
    UniqueConstraint("run_id", "asset", "event_day"),
    CheckConstraint("rows >= 0", name="rows"),
    comment="Which run wrote which day of what, in the transaction that wrote it",
)
# How fresh an asset is.
Index(None, pipeline_runs.c.asset, pipeline_runs.c.event_day)
