"""Alerts and what analysts do with them, as SQLAlchemy Core sees them.

Triggers are in ``migrations/`` alone: a change of an alert raises its version and time, and an alert that is
closed with an outcome leaves a row in ``review_decisions``.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    column,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from fraud_pipeline.adapters.database.columns import (
    TIME,
    amount,
    event_columns,
    lineage_columns,
    metadata,
    verdict_checks,
    verdict_columns,
)

ALERT_STATUSES: Final = ("open", "investigating", "closed")
ALERT_OUTCOMES: Final = ("confirmed_fraud", "false_positive", "inconclusive")
ALERT_SELECTIONS: Final = ("threshold", "random_sample")
"""Why a row of ``alerts`` is there. Analysts have one queue with one set of states, so what was drawn at random from
below the threshold waits in it, too; it is no alert, and no figure about alerts counts it."""
DECISION_ORIGINS: Final = ("alert", "random", "bulk")
"""What put a transaction before the analyst: an alert, the random sample, or its likeness to another one."""


alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the alert"),
    *event_columns(key=False),
    amount(),
    *verdict_columns(),
    Column("reasons", JSONB, nullable=False, comment="Reasons for the score, a list of objects, strongest first"),
    Column("reason_text", Text, nullable=False, comment="The reasons as a sentence"),
    *lineage_columns(),
    Column("raised_at", TIME, nullable=False, server_default=func.now(), comment="When the pipeline raised the alert"),
    Column("status", Text, nullable=False, server_default="open", comment="Analyst: open, investigating or closed"),
    Column("outcome", Text, comment="Analyst: what a closed alert turned out to be"),
    Column("assignee", Text, comment="Analyst: who works on the alert"),
    Column("version", Integer, nullable=False, server_default="1", comment="Analyst: raised by one on every change"),
    Column("created_at", TIME, nullable=False, server_default=func.now(), comment="When the row was inserted"),
    Column("updated_at", TIME, nullable=False, server_default=func.now(), comment="Analyst: time of the last change"),
    Column(
        "selection",
        Text,
        nullable=False,
        server_default="threshold",
        comment="threshold: an alert; random_sample: drawn below the threshold as a yardstick, no alert",
    ),
    *verdict_checks(),
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
    Column("decided_at", TIME, nullable=False, server_default=func.now(), comment="When it was decided"),
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
