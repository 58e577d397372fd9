-- The type vclock: vector clocks, as clients send them with their events.

CREATE TYPE vclock;

CREATE FUNCTION trace_ext_internal.vclock_in(cstring) RETURNS vclock
    AS 'MODULE_PATHNAME', 'tex_vclock_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_in(cstring) IS
    'input of vclock: {"component": n, ...} or [["component", n], ...]; errors: 22P02 malformed, 22003 count negative or beyond 2^63-1, 22030 component repeated, 54000 component over 255 bytes or more than 4096 of them';

CREATE FUNCTION trace_ext_internal.vclock_out(vclock) RETURNS cstring
    AS 'MODULE_PATHNAME', 'tex_vclock_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_out(vclock) IS
    'output of vclock: {"component": n, ...}, sorted by the bytes of the components';

CREATE FUNCTION trace_ext_internal.vclock_recv(internal) RETURNS vclock
    AS 'MODULE_PATHNAME', 'tex_vclock_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_recv(internal) IS
    'binary input of vclock: int8 version 1, int32 number of components, for each int32 length, text, int64 count; checked like text; 22P03 for another version';

CREATE FUNCTION trace_ext_internal.vclock_send(vclock) RETURNS bytea
    AS 'MODULE_PATHNAME', 'tex_vclock_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_send(vclock) IS
    'binary output of vclock, as vclock_recv reads it';

CREATE TYPE vclock (
    INPUT = trace_ext_internal.vclock_in,
    OUTPUT = trace_ext_internal.vclock_out,
    RECEIVE = trace_ext_internal.vclock_recv,
    SEND = trace_ext_internal.vclock_send,
    INTERNALLENGTH = VARIABLE,
    STORAGE = extended
);
COMMENT ON TYPE vclock IS
    'vector clock: counts by component, 0 where a component is missing, so that {"a": 0} is {}; compare client clocks inside one trace only';

-- Casts. To vclock on assignment, so that INSERT takes what clients sent as JSON;
-- not implicitly, as jsonb has an operator || of its own, which must stay itself.
-- From vclock on assignment for the same convenience, and because to_jsonb() and
-- row_to_json() find the cast to json and show a clock as an object.

CREATE FUNCTION trace_ext_internal.vclock_from_jsonb(jsonb) RETURNS vclock
    AS 'MODULE_PATHNAME', 'tex_jsonb_to_vclock' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_from_jsonb(jsonb) IS
    'the clock that an object or an array of pairs writes; errors as of vclock_in, and 22023 for another shape; jsonb itself keeps only the last of repeated keys';

CREATE FUNCTION trace_ext_internal.vclock_to_jsonb(vclock) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'tex_vclock_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_to_jsonb(vclock) IS
    'the clock as a JSON object';

CREATE FUNCTION trace_ext_internal.vclock_to_json(vclock) RETURNS json
    AS 'MODULE_PATHNAME', 'tex_vclock_to_json' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_to_json(vclock) IS
    'the clock as a JSON object';

CREATE CAST (jsonb AS vclock) WITH FUNCTION trace_ext_internal.vclock_from_jsonb(jsonb) AS ASSIGNMENT;
COMMENT ON CAST (jsonb AS vclock) IS 'reads {"component": n, ...} and [["component", n], ...]';

CREATE CAST (json AS vclock) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (json AS vclock) IS 'reads {"component": n, ...} and [["component", n], ...], and refuses repeated keys';

CREATE CAST (vclock AS jsonb) WITH FUNCTION trace_ext_internal.vclock_to_jsonb(vclock) AS ASSIGNMENT;
COMMENT ON CAST (vclock AS jsonb) IS 'the clock as a JSON object';

CREATE CAST (vclock AS json) WITH FUNCTION trace_ext_internal.vclock_to_json(vclock) AS ASSIGNMENT;
COMMENT ON CAST (vclock AS json) IS 'the clock as a JSON object';

CREATE FUNCTION vclock_get(vclock, text) RETURNS bigint
    AS 'MODULE_PATHNAME', 'tex_vclock_get' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vclock_get(vclock, text) IS
    'the count of one component; 0 if the clock does not have it';

-- The vector order, which is partial. Its operators have no estimators: statistics
-- follow the sort order below, and the default of one half is about what events of
-- one trace give. NOT (a < b) is not a >= b, so they have no negators.

CREATE FUNCTION trace_ext_internal.vclock_before(vclock, vclock) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_vclock_before' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_before(vclock, vclock) IS
    'true if the first clock happens before the second: no count greater, one smaller';

CREATE FUNCTION trace_ext_internal.vclock_after(vclock, vclock) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_vclock_after' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_after(vclock, vclock) IS
    'true if the second clock happens before the first';

CREATE FUNCTION trace_ext_internal.vclock_before_or_equal(vclock, vclock) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_vclock_before_or_equal' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_before_or_equal(vclock, vclock) IS
    'true if no count of the first clock is greater than in the second';

CREATE FUNCTION trace_ext_internal.vclock_after_or_equal(vclock, vclock) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_vclock_after_or_equal' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_after_or_equal(vclock, vclock) IS
    'true if no count of the second clock is greater than in the first';

CREATE FUNCTION trace_ext_internal.vclock_concurrent(vclock, vclock) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_vclock_concurrent' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_concurrent(vclock, vclock) IS
    'true if neither clock happens before the other and they differ';

CREATE FUNCTION trace_ext_internal.vclock_eq(vclock, vclock) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_vclock_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_eq(vclock, vclock) IS
    'true if all counts are equal';

CREATE FUNCTION trace_ext_internal.vclock_ne(vclock, vclock) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_vclock_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_ne(vclock, vclock) IS
    'true if some count differs';

CREATE OPERATOR < (
    FUNCTION = trace_ext_internal.vclock_before, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = >
);
COMMENT ON OPERATOR < (vclock, vclock) IS 'happens before';

CREATE OPERATOR > (
    FUNCTION = trace_ext_internal.vclock_after, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = <
);
COMMENT ON OPERATOR > (vclock, vclock) IS 'happens after';

CREATE OPERATOR <= (
    FUNCTION = trace_ext_internal.vclock_before_or_equal, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = >=
);
COMMENT ON OPERATOR <= (vclock, vclock) IS 'happens before or is equal';

CREATE OPERATOR >= (
    FUNCTION = trace_ext_internal.vclock_after_or_equal, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = <=
);
COMMENT ON OPERATOR >= (vclock, vclock) IS 'happens after or is equal';

CREATE OPERATOR || (
    FUNCTION = trace_ext_internal.vclock_concurrent, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = ||
);
COMMENT ON OPERATOR || (vclock, vclock) IS 'concurrent: neither happens before the other, and not equal';

CREATE OPERATOR = (
    FUNCTION = trace_ext_internal.vclock_eq, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = =,
    NEGATOR = <>,
    RESTRICT = eqsel,
    JOIN = eqjoinsel,
    HASHES,
    MERGES
);
COMMENT ON OPERATOR = (vclock, vclock) IS 'equal';

CREATE OPERATOR <> (
    FUNCTION = trace_ext_internal.vclock_ne, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = <>,
    NEGATOR = =,
    RESTRICT = neqsel,
    JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (vclock, vclock) IS 'not equal';

CREATE FUNCTION trace_ext_internal.vclock_merge(vclock, vclock) RETURNS vclock
    AS 'MODULE_PATHNAME', 'tex_vclock_merge' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_merge(vclock, vclock) IS
    'the greater count of each component: the least clock that is >= both; error 54000 beyond 4096 components';

CREATE OPERATOR + (
    FUNCTION = trace_ext_internal.vclock_merge, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = +
);
COMMENT ON OPERATOR + (vclock, vclock) IS 'merge: the greater count of each component';

-- The sort order, which is total and extends the vector order: where a < b, also
-- a #<# b. So ORDER BY a clock never puts an effect before its cause.

CREATE FUNCTION trace_ext_internal.vclock_sort_lt(vclock, vclock) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_vclock_sort_lt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_sort_lt(vclock, vclock) IS
    'true if the first clock sorts before the second';

CREATE FUNCTION trace_ext_internal.vclock_sort_le(vclock, vclock) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_vclock_sort_le' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_sort_le(vclock, vclock) IS
    'true if the first clock sorts before or equal to the second';

CREATE FUNCTION trace_ext_internal.vclock_sort_ge(vclock, vclock) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_vclock_sort_ge' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_sort_ge(vclock, vclock) IS
    'true if the first clock sorts after or equal to the second';

CREATE FUNCTION trace_ext_internal.vclock_sort_gt(vclock, vclock) RETURNS boolean
    AS 'MODULE_PATHNAME', 'tex_vclock_sort_gt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_sort_gt(vclock, vclock) IS
    'true if the first clock sorts after the second';

CREATE FUNCTION trace_ext_internal.vclock_cmp(vclock, vclock) RETURNS integer
    AS 'MODULE_PATHNAME', 'tex_vclock_cmp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_cmp(vclock, vclock) IS
    'negative, 0 or positive as the first clock sorts before, equal to or after the second: by the first component, in order of bytes, whose counts differ';

CREATE OPERATOR #<# (
    FUNCTION = trace_ext_internal.vclock_sort_lt, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = #>#,
    NEGATOR = #>=#,
    RESTRICT = scalarltsel,
    JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR #<# (vclock, vclock) IS 'sorts before';

CREATE OPERATOR #<=# (
    FUNCTION = trace_ext_internal.vclock_sort_le, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = #>=#,
    NEGATOR = #>#,
    RESTRICT = scalarlesel,
    JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR #<=# (vclock, vclock) IS 'sorts before or is equal';

CREATE OPERATOR #>=# (
    FUNCTION = trace_ext_internal.vclock_sort_ge, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = #<=#,
    NEGATOR = #<#,
    RESTRICT = scalargesel,
    JOIN = scalargejoinsel
);
COMMENT ON OPERATOR #>=# (vclock, vclock) IS 'sorts after or is equal';

CREATE OPERATOR #># (
    FUNCTION = trace_ext_internal.vclock_sort_gt, LEFTARG = vclock, RIGHTARG = vclock,
    COMMUTATOR = #<#,
    NEGATOR = #<=#,
    RESTRICT = scalargtsel,
    JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR #># (vclock, vclock) IS 'sorts after';

CREATE OPERATOR FAMILY vclock_ops USING btree;
COMMENT ON OPERATOR FAMILY vclock_ops USING btree IS 'the sort order of vclock';
CREATE OPERATOR CLASS vclock_ops DEFAULT FOR TYPE vclock USING btree FAMILY vclock_ops AS
    OPERATOR 1 #<#,
    OPERATOR 2 #<=#,
    OPERATOR 3 =,
    OPERATOR 4 #>=#,
    OPERATOR 5 #>#,
    FUNCTION 1 trace_ext_internal.vclock_cmp(vclock, vclock),
    -- Equal clocks are equal bytes.
    FUNCTION 4 btequalimage(oid);
COMMENT ON OPERATOR CLASS vclock_ops USING btree IS
    'the sort order of vclock, for ORDER BY, DISTINCT, merge joins and unique indexes';

CREATE FUNCTION trace_ext_internal.vclock_hash(vclock) RETURNS integer
    AS 'MODULE_PATHNAME', 'tex_vclock_hash' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_hash(vclock) IS
    'hash of the clock; equal clocks hash alike';

CREATE FUNCTION trace_ext_internal.vclock_hash_extended(vclock, bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'tex_vclock_hash_extended' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_hash_extended(vclock, bigint) IS
    '64-bit hash of the clock, by a seed';

CREATE OPERATOR FAMILY vclock_ops USING hash;
COMMENT ON OPERATOR FAMILY vclock_ops USING hash IS 'equality of vclock';
CREATE OPERATOR CLASS vclock_ops DEFAULT FOR TYPE vclock USING hash FAMILY vclock_ops AS
    OPERATOR 1 =,
    FUNCTION 1 trace_ext_internal.vclock_hash(vclock),
    FUNCTION 2 trace_ext_internal.vclock_hash_extended(vclock, bigint);
COMMENT ON OPERATOR CLASS vclock_ops USING hash IS
    'equality of vclock, for hash joins, GROUP BY and hash partitioning';

-- The aggregate merge. Its state is a hash table of components.

CREATE FUNCTION trace_ext_internal.vclock_merge_step(internal, vclock) RETURNS internal
    AS 'MODULE_PATHNAME', 'tex_vclock_merge_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_merge_step(internal, vclock) IS
    'step of merge(vclock): takes a clock in; NULL changes nothing';

CREATE FUNCTION trace_ext_internal.vclock_merge_combine(internal, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'tex_vclock_merge_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_merge_combine(internal, internal) IS
    'joins two partial states of merge(vclock)';

CREATE FUNCTION trace_ext_internal.vclock_merge_serialize(internal) RETURNS bytea
    AS 'MODULE_PATHNAME', 'tex_vclock_merge_serialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_merge_serialize(internal) IS
    'a partial state of merge(vclock), for another process';

CREATE FUNCTION trace_ext_internal.vclock_merge_deserialize(bytea, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'tex_vclock_merge_deserialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_merge_deserialize(bytea, internal) IS
    'a partial state of merge(vclock), from another process';

CREATE FUNCTION trace_ext_internal.vclock_merge_final(internal) RETURNS vclock
    AS 'MODULE_PATHNAME', 'tex_vclock_merge_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION trace_ext_internal.vclock_merge_final(internal) IS
    'result of merge(vclock)';

CREATE AGGREGATE merge(vclock) (
    SFUNC = trace_ext_internal.vclock_merge_step,
    STYPE = internal,
    FINALFUNC = trace_ext_internal.vclock_merge_final,
    COMBINEFUNC = trace_ext_internal.vclock_merge_combine,
    SERIALFUNC = trace_ext_internal.vclock_merge_serialize,
    DESERIALFUNC = trace_ext_internal.vclock_merge_deserialize,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE merge(vclock) IS
    'the greatest count of each component over all clocks; ignores NULL; NULL over no clock; error 54000 beyond 4096 components';
