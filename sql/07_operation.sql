-- The operation of an event: its name as a template.

CREATE FUNCTION operation(kind event_kind, name text) RETURNS text
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tex_operation_of';
COMMENT ON FUNCTION operation(event_kind, text) IS
    'the name of an event as a template: what differs from call to call is {}, in a query $1, $2, ...; at most 200 bytes; NULL for a NULL kind or name';

CREATE FUNCTION operation(kind text, name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN trace_ext.operation(trace_ext_internal.kind_named(kind), name);
COMMENT ON FUNCTION operation(text, text) IS 'the same of a kind that is given as text';
