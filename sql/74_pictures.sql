-- Pictures: SVG for people, DOT and folded stacks for the tools that draw them.

CREATE FUNCTION race_svg(finding_id uuid) RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_race_svg';
COMMENT ON FUNCTION race_svg(uuid) IS
    'a finding as an SVG: two lanes, one a trace, or where both are of one trace one a strand; what each read and wrote, in order, with values and places in the code, '
    'the lost value struck out, the sentence, and what to do about it; NULL, and a NOTICE, for a finding that is not known';

CREATE FUNCTION race_svg(finding_id text) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.race_svg(trace_ext_internal.finding_named($1));
    END;
COMMENT ON FUNCTION race_svg(text) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';

CREATE FUNCTION trace_svg(trace_ids uuid[]) RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_trace_svg';
COMMENT ON FUNCTION trace_svg(uuid[]) IS
    'traces as an SVG, one below the other: a bar for each thing that took time, with the critical path, accesses, errors and races; of each the 300 bars that matter most, '
    'and how many are left out; NULL, and a NOTICE, if none of them is stored';

CREATE FUNCTION trace_svg(trace_id uuid) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.trace_svg(ARRAY[$1]);
    END;
COMMENT ON FUNCTION trace_svg(uuid) IS 'the same of one trace';

CREATE FUNCTION trace_svg(trace_id text) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.trace_svg(ARRAY[trace_ext_internal.trace_named($1)]);
    END;
COMMENT ON FUNCTION trace_svg(text) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';

CREATE FUNCTION folded(trace_ids uuid[]) RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_folded';
COMMENT ON FUNCTION folded(uuid[]) IS
    'what some traces did with their time as folded stacks, a line each: service;call;call and microseconds of its own, added up over all of them, as flamegraph.pl and speedscope read them; '
    'NULL, and a NOTICE, if none of them is stored';

CREATE FUNCTION folded(trace_id uuid) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.folded(ARRAY[$1]);
    END;
COMMENT ON FUNCTION folded(uuid) IS 'the same of one trace';

CREATE FUNCTION folded(trace_id text) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.folded(ARRAY[trace_ext_internal.trace_named($1)]);
    END;
COMMENT ON FUNCTION folded(text) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';

CREATE FUNCTION flame_svg(trace_ids uuid[]) RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_flame_svg';
COMMENT ON FUNCTION flame_svg(uuid[]) IS
    'what some traces did with their time as an SVG, added up over all of them: boxes as wide as the time in them, each below what called it; NULL, and a NOTICE, if none of them is stored';

CREATE FUNCTION flame_svg(trace_id uuid) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.flame_svg(ARRAY[$1]);
    END;
COMMENT ON FUNCTION flame_svg(uuid) IS 'the same of one trace';

CREATE FUNCTION flame_svg(trace_id text) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.flame_svg(ARRAY[trace_ext_internal.trace_named($1)]);
    END;
COMMENT ON FUNCTION flame_svg(text) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';

CREATE FUNCTION trace_dot(trace_ids uuid[]) RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_trace_dot';
COMMENT ON FUNCTION trace_dot(uuid[]) IS
    'traces as a graph for Graphviz, each in a frame of its own: what called what, how long it took, the critical path thick, what is not waited for dashed, races and other traces; '
    'of each the 500 that matter most; NULL, and a NOTICE, if none of them is stored';

CREATE FUNCTION trace_dot(trace_id uuid) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.trace_dot(ARRAY[$1]);
    END;
COMMENT ON FUNCTION trace_dot(uuid) IS 'the same of one trace';

CREATE FUNCTION trace_dot(trace_id text) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.trace_dot(ARRAY[trace_ext_internal.trace_named($1)]);
    END;
COMMENT ON FUNCTION trace_dot(text) IS 'the same, with the id as text; its first 8 digits, as they are shown, are enough';

CREATE FUNCTION service_dot(within interval = '1 hour') RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_service_dot';
COMMENT ON FUNCTION service_dot(interval) IS
    'which service called which, as a graph for Graphviz: requests, failures and latency of each service as service_health() has them, and of the calls between two as service_map() has them';
