"""Moves of alerts and cases, and what follows from them."""

from typing import Final

ALERT_STARTS: Final = """
CREATE FUNCTION alerts_start() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM workflow_actor();
    IF NEW.status IN ('investigating', 'closed') THEN
        RAISE EXCEPTION 'an alert starts open, not %', NEW.status USING ERRCODE = 'check_violation';
    END IF;
    NEW.current_priority = coalesce(NEW.current_priority, NEW.priority);
    RETURN NEW;
END
$$
"""
ALERT_STARTS_TRIGGER: Final = """
CREATE TRIGGER alerts_start BEFORE INSERT ON alerts FOR EACH ROW EXECUTE FUNCTION alerts_start()
"""
# A case that another transaction opens for the same card holder meanwhile makes the update fail, and is there then.
CASE_TO_REOPEN: Final = """
CREATE FUNCTION reopen_case(case_number bigint, card_holder text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    found_case bigint;
BEGIN
    LOOP
        SELECT case_id INTO found_case FROM cases
        WHERE user_id = card_holder AND status = 'open' FOR NO KEY UPDATE;
        IF FOUND THEN
            RETURN found_case;
        END IF;
        BEGIN
            UPDATE cases SET status = 'open', outcome = NULL, closed_at = NULL WHERE case_id = case_number;
            RETURN case_number;
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$
"""
ALERT_CHANGES: Final = """
CREATE FUNCTION alerts_stamp_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    actor text = workflow_actor();
    moment timestamptz = workflow_time();
    allowed text = CASE OLD.status WHEN 'investigating' THEN 'closed' ELSE 'investigating' END;
BEGIN
    IF NEW.status <> OLD.status AND NEW.status <> allowed THEN
        RAISE EXCEPTION 'alert % is % and cannot become %: the allowed move is to %',
            OLD.alert_id, OLD.status, NEW.status, allowed USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.status = 'closed' AND NEW.status = 'closed' AND NEW.outcome IS DISTINCT FROM OLD.outcome THEN
        RAISE EXCEPTION 'alert % is closed and keeps its outcome: the allowed move is to %', OLD.alert_id, allowed
            USING ERRCODE = 'check_violation';
    END IF;
    IF actor = 'pipeline' AND NEW.current_priority > OLD.current_priority THEN
        RAISE EXCEPTION 'the priority of alert % does not fall by itself', OLD.alert_id
            USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.status <> 'closed' AND OLD.due_at < moment THEN
        NEW.breached_at = coalesce(OLD.breached_at, OLD.due_at);
    END IF;
    IF actor <> 'pipeline' THEN
        NEW.first_touched_at = coalesce(OLD.first_touched_at, moment);
    END IF;
    IF NEW.status = 'closed' AND OLD.status <> 'closed' THEN
        NEW.closed_at = moment;
        NEW.snoozed_until = NULL;
    ELSIF NEW.status <> 'closed' AND OLD.status = 'closed' THEN
        NEW.closed_at = NULL;
        NEW.outcome = NULL;
        IF OLD.case_id IS NOT NULL THEN
            NEW.case_id = reopen_case(OLD.case_id, OLD.user_id);
        END IF;
    END IF;
    NEW.version = OLD.version + 1;
    IF NEW.updated_at = OLD.updated_at THEN
        NEW.updated_at = moment;
    END IF;
    RETURN NEW;
END
$$
"""
ALERT_CHANGES_TRIGGER: Final = """
CREATE TRIGGER alerts_stamp_change BEFORE UPDATE ON alerts
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION alerts_stamp_change()
"""
CASE_CHANGES: Final = """
CREATE FUNCTION cases_stamp_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM workflow_actor();
    IF NEW.status = 'closed' AND OLD.status <> 'closed' THEN
        IF EXISTS (SELECT FROM alerts WHERE case_id = OLD.case_id AND status <> 'closed') THEN
            RAISE EXCEPTION 'case % has alerts that are not closed: close them first', OLD.case_id
                USING ERRCODE = 'check_violation';
        END IF;
        NEW.closed_at = workflow_time();
    END IF;
    NEW.version = OLD.version + 1;
    NEW.updated_at = workflow_time();
    RETURN NEW;
END
$$
"""
CASE_CHANGES_TRIGGER: Final = """
CREATE TRIGGER cases_stamp_change BEFORE UPDATE ON cases
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION cases_stamp_change()
"""
# The lock comes first and in a statement of its own: whoever waits for it then sees the other's closed alerts.
SETTLE_CASE: Final = """
CREATE FUNCTION settle_case(case_number bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    found_alerts record;
BEGIN
    PERFORM FROM cases WHERE case_id = case_number FOR NO KEY UPDATE;
    SELECT
        count(*) AS all_of_them,
        CASE WHEN bool_or(status <> 'closed') THEN 'open' ELSE 'closed' END AS status,
        CASE
            WHEN bool_or(status <> 'closed') THEN NULL
            WHEN bool_or(outcome = 'confirmed_fraud') THEN 'confirmed_fraud'
            WHEN bool_or(outcome = 'inconclusive') THEN 'inconclusive'
            ELSE 'false_positive'
        END AS outcome,
        min(current_priority) AS priority
    INTO found_alerts FROM alerts WHERE case_id = case_number;
    IF found_alerts.all_of_them > 0 THEN
        UPDATE cases SET
            status = found_alerts.status,
            outcome = found_alerts.outcome,
            closed_at = CASE WHEN found_alerts.status = 'closed' THEN closed_at END,
            priority = least(priority, found_alerts.priority)
        WHERE case_id = case_number
            AND (status, outcome, priority)
                IS DISTINCT FROM (found_alerts.status, found_alerts.outcome, least(priority, found_alerts.priority));
    END IF;
END
$$
"""
SETTLE_CASES: Final = """
CREATE FUNCTION alerts_settle_case() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.case_id IS DISTINCT FROM NEW.case_id AND OLD.case_id IS NOT NULL THEN
        PERFORM settle_case(OLD.case_id);
    END IF;
    IF NEW.case_id IS NOT NULL THEN
        PERFORM settle_case(NEW.case_id);
    END IF;
    RETURN NULL;
END
$$
"""
SETTLE_CASES_TRIGGERS: Final = (
    """
CREATE TRIGGER alerts_settle_case AFTER INSERT ON alerts
FOR EACH ROW WHEN (NEW.case_id IS NOT NULL) EXECUTE FUNCTION alerts_settle_case()
""",
    """
CREATE TRIGGER alerts_settle_changed_case AFTER UPDATE ON alerts FOR EACH ROW WHEN (
    (OLD.case_id, OLD.status = 'closed', OLD.current_priority)
        IS DISTINCT FROM (NEW.case_id, NEW.status = 'closed', NEW.current_priority)
) EXECUTE FUNCTION alerts_settle_case()
""",
)
RECORD_DECISION: Final = """
CREATE FUNCTION alerts_record_decision() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO review_decisions (transaction_id, outcome, decided_at, decided_by, origin, alert_id)
    VALUES (
        NEW.transaction_id, NEW.outcome, NEW.closed_at, workflow_actor(),
        CASE NEW.selection WHEN 'random_sample' THEN 'random' ELSE 'alert' END, NEW.alert_id
    );
    RETURN NULL;
END
$$
"""
RECORD_DECISION_TRIGGER: Final = """
CREATE TRIGGER alerts_record_decision AFTER UPDATE ON alerts
FOR EACH ROW WHEN (
    NEW.outcome IS NOT NULL
    AND (OLD.status, OLD.outcome) IS DISTINCT FROM (NEW.status, NEW.outcome)
) EXECUTE FUNCTION alerts_record_decision()
"""
# An alert has what a label needs; a transaction without one is looked up. Rows that retention took away give no label.
WRITE_LABEL: Final = """
CREATE FUNCTION review_decisions_write_label() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    label_day date = (NEW.decided_at AT TIME ZONE (SELECT time_zone FROM deployment_settings))::date;
    decided record;
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_class
        WHERE oid = to_regclass('fraud_labels_' || to_char(label_day, '"y"YYYY"m"MM')) AND relispartition
    ) THEN
        PERFORM create_partitions(label_day, label_day);
    END IF;
    SELECT user_id, merchant_id, event_time, event_day INTO decided
    FROM alerts WHERE transaction_id = NEW.transaction_id;
    IF NOT FOUND THEN
        SELECT user_id, merchant_id, event_time, event_day INTO decided
        FROM transactions WHERE transaction_id = NEW.transaction_id ORDER BY event_day DESC LIMIT 1;
    END IF;
    IF FOUND THEN
        INSERT INTO fraud_labels AS known (
            known_day, transaction_id, user_id, merchant_id, event_time, event_day,
            is_fraud, label_source, label_known_at
        )
        VALUES (
            label_day, NEW.transaction_id, decided.user_id, decided.merchant_id, decided.event_time, decided.event_day,
            NEW.outcome = 'confirmed_fraud', 'analyst', NEW.decided_at
        )
        ON CONFLICT (known_day, transaction_id, label_source, label_known_at)
        DO UPDATE SET is_fraud = known.is_fraud OR excluded.is_fraud;
    END IF;
    RETURN NULL;
END
$$
"""
WRITE_LABEL_TRIGGER: Final = """
CREATE TRIGGER review_decisions_write_label AFTER INSERT ON review_decisions
FOR EACH ROW WHEN (NEW.outcome <> 'inconclusive') EXECUTE FUNCTION review_decisions_write_label()
"""
STATEMENTS: Final = (
    ALERT_STARTS,
    ALERT_STARTS_TRIGGER,
    CASE_TO_REOPEN,
    ALERT_CHANGES,
    ALERT_CHANGES_TRIGGER,
    CASE_CHANGES,
    CASE_CHANGES_TRIGGER,
    SETTLE_CASE,
    SETTLE_CASES,
    *SETTLE_CASES_TRIGGERS,
    RECORD_DECISION,
    RECORD_DECISION_TRIGGER,
    WRITE_LABEL,
    WRITE_LABEL_TRIGGER,
    # Only triggers call them, with the rights of the owner.
    "REVOKE EXECUTE ON FUNCTION reopen_case(bigint, text), settle_case(bigint) FROM PUBLIC",
)
