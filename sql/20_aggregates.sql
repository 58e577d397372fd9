-- Aggregates that summaries and spans are computed with.

CREATE FUNCTION trace_ext_internal.text_set_add(internal, text) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_text_set_add';
CREATE FUNCTION trace_ext_internal.text_set_add_all(internal, text[]) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_text_set_add_all';
CREATE FUNCTION trace_ext_internal.text_set_final(internal) RETURNS text[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_text_set_final';

CREATE AGGREGATE trace_ext_internal.text_set(text) (
    SFUNC = trace_ext_internal.text_set_add, STYPE = internal, FINALFUNC = trace_ext_internal.text_set_final, PARALLEL = SAFE);
CREATE AGGREGATE trace_ext_internal.text_set(text[]) (
    SFUNC = trace_ext_internal.text_set_add_all, STYPE = internal, FINALFUNC = trace_ext_internal.text_set_final, PARALLEL = SAFE);

CREATE FUNCTION trace_ext_internal.text_set_union(text[], text[]) RETURNS text[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_text_set_union';
COMMENT ON FUNCTION trace_ext_internal.text_set_union(text[], text[]) IS
    'the distinct texts of two results of text_set, ascending; the first one as it is where it has all of the second';

-- The difference of two times can be more microseconds than an interval holds.
CREATE FUNCTION trace_ext_internal.duration_ms(first_timestamp timestamptz, last_timestamp timestamptz) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_duration_ms';
COMMENT ON FUNCTION trace_ext_internal.duration_ms(timestamptz, timestamptz) IS
    'milliseconds from one time to a later one, whatever lies between';
-- As the operator +, but that fails beyond what 64 bits hold, some 294,000 years, and goes by the zone of the session.
CREATE FUNCTION trace_ext_internal.shifted(at timestamptz, by interval) RETURNS timestamptz
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_shifted';
COMMENT ON FUNCTION trace_ext_internal.shifted(timestamptz, interval) IS
    'a time moved by an interval (months of the calendar of UTC, days of 24 hours); infinity, or -infinity, where there is no such time';

CREATE FUNCTION trace_ext_internal.earliest_add(internal, timestamptz, uuid, text) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_earliest_add';
CREATE FUNCTION trace_ext_internal.earliest_final(internal) RETURNS text
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_earliest_final';
CREATE AGGREGATE trace_ext_internal.earliest(timestamptz, uuid, text) (
    SFUNC = trace_ext_internal.earliest_add, STYPE = internal, FINALFUNC = trace_ext_internal.earliest_final, PARALLEL = SAFE);

COMMENT ON FUNCTION trace_ext_internal.text_set_add(internal, text) IS 'transition of trace_ext_internal.text_set(text)';
COMMENT ON FUNCTION trace_ext_internal.text_set_add_all(internal, text[]) IS 'transition of trace_ext_internal.text_set(text[])';
COMMENT ON FUNCTION trace_ext_internal.text_set_final(internal) IS 'result of text_set';
COMMENT ON AGGREGATE trace_ext_internal.text_set(text) IS
    'the distinct texts, ascending, as an array; NULLs are left out; {} for no text';
COMMENT ON AGGREGATE trace_ext_internal.text_set(text[]) IS
    'the distinct texts of all arrays, ascending, as an array; NULLs are left out; {} for no text';
COMMENT ON FUNCTION trace_ext_internal.earliest_add(internal, timestamptz, uuid, text) IS 'transition of earliest';
COMMENT ON FUNCTION trace_ext_internal.earliest_final(internal) IS 'result of earliest';
COMMENT ON AGGREGATE trace_ext_internal.earliest(timestamptz, uuid, text) IS
    'the text that goes with the smallest (timestamp, id); rows whose timestamp or id is NULL are left out';
