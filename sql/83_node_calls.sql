-- What a router of trace_ext_router asks of this store, as one of its nodes. It is an
-- ordinary client: all of it runs with the rights of the account that it connects as.

CREATE FUNCTION trace_ext_internal.asked(call text, query text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT COST 1 AS 'MODULE_PATHNAME', 'tex_asked';
COMMENT ON FUNCTION trace_ext_internal.asked(text, text) IS
    'keeps the query for answers(), and is true; said to be IMMUTABLE so that postgres_fdw sends it';

CREATE FUNCTION trace_ext_internal.asked_query() RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_asked_query';
COMMENT ON FUNCTION trace_ext_internal.asked_query() IS 'the query that asked() kept, once';

CREATE FUNCTION trace_ext_internal.answers(call text) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
BEGIN
    RETURN QUERY EXECUTE trace_ext_internal.asked_query();
END
$$;
COMMENT ON FUNCTION trace_ext_internal.answers(text) IS 'the rows of the query that asked() kept, of one column of text';

-- A column of text: else postgres_fdw would not send a text. OFFSET: the condition is computed here, before answers() is called for the row.
CREATE VIEW trace_ext_internal.node_calls AS
SELECT a.call, r.answer
  FROM (SELECT ''::text AS call OFFSET 0) AS a, LATERAL trace_ext_internal.answers(a.call) AS r (answer);
COMMENT ON VIEW trace_ext_internal.node_calls IS 'WHERE asked(call, query): the rows of the query; how a router calls a function here';

-- Part of events, under a name of its own: one node may be in several epochs of a router.
CREATE FUNCTION trace_ext_internal.make_epoch(epoch int, low timestamptz, high timestamptz) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    part constant text := format('trace_ext_internal.events_of_epoch_%s', epoch);
BEGIN
    EXECUTE format('CREATE OR REPLACE VIEW %s AS SELECT * FROM trace_ext.events WHERE "timestamp" >= %L AND "timestamp" < %L', part, low, high);
    EXECUTE format('COMMENT ON VIEW %s IS %L', part, 'events of an epoch of a router, which reads and writes them here');
    EXECUTE format('GRANT SELECT ON %s TO trace_ext_reader', part);
    EXECUTE format('GRANT INSERT ON %s TO trace_ext_writer', part);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO trace_ext_admin', part);
    RETURN part;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.make_epoch(int, timestamptz, timestamptz) IS
    'makes the view of the events of an epoch of a router, or gives it other bounds';
