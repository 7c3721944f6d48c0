CREATE VIEW open_alerts AS
SELECT
    a.alert_id, a.current_priority, a.risk_level, a.due_at, coalesce(a.due_at < now(), false) AS is_overdue, a.status, a.assignee,
    a.user_id, a.merchant_id, a.amount, a.event_time, a.event_day, a.anomaly_score, a.reason_text, a.case_id,
    (SELECT count(*) FROM alerts AS other WHERE other.case_id = a.case_id AND other.status <> 'closed')
        AS open_alerts_of_case,
    a.raised_at, a.version
FROM alerts AS a
WHERE a.status <> 'closed' AND a.selection = 'threshold' AND (a.snoozed_until IS NULL OR a.snoozed_until <= now());

COMMENT ON VIEW open_alerts IS
    'The queue: alerts that are not closed and not snoozed now; work by current_priority, then due_at';
COMMENT ON COLUMN open_alerts.alert_id IS 'Number of the alert';
COMMENT ON COLUMN open_alerts.current_priority IS 'Urgency now, 1 (most urgent) to 5';
COMMENT ON COLUMN open_alerts.risk_level IS 'MEDIUM, HIGH or CRITICAL, from the score alone';
COMMENT ON COLUMN open_alerts.due_at IS 'When the alert has to be closed by; NULL if no time was set';
COMMENT ON COLUMN open_alerts.is_overdue IS 'Whether it is past due_at';
COMMENT ON COLUMN open_alerts.status IS 'open or investigating';
COMMENT ON COLUMN open_alerts.assignee IS 'Who works on the alert; NULL for nobody';
COMMENT ON COLUMN open_alerts.user_id IS 'Identity of the card holder';
COMMENT ON COLUMN open_alerts.merchant_id IS 'Identity of the merchant';
COMMENT ON COLUMN open_alerts.amount IS 'Amount in the reporting currency, negative for a refund';
COMMENT ON COLUMN open_alerts.event_time IS 'When the transaction happened';
COMMENT ON COLUMN open_alerts.event_day IS 'Day of the transaction in the time zone of the deployment';
COMMENT ON COLUMN open_alerts.anomaly_score IS 'Score that decided, 0 to 1, higher is more anomalous; no probability';
COMMENT ON COLUMN open_alerts.reason_text IS 'The strongest reasons for the score, as a sentence';
COMMENT ON COLUMN open_alerts.case_id IS 'Case of the card holder that the alert belongs to';
COMMENT ON COLUMN open_alerts.open_alerts_of_case IS
    'Alerts of the same case that are not closed, this one and snoozed ones included';
COMMENT ON COLUMN open_alerts.raised_at IS 'When the pipeline raised the alert';
COMMENT ON COLUMN open_alerts.version IS 'Raised by one on every change: give it when you change the alert';
