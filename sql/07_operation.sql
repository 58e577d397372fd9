-- The operation of an event: its name as a template.

CREATE FUNCTION operation(kind event_kind, name text) RETURNS text
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tex_operation_of';
COMMENT ON FUNCTION operation(event_kind, text) IS
    'the name of an event as a template: what differs from call to call is {}, in a query $1, $2, ...; at most 200 bytes; NULL for a NULL kind or name';

-- For drivers that send a kind as text, and with their values in the error.
CREATE FUNCTION operation(kind text, name text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF kind <> ALL (enum_range(NULL::trace_ext.event_kind)::text[]) THEN
        RAISE EXCEPTION 'there is no kind of event "%"', kind USING ERRCODE = 'invalid_parameter_value',
              HINT = 'The kinds are ' || array_to_string(enum_range(NULL::trace_ext.event_kind), ', ') || '.';
    END IF;
    RETURN trace_ext.operation(kind::trace_ext.event_kind, name);
END
$$;
COMMENT ON FUNCTION operation(text, text) IS 'the same of a kind that is given as text';
