-- The type histogram: how durations are distributed, in buckets that add and subtract.

CREATE TYPE histogram;

CREATE FUNCTION trace_ext_internal.histogram_in(cstring) RETURNS histogram
    AS 'MODULE_PATHNAME', 'tex_histogram_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_in(cstring) IS
    'input of histogram: {"count": n, "sum": n, "min": n, "max": n, "subtracted": true, "buckets": {"number": n, ...}}, or {}; errors: 22P02 malformed, or of no values, 22003 a number out of range, 22030 a field or bucket repeated';

CREATE FUNCTION trace_ext_internal.histogram_out(histogram) RETURNS cstring
    AS 'MODULE_PATHNAME', 'tex_histogram_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_out(histogram) IS
    'output of histogram, as histogram_in reads it; buckets ascend and have OpenTelemetry''s numbers at scale 4, or "zero"';

CREATE FUNCTION trace_ext_internal.histogram_recv(internal) RETURNS histogram
    AS 'MODULE_PATHNAME', 'tex_histogram_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_recv(internal) IS
    'binary input of histogram: int8 version 1, int8 flags (1: subtracted), int64 count, int64 high and int64 low half of the sum, int64 min, int64 max (-1 where not known), int64 count of zeros, int32 number of buckets, for each, ascending, int16 number, int64 count; checked like text; error 22P03';

CREATE FUNCTION trace_ext_internal.histogram_send(histogram) RETURNS bytea
    AS 'MODULE_PATHNAME', 'tex_histogram_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_send(histogram) IS
    'binary output of histogram, as histogram_recv reads it';

CREATE TYPE histogram (
    INPUT = trace_ext_internal.histogram_in,
    OUTPUT = trace_ext_internal.histogram_out,
    RECEIVE = trace_ext_internal.histogram_recv,
    SEND = trace_ext_internal.histogram_send,
    INTERNALLENGTH = VARIABLE,
    STORAGE = extended
);
COMMENT ON TYPE histogram IS
    'exponential histogram of durations in ns, each from 0 to 2^63-1: OpenTelemetry''s at scale 4 (bucket i is above 2^(i/16), up to 2^((i+1)/16)), so quantiles are within 2.2 %; counts and sum are exact and subtract; after a subtraction min and max are the ends of the lowest and highest bucket';

-- Casts, on assignment as those of vclock.

CREATE FUNCTION trace_ext_internal.histogram_from_jsonb(jsonb) RETURNS histogram
    AS 'MODULE_PATHNAME', 'tex_jsonb_to_histogram' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_from_jsonb(jsonb) IS
    'the histogram that an object writes; errors as of histogram_in; jsonb itself keeps only the last of repeated keys';

CREATE FUNCTION trace_ext_internal.histogram_to_jsonb(histogram) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'tex_histogram_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_to_jsonb(histogram) IS
    'the histogram as a JSON object';

CREATE FUNCTION trace_ext_internal.histogram_to_json(histogram) RETURNS json
    AS 'MODULE_PATHNAME', 'tex_histogram_to_json' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_to_json(histogram) IS
    'the histogram as a JSON object';

CREATE CAST (jsonb AS histogram) WITH FUNCTION trace_ext_internal.histogram_from_jsonb(jsonb) AS ASSIGNMENT;
COMMENT ON CAST (jsonb AS histogram) IS 'reads the object that a histogram is written as';

CREATE CAST (json AS histogram) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (json AS histogram) IS 'reads the object that a histogram is written as, and refuses repeated keys';

CREATE CAST (histogram AS jsonb) WITH FUNCTION trace_ext_internal.histogram_to_jsonb(histogram) AS ASSIGNMENT;
COMMENT ON CAST (histogram AS jsonb) IS 'the histogram as a JSON object';

CREATE CAST (histogram AS json) WITH FUNCTION trace_ext_internal.histogram_to_json(histogram) AS ASSIGNMENT;
COMMENT ON CAST (histogram AS json) IS 'the histogram as a JSON object';

CREATE FUNCTION histogram(bigint) RETURNS histogram
    AS 'MODULE_PATHNAME', 'tex_histogram_of_value' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION histogram(bigint) IS
    'the histogram of one value, in ns; error 22003 for a negative one';

-- What is read off it.

CREATE FUNCTION quantile(histogram, double precision) RETURNS double precision
    AS 'MODULE_PATHNAME', 'tex_quantile' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantile(histogram, double precision) IS
    'in ns, within 2.2 % of percentile_disc of the values; the least and greatest value exactly, unless something was subtracted; NULL for no value, or where some count is negative; error 22003 unless from 0 to 1';

CREATE FUNCTION quantiles(histogram, double precision[]) RETURNS double precision[]
    AS 'MODULE_PATHNAME', 'tex_quantiles' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantiles(histogram, double precision[]) IS
    'quantile() of each element, in an array of the same shape; NULL for NULL';

CREATE FUNCTION count_below(histogram, bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'tex_count_below' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION count_below(histogram, bigint) IS
    'how many values are at most so many ns: exact where a bucket ends there (at powers of two, for one), below the minimum and from the maximum on; else without the bucket that the bound is in, so never more than there are, and exact for a bound at most 4.5 % lower';

CREATE FUNCTION total_count(histogram) RETURNS bigint
    AS 'MODULE_PATHNAME', 'tex_total_count' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION total_count(histogram) IS
    'how many values; exact, and negative where more was subtracted than was there';

CREATE FUNCTION total_sum(histogram) RETURNS numeric
    AS 'MODULE_PATHNAME', 'tex_total_sum' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION total_sum(histogram) IS
    'the sum of all values, in ns; exact';

CREATE FUNCTION minimum(histogram) RETURNS bigint
    AS 'MODULE_PATHNAME', 'tex_minimum' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION minimum(histogram) IS
    'the least value, in ns; after a subtraction the least that the lowest bucket with a count holds; NULL for no value';

CREATE FUNCTION maximum(histogram) RETURNS bigint
    AS 'MODULE_PATHNAME', 'tex_maximum' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION maximum(histogram) IS
    'the greatest value, in ns; after a subtraction the greatest that the highest bucket with a count holds; NULL for no value';

CREATE FUNCTION mean(histogram) RETURNS double precision
    AS 'MODULE_PATHNAME', 'tex_mean' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION mean(histogram) IS
    'the sum by the count, in ns; NULL for a count of 0';

-- Addition and subtraction.

CREATE FUNCTION trace_ext_internal.histogram_plus(histogram, histogram) RETURNS histogram
    AS 'MODULE_PATHNAME', 'tex_histogram_plus' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_plus(histogram, histogram) IS
    'the histogram of the values of both; error 22003 beyond 64 bits of a count, 128 of the sum';

CREATE FUNCTION trace_ext_internal.histogram_minus(histogram, histogram) RETURNS histogram
    AS 'MODULE_PATHNAME', 'tex_histogram_minus' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_minus(histogram, histogram) IS
    'the first histogram without the values of the second, whose counts may become negative; error 22003 beyond 64 bits of a count, 128 of the sum';

CREATE OPERATOR + (
    FUNCTION = trace_ext_internal.histogram_plus, LEFTARG = histogram, RIGHTARG = histogram,
    COMMUTATOR = +
);
COMMENT ON OPERATOR + (histogram, histogram) IS 'the values of both';

CREATE OPERATOR - (
    FUNCTION = trace_ext_internal.histogram_minus, LEFTARG = histogram, RIGHTARG = histogram
);
COMMENT ON OPERATOR - (histogram, histogram) IS 'the values of the first without those of the second';

-- Equality, of counts and sum: a histogram that was subtracted from is equal to one that was made anew.

CREATE FUNCTION trace_ext_internal.histogram_eq(histogram, histogram) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_histogram_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_eq(histogram, histogram) IS
    'true if all counts and the sums are equal, whether min and max are known or not';

CREATE FUNCTION trace_ext_internal.histogram_ne(histogram, histogram) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_histogram_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_ne(histogram, histogram) IS
    'true if some count or the sum differs';

CREATE OPERATOR = (
    FUNCTION = trace_ext_internal.histogram_eq, LEFTARG = histogram, RIGHTARG = histogram,
    COMMUTATOR = =,
    NEGATOR = <>,
    RESTRICT = eqsel,
    JOIN = eqjoinsel,
    HASHES
);
COMMENT ON OPERATOR = (histogram, histogram) IS 'equal in counts and sum';

CREATE OPERATOR <> (
    FUNCTION = trace_ext_internal.histogram_ne, LEFTARG = histogram, RIGHTARG = histogram,
    COMMUTATOR = <>,
    NEGATOR = =,
    RESTRICT = neqsel,
    JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (histogram, histogram) IS 'not equal in counts and sum';

CREATE FUNCTION trace_ext_internal.histogram_hash(histogram) RETURNS integer
    AS 'MODULE_PATHNAME', 'tex_histogram_hash' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_hash(histogram) IS
    'hash of counts and sum; equal histograms hash alike';

CREATE FUNCTION trace_ext_internal.histogram_hash_extended(histogram, bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'tex_histogram_hash_extended' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_hash_extended(histogram, bigint) IS
    '64-bit hash of counts and sum, by a seed';

CREATE OPERATOR FAMILY histogram_ops USING hash;
COMMENT ON OPERATOR FAMILY histogram_ops USING hash IS 'equality of histogram';
CREATE OPERATOR CLASS histogram_ops DEFAULT FOR TYPE histogram USING hash FAMILY histogram_ops AS
    OPERATOR 1 =,
    FUNCTION 1 trace_ext_internal.histogram_hash(histogram),
    FUNCTION 2 trace_ext_internal.histogram_hash_extended(histogram, bigint);
COMMENT ON OPERATOR CLASS histogram_ops USING hash IS
    'equality of histogram, for DISTINCT, GROUP BY, EXCEPT and hash joins; there is no order';

-- The aggregates. Their state is a histogram in memory.

CREATE FUNCTION trace_ext_internal.histogram_agg_step(internal, bigint) RETURNS internal
    AS 'MODULE_PATHNAME', 'tex_histogram_agg_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_agg_step(internal, bigint) IS
    'step of histogram_agg(bigint): takes a value in; NULL changes nothing';

CREATE FUNCTION trace_ext_internal.histogram_merge_step(internal, histogram) RETURNS internal
    AS 'MODULE_PATHNAME', 'tex_histogram_merge_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_merge_step(internal, histogram) IS
    'step of merge(histogram): takes a histogram in; NULL changes nothing';

CREATE FUNCTION trace_ext_internal.histogram_merge_combine(internal, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'tex_histogram_merge_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_merge_combine(internal, internal) IS
    'joins two partial states of merge(histogram) or histogram_agg(bigint)';

CREATE FUNCTION trace_ext_internal.histogram_merge_serialize(internal) RETURNS bytea
    AS 'MODULE_PATHNAME', 'tex_histogram_merge_serialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_merge_serialize(internal) IS
    'a partial state of merge(histogram) or histogram_agg(bigint), for another process';

CREATE FUNCTION trace_ext_internal.histogram_merge_deserialize(bytea, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'tex_histogram_merge_deserialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_merge_deserialize(bytea, internal) IS
    'a partial state of merge(histogram) or histogram_agg(bigint), from another process';

CREATE FUNCTION trace_ext_internal.histogram_merge_final(internal) RETURNS histogram
    AS 'MODULE_PATHNAME', 'tex_histogram_merge_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.histogram_merge_final(internal) IS
    'result of merge(histogram) and histogram_agg(bigint)';

-- SSPACE: some twenty buckets. Where it is not told, internal states are taken for 8 kB, and a thousand groups go to disk.
CREATE AGGREGATE merge(histogram) (
    SFUNC = trace_ext_internal.histogram_merge_step,
    STYPE = internal,
    SSPACE = 512,
    FINALFUNC = trace_ext_internal.histogram_merge_final,
    COMBINEFUNC = trace_ext_internal.histogram_merge_combine,
    SERIALFUNC = trace_ext_internal.histogram_merge_serialize,
    DESERIALFUNC = trace_ext_internal.histogram_merge_deserialize,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE merge(histogram) IS
    'the sum of all histograms, in whatever order they come; ignores NULL; NULL over no histogram; error 22003 beyond 64 bits of a count, 128 of the sum';

CREATE AGGREGATE histogram_agg(bigint) (
    SFUNC = trace_ext_internal.histogram_agg_step,
    STYPE = internal,
    SSPACE = 512,
    FINALFUNC = trace_ext_internal.histogram_merge_final,
    COMBINEFUNC = trace_ext_internal.histogram_merge_combine,
    SERIALFUNC = trace_ext_internal.histogram_merge_serialize,
    DESERIALFUNC = trace_ext_internal.histogram_merge_deserialize,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE histogram_agg(bigint) IS
    'the histogram of all values, in ns; ignores NULL; NULL over no value; error 22003 for a negative one';
