CREATE VIEW model_performance AS
SELECT
    event_day, model_version,
    max(value) FILTER (WHERE metric = 'transactions') AS transactions,
    max(value) FILTER (WHERE metric = 'alerts') AS alerts,
    max(value) FILTER (WHERE metric = 'matured') AS matured,
    max(value) FILTER (WHERE metric = 'frauds') AS frauds,
    max(value) FILTER (WHERE metric = 'recall') AS recall,
    max(value) FILTER (WHERE metric = 'false_positive_rate') AS false_positive_rate,
    max(value) FILTER (WHERE metric = 'precision') AS precision,
    max(value) FILTER (WHERE metric = 'average_precision') AS average_precision,
    max(value) FILTER (WHERE metric = 'roc_auc') AS roc_auc,
    max(value) FILTER (WHERE metric = 'alert_precision') AS alert_precision,
    max(value) FILTER (WHERE metric = 'alert_value_detected') AS alert_value_detected,
    max(computed_as_of) FILTER (WHERE metric = 'matured') AS labels_known_to
FROM model_metrics
GROUP BY event_day, model_version;

COMMENT ON VIEW model_performance IS 'How well each model version did on each day it scored, one column a metric';
COMMENT ON COLUMN model_performance.event_day IS 'Day that was scored';
COMMENT ON COLUMN model_performance.model_version IS 'Registered model version that gave the scores';
COMMENT ON COLUMN model_performance.transactions IS 'Transactions scored';
COMMENT ON COLUMN model_performance.alerts IS 'Transactions at or above the threshold';
COMMENT ON COLUMN model_performance.matured IS 'Transactions whose label is known';
COMMENT ON COLUMN model_performance.frauds IS 'Frauds among them';
COMMENT ON COLUMN model_performance.recall IS 'Share of those frauds that were alerted on; NULL without frauds';
COMMENT ON COLUMN model_performance.false_positive_rate IS 'Share of the genuine transactions that were alerted on';
COMMENT ON COLUMN model_performance.precision IS 'Share of frauds in the alerts, by the labels known so far';
COMMENT ON COLUMN model_performance.average_precision IS 'Area under the precision-recall curve';
COMMENT ON COLUMN model_performance.roc_auc IS 'Area under the ROC curve';
COMMENT ON COLUMN model_performance.alert_precision IS 'Share of frauds in the alerts that analysts decided';
COMMENT ON COLUMN model_performance.alert_value_detected IS 'Money in the alerts that analysts confirmed';
COMMENT ON COLUMN model_performance.labels_known_to IS 'Labels known up to here were used';
