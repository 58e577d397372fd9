-- Numbers and durations in sentences: the same everywhere, also where C writes them.

CREATE FUNCTION trace_ext_internal.number_text(value double precision) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tex_number_text';
COMMENT ON FUNCTION trace_ext_internal.number_text(double precision) IS 'a number with the digits that matter';

CREATE FUNCTION trace_ext_internal.duration_text(ms double precision) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tex_duration_text';
COMMENT ON FUNCTION trace_ext_internal.duration_text(double precision) IS 'milliseconds in the unit that suits them';
