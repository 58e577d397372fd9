-- No search_path of a caller reaches the SQL that the extension runs: a schema before
-- pg_catalog has operators and functions of the same names and types, all of which fail.
\set ECHO none
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
SET client_min_messages = warning;
TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue;

DROP ROLE IF EXISTS regress_astray;
CREATE ROLE regress_astray IN ROLE trace_ext_writer, trace_ext_admin;
DROP SCHEMA IF EXISTS astray CASCADE;
CREATE SCHEMA astray;
GRANT USAGE ON SCHEMA astray TO regress_astray;

-- What plain operators and functions of SQL mean for the types of the extension's columns, and
-- for each of its enums.
DO $$
DECLARE
    used constant oid[] := ARRAY['uuid', 'text', 'timestamptz', 'jsonb', 'int4', 'int8', 'bool', 'float8', 'interval', 'oid', 'name', 'regclass',
        'numeric', 'uuid[]', 'text[]', 'int8[]']::regtype[]::oid[];
    o record;
    n int := 0;
BEGIN
    FOR o IN SELECT oprname, format_type(oprleft, NULL) AS l, format_type(oprright, NULL) AS r, format_type(oprresult, NULL) AS result
               FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprleft = ANY (used) AND oprright = ANY (used)
             UNION ALL
             SELECT op, t, t, 'boolean' FROM unnest(ARRAY['=', '<>', '<', '<=', '>', '>=']) op,
                    unnest(ARRAY['trace_ext.event_kind', 'trace_ext.access_type', 'trace_ext.finding_status', 'trace_ext.vclock']) t
             UNION ALL
             SELECT op, t, t, CASE op WHEN '||' THEN t ELSE 'boolean' END FROM unnest(ARRAY['=', '<>', '@>', '<@', '&&', '||']) op,
                    unnest(ARRAY['uuid[]', 'text[]', 'trace_ext.event_kind[]']) t
    LOOP
        n := n + 1;
        EXECUTE format('CREATE FUNCTION astray.f%s(%s, %s) RETURNS %s LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $f$BEGIN RAISE ''led astray by %s''; END$f$',
                       n, o.l, o.r, o.result, replace(o.oprname, '%', '%%'));
        EXECUTE format('CREATE OPERATOR astray.%s (FUNCTION = astray.f%s, LEFTARG = %s, RIGHTARG = %s)', o.oprname, n, o.l, o.r);
    END LOOP;
    FOR o IN SELECT proname, pg_get_function_identity_arguments(oid) AS arguments, format_type(prorettype, NULL) AS result, proretset
               FROM pg_proc
              WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind IN ('f', 'a') AND provariadic = 0
                AND (proargtypes::oid[] <@ used OR proargtypes[0] = ANY (ARRAY['"any"', 'anyelement', 'anyarray']::regtype[]::oid[]) AND pronargs = 1)
                AND prorettype = ANY (used || 'anyelement'::regtype::oid) AND proname !~ '^pg_|^has_|^bt|^ri_' AND proargmodes IS NULL
                AND proname IN ('min', 'max', 'sum', 'count', 'bool_or', 'bool_and', 'unnest', 'now', 'clock_timestamp', 'md5', 'date_trunc', 'abs',
                    'array_length', 'cardinality', 'upper', 'lower', 'length', 'left', 'right', 'replace', 'substr', 'split_part', 'string_agg', 'array_append',
                    'array_to_string', 'to_timestamp', 'jsonb_typeof', 'to_jsonb', 'array_agg', 'generate_series', 'ceil', 'floor', 'round', 'random',
                    'gen_random_uuid', 'current_setting', 'set_config', 'statement_timestamp', 'transaction_timestamp', 'uuid_hash', 'like', 'date_part', 'extract')
    LOOP
        EXECUTE format('CREATE FUNCTION astray.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS $f$BEGIN RAISE ''led astray by %s()''; END$f$',
                       o.proname, replace(o.arguments, '"any"', 'integer'), CASE WHEN o.proretset THEN 'SETOF' ELSE '' END, o.result, o.proname);
    END LOOP;
END $$;
SELECT count(*) >= 200 AS operators FROM pg_operator WHERE oprnamespace = 'astray'::regnamespace;
SELECT count(*) > 40 AS functions FROM pg_proc WHERE pronamespace = 'astray'::regnamespace AND proname !~ '^f\d+$';

-- Two traces that race, with values that are too long to be carried along.
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, service_name, instance_id, process_id, thread_id, attributes)
SELECT ('0000000' || t || '-0000-4000-8000-000000000001')::uuid, ('0000000' || t || '-0000-4000-8000-00000000010' || n)::uuid,
       '2026-03-01 10:00:00+00'::timestamptz + (t + 2 * n) * interval '1 ms', 'StateChange', 'account', 'bank', 'bank', 1, 'T' || t || n,
       jsonb_build_object('access_type', (ARRAY['Read', 'Write', 'Write'])[n], 'old_value', repeat('o', 3000), 'new_value', t || repeat('n', 3000))
  FROM generate_series(1, 2) t, generate_series(1, 3) n;

SET ROLE regress_astray;
SET search_path = astray, pg_catalog, trace_ext;
\set trace '''00000001-0000-4000-8000-000000000001'''
-- That it would work.
\set VERBOSITY terse
SELECT :trace::uuid = :trace::uuid;
SELECT now();
SELECT min(event_count) FROM trace_ext.trace_summaries;

-- In: each door, the triggers behind it, and what a change of rows has to look up.
\set event '''[{"id": "00000003-0000-4000-8000-000000000301", "trace_id": "00000003-0000-4000-8000-000000000001", "timestamp": "2026-03-01T10:00:00Z", "kind": "Custom"}, {"id": 1}]'''
SELECT * FROM trace_ext.ingest_events(:event);
SELECT * FROM trace_ext.ingest_events(:event::jsonb);
SELECT * FROM trace_ext.ingest_events(:event::json);
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES ('00000004-0000-4000-8000-000000000001', '00000004-0000-4000-8000-000000000401', '2026-03-02 00:00+00', 'Custom');
UPDATE trace_ext.events SET service_name = 'mail' WHERE kind OPERATOR(pg_catalog.=) 'Custom';
DELETE FROM trace_ext.events WHERE id OPERATOR(pg_catalog.=) '00000004-0000-4000-8000-000000000401';

-- Out: before a fold and after it.
\o /dev/null
SELECT trace_ext_internal.trace_range(ARRAY[:trace]::uuid[]);
SELECT trace_ext.list_traces(10, 1, 0, NULL, NULL, NULL, NULL);
SELECT trace_ext.list_traces(page_size => 10, since => '2020-01-01+00', until => '2027-01-01+00', min_duration_ms => 0.001, errors_only => true, name => 'a%', variable => 'account');
SELECT trace_ext.list_traces_total(since => '2020-01-01+00', until => '2027-01-01+00', min_duration_ms => 0.001, errors_only => true, name => 'a%', variable => 'account'), trace_ext.list_traces_total();
SELECT trace_ext.find_races(:trace::uuid);
SELECT trace_ext.count_traces();
\o
SELECT trace_ext.fold() OPERATOR(pg_catalog.>) 0 AS folded;
SELECT trace_ext.count_events(), trace_ext.count_traces();
SELECT trace_ext.is_error('Error', NULL);
\o /dev/null
SELECT * FROM trace_ext.verify_summaries();
SELECT * FROM trace_ext.list_traces(10, 1, 1, 'bank', '0000', '2027-01-01+00', :trace::uuid);
SELECT * FROM trace_ext.list_traces(page_size => 10, since => '2020-01-01+00', until => '2027-01-01+00', min_duration_ms => 0.001, errors_only => true, name => 'a%', variable => 'account');
SELECT * FROM trace_ext.list_traces(min_duration_ms => 1e6);
SELECT * FROM trace_ext.list_traces(name => 'a%', min_events => 2);
SELECT trace_ext.list_traces_total(since => '2020-01-01+00', until => '2027-01-01+00', min_duration_ms => 0.001, errors_only => true, name => 'a%', variable => 'account');
SELECT * FROM trace_ext.trace_events(:trace::uuid, 10, 1, '2026-01-01+00', :trace::uuid, ARRAY['StateChange']::trace_ext.event_kind[], 'bank');
SELECT * FROM trace_ext.audit_trail(:trace::uuid, 'account');
SELECT * FROM trace_ext.audit_trail(:trace::text, NULL);
SELECT * FROM trace_ext.count_races(:trace::text);
SELECT * FROM trace_ext.trace_summaries;
SELECT * FROM trace_ext.event_counts;
SELECT * FROM trace_ext.cross_trace_index;
SELECT * FROM trace_ext.distributed_spans;
SELECT * FROM trace_ext.distributed_edges;
SELECT * FROM trace_ext.causal_edges;
SELECT * FROM trace_ext.trace_roots;
SELECT * FROM trace_ext.state_changes;
SELECT * FROM trace_ext.services;
SELECT * FROM trace_ext.service_calls;
SELECT * FROM trace_ext.service_map('2026-01-01+00', '2027-01-01+00');
SELECT * FROM trace_ext.ingest_errors;
SELECT * FROM trace_ext.my_ingest_errors;
SELECT * FROM trace_ext.status;
SELECT * FROM trace_ext.workers();
SELECT * FROM trace_ext.prometheus_metrics();
SELECT * FROM trace_ext.cached('SELECT 1') AS t (n int);
SELECT trace_ext.cache_invalidate('%astray%');
\o
SELECT count_races AS within FROM trace_ext.count_races(:trace::uuid);
SELECT count_variable_races AS of_variable FROM trace_ext.count_variable_races('account', '2026-01-01+00');
SELECT pg_catalog.count(*) AS found FROM trace_ext.find_races(:trace::uuid);
SELECT pg_catalog.count(*) AS found FROM trace_ext.find_races(:trace::text);
SELECT pg_catalog.count(*) AS found FROM trace_ext.find_variable_races('account', '2026-01-01+00');
SELECT pg_catalog.count(*) AS found FROM trace_ext.find_variable_races('nothing', '2026-01-01+00');
SELECT trace_ext.detect() OPERATOR(pg_catalog.>) 0 AS detected;
CALL trace_ext.detect_all();
SELECT pg_catalog.count(*) AS found FROM trace_ext.global_races();
SELECT pg_catalog.count(*) AS found FROM trace_ext.global_races('CRITICAL', 'nothing');
SELECT trace_ext.set_finding_status('00000001-0000-4000-8000-000000000001', 'ignored');

-- And what keeps it going.
CALL trace_ext.maintain_partitions();
CALL trace_ext.job_fold(false);
CALL trace_ext.job_detect(false);
CALL trace_ext.job_partitions(false);
CALL trace_ext.job_retention(false);
CALL trace_ext.job_notify(false);
SELECT trace_ext.rebuild_summaries();
SELECT * FROM trace_ext.verify_summaries();
RESET search_path;
RESET ROLE;
-- A partition that comes and goes, by somebody who is led astray himself.
SET search_path = astray, pg_catalog, trace_ext;
CREATE TABLE trace_ext.events_astray PARTITION OF trace_ext.events FOR VALUES FROM ('2001-01-01+00') TO ('2002-01-01+00');
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES ('00000004-0000-4000-8000-000000000001', '00000004-0000-4000-8000-000000000401', '2001-03-02 00:00+00', 'Custom');
TRUNCATE trace_ext.events_astray;
DROP TABLE trace_ext.events_astray;
TRUNCATE trace_ext.events;
RESET search_path;
DO $$ BEGIN EXECUTE 'DROP SCHEMA astray CASCADE'; END $$;
DROP ROLE regress_astray;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
