"""Alerts, cases and what analysts do with them, as SQLAlchemy Core sees them.

Triggers and functions are in ``migrations/`` alone. They hold every writer to the rules of ``core.workflow``: the
allowed moves, who signs for a change, a case that closes with its last alert, an event for every change, and a label
for every decision.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    column,
    func,
    text,
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
from fraud_pipeline.core.workflow import OUTCOMES, STATES

ALERT_SELECTIONS: Final = ("threshold", "random_sample")
"""Why a row of ``alerts`` is there. Analysts have one queue with one set of states, so what was drawn at random from
below the threshold waits in it, too; it is no alert, and no figure about alerts counts it."""
CASE_STATES: Final = ("open", "closed")
DECISION_ORIGINS: Final = ("alert", "random", "bulk")
"""What put a transaction before the analyst: an alert, the random sample, or its likeness to another one."""
EVENT_TYPES: Final = (
    "raised",
    "changed",
    "commented",
    "rescored",
    "deleted",
    "case_opened",
    "case_changed",
    "case_deleted",
)

cases = Table(
    "cases",
    metadata,
    Column("case_id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the case"),
    Column("user_id", Text, nullable=False, comment="Identity of the card holder"),
    Column("status", Text, nullable=False, server_default="open", comment="open or closed"),
    Column("outcome", Text, comment="What a closed case turned out to be: fraud if any of its alerts is"),
    Column("assignee", Text, comment="Who works on the case; alerts that join it are theirs"),
    Column("priority", SmallInteger, nullable=False, comment="Urgency of its most urgent alert so far, 1 to 5"),
    Column("opened_at", TIME, nullable=False, server_default=func.now(), comment="When its first alert was raised"),
    Column("closed_at", TIME, comment="When its last open alert was closed"),
    Column("version", Integer, nullable=False, server_default="1", comment="Raised by one on every change"),
    Column("updated_at", TIME, nullable=False, server_default=func.now(), comment="Time of the last change"),
    CheckConstraint(column("status").in_(CASE_STATES), name="status"),
    CheckConstraint(column("outcome").in_(OUTCOMES), name="outcome"),
    CheckConstraint("(status = 'closed') = (outcome IS NOT NULL)", name="outcome_needs_closed"),
    CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name="closed_at"),
    CheckConstraint("priority BETWEEN 1 AND 5", name="priority"),
    CheckConstraint("version >= 1", name="version"),
    comment="What is investigated together: the alerts of a card holder; one open case a card holder",
)
# One open case a card holder, whoever writes.
Index("uq_cases_user_id_open", cases.c.user_id, unique=True, postgresql_where=cases.c.status == text("'open'"))
# All cases of a card holder, the newest first.
Index(None, cases.c.user_id, cases.c.opened_at.desc())

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the alert"),
    *event_columns(),
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
    Column(
        "case_id",
        BigInteger,
        ForeignKey("cases.case_id", name="fk_alerts_case_id_cases"),
        comment="Case that the alert belongs to, NULL for what was drawn at random",
    ),
    Column(
        "current_priority",
        SmallInteger,
        nullable=False,
        comment="Analyst: urgency now, 1 to 5; starts as priority, never falls by itself",
    ),
    Column("due_at", TIME, comment="Analyst: when the alert has to be closed, NULL if no time was set"),
    Column("snoozed_until", TIME, comment="Analyst: until then the queue leaves the alert out"),
    Column("first_touched_at", TIME, comment="Analyst: when somebody other than the pipeline first changed the alert"),
    Column("closed_at", TIME, comment="Analyst: when the alert was closed"),
    Column("breached_at", TIME, comment="Analyst: the first due time that passed before the alert was closed"),
    *verdict_checks(),
    UniqueConstraint("transaction_id"),
    CheckConstraint("jsonb_typeof(reasons) = 'array'", name="reasons"),
    CheckConstraint(column("status").in_(STATES), name="status"),
    CheckConstraint(column("outcome").in_(OUTCOMES), name="outcome"),
    CheckConstraint("(status = 'closed') = (outcome IS NOT NULL)", name="outcome_needs_closed"),
    CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name="closed_at"),
    CheckConstraint("status <> 'closed' OR snoozed_until IS NULL", name="snoozed_until"),
    CheckConstraint(column("selection").in_(ALERT_SELECTIONS), name="selection"),
    CheckConstraint("selection = 'threshold' OR case_id IS NULL", name="case_id"),
    CheckConstraint("current_priority BETWEEN 1 AND 5", name="current_priority"),
    CheckConstraint("assignee <> ''", name="assignee"),
    CheckConstraint("version >= 1", name="version"),
    comment="One review a transaction for ever: written once by the pipeline, then owned by analysts",
)
# The work queue of an analyst: one status, most urgent and newest first.
Index(None, alerts.c.status, alerts.c.current_priority, alerts.c.event_time.desc())
# The most urgent alerts of all days that are not closed: most are, so the index is partial and small.
Index(
    None,
    alerts.c.current_priority,
    alerts.c.anomaly_score.desc(),
    postgresql_where=alerts.c.status != text("'closed'"),
)
# What is overdue.
Index(None, alerts.c.due_at, postgresql_where=alerts.c.status != text("'closed'"))
# The alerts of a case.
Index(None, alerts.c.case_id, postgresql_where=alerts.c.case_id.is_not(None))
# The alerts of a day.
Index(None, alerts.c.event_day)
# The alerts that a model version raised.
Index(None, alerts.c.model_version, alerts.c.event_day)
# Other alerts of the same card holder.
Index(None, alerts.c.user_id, alerts.c.event_time)
# Other alerts at the same merchant.
Index(None, alerts.c.merchant_id, alerts.c.event_time)
# The alerts that a person works on; most alerts have nobody, so the index is partial and small.
Index(None, alerts.c.assignee, alerts.c.status, postgresql_where=alerts.c.assignee.is_not(None))

alert_events = Table(
    "alert_events",
    metadata,
    Column("event_id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the event"),
    Column("alert_id", BigInteger, comment="Alert that it is about, NULL for an event of a case"),
    Column("case_id", BigInteger, comment="Case that it is about, or that the alert belonged to then"),
    Column("event_type", Text, nullable=False, comment="What happened"),
    Column("actor", Text, nullable=False, comment="Who did it; the pipeline is called pipeline"),
    Column("at", TIME, nullable=False, server_default=func.now(), comment="When it was written"),
    Column("run_id", Text, comment="Run that did it, NULL for people"),
    Column("before", JSONB, comment="Columns that changed, as they were"),
    Column("after", JSONB, comment="Columns that changed, as they are now; all of a new row but its reasons"),
    Column("comment", Text, comment="What an analyst had to say"),
    CheckConstraint("alert_id IS NOT NULL OR case_id IS NOT NULL", name="subject"),
    CheckConstraint(column("event_type").in_(EVENT_TYPES), name="event_type"),
    CheckConstraint("actor <> ''", name="actor"),
    CheckConstraint("(event_type = 'commented') = (comment IS NOT NULL)", name="comment"),
    comment="Every change of an alert or a case, append-only, written by triggers",
)
# The history of an alert.
Index(None, alert_events.c.alert_id, alert_events.c.event_id)
# The history of a case and its alerts.
Index(None, alert_events.c.case_id, alert_events.c.event_id)

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
    CheckConstraint(column("outcome").in_(OUTCOMES), name="outcome"),
    CheckConstraint("decided_by <> ''", name="decided_by"),
    CheckConstraint(column("origin").in_(DECISION_ORIGINS), name="origin"),
    CheckConstraint("(origin = 'bulk') = (alert_id IS NULL)", name="alert_id"),
    comment="What analysts decided, append-only: a decision stays when its alert is opened again or changed",
)
# The labels of a day.
Index(None, review_decisions.c.decided_at)
# The newest decision on a transaction.
Index(None, review_decisions.c.transaction_id, review_decisions.c.decided_at)

erasures = Table(
    "erasures",
    metadata,
    Column("erasure_id", BigInteger, autoincrement=False, primary_key=True, comment="Number, from 1 without a gap"),
    Column("erased_at", TIME, nullable=False, server_default=func.now(), comment="When it was done"),
    Column("erased_by", Text, nullable=False, comment="Who erased"),
    Column("erased", JSONB, nullable=False, comment="How many rows of lake and database, by dataset and table"),
    CheckConstraint("erased_by <> ''", name="erased_by"),
    comment="That a user was erased, when and by whom, never who; append-only",
)

deployment_settings = Table(
    "deployment_settings",
    metadata,
    Column("is_only_row", Boolean, primary_key=True, server_default=text("true"), comment="Always true: one row"),
    Column(
        "time_zone", Text, nullable=False, comment="IANA zone of partition days; decides on which day a label is known"
    ),
    CheckConstraint("is_only_row", name="is_only_row"),
    # PostgreSQL refuses a zone that it does not know.
    CheckConstraint("timezone(time_zone, '2000-01-01 00:00:00+00'::timestamptz) IS NOT NULL", name="time_zone"),
    comment="What triggers need to know of the deployment",
)
