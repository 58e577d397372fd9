-- A trace to look at in a terminal.

CREATE FUNCTION waterfall(trace_id uuid, width bigint = 100, accesses boolean = true, color boolean = false) RETURNS SETOF text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_waterfall';
COMMENT ON FUNCTION waterfall(uuid, bigint, boolean, boolean) IS
    'a trace as lines to read: its spans as a tree with a bar each, how long each took, errors, races, messages to other traces, accesses with their values, and what made it take as long as it did; '
    'a line with the frame of psql fits width columns (40 to 1000). Of a large trace those with errors and races and the longest 1,000 are shown, and it says what is left out. '
    'color: with the escapes of a terminal, for \pset format unaligned. No rows, and a NOTICE, for a trace that is not stored';

-- What is shown of an id is its begin; so it is enough to say that.
CREATE FUNCTION trace_ext_internal.trace_named(id text) RETURNS uuid
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found uuid[];
BEGIN
    IF id !~ '^[0-9a-fA-F]{6,8}$' THEN
        RETURN id::uuid;
    END IF;
    found := ARRAY(SELECT t.trace_id FROM trace_ext.list_traces(2, search => trace_named.id) t);
    IF cardinality(found) <> 1 THEN
        RAISE EXCEPTION '% trace has an id that begins with "%"', CASE cardinality(found) WHEN 0 THEN 'no' ELSE 'more than one' END, id
              USING ERRCODE = 'invalid_parameter_value', HINT = format('See list_traces(search => %L).', id);
    END IF;
    RETURN found[1];
END
$$;
COMMENT ON FUNCTION trace_ext_internal.trace_named(text) IS 'a trace by its id, or by the first 6 to 8 digits of it, as they are shown';

-- For drivers that send every string as text or varchar, and for who has read a short id.
CREATE FUNCTION waterfall(trace_id text, width bigint = 100, accesses boolean = true, color boolean = false) RETURNS SETOF text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT * FROM trace_ext.waterfall(trace_ext_internal.trace_named($1), $2, $3, $4);
    END;
COMMENT ON FUNCTION waterfall(text, bigint, boolean, boolean) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';
