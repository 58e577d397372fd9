-- Jobs: adding, changing, running them by hand; what is due when; rights; metrics.
-- No worker is needed, and none must be at work.
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
-- Errors of jobs are in their rows as well.
SET client_min_messages = error;
\set VERBOSITY terse
TRUNCATE job_runs;
UPDATE jobs SET next_run = NULL, attempts = 0, runs = 0, failures = 0, skipped = 0;

SELECT name, procedure, builtin, enabled, "interval", timeout, max_attempts, priority FROM jobs WHERE name <> 'cache_refresh' ORDER BY priority DESC, name;

-- By hand: each is a procedure, and a job that run_job() runs.
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('a' || i % 3), plain.id(i::text), '1990-01-01+00', 'Custom' FROM generate_series(1, 10) i;
SELECT summary_backlog FROM status;
SELECT job, state, attempt, error FROM run_job('fold');
SELECT summary_backlog, now() - last_fold < interval '1 min' AS just_now, fold_lag FROM status;
CALL job_fold();
CALL job_detect();
CALL job_notify();
SELECT job, state, attempt, error, finished_at >= started_at AS in_order FROM job_runs ORDER BY id;
SELECT name, runs, failures, attempts, last_success IS NOT NULL AS ok, next_run > now() AS later FROM jobs WHERE name = 'fold';

-- What folding one by one comes to is what folding all at once does, and traces to be read again go as a whole.
SELECT setseed(0.5);
INSERT INTO events (trace_id, id, "timestamp", kind, service_name)
SELECT plain.id('b' || (random() * 20)::int), plain.id((100 + i)::text), '1990-01-01+00'::timestamptz + random() * interval '1 day', 'Custom', 's' || i % 3 FROM generate_series(1, 50) i;
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('b' || (random() * 20)::int), plain.id((200 + i)::text), '1990-01-02+00', 'Error' FROM generate_series(1, 50) i;
DELETE FROM events WHERE id IN (SELECT plain.id((100 + i)::text) FROM generate_series(1, 100, 7) i);
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT plain.id('b' || (random() * 20)::int), plain.id((300 + i)::text), '1989-01-02+00', 'Error' FROM generate_series(1, 50) i;
SELECT count(*) > 20 AS many, bool_or(recompute) AS to_be_read_again FROM summary_deltas;
DO $$
DECLARE
    part int := 0;
BEGIN
    WHILE EXISTS (SELECT FROM trace_ext.summary_deltas) OR EXISTS (SELECT FROM trace_ext.count_deltas) LOOP
        part := part + 1;
        PERFORM trace_ext_internal.fold_lock(true), trace_ext_internal.fold_deltas(3);
        IF EXISTS (SELECT FROM plain.differences()) THEN
            RAISE EXCEPTION 'not exact after part %', part;
        END IF;
    END LOOP;
    RAISE INFO 'more than one part: %', part > 3;
END $$;
SELECT * FROM verify_summaries();

-- Jobs of a user.
DROP ROLE IF EXISTS regress_owner, regress_other, regress_job_admin, regress_no_login;
CREATE ROLE regress_owner LOGIN;
CREATE ROLE regress_other LOGIN;
CREATE ROLE regress_no_login;
CREATE ROLE regress_job_admin IN ROLE trace_ext_admin;
CREATE SCHEMA regress_jobs;
GRANT USAGE, CREATE ON SCHEMA regress_jobs TO regress_owner, regress_other, regress_no_login;
GRANT USAGE ON SCHEMA trace_ext TO regress_owner, regress_other;
GRANT EXECUTE ON FUNCTION add_job, alter_job, run_job, drop_job TO regress_owner, regress_other;
SET ROLE regress_owner;
CREATE TABLE regress_jobs.log (who name, path text);
CREATE PROCEDURE regress_jobs.good() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_jobs.log VALUES (current_user, current_setting('search_path')); END $$;
CREATE PROCEDURE regress_jobs.bad() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_jobs.log VALUES ('bad', NULL); RAISE EXCEPTION 'it went wrong'; END $$;
CREATE PROCEDURE regress_jobs.thief() LANGUAGE plpgsql AS $$ BEGIN RESET ROLE; END $$;
CREATE PROCEDURE regress_jobs.steps(INOUT again boolean DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO regress_jobs.log VALUES ('step', NULL);
    again := (SELECT count(*) < 3 FROM regress_jobs.log WHERE who = 'step');
END $$;
CREATE PROCEDURE regress_jobs.needs(a int) LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE FUNCTION regress_jobs.func() RETURNS void LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
SELECT trace_ext.add_job('good', 'regress_jobs.good', '1 hour');
SELECT trace_ext.add_job('bad', 'regress_jobs.bad', '1 hour', max_attempts => 3, backoff => '10 s', max_backoff => '15 s');
SELECT trace_ext.add_job('thief', 'regress_jobs.thief', '1 hour');
SELECT trace_ext.add_job('steps', 'regress_jobs.steps', '1 hour');
SELECT trace_ext.add_job('good', 'regress_jobs.good', '1 hour');
SELECT trace_ext.add_job('needs', 'regress_jobs.needs', '1 hour');
SELECT trace_ext.add_job('func', 'regress_jobs.func', '1 hour');
SELECT trace_ext.add_job('often', 'regress_jobs.good', '0 s');
-- Nobody gets the rights of another role by adding a job of its procedure.
SELECT trace_ext.add_job('stolen', 'trace_ext.job_fold', '1 hour');
SET ROLE regress_other;
SELECT trace_ext.add_job('stolen', 'regress_jobs.good', '1 hour');
SELECT trace_ext.alter_job('good', enabled => false);
SELECT trace_ext.run_job('good');
SELECT trace_ext.run_job('fold');
SELECT trace_ext.drop_job('good');
SET ROLE regress_job_admin;
SELECT trace_ext.add_job('stolen', 'regress_jobs.good', '1 hour');
SELECT trace_ext.alter_job('good', priority => 7, timeout => '1 min');
INSERT INTO trace_ext.jobs (name, procedure, owner, "interval") VALUES ('stolen', 'regress_jobs.good', 'postgres', '1 hour');
UPDATE trace_ext.jobs SET owner = 'postgres' WHERE name = 'good';
SELECT trace_ext_internal.finish_job(1, 'failed', 'forged');
SELECT trace_ext_internal.call_job('regress_jobs.good', 10);
-- An admin runs it as its owner, not as himself; a superuser too.
SELECT job, state, error FROM trace_ext.run_job('good');
RESET ROLE;
SELECT job, state, error FROM trace_ext.run_job('good');
SELECT job, state, error FROM trace_ext.run_job('steps');
SELECT job, state, attempt, error FROM trace_ext.run_job('thief');
SELECT * FROM regress_jobs.log;
SELECT name, owner, priority, timeout, enabled FROM jobs WHERE NOT builtin ORDER BY name;
SET ROLE regress_owner;
SELECT trace_ext.alter_job('thief', enabled => false);
SELECT trace_ext.drop_job('steps');
SELECT trace_ext.drop_job('fold');
SELECT trace_ext.run_job('nothing');
RESET ROLE;
SELECT drop_job('fold');

-- Failures: what was done is undone, the pause doubles up to its limit, then the interval counts.
SELECT count(*) FROM regress_jobs.log WHERE who = 'bad';
CREATE FUNCTION plain.fail() RETURNS TABLE (state run_state, attempt int, attempts int, pause interval, error text) LANGUAGE plpgsql AS $$
DECLARE
    r trace_ext.job_runs := trace_ext.run_job('bad');
BEGIN
    RETURN QUERY SELECT r.state, r.attempt, j.attempts, date_trunc('second', j.next_run - r.finished_at + interval '0.5 s'), r.error FROM trace_ext.jobs j WHERE name = 'bad';
END $$;
SELECT * FROM plain.fail();
SELECT * FROM plain.fail();
SELECT * FROM plain.fail();
SELECT * FROM plain.fail();
SELECT failing_jobs, last_job_error, last_job_error_at IS NOT NULL AS said_when FROM status;
SELECT runs, failures, last_error FROM jobs WHERE name = 'bad';
SELECT count(*) FROM regress_jobs.log WHERE who = 'bad';
CREATE OR REPLACE PROCEDURE regress_jobs.bad() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
SELECT job, state, attempt, error FROM run_job('bad');
SELECT attempts, runs, failures, last_error, date_trunc('second', next_run - last_started + interval '0.5 s') AS next_after FROM jobs WHERE name = 'bad';
SELECT failing_jobs FROM status;

-- A procedure that is gone, or somebody else's by now; a role that is gone.
ALTER PROCEDURE regress_jobs.good() OWNER TO regress_other;
SELECT job, state, error FROM run_job('good');
ALTER PROCEDURE regress_jobs.good() OWNER TO CURRENT_USER;
SELECT state, replace(error, current_user, 'superuser') AS error FROM run_job('good');
DROP PROCEDURE regress_jobs.good();
SELECT job, state, error FROM run_job('good');
-- A renamed role keeps its jobs; one that is made anew by the name of a dropped one gets none, with a procedure of the same name either.
CREATE ROLE regress_brief LOGIN;
GRANT USAGE ON SCHEMA regress_jobs TO regress_brief;
CREATE PROCEDURE regress_jobs.brief() LANGUAGE plpgsql AS $$ BEGIN RAISE INFO 'ran as %', current_user; END $$;
ALTER PROCEDURE regress_jobs.brief() OWNER TO regress_brief;
SELECT add_job('brief', 'regress_jobs.brief', '1 hour', priority => 1000);
BEGIN;
ALTER ROLE regress_brief RENAME TO regress_short;
SELECT job, state, error FROM run_job('brief');
SELECT owner, owner_id = 'regress_short'::regrole AS by_number FROM jobs WHERE name = 'brief';
ROLLBACK;
BEGIN;
ALTER ROLE regress_brief RENAME TO regress_short;
UPDATE jobs SET next_run = CASE WHEN name <> 'brief' THEN now() + interval '1 s' END;
SELECT name, owner::regrole, builtin FROM claim_job(true);
SELECT owner FROM jobs WHERE name = 'brief';
ROLLBACK;
-- What a dump takes, by its own condition: also while a new name was not seen yet, but not once it is another role's.
CREATE FUNCTION plain.dumped() RETURNS SETOF name LANGUAGE plpgsql AS $$ BEGIN
    RETURN QUERY EXECUTE 'SELECT name FROM trace_ext.jobs ' || (SELECT extcondition[array_position(extconfig, 'trace_ext.jobs'::regclass::oid)] FROM pg_extension WHERE extname = 'trace_ext');
END $$;
SELECT d FROM plain.dumped() d WHERE d IN ('brief', 'fold') ORDER BY d;
BEGIN;
ALTER ROLE regress_brief RENAME TO regress_short;
SELECT d FROM plain.dumped() d WHERE d IN ('brief', 'fold') ORDER BY d;
CREATE ROLE regress_brief LOGIN;
SELECT d FROM plain.dumped() d WHERE d IN ('brief', 'fold') ORDER BY d;
ROLLBACK;
DROP PROCEDURE regress_jobs.brief();
REVOKE USAGE ON SCHEMA regress_jobs FROM regress_brief;
DROP ROLE regress_brief;
SELECT job, state, error FROM run_job('brief');
CREATE ROLE regress_brief LOGIN;
GRANT USAGE ON SCHEMA regress_jobs TO regress_brief;
CREATE PROCEDURE regress_jobs.brief() LANGUAGE plpgsql AS $$ BEGIN RAISE INFO 'ran as %', current_user; END $$;
ALTER PROCEDURE regress_jobs.brief() OWNER TO regress_brief;
SELECT job, state, error FROM run_job('brief');
BEGIN;
UPDATE jobs SET next_run = CASE WHEN name <> 'brief' THEN now() + interval '1 s' END;
SELECT run FROM claim_job(true);
SELECT state, error FROM job_runs WHERE job = 'brief' ORDER BY id DESC LIMIT 1;
ROLLBACK;
SELECT d FROM plain.dumped() d WHERE d IN ('brief', 'fold') ORDER BY d;
GRANT USAGE ON SCHEMA trace_ext TO regress_brief;
GRANT EXECUTE ON FUNCTION run_job, drop_job TO regress_brief;
SET ROLE regress_brief;
SELECT trace_ext.run_job('brief');
RESET ROLE;
DROP PROCEDURE regress_jobs.brief();
DROP OWNED BY regress_brief;
DROP ROLE regress_brief;
SELECT drop_job('brief');
-- A dump may name a role that is not there.
INSERT INTO jobs (name, procedure, owner, "interval") VALUES ('brief', 'regress_jobs.brief', 'regress_brief', '1 hour');
SELECT owner, owner_id FROM jobs WHERE name = 'brief';
SELECT job, state, error FROM run_job('brief');
SELECT drop_job('brief');

-- What is due: claimed by priority, once; nothing while it runs, nothing before its time.
SELECT alter_job(name, enabled => false) FROM jobs WHERE name IN ('good', 'thief', 'alerts', 'baselines', 'anomalies') ORDER BY name;
UPDATE jobs SET next_run = now() + interval '30 s';
UPDATE job_runs SET state = 'lost' WHERE state = 'running';
SELECT run, name, wait_ms BETWEEN 20000 AND 30000 AS waits FROM claim_job(true);
-- The clock was set back: a time that cannot be is no time to wait for.
SELECT name, job_due_at(j) = '-infinity' AS due FROM jobs j WHERE name IN ('bad', 'retention') ORDER BY name;
UPDATE jobs SET next_run = now() + interval '1 day';
SELECT name, job_due_at(j) = '-infinity' AS due FROM jobs j WHERE name IN ('bad', 'retention') ORDER BY name;
-- Nothing is to be told, nor any call to be added up, however long this took.
CALL job_calls();
UPDATE announcements SET total = 0, ids = '{}', since = NULL;
UPDATE jobs SET next_run = now() - interval '1 s';
SELECT name, builtin, procedure, timeout_ms, folds FROM claim_job(true);
SELECT finish_job(max(id), 'succeeded', NULL) FROM job_runs;
SELECT name FROM claim_job(false);
SELECT finish_job(max(id), 'skipped', 'somebody had a lock') FROM job_runs;
SELECT name, owner::regrole, timeout_ms FROM claim_job(true);
SELECT name FROM claim_job(true);
SELECT name, skipped FROM jobs WHERE skipped > 0;
-- A run that nobody runs any more is lost, and counts as failed.
SELECT close_lost_runs('{}');
SELECT job, state, error FROM job_runs WHERE id = (SELECT max(id) FROM job_runs);
SELECT count(*) FROM job_runs WHERE state = 'running';
-- Only where there is something to do.
UPDATE jobs SET next_run = NULL WHERE name = 'fold';
SELECT job_due_at(j) FROM jobs j WHERE name = 'fold';
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('c1'), plain.id('1'), '1990-01-01+00', 'Custom');
SELECT job_due_at(j) FROM jobs j WHERE name = 'fold';
SELECT name FROM claim_job(true);
SELECT finish_job(max(id), 'succeeded', NULL) FROM job_runs;

-- History trims itself.
SET trace_ext.job_history = 2;
INSERT INTO job_runs (job, started_at, state, attempt) SELECT 'bad', now(), 'succeeded', 1 FROM generate_series(1, 10);
SELECT trim_job_runs();
SELECT max(n) FROM (SELECT count(*) AS n FROM job_runs GROUP BY job) AS of_each;
RESET trace_ext.job_history;

-- A dump's rows set the built-in jobs and add the others.
UPDATE jobs SET "interval" = '7 s' WHERE name = 'fold';
CREATE TEMP TABLE dumped AS SELECT * FROM jobs WHERE name IN ('fold', 'bad');
UPDATE jobs SET "interval" = '1 s' WHERE name = 'fold';
DELETE FROM jobs WHERE name = 'bad';
INSERT INTO jobs SELECT * FROM dumped;
SELECT name, "interval", owner = current_user AS mine FROM jobs WHERE name IN ('fold', 'bad') ORDER BY name;
UPDATE jobs SET "interval" = '1 s' WHERE name = 'fold';

-- Metrics: every line is one of three kinds; each metric has its help and type once, before its samples; counters are named as such.
SELECT count(*) > 40 AS many, count(*) FILTER (WHERE line !~ '^# (HELP|TYPE) [a-z_]+ .+$' AND line !~ '^[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? (-?[0-9.e+-]+|[+-]Inf)$') AS wrong
  FROM prometheus_metrics() line;
SELECT * FROM metrics WHERE (type = 'counter') <> (name LIKE '%\_total');
SELECT line FROM prometheus_metrics() line WHERE line ~ '^trace_ext_(events|traces) |^trace_ext_job_failures_total.job="bad"|preloaded' AND line !~ 'preloaded [01]' ORDER BY 1;
SELECT line = 'trace_ext_launcher_up ' || (SELECT count(*) FROM workers() w WHERE w.kind = 'launcher' AND w.state = 'running') AS launcher
  FROM prometheus_metrics() line WHERE line LIKE 'trace\_ext\_launcher\_up %';
SELECT metric_labels('{"b": "back\\slash", "a": "quo\"te", "c": "new\nline"}') AS escaped, metric_labels('{}') AS none;

-- Notifications: what is new, in JSON, with a limit.
UPDATE announcements SET total = 0, ids = '{}', since = NULL, sent_at = NULL;
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT gen_random_uuid(), gen_random_uuid(), '1990-01-01+00', 'Custom' FROM generate_series(1, 150);
SELECT fold();
SELECT channel, p -> 'count' AS count, jsonb_array_length(p -> 'trace_ids') AS ids, p -> 'truncated' AS truncated, octet_length(p::text) < 8000 AS fits, (SELECT count(*) FROM trace_summaries WHERE p -> 'trace_ids' ? trace_id::text) AS known
  FROM announcements a, LATERAL (SELECT notify_payload(a)::jsonb) AS n (p) WHERE total > 0 ORDER BY channel;
SELECT notify_needed();
CALL job_notify();
SELECT channel, total, cardinality(ids) AS ids, sent_at IS NOT NULL AS sent FROM announcements ORDER BY channel;
SET trace_ext.notify_interval = '1h';
INSERT INTO events (trace_id, id, "timestamp", kind) SELECT gen_random_uuid(), gen_random_uuid(), '1990-01-01+00', 'Custom' FROM generate_series(1, 3);
SELECT fold();
CALL job_notify();
SELECT channel, total FROM announcements WHERE total > 0 ORDER BY channel;
SELECT notify_needed() > now() + interval '50 min' AS in_an_hour;
SET trace_ext.notify_interval = -1;
SELECT notify_needed();
RESET trace_ext.notify_interval;
INSERT INTO findings (id, kind, variable, severity, confidence, confirmed, occurrences) VALUES (plain.id('f1'), 'lost update', 'x', 'CRITICAL', 1, true, 1);
SELECT notify_payload(a)::jsonb - 'since' - 'until' AS payload FROM announcements a WHERE channel = 'trace_ext_findings';
DELETE FROM findings;

UPDATE announcements SET total = 0, ids = '{}', since = NULL;
SELECT * FROM verify_summaries();
SET client_min_messages = warning;
SELECT alter_job(name, enabled => true) FROM jobs WHERE name IN ('alerts', 'baselines', 'anomalies');
DELETE FROM jobs WHERE NOT builtin;
TRUNCATE job_runs;
UPDATE jobs SET next_run = NULL, attempts = 0;
DROP SCHEMA regress_jobs CASCADE;
DROP OWNED BY regress_owner, regress_other, regress_job_admin;
DROP ROLE regress_owner, regress_other, regress_job_admin, regress_no_login;
TRUNCATE events;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
