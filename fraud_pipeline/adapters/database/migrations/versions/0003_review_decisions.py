"""Reviews drawn at random beside alerts, and the decisions of analysts as history.

Alerts that are closed with an outcome already are decisions of the time of their last change. On the way back the
random reviews are deleted, since the earlier program would take them for alerts.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OLD_COMMENT = "One alert a transaction for ever: written once by the pipeline, then owned by analysts"
NEW_COMMENT = "One review a transaction for ever: written once by the pipeline, then owned by analysts"

# Whoever changes an alert, by whatever program: the version rises and the time is that of the change, unless given.
STAMP_CHANGE = """
CREATE FUNCTION alerts_stamp_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version = OLD.version THEN
        NEW.version = OLD.version + 1;
    END IF;
    IF NEW.updated_at = OLD.updated_at THEN
        NEW.updated_at = now();
    END IF;
    RETURN NEW;
END
$$
"""
STAMP_CHANGE_TRIGGER = """
CREATE TRIGGER alerts_stamp_change BEFORE UPDATE ON alerts
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION alerts_stamp_change()
"""
# Who decides is said by the program, else it is who the alert is assigned to, else the account of the database.
RECORD_DECISION = """
CREATE FUNCTION alerts_record_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO review_decisions (transaction_id, outcome, decided_at, decided_by, origin, alert_id)
    VALUES (
        NEW.transaction_id, NEW.outcome, NEW.updated_at,
        coalesce(
            nullif(current_setting('fraud_pipeline.decided_by', true), ''), nullif(NEW.assignee, ''), session_user
        ),
        CASE NEW.selection WHEN 'random_sample' THEN 'random' ELSE 'alert' END, NEW.alert_id
    );
    RETURN NULL;
END
$$
"""
RECORD_DECISION_TRIGGER = """
CREATE TRIGGER alerts_record_decision AFTER UPDATE ON alerts
FOR EACH ROW WHEN (
    NEW.outcome IS NOT NULL
    AND (OLD.status, OLD.outcome) IS DISTINCT FROM (NEW.status, NEW.outcome)
) EXECUTE FUNCTION alerts_record_decision()
"""
REFUSE_CHANGE = """
CREATE FUNCTION review_decisions_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'review_decisions is append-only: record a new decision instead'
        USING ERRCODE = 'integrity_constraint_violation';
END
$$
"""
REFUSE_CHANGE_TRIGGER = """
CREATE TRIGGER review_decisions_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON review_decisions
FOR EACH STATEMENT EXECUTE FUNCTION review_decisions_refuse_change()
"""
EARLIER_DECISIONS = """
INSERT INTO review_decisions (transaction_id, outcome, decided_at, decided_by, origin, alert_id)
SELECT transaction_id, outcome, updated_at, coalesce(nullif(assignee, ''), session_user), 'alert', alert_id
FROM alerts WHERE status = 'closed' AND outcome IS NOT NULL
ORDER BY updated_at, alert_id
"""


def upgrade() -> None:
    op.add_column(
        "alerts",
        sa.Column(
            "selection",
            sa.Text(),
            server_default="threshold",
            nullable=False,
            comment="threshold: an alert; random_sample: drawn below the threshold as a yardstick, no alert",
        ),
    )
    op.create_check_constraint(op.f("ck_alerts_selection"), "alerts", "selection IN ('threshold', 'random_sample')")
    op.create_table_comment("alerts", NEW_COMMENT, existing_comment=OLD_COMMENT)
    op.create_table(
        "review_decisions",
        sa.Column(
            "decision_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Number of the decision"
        ),
        sa.Column("transaction_id", sa.Text(), nullable=False, comment="Transaction that was decided on"),
        sa.Column("outcome", sa.Text(), nullable=False, comment="What the transaction turned out to be"),
        sa.Column(
            "decided_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was decided",
        ),
        sa.Column("decided_by", sa.Text(), nullable=False, comment="Who decided"),
        sa.Column(
            "origin",
            sa.Text(),
            nullable=False,
            comment="alert, random (drawn below the threshold) or bulk (a related one)",
        ),
        sa.Column(
            "alert_id",
            sa.BigInteger(),
            comment="Alert that the decision closed, NULL for a transaction without one",
        ),
        sa.CheckConstraint(
            "outcome IN ('confirmed_fraud', 'false_positive', 'inconclusive')", name=op.f("ck_review_decisions_outcome")
        ),
        sa.CheckConstraint("decided_by <> ''", name=op.f("ck_review_decisions_decided_by")),
        sa.CheckConstraint("origin IN ('alert', 'random', 'bulk')", name=op.f("ck_review_decisions_origin")),
        sa.CheckConstraint("(origin = 'bulk') = (alert_id IS NULL)", name=op.f("ck_review_decisions_alert_id")),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_review_decisions")),
        comment="What analysts decided, append-only: a decision stays when its alert is opened again or changed",
    )
    op.create_index("ix_review_decisions_decided_at", "review_decisions", ["decided_at"])
    op.create_index(
        "ix_review_decisions_transaction_id_decided_at", "review_decisions", ["transaction_id", "decided_at"]
    )
    for statement in (
        EARLIER_DECISIONS,
        STAMP_CHANGE,
        STAMP_CHANGE_TRIGGER,
        RECORD_DECISION,
        RECORD_DECISION_TRIGGER,
        REFUSE_CHANGE,
        REFUSE_CHANGE_TRIGGER,
    ):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER alerts_stamp_change ON alerts")
    op.execute("DROP TRIGGER alerts_record_decision ON alerts")
    op.drop_table("review_decisions")
    op.execute("DROP FUNCTION alerts_stamp_change(), alerts_record_decision(), review_decisions_refuse_change()")
    op.execute("DELETE FROM alerts WHERE selection = 'random_sample'")
    op.create_table_comment("alerts", OLD_COMMENT, existing_comment=NEW_COMMENT)
    op.drop_column("alerts", "selection")
