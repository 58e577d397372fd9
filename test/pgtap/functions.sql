-- The contract of functions: signatures, defaults, results, volatility; what
-- each may do, and that it says so.
\set QUIET 1
BEGIN;
SET client_min_messages = warning;
SELECT plan(72);

CREATE FUNCTION pg_temp.signature(name text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT replace(pg_get_function_arguments(oid), 'trace_ext.', '') FROM pg_proc
     WHERE pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) AND proname = name ORDER BY 1
$$;
SELECT ok('batch jsonb, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint' IN (SELECT pg_temp.signature('ingest_events')), 'ingest_events(jsonb)');
SELECT ok('batch text, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint' IN (SELECT pg_temp.signature('ingest_events')), 'ingest_events(text)');
SELECT ok('request jsonb, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint' IN (SELECT pg_temp.signature('ingest_otlp')), 'ingest_otlp(jsonb)');
SELECT ok('request text, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint' IN (SELECT pg_temp.signature('ingest_otlp')), 'ingest_otlp(text)');
SELECT ok('request bytea, OUT inserted bigint, OUT duplicates bigint, OUT rejected bigint' IN (SELECT pg_temp.signature('ingest_otlp')), 'ingest_otlp(bytea)');
SELECT is(pg_temp.signature('list_traces'),
    'page_size bigint DEFAULT 20, page bigint DEFAULT 1, min_events bigint DEFAULT 1, service text DEFAULT NULL::text, search text DEFAULT NULL::text, '
    'before timestamp with time zone DEFAULT NULL::timestamp with time zone, before_id uuid DEFAULT NULL::uuid, '
    'since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, '
    'min_duration_ms double precision DEFAULT NULL::double precision, errors_only boolean DEFAULT NULL::boolean, name text DEFAULT NULL::text, variable text DEFAULT NULL::text', 'list_traces(...)');
SELECT is(pg_get_function_result('trace_ext.list_traces'::regproc), 'SETOF trace_ext.trace_summaries', 'it returns summaries');
SELECT is(pg_temp.signature('list_traces_total'),
    'min_events bigint DEFAULT 1, service text DEFAULT NULL::text, search text DEFAULT NULL::text, '
    'since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, '
    'min_duration_ms double precision DEFAULT NULL::double precision, errors_only boolean DEFAULT NULL::boolean, name text DEFAULT NULL::text, variable text DEFAULT NULL::text', 'list_traces_total(...)');
SELECT function_returns('trace_ext', 'count_events', ARRAY[]::text[], 'bigint');
SELECT function_returns('trace_ext', 'count_traces', ARRAY[]::text[], 'bigint');
SELECT function_returns('trace_ext', 'fold', ARRAY[]::text[], 'bigint');
SELECT function_returns('trace_ext_internal', 'fold_if_free', ARRAY[]::text[], 'bigint');
SELECT function_returns('trace_ext', 'rebuild_summaries', ARRAY[]::text[], 'void');
SELECT is(pg_temp.signature('verify_summaries'), '', 'verify_summaries()');
SELECT is(pg_get_function_result('trace_ext.verify_summaries()'::regprocedure), 'TABLE(item text, key text, stored jsonb, recomputed jsonb)', 'what it returns');
SELECT function_returns('trace_ext', 'is_error', ARRAY['trace_ext.event_kind', 'jsonb'], 'boolean');
SELECT is_procedure('trace_ext', 'maintain_partitions', ARRAY[]::text[], 'maintain_partitions is a procedure');

SELECT volatility_is('trace_ext', f, v, f || ' is ' || v)
  FROM (VALUES ('ingest_events', 'volatile'), ('fold', 'volatile'), ('cache_reset', 'volatile'), ('rebuild_summaries', 'volatile'), ('count_events', 'stable'),
               ('count_traces', 'stable'), ('list_traces', 'stable'), ('list_traces_total', 'stable'), ('verify_summaries', 'stable'), ('is_error', 'immutable')) v (f, v);

-- Histograms
SELECT function_returns('trace_ext', f, ('{' || a || '}')::text[], r)
  FROM (VALUES ('histogram', 'bigint', 'trace_ext.histogram'), ('quantile', 'trace_ext.histogram,double precision', 'double precision'),
               ('quantiles', 'trace_ext.histogram,double precision[]', 'double precision[]'), ('count_below', 'trace_ext.histogram,bigint', 'bigint'),
               ('total_count', 'trace_ext.histogram', 'bigint'), ('total_sum', 'trace_ext.histogram', 'numeric'), ('minimum', 'trace_ext.histogram', 'bigint'),
               ('maximum', 'trace_ext.histogram', 'bigint'), ('mean', 'trace_ext.histogram', 'double precision'),
               ('merge', 'trace_ext.histogram', 'trace_ext.histogram'), ('histogram_agg', 'bigint', 'trace_ext.histogram')) v (f, a, r);

-- Jobs
SELECT is(pg_temp.signature('run_job'), 'name name', 'run_job(name)');
SELECT is(pg_get_function_result('trace_ext.run_job'::regproc), 'trace_ext.job_runs', 'it returns its run');
SELECT is(pg_temp.signature('alter_job'),
    'name name, "interval" interval DEFAULT NULL::interval, enabled boolean DEFAULT NULL::boolean, timeout interval DEFAULT NULL::interval, '
    'max_attempts bigint DEFAULT NULL::bigint, backoff interval DEFAULT NULL::interval, max_backoff interval DEFAULT NULL::interval, '
    'priority bigint DEFAULT NULL::bigint, next_run timestamp with time zone DEFAULT NULL::timestamp with time zone', 'alter_job(...)');
SELECT matches(pg_temp.signature('add_job'), '^name name, procedure regproc, "interval" interval, ', 'add_job(...)');
SELECT function_returns('trace_ext', 'prometheus_metrics', ARRAY[]::text[], 'setof text');

-- What goes out
SELECT function_returns('trace_ext', f, ARRAY[a], 'jsonb')
  FROM unnest('{export_otlp,export_jaeger,export_zipkin,export_chrome}'::text[]) f, unnest('{uuid,text,"uuid[]"}'::text[]) a;
SELECT is(pg_temp.signature('parse_traceparent'),
    'traceparent text, OUT version integer, OUT trace_id uuid, OUT span_id text, OUT flags integer, OUT sampled boolean', 'parse_traceparent(text)');
SELECT is_empty($$SELECT j.name FROM trace_ext.jobs j LEFT JOIN pg_proc p ON p.oid = to_regproc(j.procedure) WHERE p.prokind IS DISTINCT FROM 'p' OR NOT p.prosecdef$$,
    'each job is a procedure that runs with the rights of its owner');

SELECT function_returns('trace_ext', 'data_version', ARRAY[]::text[], 'text');
SELECT is(pg_temp.signature('changes_since'), 'channel text, after bigint DEFAULT NULL::bigint', 'changes_since(...)');
SELECT is(pg_get_function_result('trace_ext.changes_since'::regproc), 'TABLE(id bigint, sent_at timestamp with time zone, payload jsonb)', 'what it returns');

-- Rights
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc
                   WHERE pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) AND prosecdef
                     AND NOT coalesce(proconfig::text ~ 'search_path=("")?"?pg_catalog', false)$$, 'every SECURITY DEFINER function pins search_path');
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc
                   WHERE pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')
                     AND NOT coalesce(proconfig::text ~ 'search_path=', false)
                     -- It commits, which a procedure that sets anything cannot; every name in it is qualified.
                     AND proname <> 'detect_all'$$, 'and so does every PL/pgSQL function');
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
                   WHERE pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) AND grantee = 0
                     -- Who makes a partition of a watched table makes a clone of its trigger.
                     AND proname <> 'watch_row'$$, 'PUBLIC may execute none');
SELECT is_empty($$SELECT proname FROM pg_proc WHERE pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) AND probin !~ '^\$libdir/trace_ext$'$$, 'C functions are in one library');

-- Every function says what it does; every setting too.
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc WHERE pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) AND obj_description(oid, 'pg_proc') IS NULL$$,
    'every function has a comment');
SELECT is_empty($$SELECT o.oid::regoperator FROM pg_operator o WHERE oprnamespace = 'trace_ext'::regnamespace AND obj_description(o.oid, 'pg_operator') IS NULL$$,
    'every operator has a comment');
DO $$ BEGIN PERFORM trace_ext.count_events(); END $$;      -- loads the library
SELECT set_has($$SELECT name, setting, context FROM pg_settings WHERE name LIKE 'trace\_ext.%'$$,
    $$VALUES ('trace_ext.max_field_size', '1048576', 'user'), ('trace_ext.max_nesting', '100', 'user'),
             ('trace_ext.partition_interval', '1 day', 'user'), ('trace_ext.partition_reach', '1 year', 'user'),
             ('trace_ext.partitions_ahead', '3', 'user')$$, 'settings and their defaults');
SELECT is_empty($$SELECT name FROM pg_settings WHERE name LIKE 'trace\_ext.%' AND coalesce(short_desc, '') = ''$$, 'every setting has a description');
SELECT throws_ok('SET trace_ext.no_such_setting = 1', '42602', NULL, 'the prefix of settings is reserved');
SELECT ok(current_setting('trace_ext.fold_threshold')::int > 0, 'somebody folds where no worker does');
SELECT throws_ok('SET trace_ext.fold_threshold = -1', '22023', NULL, 'a threshold is not negative');
SELECT throws_ok('SET trace_ext.max_nesting = 7', '22023', NULL, 'an event itself is nested');

SELECT * FROM finish(true);
ROLLBACK;
