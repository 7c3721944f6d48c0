CREATE VIEW case_history AS
SELECT
    c.case_id, c.user_id, e.event_id, e.at, e.event_type, e.alert_id, e.actor,
    e.before ->> 'status' AS status_before, e.after ->> 'status' AS status_after, e.after ->> 'outcome' AS outcome,
    e.after ->> 'assignee' AS assignee,
    CASE WHEN e.before IS NOT NULL THEN e.after - '{version,updated_at}'::text[] END AS changes,
    e.comment, e.run_id
FROM cases AS c
JOIN alert_events AS e ON e.case_id = c.case_id;

COMMENT ON VIEW case_history IS 'All that happened to each case and its alerts, one row an event; read it by event_id';
COMMENT ON COLUMN case_history.case_id IS 'Number of the case';
COMMENT ON COLUMN case_history.user_id IS 'Identity of the card holder';
COMMENT ON COLUMN case_history.event_id IS 'Number of the event in the audit, in the order of happening';
COMMENT ON COLUMN case_history.at IS 'When it happened';
COMMENT ON COLUMN case_history.event_type IS
    'What happened: raised, changed, commented, rescored or deleted (the alert); case_opened, case_changed, case_deleted';
COMMENT ON COLUMN case_history.alert_id IS 'Alert that it happened to; NULL for the case itself';
COMMENT ON COLUMN case_history.actor IS 'Who did it; pipeline for a run';
COMMENT ON COLUMN case_history.status_before IS 'Status before; NULL if it stayed as it was';
COMMENT ON COLUMN case_history.status_after IS 'Status after; NULL if it stayed as it was';
COMMENT ON COLUMN case_history.outcome IS 'Outcome from then on; NULL if it stayed as it was';
COMMENT ON COLUMN case_history.assignee IS 'Who works on it from then on; NULL if it stayed as it was, or for nobody';
COMMENT ON COLUMN case_history.changes IS
    'Columns that changed, with their new values; of a rescored alert, what the new verdict would have been';
COMMENT ON COLUMN case_history.comment IS 'What was said; NULL for nothing';
COMMENT ON COLUMN case_history.run_id IS 'Run that did it; NULL for a person';
