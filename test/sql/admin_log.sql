-- Who changed what: roles, before and after; nobody writes it himself, and nobody keeps out of it.
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
DROP ROLE IF EXISTS regress_log_admin, regress_log_mate, regress_log_reader;
CREATE ROLE regress_log_admin LOGIN IN ROLE trace_ext_admin;
CREATE ROLE regress_log_mate LOGIN IN ROLE regress_log_admin;
CREATE ROLE regress_log_reader IN ROLE trace_ext_reader;
GRANT USAGE ON SCHEMA plain TO regress_log_admin;
TRUNCATE admin_log RESTART IDENTITY;
-- What differs of before and after.
CREATE VIEW plain.log AS
SELECT l.id, l.role_name, l.logged_in_as, l.what, l.name,
       (SELECT string_agg(k || ': ' || coalesce(l.before ->> k, '-') || ' > ' || coalesce(l.after ->> k, '-'), ', ' ORDER BY k COLLATE "C")
          FROM jsonb_object_keys(coalesce(l.before, l.after)) k WHERE l.before -> k IS DISTINCT FROM l.after -> k) AS change
  FROM trace_ext.admin_log l;

-- Each kind of change, by an administrator who acts as another role.
SET SESSION AUTHORIZATION regress_log_mate;
SET ROLE regress_log_admin;
SELECT trace_ext.alter_job('fold', "interval" => '2 s', priority => 99);
SELECT trace_ext.alter_job('detect', enabled => false);
INSERT INTO trace_ext.alert_rules (name, metric, service, threshold, hold) VALUES ('slow', 'per_second', 'pay', 3, '90 s');
UPDATE trace_ext.alert_rules SET threshold = 4 WHERE name = 'slow';
UPDATE trace_ext.alert_rules SET name = 'slower', enabled = false WHERE name = 'slow';
DELETE FROM trace_ext.alert_rules WHERE name = 'slower';
INSERT INTO trace_ext.redaction_rules (name, path) VALUES ('passwords', '**.password');
UPDATE trace_ext.redaction_rules SET enabled = false WHERE name = 'passwords';
DELETE FROM trace_ext.redaction_rules WHERE name = 'passwords';
RESET SESSION AUTHORIZATION;
INSERT INTO findings (id, kind, variable, severity, confidence, confirmed, occurrences) VALUES (plain.id('f1'), 'lost update', 'x', 'CRITICAL', 1, true, 1), (plain.id('f2'), 'lost update', 'y', 'CRITICAL', 1, true, 1);
SET ROLE regress_log_admin;
SELECT trace_ext.set_finding_status(plain.id('f1'), 'ignored');
UPDATE trace_ext.findings SET status = 'acknowledged';
RESET ROLE;
CREATE PROCEDURE plain.nothing() LANGUAGE sql AS 'SELECT';
SELECT add_job('mine', 'plain.nothing', '1 hour');
SELECT drop_job('mine');
SELECT id, role_name = current_user AS mine, CASE WHEN role_name <> current_user THEN role_name END AS role_name, logged_in_as = session_user AS i_am, what, name, replace(change, current_user, 'superuser') AS change FROM plain.log ORDER BY id;
SELECT DISTINCT logged_in_as FROM admin_log WHERE logged_in_as <> session_user;
SELECT before, after FROM admin_log WHERE what = 'alert rule' ORDER BY id LIMIT 2;
SELECT bool_and(at BETWEEN now() - interval '1 min' AND clock_timestamp()) AS just_now FROM admin_log;

-- What is no decision is not in it: workers' books, the same again, what detection finds, what is rolled back.
TRUNCATE admin_log;
SELECT state FROM run_job('fold');
SELECT state FROM run_job('notify');
SELECT alter_job('fold', next_run => now());
SELECT alter_job('fold', priority => 99);
UPDATE jobs SET next_run = now(), attempts = 3, last_error = 'x';
UPDATE alert_rules SET threshold = threshold;
UPDATE findings SET occurrences = 5, status = status;
BEGIN;
SELECT alter_job('fold', priority => 5);
SELECT count(*) FROM admin_log;
ROLLBACK;
DELETE FROM findings;
SELECT * FROM plain.log;
-- One who is not allowed leaves no trace, and changes nothing.
SELECT state FROM plain.outcome($$SET LOCAL ROLE regress_log_reader; UPDATE trace_ext.alert_rules SET enabled = false$$);
RESET ROLE;
SELECT count(*) FROM admin_log;

-- Nobody keeps out of it by a setting, by his own objects, or by another's function; a limit that prints alike is another one.
SET ROLE regress_log_admin;
SET check_function_bodies = off;
UPDATE trace_ext.alert_rules SET threshold = 0.06 WHERE name = 'error rate';
SELECT set_config('search_path', '', false) IS NOT NULL AS as_a_dump_begins;
UPDATE trace_ext.alert_rules SET threshold = 0.07 WHERE name = 'error rate';
RESET check_function_bodies;
SET search_path = public, trace_ext, trace_ext_internal;
SET extra_float_digits = -15;
UPDATE trace_ext.alert_rules SET threshold = 0.07000001 WHERE name = 'error rate';
RESET extra_float_digits;
CREATE TEMP TABLE admin_log ();
CREATE FUNCTION pg_temp.caller() RETURNS name LANGUAGE sql AS $$ SELECT 'somebody'::name $$;
SET search_path = pg_temp, trace_ext, public;
UPDATE trace_ext.alert_rules SET threshold = 0.08 WHERE name = 'error rate';
SET search_path = public, trace_ext, trace_ext_internal;
DROP TABLE pg_temp.admin_log;
RESET ROLE;
SELECT role_name, what, name, change FROM plain.log ORDER BY id;
CREATE FUNCTION plain.on_behalf() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ UPDATE trace_ext.alert_rules SET threshold = 0.09 WHERE name = 'error rate' $$;
SET ROLE regress_log_admin;
SELECT plain.on_behalf();
RESET ROLE;
SELECT role_name, what, name, change FROM plain.log ORDER BY id DESC LIMIT 1;
-- Who restores a dump with the rights of the owner brings the log of before, and adds nothing to it.
SELECT count(*) AS before FROM admin_log \gset
BEGIN;
SET LOCAL check_function_bodies = off;
UPDATE alert_rules SET threshold = 0.05 WHERE name = 'error rate';
SELECT alter_job('fold', priority => 100, "interval" => '1 s'), alter_job('detect', enabled => true);
SELECT count(*) - :before AS more FROM admin_log;
INSERT INTO admin_log OVERRIDING SYSTEM VALUE SELECT min(id), now(), 'gone', 'gone', 'job', 'x', NULL, NULL FROM admin_log;
SELECT count(*) - :before AS more, count(DISTINCT id) = count(*) AS other_number FROM admin_log;
COMMIT;

-- Who may look at it: administrators; nobody writes, not even they.
CREATE TABLE plain.tried (n int GENERATED ALWAYS AS IDENTITY, statement text);
INSERT INTO plain.tried (statement) VALUES ('SELECT * FROM trace_ext.admin_log'), ('DELETE FROM trace_ext.admin_log'), ('UPDATE trace_ext.admin_log SET role_name = $$x$$'), ('TRUNCATE trace_ext.admin_log'),
    ('INSERT INTO trace_ext.admin_log (at, role_name, logged_in_as, what, name) VALUES (now(), $$x$$, $$x$$, $$job$$, $$fold$$)'), ('ALTER TABLE trace_ext.alert_rules DISABLE TRIGGER ALL'), ('SET session_replication_role = replica'),
    ('SELECT trace_ext_internal.trim_admin_log()'), ('SELECT trace_ext_internal.log_change()'), ('SET trace_ext.admin_log_retention = 1'), ('UPDATE trace_ext.jobs SET enabled = false'),
    ('CREATE TRIGGER forged AFTER INSERT ON trace_ext.alert_rules FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.log_change($$job$$, $$name$$, $$name$$)');
GRANT USAGE ON SCHEMA plain TO regress_log_reader;
GRANT SELECT ON plain.tried TO PUBLIC;
SELECT statement, reader.state AS reader, admin.state AS admin FROM plain.tried JOIN plain.try('regress_log_reader') reader USING (n) JOIN plain.try('regress_log_admin') admin USING (n) ORDER BY n;

-- By age it leaves, with the job retention.
UPDATE admin_log SET at = at - interval '366 days' WHERE id IN (SELECT id FROM admin_log ORDER BY id LIMIT 2);
SELECT count(*) AS before FROM admin_log \gset
SELECT trace_ext.count_events() IS NOT NULL AS loaded;
SET trace_ext.admin_log_retention = 0;
CALL job_retention();
SELECT :before - count(*) AS gone FROM admin_log;
RESET trace_ext.admin_log_retention;
CALL job_retention();
SELECT :before - count(*) AS gone FROM admin_log;
SET trace_ext.admin_log_retention = '1000000d';
SHOW trace_ext.admin_log_retention;
CALL job_retention();
RESET trace_ext.admin_log_retention;

SET client_min_messages = warning;
ALTER TABLE alert_rules DISABLE TRIGGER trace_ext_judge;
UPDATE alert_rules SET is_default = true;
ALTER TABLE alert_rules ENABLE TRIGGER trace_ext_judge;
TRUNCATE admin_log, job_runs;
UPDATE jobs SET next_run = NULL, attempts = 0, last_error = NULL, last_error_at = NULL;
SELECT name, enabled, priority, "interval" FROM jobs WHERE name IN ('fold', 'detect') ORDER BY name;
DROP OWNED BY regress_log_admin, regress_log_mate, regress_log_reader;
DROP ROLE regress_log_mate, regress_log_admin, regress_log_reader;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
