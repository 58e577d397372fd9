-- Alerts: which rules are taken, what their metrics say, and the states they go through.
-- The clock is an argument, so all of it is in 1990.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
\set VERBOSITY default
\set SHOW_CONTEXT never
DELETE FROM findings;
TRUNCATE alert_states;
CREATE PROCEDURE plain.reset() LANGUAGE sql AS $$
    DELETE FROM trace_ext.alert_rules;
    TRUNCATE trace_ext.alert_states, trace_ext.alert_samples, trace_ext.alert_counters, trace_ext.alert_services;
    TRUNCATE trace_ext.alert_history RESTART IDENTITY;
    UPDATE trace_ext.alert_clock SET evaluated_at = NULL, folded_by = NULL;
    UPDATE trace_ext.announcements SET total = 0, ids = '{}', details = '[]', since = NULL, sent_at = NULL;
$$;
-- So many events of a service, some of them errors, from a time on.
CREATE PROCEDURE plain.send(at text, service text, good int, bad int = 0, kind trace_ext.event_kind = 'Custom') LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, service_name, attributes)
    SELECT plain.id('a1'), gen_random_uuid(), ('1990-01-01 ' || at || '+00')::timestamptz, CASE WHEN kind = 'Custom' AND i <= bad THEN 'Error' ELSE kind END, service,
           CASE kind WHEN 'HttpResponse' THEN jsonb_build_object('status', CASE WHEN i <= bad THEN 503 ELSE 404 END) ELSE '{}' END
      FROM generate_series(1, good + bad) i
$$;
CREATE FUNCTION plain.look(at text) RETURNS TABLE (name text, state trace_ext.alert_state, value numeric, since time, true_since time) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM trace_ext_internal.evaluate_alerts(('1990-01-01 ' || at || '+00')::timestamptz);
    RETURN QUERY SELECT a.name, a.state, round(a.value::numeric, 4), a.since::time, a.true_since::time FROM trace_ext.alerts a ORDER BY a.name;
END $$;

-- From the start
SELECT * FROM alert_rules ORDER BY name;
SELECT name, metric, state, value, enabled, evaluated_at IS NULL AS not_yet FROM alerts ORDER BY name;

-- What is refused, and why.
INSERT INTO alert_rules (metric, threshold) VALUES ('rejected', 1);
INSERT INTO alert_rules (name, metric, threshold) VALUES ('', 'rejected', 1);
INSERT INTO alert_rules (name, threshold) VALUES ('x', 1);
INSERT INTO alert_rules (name, metric) VALUES ('x', 'rejected');
INSERT INTO alert_rules (name, metric, threshold, comparison) VALUES ('x', 'rejected', 1, NULL);
INSERT INTO alert_rules (name, metric, threshold, hold) VALUES ('x', 'rejected', 1, NULL);
INSERT INTO alert_rules (name, metric, threshold, enabled) VALUES ('x', 'rejected', 1, NULL);
INSERT INTO alert_rules (name, metric, threshold) VALUES (repeat('x', 101), 'rejected', 1);
INSERT INTO alert_rules (name, metric, threshold) VALUES ('x', 'p42_ms', 1);
INSERT INTO alert_rules (name, metric, threshold) VALUES ('x', 'Rejected', 1);
INSERT INTO alert_rules (name, metric, threshold, service) VALUES ('x', 'rejected', 1, 'pay');
INSERT INTO alert_rules (name, metric, threshold, service) VALUES ('x', 'silent', 1, '');
INSERT INTO alert_rules (name, metric, threshold, comparison) VALUES ('x', 'rejected', 1, '=');
INSERT INTO alert_rules (name, metric, threshold) VALUES ('x', 'rejected', 'NaN');
INSERT INTO alert_rules (name, metric, threshold) VALUES ('x', 'rejected', '-Infinity');
INSERT INTO alert_rules (name, metric, threshold, hold) VALUES ('x', 'rejected', 1, '-1 s');
INSERT INTO alert_rules (name, metric, threshold, hold) VALUES ('x', 'rejected', 1, '100 years');
SELECT state FROM plain.outcome($$INSERT INTO alert_rules (name, metric, threshold, hold) VALUES ('x', 'rejected', 1, 'infinity')$$) WHERE state NOT IN ('22023', '22007');
UPDATE alert_rules SET service = 'pay' WHERE name = 'critical finding';
UPDATE alert_rules SET threshold = 'NaN';
INSERT INTO alert_rules (name, metric, threshold) VALUES ('error rate', 'rejected', 1);
-- The table refuses them as well, should the trigger not be asked.
BEGIN;
SET LOCAL session_replication_role = replica;
SAVEPOINT s;
INSERT INTO alert_rules (name, metric, threshold) VALUES ('x', 'rejected', 'NaN');
ROLLBACK TO s;
INSERT INTO alert_rules (name, metric, threshold, hold) VALUES ('x', 'rejected', 1, '-1 s');
ROLLBACK TO s;
INSERT INTO alert_rules (name, metric, threshold, comparison) VALUES ('x', 'rejected', 1, '!');
ROLLBACK TO s;
-- A metric that nobody knows does not keep the others from being judged.
INSERT INTO alert_rules (name, metric, threshold) VALUES ('a bad one', 'nonsense', 1);
SELECT * FROM plain.look('00:00:00');
SELECT name, error, summary FROM alerts ORDER BY name;
SELECT alerts_needed() = '-infinity' AS tried_again;
ROLLBACK;

-- States, against a model of Prometheus that knows nothing of steps: when was it true since, when did it fire last?
CREATE FUNCTION plain.walk(truths boolean[], hold interval, step interval) RETURNS TABLE (n int, state trace_ext.alert_state) LANGUAGE plpgsql AS $$
DECLARE
    s trace_ext.alert_state := 'inactive';
    was trace_ext.alert_state;
    true_since timestamptz;
    began timestamptz := '1990-01-01+00';
    at timestamptz;
BEGIN
    FOR i IN 1 .. cardinality(truths) LOOP
        at := '1990-01-01+00'::timestamptz + i * step;
        was := s;
        SELECT x.state, x.true_since INTO s, true_since FROM trace_ext_internal.next_alert_state(s, true_since, began, truths[i], hold, at) x;
        IF s <> was THEN began := at; END IF;
        n := i; state := s;
        RETURN NEXT;
    END LOOP;
END $$;
CREATE FUNCTION plain.model(truths boolean[], hold interval, step interval) RETURNS TABLE (n int, state trace_ext.alert_state) LANGUAGE sql AS $$
    WITH t AS (SELECT u.n::int, u.yes FROM unnest(truths) WITH ORDINALITY AS u (yes, n)),
    run AS (SELECT t.*, (SELECT coalesce(max(f.n), 0) FROM t f WHERE f.n <= t.n AND NOT f.yes) AS last_false FROM t),
    fires AS (SELECT r.*, r.yes AND (r.n - r.last_false - 1) * step >= hold AS firing FROM run r)
    SELECT f.n, (CASE WHEN f.firing THEN 'firing' WHEN f.yes THEN 'pending'
                      -- It fired up to the step before the first false one, and nothing was true since.
                      WHEN EXISTS (SELECT FROM fires g WHERE g.firing AND g.n < f.n AND NOT EXISTS (SELECT FROM t b WHERE b.n > g.n AND b.n <= f.n AND b.yes)
                                                         AND (f.n - g.n - 1) * step < interval '15 min') THEN 'resolved'
                      ELSE 'inactive' END)::trace_ext.alert_state
      FROM fires f
$$;
DO $$
DECLARE
    seed constant float8 := (extract(epoch FROM clock_timestamp())::numeric % 1)::float8;
    truths boolean[];
    hold interval;
    step interval;
    seen trace_ext.alert_state[] := '{}';
BEGIN
    PERFORM setseed(seed);
    FOR round IN 1 .. 80 LOOP
        hold := (ARRAY['0', '1 s', '15 s', '1 min', '5 min'])[1 + (random() * 4)::int];
        step := (ARRAY['15 s', '1 min', '4 min'])[1 + (random() * 2)::int];
        SELECT array_agg(random() < p ORDER BY i) INTO truths
          FROM generate_series(1, 60) i, LATERAL (SELECT CASE (i / 12 + round) % 3 WHEN 0 THEN 0.05 WHEN 1 THEN 0.95 ELSE 0.5 END) AS c (p);
        IF EXISTS (SELECT FROM plain.walk(truths, hold, step) w FULL JOIN plain.model(truths, hold, step) m USING (n) WHERE w.state IS DISTINCT FROM m.state) THEN
            RAISE EXCEPTION 'seed %, round %: hold %, step %, %', seed, round, hold, step, truths;
        END IF;
        seen := ARRAY(SELECT unnest(seen) UNION SELECT w.state FROM plain.walk(truths, hold, step) w);
    END LOOP;
    RAISE INFO 'all states seen: %', cardinality(seen) = 4;
END $$;
-- A clock that was set back: nothing is pending, or shown as resolved, for longer than it should be.
SELECT * FROM next_alert_state('pending', '1990-01-01 05:00+00', '1990-01-01 05:00+00', true, '1 min', '1990-01-01 01:00+00');
SELECT * FROM next_alert_state('resolved', NULL, '1990-01-01 05:00+00', false, '1 min', '1990-01-01 01:00+00');

-- The error rate, from the first event to the last: 5 % for five minutes.
CALL plain.reset();
INSERT INTO alert_rules SELECT * FROM default_alert_rules();
SELECT * FROM plain.look('10:00:00');
CALL plain.send('10:00:00', 'pay', 95, 5);
SELECT * FROM plain.look('10:00:15');
CALL plain.send('10:00:20', 'pay', 94, 6);
SELECT * FROM plain.look('10:00:30');
SELECT * FROM plain.look('10:02:30');
CALL plain.send('10:02:00', 'pay', 80, 20);
SELECT * FROM plain.look('10:05:29');
SELECT * FROM plain.look('10:05:30');
SELECT name, summary FROM alerts ORDER BY name;
SELECT alerts_firing FROM status;
SELECT labels ->> 'state' AS state, value FROM metrics WHERE name = 'trace_ext_alerts' ORDER BY 1;
-- What is good comes, and what is not leaves the window.
CALL plain.send('10:05:00', 'pay', 1000);
SELECT * FROM plain.look('10:05:45');
SELECT name, summary FROM alerts WHERE state = 'resolved';
SELECT * FROM plain.look('10:20:44');
SELECT * FROM plain.look('10:20:45');
SELECT name, summary FROM alerts ORDER BY name;
SELECT id, name, was, state, at::time, since::time, value, comparison, threshold, reason FROM alert_history ORDER BY id;
-- One burst does not fire: it has left when five minutes are over.
CALL plain.send('10:20:50', 'pay', 0, 50);
SELECT state, value FROM plain.look('10:21:00') WHERE name = 'error rate';
SELECT state, value FROM plain.look('10:25:59') WHERE name = 'error rate';
SELECT state, value FROM plain.look('10:26:00') WHERE name = 'error rate';
-- Who listens is told, once for both.
SELECT channel, total, jsonb_array_length(details) AS details FROM announcements WHERE channel = 'trace_ext_alerts';
CALL job_notify();
SELECT p -> 'count' AS count, p -> 'truncated' AS truncated, jsonb_pretty(p -> 'alerts') AS alerts FROM changes_since('trace_ext_alerts', NULL) AS c (id, sent_at, p) ORDER BY id DESC LIMIT 1;
SELECT notify_payload(a) - 'until' AS payload FROM announcements a WHERE channel = 'trace_ext_alerts';

-- Requests: of ten events each, one is the answer. The larger share counts.
CALL plain.reset();
INSERT INTO alert_rules (name, metric, service, threshold) VALUES ('all', 'error_rate', NULL, 0.5), ('pay', 'error_rate', 'pay', 0.5), ('shop', 'error_rate', 'shop', 0.5), ('nobody', 'error_rate', 'nobody', 0.5);
SELECT name, state, value FROM plain.look('10:00:00');
CALL plain.send('10:00:00', 'pay', 90);
CALL plain.send('10:00:00', 'pay', 4, 6, 'HttpResponse');
CALL plain.send('10:00:00', 'shop', 90, 10);
CALL plain.send('10:00:00', NULL, 20, 80);
SELECT name, state, value FROM plain.look('10:00:15');

-- Latencies: of requests where a service has any with a duration, else of all; a delete makes none.
CALL plain.reset();
TRUNCATE events;
INSERT INTO alert_rules (name, metric, service, threshold) VALUES ('all', 'p50_ms', NULL, 100), ('pay 50', 'p50_ms', 'pay', 100), ('pay 95', 'p95_ms', 'pay', 100), ('shop', 'p99_ms', 'shop', 100), ('nobody', 'p95_ms', 'nobody', 0);
SELECT name, state, value FROM plain.look('10:00:00');
CREATE PROCEDURE plain.took(at text, service text, kind event_kind, n int, ms int) LANGUAGE sql AS $$
    INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns)
    SELECT gen_random_uuid(), gen_random_uuid(), ('1990-01-01 ' || at || '+00')::timestamptz, kind, 'x', service, ms * 1000000::bigint FROM generate_series(1, n);
$$;
CALL plain.took('10:00:00', 'pay', 'HttpResponse', 90, 50);
CALL plain.took('10:00:00', 'pay', 'HttpResponse', 10, 400);
CALL plain.took('10:00:00', 'pay', 'FunctionCall', 1000, 1);
CALL plain.took('10:00:00', 'shop', 'FunctionCall', 100, 200);
SELECT name, state, round(value::numeric, -1) AS value FROM plain.look('10:00:15');
SELECT name, summary FROM alerts WHERE name = 'pay 95';
CALL plain.took('10:03:00', 'pay', 'HttpResponse', 900, 50);
SELECT name, state, round(value::numeric, -1) AS value FROM plain.look('10:03:15') WHERE name = 'pay 95';
DELETE FROM events WHERE service_name = 'shop';
SELECT name, state, round(value::numeric, -1) AS value FROM plain.look('10:06:00');

-- Rates: of a service, of all; of what came, whatever leaves again; of this hour and the one before, whoever's clock it is.
CALL plain.reset();
TRUNCATE events;
INSERT INTO alert_rules (name, metric, service, comparison, threshold) VALUES ('all', 'per_second', NULL, '>=', 2), ('few', 'per_second', 'pay', '<', 0.1), ('pay', 'per_second', 'pay', '>', 1), ('nobody', 'per_second', 'nobody', '>', 0);
SELECT name, state, value FROM plain.look('10:50:00');
CALL plain.send('10:50:00', 'pay', 100);
CALL plain.send('10:50:00', NULL, 100);
SELECT name, state, value FROM plain.look('10:51:40');
DELETE FROM events WHERE ctid IN (SELECT ctid FROM events WHERE service_name = 'pay' LIMIT 60);
CALL plain.send('10:53:00', 'shop', 200);
SELECT name, state, value FROM plain.look('10:53:20');
TRUNCATE events;
SELECT name, state, value FROM plain.look('10:53:40');
-- The minus is not taken off what comes next.
CALL plain.send('10:54:00', 'pay', 80);
SELECT name, state, value FROM plain.look('10:54:00');
-- History, and clocks that are wrong by hours, are nothing new; late events are, and those of the next hour.
CALL plain.send('08:59:59', 'pay', 100000);
CALL plain.send('12:00:00', 'pay', 100000);
CALL plain.send('09:00:00', 'pay', 70);
CALL plain.send('11:59:59', 'pay', 30);
SELECT name, state, value FROM plain.look('10:54:10');
-- The hour turns: nothing is lost, nothing counts twice, and events of clocks ahead, which were there, are not new.
CALL plain.send('10:59:59', 'pay', 30);
CALL plain.send('11:00:00', 'pay', 270);
SELECT name, state, value FROM plain.look('11:00:10');
SELECT service_name, sum(events) FROM alert_samples GROUP BY 1 ORDER BY 1;
-- Nobody sampled for a while: the rate is that of the while, until there is another sample.
CALL plain.send('11:30:00', 'pay', 3600);
SELECT name, state, value FROM plain.look('12:00:10');
CALL plain.send('12:00:10', 'pay', 30);
SELECT name, state, value FROM plain.look('12:00:25');
-- Nor for two hours: what is of hours that were not sampled came since.
CALL plain.send('14:30:00', 'pay', 90);
SELECT name, state, value FROM plain.look('14:45:25');
SELECT count(*) FILTER (WHERE at < '1990-01-01 13:45:25+00') AS older_than_an_hour, count(*) FROM alert_samples;
-- The clock is set back: it begins anew, and nothing is new that was there.
SELECT name, state, value FROM plain.look('12:30:00');
CALL plain.send('12:30:00', 'pay', 90);
SELECT name, state, value FROM plain.look('12:30:30');
-- Twice at one time.
CALL plain.send('12:30:00', 'pay', 30);
SELECT name, state, value FROM plain.look('12:30:30');
-- Without a sample of the last five minutes there is no rate.
SELECT alert_value('per_second', 'pay', '1990-01-01 12:35:29+00') AS just, alert_value('per_second', 'pay', '1990-01-01 12:35:30+00') AS too_old, alert_value('error_rate', NULL, '1990-01-01 12:35:30+00') AS no_share;

-- Whatever comes when, and however the hours turn, the samples are what came: against a list of what was sent.
CREATE TABLE plain.sent (at timestamptz, service text, events int, errors int);
CREATE PROCEDURE plain.random_samples(seed float8) LANGUAGE plpgsql AS $$
<<here>>
DECLARE
    at timestamptz := '1990-02-01 00:40:00+00';
    was timestamptz;
    sent_to text;
    good int;
    bad int;
    wrong text;
BEGIN
    PERFORM setseed(seed);
    PERFORM trace_ext_internal.evaluate_alerts(at);
    FOR step IN 1 .. 100 LOOP
        was := at;
        at := at + (ARRAY[15, 15, 15, 40, 200, 900])[1 + (random() * 5)::int] * interval '1 s';
        FOR i IN 1 .. (random() * 4)::int LOOP
            sent_to := (ARRAY['a', 'b', '', NULL])[1 + (random() * 3)::int];
            good := (random() * 20)::int;
            bad := (random() * 3)::int;
            INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, service_name)
            SELECT gen_random_uuid(), gen_random_uuid(), was - random() * interval '40 min', CASE WHEN n <= bad THEN 'Error' ELSE 'Custom' END::trace_ext.event_kind, sent_to
              FROM generate_series(1, good + bad) n;
            INSERT INTO plain.sent VALUES (at, sent_to, good + bad, bad);
            IF random() < 0.3 THEN PERFORM trace_ext.fold(); END IF;
        END LOOP;
        PERFORM trace_ext_internal.evaluate_alerts(here.at);
        SELECT string_agg(format('%s: %s, %s', service, sampled, really), '; ') INTO wrong
          FROM (SELECT s.service, (SELECT (coalesce(sum(l.events), 0), coalesce(sum(l.errors), 0))::text FROM trace_ext_internal.lately(s.service, here.at) l) AS sampled,
                       (SELECT (coalesce(sum(p.events), 0), coalesce(sum(p.errors), 0))::text FROM plain.sent p
                         WHERE (p.service = s.service OR s.service IS NULL) AND p.at > here.at - interval '5 minutes') AS really
                  FROM unnest(ARRAY['a', 'b', '', 'c', NULL]) AS s (service)) AS compared
         WHERE sampled <> really;
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'seed %, step %, at %: %', seed, step, at, wrong;
        END IF;
    END LOOP;
END $$;
CALL plain.reset();
TRUNCATE events;
DO $$ BEGIN
    CALL plain.random_samples((extract(epoch FROM clock_timestamp())::numeric % 1)::float8);
END $$;
SELECT sum(events) > 100 AS many, sum(errors) > 10 AS bad, count(DISTINCT date_trunc('hour', at)) > 1 AS hours FROM plain.sent;

-- Silence: by the server's clock, of a service or of all.
CALL plain.reset();
TRUNCATE events;
CALL plain.send('08:10:00', 'old', 1);
CALL plain.send('09:10:00', 'pay', 1);
CALL plain.send('10:10:00', 'shop', 1);
-- An event without a service is one of the system.
CALL plain.send('23:00:00', NULL, 1);
INSERT INTO alert_rules (name, metric, service, threshold, hold) VALUES ('all', 'silent', NULL, 600, '1 min'), ('old', 'silent', 'old', 600, '0'), ('pay', 'silent', 'pay', 600, '0'), ('shop', 'silent', 'shop', 600, '0'), ('typo', 'silent', 'typo', 0, '0');
-- Of before nothing but the hour is known: its end.
SELECT name, state, value FROM plain.look('10:20:00');
CALL plain.send('10:21:00', 'pay', 1);
SELECT name, state, value FROM plain.look('10:22:00');
SELECT name, state, value FROM plain.look('10:30:30');
SELECT name, state, value FROM plain.look('10:32:30');
CALL plain.send('10:32:40', NULL, 1);
SELECT name, state, value FROM plain.look('10:33:00');
SELECT name, summary FROM alerts ORDER BY name;

-- The others: findings, what was refused, what is not folded.
CALL plain.reset();
TRUNCATE events;
INSERT INTO alert_rules (name, metric, threshold, comparison) VALUES ('critical', 'critical_findings', 1, '>='), ('rejected', 'rejected', 2, '>'), ('lag', 'fold_lag', 60, '>');
INSERT INTO findings (id, kind, variable, severity, confidence, confirmed, occurrences, status) VALUES
    (plain.id('f1'), 'lost update', 'x', 'CRITICAL', 1, true, 1, 'open'), (plain.id('f2'), 'lost update', 'y', 'CRITICAL', 1, true, 1, 'acknowledged'), (plain.id('f3'), 'read-write', 'z', 'WARNING', 1, true, 1, 'open');
SELECT rejected FROM ingest_events('[1, 2, 3]');
UPDATE ingest_errors SET received_at = '1990-01-01 10:00:00+00';
UPDATE jobs SET last_started = '1990-01-01 09:59:00+00' WHERE name = 'fold';
CALL plain.fold();
SELECT name, state, value FROM plain.look('10:00:00');
CALL plain.send('10:00:00', 'pay', 1);
SELECT name, state, value FROM plain.look('10:00:15');
SELECT set_finding_status(plain.id('f1'), 'ignored');
CALL plain.fold();
SELECT name, state, value FROM plain.look('10:04:59');
SELECT name, state, value FROM plain.look('10:05:00');
SELECT name, summary FROM alerts ORDER BY name;
SELECT set_finding_status(plain.id('f1'), 'open');
SELECT name, state, value FROM plain.look('10:05:15');
-- Anomalies: of a service, or all; those that are decided about, or were none, do not count.
BEGIN;
INSERT INTO alert_rules (name, metric, service, threshold) VALUES ('odd', 'anomalies', NULL, 1), ('odd pay', 'anomalies', 'pay', 0), ('odd ship', 'anomalies', 'ship', 0);
INSERT INTO anomalies (id, kind, severity, service_name, operation, occurrences, status) VALUES
    (plain.id('a1'), 'slow', 'WARNING', 'pay', 'x', 3, 'open'), (plain.id('a2'), 'slow', 'WARNING', NULL, 'x', 1, 'open'), (plain.id('a3'), 'slow', 'WARNING', 'ship', 'x', 0, 'open'),
    (plain.id('a4'), 'slow', 'WARNING', 'ship', 'y', 1, 'ignored');
SELECT name, state, value FROM plain.look('10:05:30') WHERE name LIKE 'odd%';
SELECT name, summary FROM alerts WHERE name LIKE 'odd%' ORDER BY name;
SELECT set_anomaly_status(plain.id('a1'), 'acknowledged');
SELECT name, state, value FROM plain.look('10:05:45') WHERE name LIKE 'odd%';
ROLLBACK;
-- One that fails shows why, keeps its state, and keeps no other from being judged.
BEGIN;
ALTER TABLE findings RENAME TO findings_gone;
UPDATE ingest_errors SET received_at = '1990-01-01 10:05:20+00';
SELECT name, state, value FROM plain.look('10:05:30');
SELECT name, state, error FROM alerts WHERE error IS NOT NULL;
SELECT value AS failing FROM metrics WHERE name = 'trace_ext_alerts_failing';
ROLLBACK;

-- A rule is changed while it fires: by the limit it is judged anew; watching something else, it begins anew.
CALL plain.reset();
INSERT INTO alert_rules (name, metric, threshold) VALUES ('a', 'critical_findings', 0), ('b', 'critical_findings', 0), ('c', 'critical_findings', 0), ('d', 'critical_findings', 0), ('e', 'critical_findings', 0), ('f', 'critical_findings', 0);
SELECT name, state, since FROM plain.look('10:00:00');
UPDATE alert_rules SET threshold = 0.5, hold = '1 hour' WHERE name = 'a';
UPDATE alert_rules SET threshold = 1 WHERE name = 'b';
UPDATE alert_rules SET enabled = false WHERE name = 'c';
DELETE FROM alert_rules WHERE name = 'd';
UPDATE alert_rules SET metric = 'rejected', threshold = -1, comparison = '>=', hold = '1 hour' WHERE name = 'e';
UPDATE alert_rules SET name = 'g' WHERE name = 'f';
SELECT name, state, since FROM plain.look('10:00:15');
SELECT name, was, state, at::time, value, metric, reason FROM alert_history WHERE at > '1990-01-01 10:00:00+00' ORDER BY name, id;
SELECT name, enabled, summary FROM alerts ORDER BY name;
UPDATE alert_rules SET enabled = true WHERE name = 'c';
SELECT name, state, since FROM plain.look('10:00:30');
SELECT name, state, since FROM plain.look('10:15:30');
-- A pending one that is disabled is forgotten.
UPDATE alert_rules SET enabled = false WHERE name = 'e';
SELECT name, state, since FROM plain.look('10:15:45');
SELECT name, was, state, reason FROM alert_history ORDER BY id DESC LIMIT 1;
-- What was announced of all that: as many as fit.
SELECT a.total, jsonb_array_length(details) AS details, octet_length(notify_payload(a)::text) < 8000 AS fits FROM announcements a WHERE channel = 'trace_ext_alerts';
INSERT INTO alert_rules (name, metric, threshold) SELECT repeat(E'\u20ac', 95) || i, 'critical_findings', 0 FROM generate_series(1, 30) i;
SELECT count(*) FILTER (WHERE state = 'firing') AS firing FROM plain.look('10:16:00');
SELECT total, jsonb_array_length(details) < total AS cut, (notify_payload(a) ->> 'truncated')::int + jsonb_array_length(details) = total AS adds_up, octet_length(notify_payload(a)::text) < 8000 AS fits
  FROM announcements a WHERE channel = 'trace_ext_alerts';
SET trace_ext.notify_interval = -1;
DELETE FROM alert_rules;
SELECT count(*) FILTER (WHERE state = 'resolved') AS resolved FROM plain.look('10:16:15');
SELECT total FROM announcements WHERE channel = 'trace_ext_alerts';
RESET trace_ext.notify_interval;

-- History is trimmed by itself, of each alert.
CALL plain.reset();
SET trace_ext.alert_history = 7;
INSERT INTO alert_rules (name, metric, threshold, comparison) VALUES ('still', 'critical_findings', 0, '>'), ('flaps', 'rejected', 0, '>');
SELECT count(*) FILTER (WHERE state = 'firing') AS firing FROM plain.look('11:00:00');
DO $$ BEGIN
    FOR i IN 1 .. 150 LOOP
        UPDATE trace_ext.ingest_errors SET received_at = '1990-01-01 11:00:00+00'::timestamptz - (i % 2) * interval '1 hour';
        PERFORM trace_ext_internal.evaluate_alerts('1990-01-01 11:00:00+00'::timestamptz + i * interval '1 s');
    END LOOP;
END $$;
SELECT count(*) < 120 AS trimmed_itself FROM alert_history;
SELECT trim_alert_history();
SELECT name, count(*), max(id) > 100 AS went_on FROM alert_history GROUP BY 1 ORDER BY 1;
RESET trace_ext.alert_history;

-- When it has to be looked at without anything being written: a database at rest needs no process.
CALL plain.reset();
TRUNCATE events;
DELETE FROM findings;
TRUNCATE ingest_errors;
CALL plain.fold();
CREATE FUNCTION plain.due() RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN due IS NULL THEN 'never' WHEN due <= now() THEN 'now' ELSE date_trunc('minute', due - now() + interval '30 s')::text END
      FROM trace_ext_internal.alerts_needed() AS due
$$;
-- No rule, no need.
SELECT plain.due();
INSERT INTO alert_rules SELECT * FROM default_alert_rules();
SELECT plain.due() AS new_rules;
CALL job_alerts();
SELECT plain.due() AS all_quiet;
INSERT INTO events (trace_id, id, "timestamp", kind, service_name) VALUES (plain.id('a1'), plain.id('1'), now(), 'Custom', 'pay');
SELECT plain.due() AS written;
CALL job_alerts();
SELECT plain.due() AS not_folded;
CALL plain.fold();
SELECT plain.due() AS folded_since;
CALL job_alerts();
SELECT plain.due() AS quiet_again;
INSERT INTO events (trace_id, id, "timestamp", kind, service_name) VALUES (plain.id('a1'), plain.id('2'), now(), 'Error', 'pay');
CALL plain.fold();
CALL job_alerts();
SELECT plain.due() AS pending;
UPDATE alert_rules SET threshold = 0.99 WHERE name = 'error rate';
CALL job_alerts();
SELECT plain.due() AS may_still_rise;
DELETE FROM alert_rules WHERE name = 'error rate';
CALL job_alerts();
SELECT plain.due() AS one_left;
INSERT INTO findings (id, kind, variable, severity, confidence, confirmed, occurrences) VALUES (plain.id('f1'), 'lost update', 'x', 'CRITICAL', 1, true, 1);
SELECT plain.due() AS a_finding;
CALL job_alerts();
SELECT plain.due() AS fires_and_waits_for_somebody;
SELECT set_finding_status(plain.id('f1'), 'ignored');
SELECT plain.due() AS somebody_came;
CALL job_alerts();
SELECT plain.due() AS shown_as_resolved;
INSERT INTO alert_rules (name, metric, service, threshold) VALUES ('silent', 'silent', 'pay', 420);
CALL job_alerts();
SELECT plain.due() AS when_it_will_be_silent;
INSERT INTO alert_rules (name, metric, threshold) VALUES ('rejected', 'rejected', 0);
CALL job_alerts();
SELECT plain.due() AS nothing_tells_of_refused_events;
INSERT INTO alert_rules (name, metric, comparison, threshold) VALUES ('few', 'per_second', '<', 1);
CALL job_alerts();
SELECT plain.due() AS falls_by_itself;
UPDATE alert_rules SET enabled = false;
CALL job_alerts();
CALL job_alerts();
SELECT plain.due() AS shown_for_a_while;
SELECT name, state, enabled FROM alerts WHERE state <> 'inactive';
SELECT job, state, error FROM run_job('alerts');

-- What a dump takes, and what it does where it is restored.
CALL plain.reset();
TRUNCATE alert_rules_removed;
INSERT INTO alert_rules SELECT * FROM default_alert_rules();
BEGIN;
ALTER TABLE alert_rules DISABLE TRIGGER trace_ext_judge;
UPDATE alert_rules SET is_default = true;
COMMIT;
ALTER TABLE alert_rules ENABLE TRIGGER trace_ext_judge;
CREATE FUNCTION plain.dumped() RETURNS SETOF alert_rules LANGUAGE plpgsql AS $$ BEGIN
    RETURN QUERY EXECUTE 'SELECT * FROM trace_ext.alert_rules ' || (SELECT extcondition[array_position(extconfig, 'trace_ext.alert_rules'::regclass::oid)] FROM pg_extension WHERE extname = 'trace_ext') || ' ORDER BY name';
END $$;
SELECT * FROM plain.dumped();
UPDATE alert_rules SET threshold = threshold;
SELECT * FROM plain.dumped();
UPDATE alert_rules SET threshold = 0.1 WHERE name = 'error rate';
DELETE FROM alert_rules WHERE name = 'critical finding';
INSERT INTO alert_rules VALUES ('mine', 'silent', 'pay', '>', 60, '1 min', false, true);
SELECT * FROM plain.dumped();
SELECT * FROM alert_rules_removed;
CREATE TEMP TABLE dump AS SELECT * FROM plain.dumped();
-- Elsewhere: the default rules, and one of the same name.
DELETE FROM alert_rules;
INSERT INTO alert_rules SELECT * FROM default_alert_rules();
SELECT count(*) AS nothing_is_missing FROM alert_rules_removed;
UPDATE alert_rules SET hold = '1 s' WHERE name = 'critical finding';
INSERT INTO alert_rules (name, metric, threshold) VALUES ('mine', 'rejected', 1), ('theirs', 'rejected', 1);
SET check_function_bodies = off;
INSERT INTO alert_rules SELECT * FROM dump;
INSERT INTO alert_rules_removed VALUES ('critical finding');
RESET check_function_bodies;
-- One that was changed here stays.
SELECT * FROM alert_rules ORDER BY name;
-- A renamed one does not come back by its old name either.
UPDATE alert_rules SET name = 'errors' WHERE name = 'error rate';
SELECT * FROM alert_rules_removed ORDER BY name;

-- Who may do what.
DROP ROLE IF EXISTS regress_alert_writer, regress_alert_reader, regress_alert_admin;
CREATE ROLE regress_alert_writer IN ROLE trace_ext_writer;
CREATE ROLE regress_alert_reader IN ROLE trace_ext_reader;
CREATE ROLE regress_alert_admin IN ROLE trace_ext_admin;
CREATE TABLE plain.tried (n int GENERATED ALWAYS AS IDENTITY, statement text);
INSERT INTO plain.tried (statement) VALUES
    ('SELECT * FROM trace_ext.alerts'), ('SELECT * FROM trace_ext.alert_rules'), ('SELECT * FROM trace_ext.alert_history'),
    ($$INSERT INTO trace_ext.alert_rules (name, metric, threshold) VALUES (current_user, 'rejected', 1)$$), ('UPDATE trace_ext.alert_rules SET enabled = false WHERE name = current_user'),
    ('DELETE FROM trace_ext.alert_rules WHERE name = current_user'), ('TRUNCATE trace_ext.alert_rules'),
    ('UPDATE trace_ext.alert_states SET state = $$inactive$$'), ('DELETE FROM trace_ext.alert_history'), ('DELETE FROM trace_ext.alert_samples'), ('DELETE FROM trace_ext.alert_rules_removed'),
    ('SELECT trace_ext_internal.evaluate_alerts(now())'), ('CALL trace_ext.job_alerts()'), ($$SELECT * FROM trace_ext.changes_since('trace_ext_alerts', NULL)$$),
    ('INSERT INTO trace_ext.sent_announcements VALUES (1, $$x$$, now(), $${}$$)'), ('SET trace_ext.alert_history = 1');
GRANT USAGE ON SCHEMA plain TO regress_alert_writer, regress_alert_reader, regress_alert_admin;
GRANT SELECT ON plain.tried TO PUBLIC;
SELECT statement, writer.state AS writer, reader.state AS reader, admin.state AS admin
  FROM plain.tried JOIN plain.try('regress_alert_writer') writer USING (n) JOIN plain.try('regress_alert_reader') reader USING (n) JOIN plain.try('regress_alert_admin') admin USING (n) ORDER BY n;

SET client_min_messages = warning;
CALL plain.reset();
TRUNCATE alert_rules_removed;
INSERT INTO alert_rules SELECT * FROM default_alert_rules();
ALTER TABLE alert_rules DISABLE TRIGGER trace_ext_judge;
UPDATE alert_rules SET is_default = true;
ALTER TABLE alert_rules ENABLE TRIGGER trace_ext_judge;
UPDATE jobs SET last_started = NULL, next_run = NULL WHERE builtin;
TRUNCATE job_runs, alert_history, admin_log;
DELETE FROM findings;
TRUNCATE events, ingest_errors;
DROP OWNED BY regress_alert_writer, regress_alert_reader, regress_alert_admin;
DROP ROLE regress_alert_writer, regress_alert_reader, regress_alert_admin;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
