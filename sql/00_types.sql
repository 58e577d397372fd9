-- The schema, and types that the tables below are made of.
\echo Use "CREATE EXTENSION trace_ext" to load this file. \quit

DO $$
BEGIN
    IF (SELECT count(*) FROM pg_catalog.pg_extension WHERE extname IN ('trace_ext', 'trace_ext_router')) > 1 THEN
        RAISE EXCEPTION 'a database is a store of events or a router, not both' USING ERRCODE = 'duplicate_object',
              HINT = 'CREATE EXTENSION trace_ext_router in a database of its own.';
    END IF;
END
$$;

-- Made here it is a member, and DROP EXTENSION leaves nothing behind.
CREATE SCHEMA trace_ext;
COMMENT ON SCHEMA trace_ext IS 'causal trace store';
-- What only the extension itself calls: users see in trace_ext what is for them.
CREATE SCHEMA trace_ext_internal;
COMMENT ON SCHEMA trace_ext_internal IS 'functions that the extension calls; no part of its contract';
SET LOCAL search_path = trace_ext, pg_temp;

CREATE TYPE event_kind AS ENUM (
    'FunctionCall', 'AsyncSpawn', 'AsyncAwait', 'StateChange', 'LockAcquire',
    'LockRelease', 'MemoryFence', 'HttpRequest', 'HttpResponse',
    'DatabaseQuery', 'DatabaseResult', 'Error', 'Custom');
COMMENT ON TYPE event_kind IS
    'what an event records; the kinds of the event JSON format';

-- For drivers that send a kind as text, and with their values in the error.
CREATE FUNCTION trace_ext_internal.kind_named(name text) RETURNS event_kind
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF name <> ALL (enum_range(NULL::trace_ext.event_kind)::text[]) THEN
        RAISE EXCEPTION 'there is no kind of event "%"', name USING ERRCODE = 'invalid_parameter_value',
              HINT = 'The kinds are ' || array_to_string(enum_range(NULL::trace_ext.event_kind), ', ') || '.';
    END IF;
    RETURN name::trace_ext.event_kind;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.kind_named(text) IS 'the kind of that name; NULL for NULL';

CREATE TYPE access_type AS ENUM (
    'Read', 'Write', 'AtomicRead', 'AtomicWrite', 'AtomicRMW');
COMMENT ON TYPE access_type IS
    'how an event of kind StateChange touched its variable';

CREATE TYPE link_type AS ENUM (
    'HttpCall', 'GrpcCall', 'MessageQueue', 'DatabaseQuery', 'Custom');
COMMENT ON TYPE link_type IS
    'what carried the call or message between two spans';
