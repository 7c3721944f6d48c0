CREATE VIEW repeat_users AS
SELECT
    user_id, count(*) AS alerts,
    count(*) FILTER (WHERE status <> 'closed') AS open_alerts,
    count(*) FILTER (WHERE outcome = 'confirmed_fraud') AS confirmed_frauds,
    count(*) FILTER (WHERE outcome = 'false_positive') AS false_positives,
    count(DISTINCT merchant_id) AS merchants, sum(abs(amount)) AS amount,
    min(event_time) AS first_event_time, max(event_time) AS last_event_time
FROM alerts
WHERE selection = 'threshold' AND event_day > current_date - 90
GROUP BY user_id
HAVING count(*) > 1;

COMMENT ON VIEW repeat_users IS 'Card holders with more than one alert in the last 90 days';
COMMENT ON COLUMN repeat_users.user_id IS 'Identity of the card holder';
COMMENT ON COLUMN repeat_users.alerts IS 'Alerts on transactions of the last 90 days';
COMMENT ON COLUMN repeat_users.open_alerts IS 'How many of them are not closed';
COMMENT ON COLUMN repeat_users.confirmed_frauds IS 'How many were closed as confirmed_fraud';
COMMENT ON COLUMN repeat_users.false_positives IS 'How many were closed as false_positive';
COMMENT ON COLUMN repeat_users.merchants IS 'Number of merchants that the alerts are at';
COMMENT ON COLUMN repeat_users.amount IS 'Sum of the amounts in the reporting currency, refunds by their size';
COMMENT ON COLUMN repeat_users.first_event_time IS 'Transaction time of the first of these alerts';
COMMENT ON COLUMN repeat_users.last_event_time IS 'Transaction time of the last of these alerts';
