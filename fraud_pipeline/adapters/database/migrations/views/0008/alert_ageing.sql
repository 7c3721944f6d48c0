CREATE VIEW alert_ageing AS
SELECT
    current_priority,
    CASE
        WHEN age < interval '1 day' THEN 'under 1 day'
        WHEN age < interval '3 days' THEN '1 to 3 days'
        WHEN age < interval '7 days' THEN '3 to 7 days'
        WHEN age < interval '30 days' THEN '7 to 30 days'
        ELSE '30 days and over'
    END AS age,
    count(*) AS alerts, count(*) FILTER (WHERE assignee IS NULL) AS unassigned,
    count(*) FILTER (WHERE due_at < now()) AS overdue, count(*) FILTER (WHERE snoozed_until > now()) AS snoozed,
    sum(abs(amount)) AS amount, min(raised_at) AS oldest_raised_at
FROM (
    SELECT current_priority, assignee, due_at, snoozed_until, amount, raised_at, now() - raised_at AS age
    FROM alerts
    WHERE status <> 'closed' AND selection = 'threshold'
) AS waiting
GROUP BY 1, 2;

COMMENT ON VIEW alert_ageing IS
    'Alerts that are not closed, by priority and time since they were raised; order by oldest_raised_at';
COMMENT ON COLUMN alert_ageing.current_priority IS 'Urgency now, 1 (most urgent) to 5';
COMMENT ON COLUMN alert_ageing.age IS
    'Time since raising: under 1 day, 1 to 3 days, 3 to 7 days, 7 to 30 days, 30 days and over';
COMMENT ON COLUMN alert_ageing.alerts IS 'Number of alerts, snoozed ones included';
COMMENT ON COLUMN alert_ageing.unassigned IS 'How many nobody works on';
COMMENT ON COLUMN alert_ageing.overdue IS 'How many are past their due time';
COMMENT ON COLUMN alert_ageing.snoozed IS 'How many are set aside for now';
COMMENT ON COLUMN alert_ageing.amount IS 'Sum of their amounts in the reporting currency, refunds by their size';
COMMENT ON COLUMN alert_ageing.oldest_raised_at IS 'When the oldest of them was raised';
