CREATE VIEW alert_details AS
SELECT
    a.alert_id, a.selection, a.status, a.outcome, a.assignee, a.priority, a.current_priority, a.risk_level,
    a.anomaly_score, a.score_percentile, a.confidence, a.amount, a.user_id, a.merchant_id, a.transaction_id,
    a.event_time, a.event_day, a.raised_at, a.due_at, a.snoozed_until, a.first_touched_at, a.closed_at,
    (extract(epoch FROM a.first_touched_at - a.raised_at) / 3600)::double precision AS hours_to_first_touch,
    (extract(epoch FROM a.closed_at - a.raised_at) / 3600)::double precision AS hours_to_close,
    CASE
        WHEN a.breached_at IS NOT NULL OR coalesce(a.closed_at, now()) > a.due_at THEN 'breached'
        WHEN a.due_at IS NULL THEN NULL
        WHEN a.closed_at IS NULL THEN 'open'
        ELSE 'met'
    END AS sla,
    a.reason_text, a.reasons, a.case_id,
    (
        SELECT bool_or(latest.is_fraud)
        FROM (
            SELECT DISTINCT ON (l.label_source) l.is_fraud
            FROM fraud_labels AS l
            WHERE l.transaction_id = a.transaction_id AND l.event_day = a.event_day AND l.known_day >= a.event_day
            ORDER BY l.label_source, l.label_known_at DESC, l.is_fraud DESC
        ) AS latest
    ) AS is_known_fraud,
    (
        SELECT e.comment
        FROM alert_events AS e
        WHERE e.alert_id = a.alert_id AND e.comment IS NOT NULL
        ORDER BY e.event_id DESC
        LIMIT 1
    ) AS last_comment,
    a.run_id, a.model_version, a.artefact_sha256, a.threshold_version, a.feature_set_version, a.version, a.updated_at
FROM alerts AS a;

COMMENT ON VIEW alert_details IS
    'All there is to know of each alert, with its reasons; also what was drawn at random for review';
COMMENT ON COLUMN alert_details.alert_id IS 'Number of the alert';
COMMENT ON COLUMN alert_details.selection IS
    'threshold: an alert; random_sample: drawn below the threshold as a yardstick, no alert';
COMMENT ON COLUMN alert_details.status IS 'open, investigating or closed';
COMMENT ON COLUMN alert_details.outcome IS 'confirmed_fraud, false_positive or inconclusive; NULL until closed';
COMMENT ON COLUMN alert_details.assignee IS 'Who works on the alert; NULL for nobody';
COMMENT ON COLUMN alert_details.priority IS 'Urgency when the alert was raised, 1 (most urgent) to 5';
COMMENT ON COLUMN alert_details.current_priority IS 'Urgency now, 1 (most urgent) to 5';
COMMENT ON COLUMN alert_details.risk_level IS 'LOW, MEDIUM, HIGH or CRITICAL, from the score alone';
COMMENT ON COLUMN alert_details.anomaly_score IS 'Score that decided, 0 to 1, higher is more anomalous; no probability';
COMMENT ON COLUMN alert_details.score_percentile IS 'Share of reference scores at or below, 0 to 1';
COMMENT ON COLUMN alert_details.confidence IS 'Confidence in the side of the threshold that the score fell on, 0 to 1';
COMMENT ON COLUMN alert_details.amount IS 'Amount in the reporting currency, negative for a refund';
COMMENT ON COLUMN alert_details.user_id IS 'Identity of the card holder';
COMMENT ON COLUMN alert_details.merchant_id IS 'Identity of the merchant';
COMMENT ON COLUMN alert_details.transaction_id IS 'Identity of the transaction at its source';
COMMENT ON COLUMN alert_details.event_time IS 'When the transaction happened';
COMMENT ON COLUMN alert_details.event_day IS 'Day of the transaction in the time zone of the deployment';
COMMENT ON COLUMN alert_details.raised_at IS 'When the pipeline raised the alert';
COMMENT ON COLUMN alert_details.due_at IS 'When the alert has to be closed by; NULL if no time was set';
COMMENT ON COLUMN alert_details.snoozed_until IS 'Set aside until then; NULL if not';
COMMENT ON COLUMN alert_details.first_touched_at IS 'When somebody other than the pipeline first changed the alert';
COMMENT ON COLUMN alert_details.closed_at IS 'When the alert was closed; NULL while it is not';
COMMENT ON COLUMN alert_details.hours_to_first_touch IS 'Hours from raising to the first change; NULL if there is none';
COMMENT ON COLUMN alert_details.hours_to_close IS 'Hours from raising to closing; NULL while not closed';
COMMENT ON COLUMN alert_details.sla IS
    'met: closed in time; breached: not closed when it was due; open: not closed, not due yet; NULL without a due time';
COMMENT ON COLUMN alert_details.reason_text IS 'The strongest reasons for the score, as a sentence';
COMMENT ON COLUMN alert_details.reasons IS
    'Reasons for the score, strongest first: feature, value, percentile, contribution, text';
COMMENT ON COLUMN alert_details.case_id IS 'Case of the card holder that the alert belongs to; NULL for a random review';
COMMENT ON COLUMN alert_details.is_known_fraud IS
    'Whether any source (chargeback file, analyst) now says fraud; NULL while no label is known';
COMMENT ON COLUMN alert_details.last_comment IS 'Newest comment on the alert; NULL if there is none';
COMMENT ON COLUMN alert_details.run_id IS 'Run that raised the alert';
COMMENT ON COLUMN alert_details.model_version IS 'Registered model version that gave the score';
COMMENT ON COLUMN alert_details.artefact_sha256 IS 'SHA-256 of the model artefact';
COMMENT ON COLUMN alert_details.threshold_version IS 'Version of the calibrated threshold';
COMMENT ON COLUMN alert_details.feature_set_version IS 'Version of the feature definitions';
COMMENT ON COLUMN alert_details.version IS 'Raised by one on every change';
COMMENT ON COLUMN alert_details.updated_at IS 'Time of the last change';
