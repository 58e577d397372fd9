-- A trace to look at in a terminal.

CREATE FUNCTION waterfall(trace_id uuid, width bigint = 100, accesses boolean = true, color boolean = false) RETURNS SETOF text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_waterfall';
COMMENT ON FUNCTION waterfall(uuid, bigint, boolean, boolean) IS
    'a trace as lines to read: its spans as a tree with a bar each, how long each took, errors, races, messages to other traces, accesses with their values, and what made it take as long as it did; '
    'a line with the frame of psql fits width columns (40 to 1000). Of a large trace those with errors and races and the longest 1,000 are shown, and it says what is left out. '
    'color: with the escapes of a terminal, for \pset format unaligned. No rows, and a NOTICE, for a trace that is not stored';

-- For drivers that send every string as text or varchar.
CREATE FUNCTION waterfall(trace_id text, width bigint = 100, accesses boolean = true, color boolean = false) RETURNS SETOF text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT * FROM trace_ext.waterfall($1::uuid, $2, $3, $4);
    END;
COMMENT ON FUNCTION waterfall(text, bigint, boolean, boolean) IS 'the same, with the id as text';
