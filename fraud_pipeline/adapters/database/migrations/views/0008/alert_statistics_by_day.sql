CREATE VIEW alert_statistics_by_day AS
SELECT
    event_day, model_version, count(*) AS alerts,
    count(*) FILTER (WHERE status = 'closed') AS closed,
    count(*) FILTER (WHERE outcome = 'confirmed_fraud') AS confirmed_frauds,
    count(*) FILTER (WHERE outcome = 'false_positive') AS false_positives,
    (count(*) FILTER (WHERE outcome = 'confirmed_fraud'))::double precision
        / nullif(count(*) FILTER (WHERE outcome IN ('confirmed_fraud', 'false_positive')), 0) AS alert_precision,
    (count(*) FILTER (WHERE outcome = 'false_positive'))::double precision
        / nullif(count(*) FILTER (WHERE outcome = 'confirmed_fraud'), 0) AS false_positive_ratio,
    sum(abs(amount)) AS amount,
    coalesce(sum(abs(amount)) FILTER (WHERE outcome = 'confirmed_fraud'), 0) AS value_detected,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY hours_to_first_touch) AS hours_to_first_touch_median,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY hours_to_first_touch) AS hours_to_first_touch_p90,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY hours_to_close) AS hours_to_close_median,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY hours_to_close) AS hours_to_close_p90,
    count(*) FILTER (WHERE sla = 'met') AS sla_met,
    count(*) FILTER (WHERE sla = 'breached') AS sla_breached,
    count(*) FILTER (WHERE sla = 'open') AS sla_open,
    (count(*) FILTER (WHERE sla = 'met'))::double precision
        / nullif(count(*) FILTER (WHERE sla IN ('met', 'breached')), 0) AS sla_met_share
FROM alert_details
WHERE selection = 'threshold'
GROUP BY event_day, model_version;

COMMENT ON VIEW alert_statistics_by_day IS
    'How the alerts of each day were worked on and what they were worth, by the model version that raised them';
COMMENT ON COLUMN alert_statistics_by_day.event_day IS 'Day of the transactions in the time zone of the deployment';
COMMENT ON COLUMN alert_statistics_by_day.model_version IS 'Registered model version that raised the alerts';
COMMENT ON COLUMN alert_statistics_by_day.alerts IS 'Alerts raised';
COMMENT ON COLUMN alert_statistics_by_day.closed IS 'How many are closed';
COMMENT ON COLUMN alert_statistics_by_day.confirmed_frauds IS 'How many were closed as confirmed_fraud';
COMMENT ON COLUMN alert_statistics_by_day.false_positives IS 'How many were closed as false_positive';
COMMENT ON COLUMN alert_statistics_by_day.alert_precision IS
    'Confirmed frauds over confirmed frauds and false positives; NULL while there are neither';
COMMENT ON COLUMN alert_statistics_by_day.false_positive_ratio IS
    'False positives for each confirmed fraud; NULL while there is no confirmed fraud';
COMMENT ON COLUMN alert_statistics_by_day.amount IS
    'Sum of the amounts of all alerts in the reporting currency, refunds by their size';
COMMENT ON COLUMN alert_statistics_by_day.value_detected IS
    'Sum of the amounts of confirmed frauds in the reporting currency, refunds by their size';
COMMENT ON COLUMN alert_statistics_by_day.hours_to_first_touch_median IS
    'Median hours from raising to the first change, of alerts that somebody changed';
COMMENT ON COLUMN alert_statistics_by_day.hours_to_first_touch_p90 IS
    'Hours from raising to the first change that nine of ten of them took at most';
COMMENT ON COLUMN alert_statistics_by_day.hours_to_close_median IS
    'Median hours from raising to closing, of closed alerts';
COMMENT ON COLUMN alert_statistics_by_day.hours_to_close_p90 IS
    'Hours from raising to closing that nine of ten closed alerts took at most';
COMMENT ON COLUMN alert_statistics_by_day.sla_met IS 'Alerts closed by their due time';
COMMENT ON COLUMN alert_statistics_by_day.sla_breached IS 'Alerts that were not closed when they were due';
COMMENT ON COLUMN alert_statistics_by_day.sla_open IS 'Alerts not closed and not due yet';
COMMENT ON COLUMN alert_statistics_by_day.sla_met_share IS
    'Met over met and breached; NULL while there are neither';
