-- Who may do what: nobody by default; a writer, a reader, an admin.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all

DROP ROLE IF EXISTS regress_nobody, regress_writer, regress_reader, regress_admin;
CREATE ROLE regress_nobody;
CREATE ROLE regress_writer IN ROLE trace_ext_writer;
CREATE ROLE regress_reader IN ROLE trace_ext_reader;
CREATE ROLE regress_admin IN ROLE trace_ext_admin;
GRANT USAGE ON SCHEMA plain TO regress_nobody, regress_writer, regress_reader, regress_admin;
CREATE TABLE events_p2001 PARTITION OF trace_ext.events FOR VALUES FROM ('2001-01-01+00') TO ('2002-01-01+00');
CALL trace_ext.maintain_partitions();
INSERT INTO events (trace_id, id, "timestamp", kind) VALUES (plain.id('a1'), plain.id('1'), '2001-01-01+00', 'Custom');
SELECT * FROM ingest_events('[{}]');

-- The roles are there, and give nothing but what they are for.
SELECT rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname LIKE 'trace\_ext\_%' ORDER BY 1;

-- Nothing to PUBLIC: no object of the schema names it.
SELECT 'relation' AS what, relname::text AS name FROM pg_class c, aclexplode(c.relacl) a WHERE relnamespace = 'trace_ext'::regnamespace AND grantee = 0
UNION ALL
SELECT 'function', oid::regprocedure::text FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', proowner))) a
 WHERE pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) AND grantee = 0
UNION ALL
SELECT 'schema', nspname FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', nspowner))) a WHERE nspname = 'trace_ext' AND grantee = 0;

-- Who may call what, function by function; those that run as the owner first. A new function
-- changes this list: grant it to whom it is for, and to nobody else.
\pset format unaligned
SELECT CASE WHEN p.prosecdef THEN 'as owner' ELSE 'as caller' END COLLATE "C" AS runs,
       coalesce((SELECT string_agg(replace(a.grantee::regrole::text, 'trace_ext_', ''), ', ' ORDER BY a.grantee::regrole::text COLLATE "C")
                   FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner), 'nobody') COLLATE "C" AS callers,
       format('%s(%s)', p.proname, (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n))) COLLATE "C" AS function
  FROM pg_proc p WHERE p.pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) ORDER BY 1 DESC, 2, 3;
\pset format aligned
-- As the owner only with a search_path that nobody can lead astray.
SELECT oid::regprocedure FROM pg_proc p WHERE pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) AND prosecdef
   AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false);

-- Each role tries everything; a state is 42501 where it may not, empty where it may.
CREATE TABLE plain.tried (n int GENERATED ALWAYS AS IDENTITY, what text, statement text);
INSERT INTO plain.tried (what, statement) VALUES
    ('ingest text', $$SELECT trace_ext.ingest_events('[{"id": "00000002-0000-0000-0000-000000000000", "trace_id": "000000a1-0000-0000-0000-000000000000", "timestamp": "2001-02-03T00:00:00Z", "kind": "Custom"}, {}]')$$),
    ('ingest jsonb', $$SELECT trace_ext.ingest_events('[]'::jsonb)$$),
    ('ingest spans', $$SELECT trace_ext.ingest_otlp('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "000000a1000000000000000000000000", "spanId": "00000000000000a1", "startTimeUnixNano": 1, "links": [{"traceId": "000000a2000000000000000000000000", "spanId": "00000000000000a2"}]}, {}]}]}]}')$$),
    ('ingest bytes', $$SELECT trace_ext.ingest_otlp('\x'::bytea)$$),
    ('SELECT redaction rules', $$SELECT * FROM trace_ext.redaction_rules$$),
    ('redact', $$INSERT INTO trace_ext.redaction_rules (name) SELECT 'x' WHERE false$$),
    ('check a rule', $$SELECT trace_ext_internal.check_redaction_rule('x', 'mask', 'x')$$),
    ('write links', $$INSERT INTO trace_ext.trace_links VALUES (gen_random_uuid(), '', gen_random_uuid(), '', now())$$),
    ('SELECT links', $$SELECT * FROM trace_ext.trace_links$$),
    ('SELECT resources', $$SELECT * FROM trace_ext.otlp_resources$$),
    ('INSERT', $$INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), '2001-01-01+00', 'Custom')$$),
    ('INSERT into default', $$INSERT INTO trace_ext.events_default (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), '1990-01-01+00', 'Custom')$$),
    ('INSERT for now', $$INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'Custom')$$),
    ('UPDATE', $$UPDATE trace_ext.events SET service_name = 'x'$$),
    ('DELETE', $$DELETE FROM trace_ext.events WHERE false$$),
    ('TRUNCATE', $$TRUNCATE trace_ext.events_default$$),
    ('SELECT events', $$SELECT * FROM trace_ext.events$$),
    ('SELECT summaries', $$SELECT * FROM trace_ext.trace_summaries$$),
    ('SELECT event_counts', $$SELECT * FROM trace_ext.event_counts$$),
    ('SELECT accesses', $$SELECT * FROM trace_ext.cross_trace_index$$),
    ('SELECT calls', $$SELECT * FROM trace_ext.service_calls$$),
    ('SELECT map', $$SELECT * FROM trace_ext.service_map()$$),
    ('outstanding_calls', $$SELECT * FROM trace_ext_internal.outstanding_calls()$$),
    ('trace_calls', $$SELECT trace_ext_internal.trace_calls('000000a1-0000-0000-0000-000000000000')$$),
    ('take_some_calls', $$SELECT trace_ext_internal.take_some_calls(1)$$),
    ('take_calls_if_free', $$SELECT trace_ext_internal.take_calls_if_free()$$),
    ('queue calls', $$INSERT INTO trace_ext.calls_queue VALUES ('000000a1-0000-0000-0000-000000000000')$$),
    ('write calls', $$DELETE FROM trace_ext.trace_call_rows$$),
    ('write hours', $$UPDATE trace_ext.call_base SET calls = 0$$),
    ('write totals', $$TRUNCATE trace_ext.call_totals$$),
    ('job_calls', $$CALL trace_ext.job_calls()$$),
    ('SELECT errors', $$SELECT * FROM trace_ext.ingest_errors$$),
    ('SELECT my errors', $$SELECT * FROM trace_ext.my_ingest_errors$$),
    ('SELECT status', $$SELECT * FROM trace_ext.status$$),
    ('outstanding_deltas', $$SELECT * FROM trace_ext_internal.outstanding_deltas()$$),
    ('ordering_traces', $$SELECT * FROM trace_ext_internal.ordering_traces('-infinity', 'infinity', 100)$$),
    ('workers', $$SELECT * FROM trace_ext.workers()$$),
    ('cache_list', $$SELECT * FROM trace_ext_internal.cache_list()$$),
    ('cache_kept', $$SELECT * FROM trace_ext.cache_kept$$),
    ('keep for another', $$INSERT INTO trace_ext.cache_kept (role, role_name, query, settings) VALUES (10, 'postgres', 'SELECT 1', '')$$),
    ('note_kept', $$SELECT trace_ext_internal.note_kept(10, 'SELECT 1', 0, 'x')$$),
    ('roles_with_kept', $$SELECT trace_ext_internal.roles_with_kept()$$),
    ('cache_refresh', $$SELECT trace_ext.cache_refresh()$$),
    ('claim_job', $$SELECT trace_ext_internal.claim_job(true)$$),
    ('try_job_lock', $$SELECT trace_ext_internal.try_job_lock('fold')$$),
    ('lock jobs', $$LOCK TABLE trace_ext.jobs IN ACCESS EXCLUSIVE MODE$$),
    ('lock totals', $$LOCK TABLE trace_ext.totals IN ROW EXCLUSIVE MODE$$),
    ('lock a job', $$SELECT FROM trace_ext.jobs FOR UPDATE$$),
    ('rename an index', $$ALTER INDEX trace_ext.events_variable_idx ATTACH PARTITION trace_ext.summary_base_pkey$$),
    ('count_events', $$SELECT trace_ext.count_events()$$),
    ('list_traces', $$SELECT * FROM trace_ext.list_traces()$$),
    ('count_traces', $$SELECT trace_ext.count_traces()$$),
    ('fold', $$SELECT trace_ext.fold()$$),
    ('verify', $$SELECT * FROM trace_ext.verify_summaries()$$),
    ('rebuild', $$SELECT trace_ext.rebuild_summaries()$$),
    ('maintain', $$CALL trace_ext.maintain_partitions()$$),
    ('DELETE errors', $$DELETE FROM trace_ext.ingest_errors WHERE false$$),
    ('write base', $$UPDATE trace_ext.summary_base SET event_count = 0$$),
    ('write deltas', $$INSERT INTO trace_ext.count_deltas VALUES (now(), 'x', 'Custom', 'x', 1000, 0, 0)$$),
    ('write totals', $$UPDATE trace_ext.totals SET event_count = 0$$),
    ('write errors', $$INSERT INTO trace_ext.ingest_errors ("position", reason) VALUES (1, 'forged')$$),
    ('write partitions', $$DELETE FROM trace_ext.partitions$$),
    ('fold_deltas', $$SELECT trace_ext_internal.fold_deltas(1)$$),
    ('fold_lock', $$SELECT trace_ext_internal.fold_lock(true)$$),
    ('count_rows', $$SELECT trace_ext_internal.count_rows('trace_ext.events_default'::regclass, 1)$$),
    ('reconcile', $$SELECT trace_ext_internal.reconcile_partitions()$$),
    ('make_partition', $$SELECT trace_ext_internal.make_partition('2005-01-01', '2005-01-02', 'rows move')$$),
    ('SELECT baselines', $$SELECT * FROM trace_ext.baseline_metrics$$),
    ('SELECT anomalies', $$SELECT * FROM trace_ext.anomalies$$),
    ('decide', $$SELECT trace_ext.set_anomaly_status(gen_random_uuid(), 'resolved')$$),
    ('write anomalies', $$UPDATE trace_ext.anomalies SET occurrences = 0$$),
    ('write baselines', $$DELETE FROM trace_ext.baseline_metrics$$),
    ('job_baselines', $$CALL trace_ext.job_baselines()$$),
    ('job_anomalies', $$CALL trace_ext.job_anomalies()$$),
    ('anomalies_of', $$SELECT * FROM trace_ext_internal.anomalies_of('{}')$$),
    ('CREATE in schema', $$CREATE TABLE trace_ext.mine ()$$),
    ('ATTACH', $$ALTER TABLE trace_ext.events DETACH PARTITION public.events_p2001$$),
    ('own trigger', $$CREATE TRIGGER mine BEFORE INSERT ON trace_ext.events FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.note_event()$$);
GRANT SELECT ON plain.tried TO PUBLIC;
SELECT what, nobody.state AS nobody, writer.state AS writer, reader.state AS reader, admin.state AS admin
  FROM plain.tried JOIN plain.try('regress_nobody') nobody USING (n) JOIN plain.try('regress_writer') writer USING (n)
  JOIN plain.try('regress_reader') reader USING (n) JOIN plain.try('regress_admin') admin USING (n)
 ORDER BY n;
SELECT count(*) AS forged FROM ingest_errors WHERE reason = 'forged';
SELECT * FROM plain.differences();

-- A writer folds now and then without any right on what is folded; a rejected event says who sent it.
TRUNCATE ingest_errors;
SET SESSION AUTHORIZATION regress_writer;
SET trace_ext.fold_threshold = 1;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (plain.id('a2'), plain.id('1'), '2001-01-01+00', 'Custom');
SELECT * FROM trace_ext.ingest_events('[{}]');
RESET SESSION AUTHORIZATION;
SET trace_ext.fold_threshold = 0;
SELECT role_name, reason FROM ingest_errors;
-- A pool logs in once and sets the role of each of its clients: none sees what another sent, not by a leaky function either.
CREATE ROLE regress_other IN ROLE trace_ext_writer;
CREATE ROLE regress_pool IN ROLE regress_writer, regress_other;
CREATE FUNCTION plain.peek(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'peeked at %', $1; RETURN true; END $$;
GRANT USAGE ON SCHEMA plain TO regress_other;
SET SESSION AUTHORIZATION regress_pool;
SET ROLE regress_other;
SELECT rejected FROM trace_ext.ingest_events('[{"id": "of the other"}]');
SELECT "position", reason, event FROM trace_ext.my_ingest_errors;
SELECT n FROM trace_ext.cached('SELECT count(*) FROM trace_ext.my_ingest_errors WHERE reason LIKE ''%other%''', interval '1 hour') AS t (n bigint);
SET client_min_messages = notice;
SET ROLE regress_writer;
SELECT "position", reason, event FROM trace_ext.my_ingest_errors WHERE plain.peek(event);
SELECT n FROM trace_ext.cached('SELECT count(*) FROM trace_ext.my_ingest_errors WHERE reason LIKE ''%other%''', interval '1 hour') AS t (n bigint);
SET client_min_messages = warning;
RESET SESSION AUTHORIZATION;
DROP FUNCTION plain.peek;
REVOKE USAGE ON SCHEMA plain FROM regress_other;
DROP ROLE regress_pool, regress_other;
SELECT * FROM plain.differences();

-- The caller's search_path and objects lead nothing astray: neither triggers nor functions take them.
CREATE SCHEMA regress_trap AUTHORIZATION regress_admin;
SET ROLE regress_admin;
CREATE FUNCTION regress_trap.count(text) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION regress_trap.date_bin(interval, timestamptz, timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION regress_trap.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION regress_trap.is_less(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE OPERATOR regress_trap.= (FUNCTION = regress_trap.is_less, LEFTARG = uuid, RIGHTARG = uuid);
CREATE TABLE regress_trap.events ();
CREATE TABLE regress_trap.totals ();
CREATE TABLE regress_trap.trace_ext_batch ();
CREATE TEMP TABLE summary_deltas ();
SET search_path = regress_trap, pg_catalog, pg_temp;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) SELECT '000000a3-0000-0000-0000-000000000000', id, "timestamp", kind FROM trace_ext.events LIMIT 1;
SELECT trace_ext.ingest_events('[{"id": "00000003-0000-0000-0000-000000000000", "trace_id": "000000a3-0000-0000-0000-000000000000", "timestamp": "2001-02-03T00:00:00Z", "kind": "Custom"}, {}]');
SELECT trace_ext.fold() >= 0 AS folded;
SELECT trace_ext.count_events(), trace_ext.count_traces();
SELECT pg_catalog.count(*) FROM trace_ext.list_traces();
DELETE FROM trace_ext.events WHERE id OPERATOR(pg_catalog.=) '00000003-0000-0000-0000-000000000000';
CALL trace_ext.maintain_partitions();
SELECT pg_catalog.count(*) FROM trace_ext.verify_summaries();
SELECT trace_ext.rebuild_summaries();
TRUNCATE trace_ext.events_default;
RESET ROLE;
SET search_path = public, trace_ext, trace_ext_internal;
SELECT * FROM plain.differences();

SELECT * FROM verify_summaries();
TRUNCATE events;
DROP SCHEMA regress_trap CASCADE;
DROP TABLE events_p2001, pg_temp.summary_deltas;
DROP SCHEMA plain CASCADE;
DROP ROLE regress_nobody, regress_writer, regress_reader, regress_admin;
