"""Who changes something, when, and the events that this leaves."""

from typing import Final

# Refused with a class of errors that the program takes for a refused row.
ACTOR: Final = """
CREATE FUNCTION workflow_actor() RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    actor text = nullif(btrim(current_setting('fraud_pipeline.actor', true)), '');
BEGIN
    IF actor IS NULL THEN
        RAISE EXCEPTION 'nobody signs for this change of an alert or case: first run '
            'SELECT set_config(''fraud_pipeline.actor'', NAME, true) in the same transaction'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN actor;
END
$$
"""
# A replay of the past says when it happened; the audit has the real time all the same.
TIME: Final = """
CREATE FUNCTION workflow_time() RETURNS timestamptz LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(nullif(current_setting('fraud_pipeline.now', true), '')::timestamptz, now())
$$
"""
CHANGED_COLUMNS: Final = """
CREATE FUNCTION changed_columns(one jsonb, other jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_object_agg(key, value) FROM jsonb_each(one) WHERE other -> key IS DISTINCT FROM value
$$
"""
# Reasons never change, and are long: the row has them.
RECORD_EVENT: Final = """
CREATE FUNCTION record_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    old_row jsonb = to_jsonb(OLD) - '{reasons,reason_text}'::text[];
    new_row jsonb = to_jsonb(NEW) - '{reasons,reason_text}'::text[];
    subject jsonb = coalesce(new_row, old_row);
BEGIN
    INSERT INTO alert_events (alert_id, case_id, event_type, actor, run_id, before, after)
    VALUES (
        (subject ->> 'alert_id')::bigint,
        (subject ->> 'case_id')::bigint,
        CASE WHEN TG_TABLE_NAME = 'cases'
            THEN CASE TG_OP WHEN 'INSERT' THEN 'case_opened' WHEN 'UPDATE' THEN 'case_changed' ELSE 'case_deleted' END
            ELSE CASE TG_OP WHEN 'INSERT' THEN 'raised' WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END
        END,
        workflow_actor(),
        coalesce(
            nullif(current_setting('fraud_pipeline.run_id', true), ''),
            CASE TG_OP WHEN 'INSERT' THEN new_row ->> 'run_id' END
        ),
        CASE TG_OP WHEN 'UPDATE' THEN changed_columns(old_row, new_row) ELSE old_row END,
        CASE TG_OP WHEN 'UPDATE' THEN changed_columns(new_row, old_row) ELSE new_row END
    );
    RETURN NULL;
END
$$
"""
TRIGGERS: Final = (
    """
CREATE TRIGGER alerts_record_change AFTER UPDATE ON alerts
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION record_change()
""",
    """
CREATE TRIGGER alerts_record_insert AFTER INSERT OR DELETE ON alerts
FOR EACH ROW EXECUTE FUNCTION record_change()
""",
    """
CREATE TRIGGER cases_record_change AFTER UPDATE ON cases
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION record_change()
""",
    """
CREATE TRIGGER cases_record_insert AFTER INSERT OR DELETE ON cases
FOR EACH ROW EXECUTE FUNCTION record_change()
""",
)
REFUSE_CHANGE: Final = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% keeps what happened: % is refused, add a row instead', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END
$$
"""
# Rows of alerts and cases may be deleted, which is an event; TRUNCATE would leave none.
REFUSE_CHANGE_TRIGGERS: Final = (
    """
CREATE TRIGGER alert_events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON alert_events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""",
    """
CREATE TRIGGER alerts_refuse_change BEFORE TRUNCATE ON alerts
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""",
    """
CREATE TRIGGER cases_refuse_change BEFORE TRUNCATE ON cases
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""",
)
ADD_COMMENT: Final = """
CREATE FUNCTION add_alert_comment(alert_id bigint, comment text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    number bigint;
BEGIN
    IF btrim(coalesce(comment, '')) = '' THEN
        RAISE EXCEPTION 'a comment cannot be empty' USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO alert_events (alert_id, case_id, event_type, actor, run_id, comment)
    SELECT alerts.alert_id, alerts.case_id, 'commented', workflow_actor(),
        nullif(current_setting('fraud_pipeline.run_id', true), ''), add_alert_comment.comment
    FROM alerts WHERE alerts.alert_id = add_alert_comment.alert_id
    RETURNING event_id INTO number;
    IF number IS NULL THEN
        RAISE EXCEPTION 'there is no alert %', alert_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN number;
END
$$
"""
# The same change again is no news: a day may be scored many times.
RECORD_RESCORE: Final = """
CREATE FUNCTION record_rescore(alert_id bigint, verdict jsonb) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO alert_events (alert_id, case_id, event_type, actor, run_id, before, after)
    SELECT known.alert_id, known.case_id, 'rescored', workflow_actor(),
        nullif(current_setting('fraud_pipeline.run_id', true), ''),
        jsonb_build_object(
            'anomaly_score', known.anomaly_score, 'score_percentile', known.score_percentile,
            'confidence', known.confidence, 'risk_level', known.risk_level, 'priority', known.priority,
            'is_alert', known.selection = 'threshold', 'model_version', known.model_version,
            'artefact_sha256', known.artefact_sha256, 'threshold_version', known.threshold_version,
            'feature_set_version', known.feature_set_version
        ),
        verdict
    FROM alerts AS known
    WHERE known.alert_id = record_rescore.alert_id AND NOT EXISTS (
        SELECT FROM alert_events AS earlier
        WHERE earlier.alert_id = record_rescore.alert_id AND earlier.event_type = 'rescored' AND earlier.after = verdict
    );
    RETURN FOUND;
END
$$
"""
STATEMENTS: Final = (
    ACTOR,
    TIME,
    CHANGED_COLUMNS,
    RECORD_EVENT,
    *TRIGGERS,
    REFUSE_CHANGE,
    *REFUSE_CHANGE_TRIGGERS,
    ADD_COMMENT,
    RECORD_RESCORE,
    # They write with the rights of the owner: whoever may is told so by a GRANT.
    "REVOKE EXECUTE ON FUNCTION add_alert_comment(bigint, text), record_rescore(bigint, jsonb) FROM PUBLIC",
)
