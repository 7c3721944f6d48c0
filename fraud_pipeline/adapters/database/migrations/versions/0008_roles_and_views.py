"""Roles with least privilege, the views of analysts, and the indexes that queries use.

Roles belong to the whole cluster, so they are made only where they are missing, and stay on the way back: another
database may use them. Functions with the owner's rights stay closed to PUBLIC on the way back, too.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from fraud_pipeline.core.errors import DatabaseError

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ROLES = ("fraud_pipeline", "fraud_api", "fraud_analyst")
# In the order of creation: the statistics read alert_details.
VIEWS = (
    "alert_details",
    "open_alerts",
    "alerts_by_day",
    "alert_statistics_by_day",
    "alert_statistics_by_model",
    "alert_ageing",
    "repeat_users",
    "case_history",
    "model_performance",
    "user_history",
)
# No query of the program or of the analysts' page uses them, and each costs time in every night.
UNUSED_INDEXES = {
    "ix_alerts_risk_level_event_day": ("alerts", ["risk_level", "event_day"]),
    "ix_anomaly_scores_event_day_anomaly_score": ("anomaly_scores", ["event_day", sa.text("anomaly_score DESC")]),
    "ix_anomaly_scores_user_id_event_time": ("anomaly_scores", ["user_id", "event_time"]),
    "ix_anomaly_scores_model_version_event_day": ("anomaly_scores", ["model_version", "event_day"]),
    "ix_transaction_features_user_id_event_time": ("transaction_features", ["user_id", "event_time"]),
    "ix_user_profiles_as_of_day": ("user_profiles", ["as_of_day"]),
    "ix_user_profiles_last_event_time": ("user_profiles", ["last_event_time"]),
}
VIEW_FOLDER = Path(__file__).parents[1] / "views" / revision

MISSING_ROLES = """
SELECT name FROM unnest(ARRAY['fraud_pipeline', 'fraud_api', 'fraud_analyst']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
"""
MAY_CREATE_ROLES = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = CURRENT_USER"
# Two databases of a cluster may be migrated at once: whoever comes second waits for the first, and finds the role made.
# Whoever made a role, or was given it, may also work with its rights alone.
CREATE_ROLES = """
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['fraud_pipeline', 'fraud_api', 'fraud_analyst'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
        -- An administrator needs no membership, and the account itself may bear the name.
        IF role <> CURRENT_USER AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = CURRENT_USER) THEN
            BEGIN
                EXECUTE format('GRANT %I TO CURRENT_USER', role);
            EXCEPTION WHEN insufficient_privilege OR unique_violation THEN NULL;
            END;
        END IF;
    END LOOP;
END $$
"""

# What everybody may do of old would let analysts do more than read.
CLOSE_TO_PUBLIC = """
DO $$
DECLARE
    routine regprocedure;
BEGIN
    IF (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public') THEN
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    END IF;
    FOR routine IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND prosecdef AND pg_has_role(proowner, 'USAGE')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
    END LOOP;
    IF (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO fraud_pipeline', current_database());
    END IF;
END $$
"""
OPEN_TO_PUBLIC = """
DO $$ BEGIN
    IF (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM fraud_pipeline', current_database());
    END IF;
END $$
"""

# The pipeline writes what it computed, and of alerts and cases only what it raises and makes more urgent.
GRANTS = """
GRANT USAGE ON SCHEMA public TO fraud_pipeline, fraud_api, fraud_analyst;
GRANT SELECT ON fraud_pipeline_schema_version TO fraud_pipeline, fraud_api;

GRANT SELECT, INSERT, UPDATE, DELETE ON
    transactions, transaction_features, anomaly_scores, fraud_labels, rejected_transactions, user_profiles,
    model_metrics
TO fraud_pipeline;
GRANT SELECT, INSERT, UPDATE ON pipeline_runs, deployment_settings TO fraud_pipeline;
GRANT SELECT ON alerts, cases, alert_events, review_decisions, alerts_by_day, alert_statistics_by_day
TO fraud_pipeline;
GRANT INSERT (
    transaction_id, user_id, merchant_id, event_time, event_day, amount, anomaly_score, score_percentile, confidence,
    risk_level, priority, reasons, reason_text, run_id, model_version, artefact_sha256, threshold_version,
    feature_set_version, raised_at, selection, case_id, current_priority, due_at, assignee
) ON alerts TO fraud_pipeline;
GRANT UPDATE (current_priority, due_at) ON alerts TO fraud_pipeline;
GRANT INSERT (user_id, priority, opened_at) ON cases TO fraud_pipeline;
GRANT UPDATE (priority, version) ON cases TO fraud_pipeline;
GRANT EXECUTE ON FUNCTION
    missing_partitions(date, date), create_partitions(date, date), detach_partitions(date),
    record_rescore(bigint, jsonb)
TO fraud_pipeline;

GRANT SELECT ON
    transactions, transaction_features, anomaly_scores, fraud_labels, user_profiles, model_metrics, pipeline_runs,
    alerts, cases, alert_events, review_decisions, api_keys, alert_details, alert_statistics_by_day
TO fraud_api;
GRANT UPDATE (status, outcome, assignee, current_priority, due_at, snoozed_until) ON alerts TO fraud_api;
GRANT UPDATE (assignee) ON cases TO fraud_api;
GRANT INSERT (transaction_id, outcome, decided_at, decided_by, origin) ON review_decisions TO fraud_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO fraud_api;
GRANT EXECUTE ON FUNCTION add_alert_comment(bigint, text) TO fraud_api;

GRANT SELECT ON
    open_alerts, alert_details, alerts_by_day, case_history, model_performance, user_history,
    alert_statistics_by_day, alert_statistics_by_model, alert_ageing, repeat_users
TO fraud_analyst;
"""
REVOKES = """
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM fraud_pipeline, fraud_api, fraud_analyst;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM fraud_pipeline, fraud_api, fraud_analyst;
REVOKE USAGE ON SCHEMA public FROM fraud_pipeline, fraud_api, fraud_analyst;
"""


def upgrade() -> None:
    connection = op.get_bind()
    _require_roles(connection)
    for index, (table, _) in UNUSED_INDEXES.items():
        op.drop_index(index, table)
    op.create_index("ix_alerts_model_version_event_day", "alerts", ["model_version", "event_day"])
    op.execute(CREATE_ROLES)
    op.execute(CLOSE_TO_PUBLIC)
    for view in VIEWS:
        _execute_all(connection, (VIEW_FOLDER / f"{view}.sql").read_text())
    _execute_all(connection, GRANTS)


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(sa.DDL("DROP VIEW %(view)s", context={"view": view}))
    _execute_all(op.get_bind(), REVOKES)
    op.execute(OPEN_TO_PUBLIC)
    op.drop_index("ix_alerts_model_version_event_day", "alerts")
    for index, (table, columns) in UNUSED_INDEXES.items():
        op.create_index(index, table, columns)


def _require_roles(connection: sa.Connection) -> None:
    """Refuse in one sentence where roles are missing and the account may not make them."""
    missing = connection.exec_driver_sql(MISSING_ROLES).scalars().all()
    if missing and not connection.exec_driver_sql(MAY_CREATE_ROLES).scalar_one():
        account = connection.exec_driver_sql("SELECT quote_ident(CURRENT_USER)").scalar_one()
        statements = " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in missing)
        raise DatabaseError(
            f"Roles are missing ({', '.join(missing)}) and the account {account} may not create roles: let an "
            f"administrator run `{statements} GRANT {', '.join(ROLES)} TO {account};`, then run "
            "`fraud-pipeline migrate` again."
        )


def _execute_all(connection: sa.Connection, script: str) -> None:
    """Run a script of several statements as it stands."""
    connection.exec_driver_sql(script, execution_options={"no_parameters": True})
