CREATE VIEW alerts_by_day AS
SELECT
    event_day, risk_level, count(*) AS alerts, sum(abs(amount)) AS amount,
    count(*) FILTER (WHERE status = 'open') AS open,
    count(*) FILTER (WHERE status = 'investigating') AS investigating,
    count(*) FILTER (WHERE outcome = 'confirmed_fraud') AS confirmed_frauds,
    count(*) FILTER (WHERE outcome = 'false_positive') AS false_positives,
    count(*) FILTER (WHERE outcome = 'inconclusive') AS inconclusive
FROM alerts
WHERE selection = 'threshold'
GROUP BY event_day, risk_level;

COMMENT ON VIEW alerts_by_day IS 'Alerts of each day and risk level, and what became of them';
COMMENT ON COLUMN alerts_by_day.event_day IS 'Day of the transactions in the time zone of the deployment';
COMMENT ON COLUMN alerts_by_day.risk_level IS 'MEDIUM, HIGH or CRITICAL, from the score alone';
COMMENT ON COLUMN alerts_by_day.alerts IS 'Number of alerts';
COMMENT ON COLUMN alerts_by_day.amount IS 'Sum of their amounts in the reporting currency, refunds by their size';
COMMENT ON COLUMN alerts_by_day.open IS 'How many nobody has taken up';
COMMENT ON COLUMN alerts_by_day.investigating IS 'How many are being investigated';
COMMENT ON COLUMN alerts_by_day.confirmed_frauds IS 'How many were closed as confirmed_fraud';
COMMENT ON COLUMN alerts_by_day.false_positives IS 'How many were closed as false_positive';
COMMENT ON COLUMN alerts_by_day.inconclusive IS 'How many were closed as inconclusive';
