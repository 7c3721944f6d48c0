CREATE VIEW user_history AS
SELECT
    t.user_id, t.event_time, t.event_day, t.transaction_id, t.merchant_id, t.amount,
    s.anomaly_score, s.risk_level, s.is_alert, a.alert_id, a.status, a.outcome,
    (
        SELECT bool_or(latest.is_fraud)
        FROM (
            SELECT DISTINCT ON (l.label_source) l.is_fraud
            FROM fraud_labels AS l
            WHERE l.transaction_id = t.transaction_id AND l.event_day = t.event_day AND l.known_day >= t.event_day
            ORDER BY l.label_source, l.label_known_at DESC, l.is_fraud DESC
        ) AS latest
    ) AS is_known_fraud
FROM transactions AS t
LEFT JOIN anomaly_scores AS s
    ON s.event_day = t.event_day AND s.transaction_id = t.transaction_id
LEFT JOIN alerts AS a
    ON a.event_day = t.event_day AND a.transaction_id = t.transaction_id AND a.selection = 'threshold';

COMMENT ON VIEW user_history IS 'Transactions of each card holder with score, alert and label; always ask for one user_id';
COMMENT ON COLUMN user_history.user_id IS 'Identity of the card holder';
COMMENT ON COLUMN user_history.event_time IS 'When the transaction happened';
COMMENT ON COLUMN user_history.event_day IS 'Day of the transaction in the time zone of the deployment';
COMMENT ON COLUMN user_history.transaction_id IS 'Identity of the transaction at its source';
COMMENT ON COLUMN user_history.merchant_id IS 'Identity of the merchant';
COMMENT ON COLUMN user_history.amount IS 'Amount in the reporting currency, negative for a refund';
COMMENT ON COLUMN user_history.anomaly_score IS 'Score that decided, 0 to 1, higher is more anomalous; NULL if not scored';
COMMENT ON COLUMN user_history.risk_level IS 'LOW, MEDIUM, HIGH or CRITICAL, from the score alone; NULL if not scored';
COMMENT ON COLUMN user_history.is_alert IS 'Whether the newest score reached the threshold; NULL if not scored';
COMMENT ON COLUMN user_history.alert_id IS 'Number of the alert; NULL if none was raised';
COMMENT ON COLUMN user_history.status IS 'open, investigating or closed; NULL without an alert';
COMMENT ON COLUMN user_history.outcome IS 'What the closed alert turned out to be; NULL until then';
COMMENT ON COLUMN user_history.is_known_fraud IS
    'Whether any source (chargeback file, analyst) now says fraud; NULL while no label is known';
