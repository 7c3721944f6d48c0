"""What becomes of rows that were there before the workflow, and what of it is undone on the way back."""

from typing import Final

# The time of the last change stands in for what was not recorded.
MEND_ALERTS: Final = """
UPDATE alerts SET
    current_priority = priority,
    assignee = nullif(assignee, ''),
    outcome = CASE status WHEN 'closed' THEN coalesce(outcome, 'inconclusive') END,
    closed_at = CASE status WHEN 'closed' THEN coalesce(
        (SELECT max(decided_at) FROM review_decisions WHERE review_decisions.alert_id = alerts.alert_id), updated_at
    ) END,
    first_touched_at = CASE WHEN version > 1 OR status <> 'open' THEN updated_at END
"""
MAKE_CASES: Final = """
INSERT INTO cases (user_id, status, outcome, priority, opened_at, closed_at, updated_at)
SELECT
    user_id,
    CASE WHEN bool_and(status = 'closed') THEN 'closed' ELSE 'open' END,
    CASE
        WHEN bool_or(status <> 'closed') THEN NULL
        WHEN bool_or(outcome = 'confirmed_fraud') THEN 'confirmed_fraud'
        WHEN bool_or(outcome = 'inconclusive') THEN 'inconclusive'
        ELSE 'false_positive'
    END,
    min(priority), min(raised_at), CASE WHEN bool_and(status = 'closed') THEN max(closed_at) END, max(updated_at)
FROM alerts WHERE selection = 'threshold'
GROUP BY user_id, status = 'closed'
ORDER BY min(raised_at), user_id, status = 'closed'
"""
JOIN_CASES: Final = """
UPDATE alerts SET case_id = cases.case_id FROM cases
WHERE cases.user_id = alerts.user_id AND (cases.status = 'closed') = (alerts.status = 'closed')
    AND alerts.selection = 'threshold'
"""
MAKE_PARTITIONS_OF_LABELS: Final = """
SELECT create_partitions(min(day), max(day))
FROM (SELECT (decided_at AT TIME ZONE 'UTC')::date AS day FROM review_decisions) AS decisions
HAVING count(*) > 0
"""
MAKE_LABELS: Final = """
INSERT INTO fraud_labels (
    known_day, transaction_id, user_id, merchant_id, event_time, event_day, is_fraud, label_source, label_known_at
)
SELECT
    (decided_at AT TIME ZONE 'UTC')::date, transaction_id,
    coalesce(alert.user_id, other.user_id), coalesce(alert.merchant_id, other.merchant_id),
    coalesce(alert.event_time, other.event_time), coalesce(alert.event_day, other.event_day),
    bool_or(decision.outcome = 'confirmed_fraud'), 'analyst', decided_at
FROM review_decisions AS decision
LEFT JOIN alerts AS alert USING (transaction_id)
LEFT JOIN (
    SELECT DISTINCT ON (transaction_id) transaction_id, user_id, merchant_id, event_time, event_day
    FROM transactions WHERE transaction_id IN (SELECT transaction_id FROM review_decisions)
    ORDER BY transaction_id, event_day DESC
) AS other USING (transaction_id)
WHERE decision.outcome <> 'inconclusive' AND (alert.alert_id IS NOT NULL OR other.event_day IS NOT NULL)
GROUP BY 1, 2, 3, 4, 5, 6, decided_at
"""
# The functions of revision 0003, as they were.
OLD_STAMP: Final = """
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
OLD_RECORD_DECISION: Final = """
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
