-- A year of believable rows up to yesterday, as many as the setting generated.transactions says. Everything follows
-- from the number of a transaction, so the same number gives the same rows. Statements end with an empty line.

-- Triggers would sign, stamp and record each row, which takes minutes.
SET session_replication_role = replica;

SET synchronous_commit = off;

SET work_mem = '256MB';

CREATE FUNCTION pg_temp.share(n bigint, salt bigint) RETURNS double precision LANGUAGE sql IMMUTABLE AS $$
    SELECT (hashint8extended(n, salt) & 1073741823)::double precision / 1073741824
$$;

CREATE TEMPORARY TABLE sizes AS
SELECT
    n AS transactions, greatest(n / 250, 20)::int AS users, greatest(n / 1000, 10)::int AS merchants,
    date_trunc('day', now(), 'UTC') - interval '365 days' AS start, 365 * 86400.0 / n AS seconds
FROM (SELECT current_setting('generated.transactions')::bigint AS n) AS given;

SELECT create_partitions((current_date - 366)::date, (current_date + 31)::date);

INSERT INTO deployment_settings (time_zone) VALUES ('UTC') ON CONFLICT DO NOTHING;

CREATE FUNCTION pg_temp.numbered() RETURNS TABLE (
    n bigint, transaction_id text, user_id text, merchant_id text, event_time timestamptz, event_day date,
    amount numeric(18, 4), known_fraud boolean, model_version text
) LANGUAGE sql STABLE AS $$
    SELECT
        n, 't' || lpad(n::text, 8, '0'), 'u' || lpad(floor(users * pg_temp.share(n, 1))::text, 6, '0'),
        'm' || lpad(floor(merchants * pg_temp.share(n, 2) ^ 2)::text, 5, '0'),
        date_trunc('second', start + n * seconds * interval '1 second'),
        ((start + n * seconds * interval '1 second') AT TIME ZONE 'UTC')::date,
        round(exp(1.5 + 4 * pg_temp.share(n, 3))::numeric, 2), pg_temp.share(n, 4) < CASE WHEN n % 25 = 0 THEN 0.3 ELSE 0.002 END,
        (1 + n * 12 / (transactions + 1))::text
    FROM sizes, generate_series(0, transactions - 1) AS n
$$;

INSERT INTO transactions (
    transaction_id, user_id, merchant_id, event_time, event_day, amount, source_name, source_file, row_number,
    file_sha256
)
SELECT
    transaction_id, user_id, merchant_id, event_time, event_day, amount, 'bank', event_day || '.csv', n + 1,
    md5(event_day::text)
FROM pg_temp.numbered();

INSERT INTO transaction_features (
    transaction_id, user_id, merchant_id, event_time, event_day, amount, user_amount_zscore_90d
)
SELECT transaction_id, user_id, merchant_id, event_time, event_day, amount, 6 * pg_temp.share(n, 5) - 3
FROM pg_temp.numbered();

INSERT INTO anomaly_scores (
    transaction_id, user_id, event_time, event_day, isolation_forest_score, local_outlier_factor_score,
    ensemble_score, anomaly_score, score_percentile, confidence, risk_level, priority, is_alert, run_id,
    model_version, artefact_sha256, threshold_version, feature_set_version
)
SELECT
    transaction_id, user_id, event_time, event_day, score, 1 + score, score, score, score, 0.9,
    CASE WHEN n % 25 <> 0 THEN 'LOW' WHEN score < 0.93 THEN 'MEDIUM' WHEN score < 0.97 THEN 'HIGH' ELSE 'CRITICAL' END,
    CASE WHEN n % 25 <> 0 THEN 5 WHEN score < 0.93 THEN 4 WHEN score < 0.97 THEN 3 ELSE 2 END,
    n % 25 = 0, 'run-' || event_day, model_version, md5(model_version), model_version, '2'
FROM (
    SELECT *, CASE WHEN n % 25 = 0 THEN 0.9 + 0.1 * pg_temp.share(n, 6) ELSE 0.9 * pg_temp.share(n, 6) END AS score
    FROM pg_temp.numbered()
) AS scored;

CREATE TEMPORARY TABLE raised AS
SELECT *,
    raised_at + (ARRAY[4, 8, 24, 72, 168])[priority] * interval '1 hour' AS due_at,
    CASE WHEN status <> 'open' THEN first_touch END AS first_touched_at,
    CASE WHEN status = 'closed' THEN least(
        date_trunc('second', first_touch - ln(1 - pg_temp.share(n, 9)) * interval '9 hours'), now()
    ) END AS closed_at,
    CASE WHEN status <> 'closed' THEN NULL WHEN selection = 'random_sample' THEN 'false_positive'
        WHEN pg_temp.share(n, 10) < CASE WHEN known_fraud THEN 0.85 ELSE 0.15 END THEN 'confirmed_fraud'
        WHEN pg_temp.share(n, 10) < 0.95 THEN 'false_positive' ELSE 'inconclusive' END AS outcome,
    CASE WHEN pg_temp.share(n, 12) < 0.002 THEN 'gus' WHEN status <> 'open' OR pg_temp.share(n, 11) < 0.5
        THEN (ARRAY['ada', 'bela', 'chen', 'dora', 'emil', 'fay'])[1 + floor(6 * pg_temp.share(n, 12))::int] END
        AS assignee
FROM (
    SELECT *, least(date_trunc('second', raised_at + pg_temp.share(n, 8) * interval '10 hours'), now()) AS first_touch,
        CASE WHEN event_time < now() - interval '7 days' AND pg_temp.share(n, 7) < 0.98 THEN 'closed'
            WHEN pg_temp.share(n, 7) < 0.4 THEN 'closed' WHEN pg_temp.share(n, 7) < 0.6 THEN 'investigating'
            ELSE 'open' END AS status
    FROM (
        SELECT t.*, s.anomaly_score, s.score_percentile, s.risk_level,
            CASE WHEN n % 25 <> 0 THEN 5 ELSE greatest(s.priority - (t.amount > 60)::int, 1) END::smallint AS priority,
            CASE WHEN n % 25 = 0 THEN 'threshold' ELSE 'random_sample' END AS selection,
            least(t.event_day + interval '26 hours', now()) AS raised_at
        FROM pg_temp.numbered() AS t
        JOIN anomaly_scores AS s ON s.event_day = t.event_day AND s.transaction_id = t.transaction_id
        WHERE n % 25 = 0 OR n % 1000 = 1
    ) AS chosen
) AS worked_on;

INSERT INTO cases (user_id, status, outcome, assignee, priority, opened_at, closed_at)
SELECT
    user_id, case_status, CASE case_status WHEN 'closed' THEN min(outcome) END, min(assignee), min(priority),
    min(raised_at), CASE case_status WHEN 'closed' THEN max(closed_at) END
FROM (SELECT *, CASE status WHEN 'closed' THEN 'closed' ELSE 'open' END AS case_status FROM raised) AS each
WHERE selection = 'threshold'
GROUP BY user_id, case_status;

INSERT INTO alerts (
    transaction_id, user_id, merchant_id, event_time, event_day, amount, anomaly_score, score_percentile, confidence,
    risk_level, priority, reasons, reason_text, run_id, model_version, artefact_sha256, threshold_version,
    feature_set_version, raised_at, status, outcome, assignee, version, selection, case_id, current_priority, due_at,
    snoozed_until, first_touched_at, closed_at, breached_at, created_at, updated_at
)
SELECT
    transaction_id, r.user_id, merchant_id, event_time, event_day, amount, anomaly_score, score_percentile, 0.9,
    risk_level, r.priority,
    CASE WHEN selection = 'random_sample' THEN '[]' ELSE jsonb_build_array(
        jsonb_build_object(
            'feature', feature, 'value', round((4 * pg_temp.share(n, 15))::numeric, 2), 'percentile', 0.998,
            'contribution', 0.31, 'unit', 'log-odds', 'detector', 'feedback_classifier', 'text', reason
        ),
        jsonb_build_object(
            'feature', 'amount', 'value', amount, 'percentile', 0.94, 'contribution', 0.12, 'unit', 'log-odds',
            'detector', 'feedback_classifier', 'text', 'amount ' || amount
        ),
        jsonb_build_object('feature', 'all_other_features', 'contribution', 0.05),
        jsonb_build_object('feature', 'base', 'contribution', -0.4)
    ) END,
    CASE WHEN selection = 'threshold' THEN reason || '; amount ' || round(amount, 2) ELSE 'Drawn at random' END,
    'run-' || event_day, model_version, md5(model_version), model_version, '2', raised_at, r.status, r.outcome,
    r.assignee, CASE r.status WHEN 'open' THEN 1 WHEN 'investigating' THEN 2 ELSE 3 END, selection,
    CASE WHEN selection = 'threshold' THEN c.case_id END, r.priority, CASE WHEN selection = 'threshold' THEN due_at END,
    CASE WHEN r.status = 'open' AND pg_temp.share(n, 13) < 0.3 THEN now() + interval '1 day' END,
    first_touched_at, r.closed_at,
    CASE WHEN selection = 'threshold' AND coalesce(r.closed_at, now()) > due_at THEN due_at END, raised_at,
    coalesce(r.closed_at, first_touched_at, raised_at)
FROM raised AS r
JOIN LATERAL (
    SELECT (ARRAY['merchant_fraud_rate_30d', 'user_amount_zscore_90d', 'user_count_transactions_24h', 'user_amount_ratio_90d'])[k]
        AS feature, (ARRAY[
            'fraud rate of the merchant is high', 'amount is far above what the card usually pays',
            'many payments within a day', 'amount is several times what the card usually pays'
        ])[k] AS reason
    FROM (SELECT 1 + floor(4 * pg_temp.share(n, 14))::int AS k) AS choice
) AS why ON true
LEFT JOIN cases AS c ON c.user_id = r.user_id AND (c.status = 'closed') = (r.status = 'closed')
ORDER BY n;

INSERT INTO alert_events (alert_id, case_id, event_type, actor, at, run_id, before, after, comment)
SELECT alert_id, case_id, event_type, actor, at, run_id, before, after, comment
FROM (
    SELECT NULL::bigint AS alert_id, case_id, 'case_opened' AS event_type, 'pipeline' AS actor, opened_at AS at,
        'run-' || opened_at::date AS run_id, NULL::jsonb AS before,
        jsonb_build_object('status', 'open', 'user_id', user_id, 'priority', priority) AS after, NULL AS comment
    FROM cases
    UNION ALL
    SELECT alert_id, case_id, 'raised', 'pipeline', raised_at, run_id, NULL,
        jsonb_build_object('status', 'open', 'priority', priority, 'user_id', user_id), NULL
    FROM alerts
    UNION ALL
    SELECT alert_id, case_id, 'changed', coalesce(assignee, 'ada'), first_touched_at, NULL, '{"status": "open"}',
        jsonb_build_object('status', 'investigating', 'assignee', assignee), NULL
    FROM alerts WHERE first_touched_at IS NOT NULL
    UNION ALL
    SELECT alert_id, case_id, 'commented', coalesce(assignee, 'ada'), first_touched_at, NULL, NULL, NULL,
        'called the card holder'
    FROM alerts WHERE alert_id % 10 = 3 AND first_touched_at IS NOT NULL
    UNION ALL
    SELECT alert_id, case_id, 'changed', coalesce(assignee, 'ada'), closed_at, NULL, '{"status": "investigating"}',
        jsonb_build_object('status', 'closed', 'outcome', outcome), NULL
    FROM alerts WHERE closed_at IS NOT NULL
    UNION ALL
    SELECT NULL, case_id, 'case_changed', coalesce(assignee, 'ada'), closed_at, NULL, '{"status": "open"}',
        jsonb_build_object('status', 'closed', 'outcome', outcome), NULL
    FROM cases WHERE closed_at IS NOT NULL
) AS events
ORDER BY at, event_type DESC, alert_id;

INSERT INTO review_decisions (transaction_id, outcome, decided_at, decided_by, origin, alert_id)
SELECT transaction_id, outcome, closed_at, coalesce(assignee, 'ada'),
    CASE selection WHEN 'threshold' THEN 'alert' ELSE 'random' END, alert_id
FROM alerts WHERE status = 'closed' ORDER BY closed_at;

INSERT INTO fraud_labels (
    known_day, transaction_id, user_id, merchant_id, event_time, event_day, is_fraud, label_source, label_known_at, run_id
)
SELECT known_at::date, transaction_id, user_id, merchant_id, event_time, event_day, is_fraud, label_source, known_at,
    CASE WHEN label_source <> 'analyst' THEN 'run-' || known_at::date END
FROM (
    SELECT transaction_id, user_id, merchant_id, event_time, event_day, known_fraud AS is_fraud,
        CASE WHEN known_fraud THEN 'chargeback_file' ELSE 'unreported' END AS label_source,
        event_time + CASE WHEN known_fraud THEN (1 + 30 * pg_temp.share(n, 16)) ELSE 14 END * interval '1 day' AS known_at
    FROM pg_temp.numbered() WHERE known_fraud OR n % 4 = 0
    UNION ALL
    SELECT transaction_id, user_id, merchant_id, event_time, event_day, outcome = 'confirmed_fraud', 'analyst', closed_at
    FROM raised WHERE status = 'closed' AND outcome <> 'inconclusive'
) AS known
WHERE known_at < now()
ORDER BY known_at::date, transaction_id;

INSERT INTO user_profiles (user_id, as_of_day, n, mean_amount, std_amount, first_event_time, last_event_time)
SELECT user_id, max(event_day), count(*), avg(amount), stddev(amount), min(event_time), max(event_time)
FROM transactions WHERE event_day >= current_date - 90 GROUP BY user_id;

INSERT INTO model_metrics (event_day, model_version, metric, value, computed_as_of)
SELECT day::date, (1 + (day::date - start::date) * 12 / 366)::text, metric,
    CASE WHEN value > 1 THEN value ELSE value * (0.95 + 0.1 * pg_temp.share(extract(epoch FROM day)::bigint, 17)) END,
    day + interval '15 days'
FROM sizes, generate_series(start, start + interval '364 days', interval '1 day') AS day,
    (VALUES ('transactions', 1000), ('alerts', 40), ('matured', 990), ('frauds', 8), ('recall', 0.82),
        ('false_positive_rate', 0.03), ('precision', 0.2), ('average_precision', 0.6), ('roc_auc', 0.9),
        ('alert_precision', 0.42)) AS given (metric, value);

INSERT INTO pipeline_runs (run_id, asset, event_day, rows, written_at)
SELECT 'run-' || day::date, asset, day::date, 1000, day + interval '26 hours'
FROM sizes, generate_series(start, start + interval '364 days', interval '1 day') AS day,
    unnest(ARRAY['validated_transactions', 'rejected_transactions', 'fraud_labels', 'user_profiles',
        'transaction_features', 'anomaly_scores', 'alerts', 'model_metrics']) AS asset;

INSERT INTO rejected_transactions (
    event_day, source_name, source_file, row_number, file_sha256, reason, raw, run_id
)
SELECT event_day, 'bank', event_day || '.csv', n + 1, md5(event_day::text), 'amount: not a number',
    jsonb_build_object('transaction_id', transaction_id, 'amount', 'ten'), 'run-' || event_day
FROM pg_temp.numbered() WHERE n % 100 = 7;

INSERT INTO api_keys (key_id, name, key_sha256, scopes)
SELECT 'key' || k, 'client ' || k, md5(k::text) || md5((-k)::text), ARRAY['detect'] FROM generate_series(1, 5) AS k;

INSERT INTO idempotency_keys (key_id, idempotency_key, request_sha256, status_code, body, created_at)
SELECT 'key1', 'request-' || k, md5(k::text), 200, '{}', now() - k * interval '1 minute'
FROM generate_series(1, 2000) AS k;

RESET session_replication_role;

DROP TABLE raised, sizes;
