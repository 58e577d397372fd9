-- Drivers send strings as varchar and numbers as bigint: no public function needs a cast for that.
-- What is no string to PostgreSQL (interval, timestamptz, uuid, regproc, vclock, an array of kinds) has its own type in drivers, or a cast.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.type_of_driver(type oid) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN t.oid IN ('text'::regtype, 'name'::regtype, '"any"'::regtype) OR t.typtype = 'e' THEN 'varchar'
                WHEN t.oid IN ('text[]'::regtype, 'name[]'::regtype) THEN 'varchar[]'
                WHEN t.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'bigint'
                ELSE format_type(t.oid, NULL) END
      FROM pg_type t WHERE t.oid = type
$$;
CREATE FUNCTION pg_temp.refusal(name name, is_procedure boolean, types oid[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    given text := (SELECT '(' || string_agg(pg_temp.type_of_driver(t), ', ' ORDER BY n) || ')' FROM unnest(types) WITH ORDINALITY AS u (t, n));
    numbers text := (SELECT string_agg('$' || n, ', ' ORDER BY n) FROM generate_series(1, cardinality(types)) n);
BEGIN
    IF is_procedure THEN
        -- PREPARE takes no CALL: a type that others become by themselves.
        RETURN (SELECT 'takes ' || format_type(t, NULL) FROM unnest(types) AS t
                 WHERE NOT (t = pg_temp.type_of_driver(t)::regtype OR t IN ('text'::regtype, 'name'::regtype)) LIMIT 1);
    ELSE
        EXECUTE format('PREPARE call%s AS SELECT trace_ext.%I(%s)', given, name, numbers);
        EXECUTE 'DEALLOCATE call';
    END IF;
    RETURN NULL;
EXCEPTION WHEN undefined_function OR ambiguous_function THEN
    RETURN SQLERRM;
END $$;
CREATE TEMP TABLE public_functions AS
SELECT p.oid::regprocedure::text AS function, pg_temp.refusal(p.proname, p.prokind = 'p', p.proargtypes::oid[]) AS refusal
  FROM pg_proc p
 WHERE p.pronamespace = 'trace_ext'::regnamespace AND p.prokind IN ('f', 'p') AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
   -- Not those of types and operators.
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refobjid = p.oid AND d.refclassid = 'pg_proc'::regclass AND d.classid IN ('pg_type'::regclass, 'pg_operator'::regclass));
SELECT count(*) > 30 AS many FROM public_functions;
SELECT * FROM public_functions WHERE refusal IS NOT NULL;

-- Literals are what they were.
SELECT trace_ext.is_error('Error', NULL) AS literal, trace_ext.is_error('Error'::trace_ext.event_kind, NULL) AS typed, trace_ext.is_error('Error'::varchar, NULL) AS varchar,
       trace_ext.is_error('HttpResponse'::text, '{"status": 500}') AS text, trace_ext.is_error(NULL::text, NULL) AS null;
SELECT trace_ext.set_finding_status(gen_random_uuid(), 'open') AS literal, trace_ext.set_finding_status(gen_random_uuid(), 'open'::trace_ext.finding_status) AS typed,
       trace_ext.set_finding_status(gen_random_uuid(), 'open'::varchar) AS varchar;
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) SELECT md5('t')::uuid, md5(kind::text)::uuid, '1990-01-01 00:00:00+00', kind FROM unnest('{Custom,Error,FunctionCall}'::trace_ext.event_kind[]) AS kind;
SELECT kind FROM trace_ext.trace_events(md5('t')::uuid, kinds => '{Error,Custom,NULL,Error}') ORDER BY kind;
SELECT kind FROM trace_ext.trace_events(md5('t')::uuid, kinds => ARRAY['Error']::varchar[]::trace_ext.event_kind[]);
SELECT kind FROM trace_ext.trace_events(md5('t')::uuid, kinds => '{}');
SELECT kind FROM trace_ext.trace_events(md5('t')::uuid, kinds => '{NULL}');
SELECT count(*) FROM trace_ext.trace_events(md5('t')::uuid, kinds => NULL);
DELETE FROM trace_ext.events;
-- What is allowed is said.
SELECT trace_ext.is_error('error', NULL);
SELECT trace_ext.set_finding_status(gen_random_uuid(), 'closed');
SELECT trace_ext.set_finding_status(gen_random_uuid(), NULL);
SELECT trace_ext.alter_job('fold', max_attempts => 3000000000);
SELECT trace_ext.alter_job('fold', priority => 3000000000);
