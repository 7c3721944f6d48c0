"""Cases, the audit of alerts and cases, and the rules of the workflow.

Alerts that were closed without an outcome become inconclusive. Alerts of earlier versions join a case: those of a card
holder that are not closed an open one, the others a closed one; no time was promised for them, so none is due. Earlier
decisions become labels. On the way back alerts and decisions stay; cases, events and the new columns go.

The zone in which the day of a label begins is a row of ``deployment_settings``, which the program keeps current.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from fraud_pipeline.adapters.database.migrations.workflow import audit, mending, rules

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
OUTCOMES = "outcome IN ('confirmed_fraud', 'false_positive', 'inconclusive')"
EVENT_TYPES = (
    "event_type IN ('raised', 'changed', 'commented', 'rescored', 'deleted', "
    "'case_opened', 'case_changed', 'case_deleted')"
)
NEW_COLUMNS = (
    ("case_id", sa.BigInteger(), "Case that the alert belongs to, NULL for what was drawn at random"),
    (
        "current_priority",
        sa.SmallInteger(),
        "Analyst: urgency now, 1 to 5; starts as priority, never falls by itself",
    ),
    ("due_at", TIME, "Analyst: when the alert has to be closed, NULL if no time was set"),
    ("snoozed_until", TIME, "Analyst: until then the queue leaves the alert out"),
    ("first_touched_at", TIME, "Analyst: when somebody other than the pipeline first changed the alert"),
    ("closed_at", TIME, "Analyst: when the alert was closed"),
    ("breached_at", TIME, "Analyst: the first due time that passed before the alert was closed"),
)
NEW_CHECKS = {
    "outcome_needs_closed": "(status = 'closed') = (outcome IS NOT NULL)",
    "closed_at": "(status = 'closed') = (closed_at IS NOT NULL)",
    "snoozed_until": "status <> 'closed' OR snoozed_until IS NULL",
    "case_id": "selection = 'threshold' OR case_id IS NULL",
    "current_priority": "current_priority BETWEEN 1 AND 5",
    "assignee": "assignee <> ''",
}
NOT_CLOSED = sa.text("status <> 'closed'")

DROP_TRIGGERS = (
    "DROP TRIGGER alerts_start ON alerts",
    "DROP TRIGGER alerts_stamp_change ON alerts",
    "DROP TRIGGER alerts_record_change ON alerts",
    "DROP TRIGGER alerts_record_insert ON alerts",
    "DROP TRIGGER alerts_record_decision ON alerts",
    "DROP TRIGGER alerts_refuse_change ON alerts",
    "DROP TRIGGER alerts_settle_case ON alerts",
    "DROP TRIGGER alerts_settle_changed_case ON alerts",
    "DROP TRIGGER review_decisions_write_label ON review_decisions",
)

DROP_FUNCTIONS = """
DROP FUNCTION
    review_decisions_write_label(), alerts_record_decision(), alerts_settle_case(), settle_case(bigint),
    cases_stamp_change(), alerts_stamp_change(), reopen_case(bigint, text), alerts_start(),
    record_rescore(bigint, jsonb), add_alert_comment(bigint, text), refuse_change(), record_change(),
    changed_columns(jsonb, jsonb), workflow_time(), workflow_actor()
"""


def upgrade() -> None:
    _drop_old_rules()
    _create_tables()
    for name, kind, comment in NEW_COLUMNS:
        op.add_column("alerts", sa.Column(name, kind, comment=comment))
    for statement in (mending.MEND_ALERTS, mending.MAKE_CASES, mending.JOIN_CASES):
        op.execute(statement)
    op.alter_column("alerts", "current_priority", nullable=False)
    op.drop_constraint(op.f("ck_alerts_outcome_needs_closed"), "alerts")
    for name, rule in NEW_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_alerts_{name}"), "alerts", rule)
    op.create_foreign_key("fk_alerts_case_id_cases", "alerts", "cases", ["case_id"], ["case_id"])
    op.drop_index("ix_alerts_priority_anomaly_score", "alerts")
    op.drop_index("ix_alerts_status_priority_event_time", "alerts")
    op.create_index(
        "ix_alerts_status_current_priority_event_time",
        "alerts",
        ["status", "current_priority", sa.text("event_time DESC")],
    )
    op.create_index(
        "ix_alerts_current_priority_anomaly_score",
        "alerts",
        ["current_priority", sa.text("anomaly_score DESC")],
        postgresql_where=NOT_CLOSED,
    )
    op.create_index("ix_alerts_due_at", "alerts", ["due_at"], postgresql_where=NOT_CLOSED)
    op.create_index("ix_alerts_case_id", "alerts", ["case_id"], postgresql_where=sa.text("case_id IS NOT NULL"))
    for statement in (
        *audit.STATEMENTS,
        *rules.STATEMENTS,
        mending.MAKE_PARTITIONS_OF_LABELS,
        mending.MAKE_LABELS,
    ):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DELETE FROM fraud_labels WHERE label_source = 'analyst'")
    for statement in DROP_TRIGGERS:
        op.execute(statement)
    for index in (
        "status_current_priority_event_time",
        "current_priority_anomaly_score",
        "due_at",
        "case_id",
    ):
        op.drop_index(f"ix_alerts_{index}", "alerts")
    for name, _, _ in NEW_COLUMNS:
        op.drop_column("alerts", name)
    for name in ("outcome_needs_closed", "assignee"):
        op.drop_constraint(op.f(f"ck_alerts_{name}"), "alerts")
    op.create_check_constraint(op.f("ck_alerts_outcome_needs_closed"), "alerts", "outcome IS NULL OR status = 'closed'")
    op.create_index("ix_alerts_priority_anomaly_score", "alerts", ["priority", sa.text("anomaly_score DESC")])
    op.create_index(
        "ix_alerts_status_priority_event_time", "alerts", ["status", "priority", sa.text("event_time DESC")]
    )
    for table in ("alert_events", "cases", "deployment_settings"):
        op.drop_table(table)
    op.execute(DROP_FUNCTIONS)
    for statement in (
        mending.OLD_STAMP,
        rules.ALERT_CHANGES_TRIGGER,
        mending.OLD_RECORD_DECISION,
        rules.RECORD_DECISION_TRIGGER,
    ):
        op.execute(statement)


def _drop_old_rules() -> None:
    op.execute("DROP TRIGGER alerts_stamp_change ON alerts")
    op.execute("DROP TRIGGER alerts_record_decision ON alerts")
    op.execute("DROP FUNCTION alerts_stamp_change(), alerts_record_decision()")


def _create_tables() -> None:
    op.create_table(
        "cases",
        sa.Column("case_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Number of the case"),
        sa.Column("user_id", sa.Text(), nullable=False, comment="Identity of the card holder"),
        sa.Column("status", sa.Text(), server_default="open", nullable=False, comment="open or closed"),
        sa.Column("outcome", sa.Text(), comment="What a closed case turned out to be: fraud if any of its alerts is"),
        sa.Column("assignee", sa.Text(), comment="Who works on the case; alerts that join it are theirs"),
        sa.Column(
            "priority",
            sa.SmallInteger(),
            nullable=False,
            comment="Urgency of its most urgent alert so far, 1 to 5",
        ),
        sa.Column(
            "opened_at",
            TIME,
            server_default=sa.text("now()"),
            nullable=False,
            comment="When its first alert was raised",
        ),
        sa.Column("closed_at", TIME, comment="When its last open alert was closed"),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False, comment="Raised by one on every change"),
        sa.Column(
            "updated_at", TIME, server_default=sa.text("now()"), nullable=False, comment="Time of the last change"
        ),
        sa.CheckConstraint("status IN ('open', 'closed')", name=op.f("ck_cases_status")),
        sa.CheckConstraint(OUTCOMES, name=op.f("ck_cases_outcome")),
        sa.CheckConstraint("(status = 'closed') = (outcome IS NOT NULL)", name=op.f("ck_cases_outcome_needs_closed")),
        sa.CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name=op.f("ck_cases_closed_at")),
        sa.CheckConstraint("priority BETWEEN 1 AND 5", name=op.f("ck_cases_priority")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_cases_version")),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_cases")),
        comment="What is investigated together: the alerts of a card holder; one open case a card holder",
    )
    op.create_index(
        "uq_cases_user_id_open", "cases", ["user_id"], unique=True, postgresql_where=sa.text("status = 'open'")
    )
    op.create_index("ix_cases_user_id_opened_at", "cases", ["user_id", sa.text("opened_at DESC")])
    op.create_table(
        "alert_events",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Number of the event"),
        sa.Column("alert_id", sa.BigInteger(), comment="Alert that it is about, NULL for an event of a case"),
        sa.Column("case_id", sa.BigInteger(), comment="Case that it is about, or that the alert belonged to then"),
        sa.Column("event_type", sa.Text(), nullable=False, comment="What happened"),
        sa.Column("actor", sa.Text(), nullable=False, comment="Who did it; the pipeline is called pipeline"),
        sa.Column("at", TIME, server_default=sa.text("now()"), nullable=False, comment="When it was written"),
        sa.Column("run_id", sa.Text(), comment="Run that did it, NULL for people"),
        sa.Column("before", JSONB(), comment="Columns that changed, as they were"),
        sa.Column("after", JSONB(), comment="Columns that changed, as they are now; all of a new row but its reasons"),
        sa.Column("comment", sa.Text(), comment="What an analyst had to say"),
        sa.CheckConstraint("alert_id IS NOT NULL OR case_id IS NOT NULL", name=op.f("ck_alert_events_subject")),
        sa.CheckConstraint(EVENT_TYPES, name=op.f("ck_alert_events_event_type")),
        sa.CheckConstraint("actor <> ''", name=op.f("ck_alert_events_actor")),
        sa.CheckConstraint("(event_type = 'commented') = (comment IS NOT NULL)", name=op.f("ck_alert_events_comment")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_alert_events")),
        comment="Every change of an alert or a case, append-only, written by triggers",
    )
    op.create_index("ix_alert_events_alert_id_event_id", "alert_events", ["alert_id", "event_id"])
    op.create_index("ix_alert_events_case_id_event_id", "alert_events", ["case_id", "event_id"])
    op.create_table(
        "deployment_settings",
        sa.Column(
            "is_only_row", sa.Boolean(), server_default=sa.text("true"), nullable=False, comment="Always true: one row"
        ),
        sa.Column(
            "time_zone",
            sa.Text(),
            nullable=False,
            comment="IANA zone of partition days; decides on which day a label is known",
        ),
        sa.CheckConstraint("is_only_row", name=op.f("ck_deployment_settings_is_only_row")),
        sa.CheckConstraint(
            "timezone(time_zone, '2000-01-01 00:00:00+00'::timestamptz) IS NOT NULL",
            name=op.f("ck_deployment_settings_time_zone"),
        ),
        sa.PrimaryKeyConstraint("is_only_row", name=op.f("pk_deployment_settings")),
        comment="What triggers need to know of the deployment",
    )
    op.execute("INSERT INTO deployment_settings (time_zone) VALUES ('UTC')")
