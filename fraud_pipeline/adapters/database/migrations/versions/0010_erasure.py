"""Erasing a user: the one way past the append-only history, and the record that it was gone.

The function belongs to the owner of the tables and is granted to nobody. On the way back the records of erasures are
dropped; what was erased stays erased.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

REFUSE_CHANGE = """
CREATE TRIGGER erasures_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON erasures
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""
# A table with the column user_id is found by that column, so detached months and tables to come are erased from, too.
# Rows are locked as by everybody who changes alerts: alerts by number, then their cases, then the history.
ERASE_USER = r"""
CREATE FUNCTION erase_user(user_ids text[], transaction_ids text[], lake_rows jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    actor text = workflow_actor();
    blanks text = E' \t\n\r\f\v';
    their_transactions text[] = coalesce(transaction_ids, '{}');
    their_alerts bigint[];
    their_cases bigint[];
    days date[];
    days_of_labels date[];
    counts jsonb = '{}';
    number bigint;
    part record;
    changed bigint;
BEGIN
    PERFORM FROM alerts WHERE btrim(user_id, blanks) = ANY (user_ids) ORDER BY alert_id FOR UPDATE;
    PERFORM FROM cases WHERE btrim(user_id, blanks) = ANY (user_ids) ORDER BY case_id FOR UPDATE;
    LOCK TABLE alert_events, review_decisions IN SHARE ROW EXCLUSIVE MODE;
    SELECT array_agg(DISTINCT event_day) INTO days
    FROM transactions WHERE btrim(user_id, blanks) = ANY (user_ids);
    SELECT array_agg(DISTINCT known_day) INTO days_of_labels
    FROM fraud_labels WHERE btrim(user_id, blanks) = ANY (user_ids);
    -- Alerts and cases that are gone already are still in the history.
    SELECT
        coalesce(array_agg(DISTINCT alert_id) FILTER (WHERE alert_id IS NOT NULL), '{}'),
        coalesce(array_agg(DISTINCT case_id) FILTER (WHERE case_id IS NOT NULL), '{}'),
        their_transactions || coalesce(array_agg(DISTINCT name) FILTER (WHERE name IS NOT NULL), '{}')
    INTO their_alerts, their_cases, their_transactions
    FROM (
        SELECT alert_id, case_id, transaction_id AS name, user_id FROM alerts
        UNION ALL SELECT NULL, case_id, NULL, user_id FROM cases
        UNION ALL SELECT alert_id, case_id, event.row ->> 'transaction_id', event.row ->> 'user_id'
        FROM alert_events CROSS JOIN LATERAL (VALUES (before), (after)) AS event(row)
    ) AS known
    WHERE btrim(user_id, blanks) = ANY (user_ids);

    DELETE FROM alerts WHERE alert_id = ANY (their_alerts);
    GET DIAGNOSTICS number = ROW_COUNT;
    counts = counts || jsonb_build_object('alerts', number);
    DELETE FROM cases WHERE case_id = ANY (their_cases);
    GET DIAGNOSTICS number = ROW_COUNT;
    counts = counts || jsonb_build_object('cases', number);
    FOR part IN
        SELECT relname AS name FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
            AND attname = 'user_id' AND NOT attisdropped AND relname NOT IN ('alerts', 'cases')
        ORDER BY relname
    LOOP
        EXECUTE format(
            'WITH gone AS (DELETE FROM %I AS each WHERE btrim(user_id, $2) = ANY ($1) RETURNING to_jsonb(each) AS row)'
            ' SELECT count(*), $3 || coalesce('
            'array_agg(DISTINCT row ->> ''transaction_id'') FILTER (WHERE row ? ''transaction_id''), ''{}'') FROM gone',
            part.name
        ) INTO number, their_transactions USING user_ids, blanks, their_transactions;
        counts = counts || jsonb_build_object(part.name, number);
    END LOOP;
    FOR part IN
        SELECT relname AS name FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
            AND attname = 'raw' AND atttypid = 'jsonb'::regtype AND NOT attisdropped
        ORDER BY relname
    LOOP
        EXECUTE format('DELETE FROM %I WHERE btrim(raw ->> ''user_id'', $2) = ANY ($1)', part.name)
        USING user_ids, blanks;
        GET DIAGNOSTICS number = ROW_COUNT;
        counts = counts || jsonb_build_object(part.name, number);
    END LOOP;
    DELETE FROM idempotency_keys WHERE jsonb_path_exists(
        body, '$.** ? (@ == $name[*])', jsonb_build_object('name', to_jsonb(user_ids || their_transactions))
    );
    GET DIAGNOSTICS number = ROW_COUNT;
    counts = counts || jsonb_build_object('idempotency_keys', number);

    ALTER TABLE review_decisions DISABLE TRIGGER review_decisions_refuse_change;
    DELETE FROM review_decisions
    WHERE alert_id = ANY (their_alerts) OR (alert_id IS NULL AND transaction_id = ANY (their_transactions));
    GET DIAGNOSTICS number = ROW_COUNT;
    ALTER TABLE review_decisions ENABLE TRIGGER review_decisions_refuse_change;
    counts = counts || jsonb_build_object('review_decisions', number);
    ALTER TABLE alert_events DISABLE TRIGGER alert_events_refuse_change;
    DELETE FROM alert_events WHERE alert_id = ANY (their_alerts) OR case_id = ANY (their_cases);
    GET DIAGNOSTICS number = ROW_COUNT;
    counts = counts || jsonb_build_object('alert_events', number);
    number = 0;
    -- What was said of them beside the alerts of others.
    FOR part IN
        SELECT event_id, '(?<![[:alnum:]_-])' || regexp_replace(name, '([^[:alnum:]_])', '\\\1', 'g')
            || '(?![[:alnum:]_-])' AS pattern
        FROM alert_events CROSS JOIN unnest(user_ids || their_transactions) AS name
        WHERE comment IS NOT NULL AND position(name IN comment) > 0
    LOOP
        UPDATE alert_events SET comment = regexp_replace(comment, part.pattern, '(erased)', 'g')
        WHERE event_id = part.event_id AND comment ~ part.pattern;
        GET DIAGNOSTICS changed = ROW_COUNT;
        number = number + changed;
    END LOOP;
    ALTER TABLE alert_events ENABLE TRIGGER alert_events_refuse_change;
    counts = counts || jsonb_build_object('mentions in comments', number);

    SELECT coalesce(jsonb_object_agg(key, value) FILTER (WHERE value <> '0'), '{}') INTO counts FROM jsonb_each(counts);
    -- The lock on the history lets one erasure through at a time. A sequence would leave gaps after a roll-back.
    INSERT INTO erasures (erasure_id, erased_by, erased)
    SELECT coalesce(max(erasure_id), 0) + 1, actor, jsonb_build_object('database', counts, 'lake', lake_rows)
    FROM erasures
    RETURNING erasure_id INTO number;
    -- Caches of the REST API, and whoever computes an alert of these days again, learn that something changed.
    INSERT INTO pipeline_runs (run_id, asset, event_day, rows)
    SELECT 'erasure ' || number, 'validated_transactions', day,
        (SELECT count(*) FROM transactions WHERE event_day = day)
    FROM unnest(days) AS day
    UNION ALL SELECT 'erasure ' || number, 'fraud_labels', day,
        (SELECT count(*) FROM fraud_labels WHERE known_day = day)
    FROM unnest(days_of_labels) AS day;
    RETURN counts;
END
$$
"""
COMMENT = (
    "COMMENT ON FUNCTION erase_user(text[], text[], jsonb) IS"
    " 'Deletes a user from every table, history included, and records that it did; returns how many rows of what'"
)


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column(
            "erasure_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Number, from 1 without a gap"
        ),
        sa.Column(
            "erased_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was done",
        ),
        sa.Column("erased_by", sa.Text(), nullable=False, comment="Who erased"),
        sa.Column(
            "erased", JSONB(), nullable=False, comment="How many rows of lake and database, by dataset and table"
        ),
        sa.CheckConstraint("erased_by <> ''", name=op.f("ck_erasures_erased_by")),
        sa.PrimaryKeyConstraint("erasure_id", name=op.f("pk_erasures")),
        comment="That a user was erased, when and by whom, never who; append-only",
    )
    connection = op.get_bind()
    for statement in (
        REFUSE_CHANGE,
        ERASE_USER,
        COMMENT,
        "REVOKE EXECUTE ON FUNCTION erase_user(text[], text[], jsonb) FROM PUBLIC",
    ):
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def downgrade() -> None:
    op.execute("DROP FUNCTION erase_user(text[], text[], jsonb)")
    op.drop_table("erasures")
