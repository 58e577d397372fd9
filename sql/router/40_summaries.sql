-- Summaries: each node has those of its traces. A trace that straddles an epoch may have
-- its events on two: it is put together here by its id.

CREATE OR REPLACE VIEW trace_summaries AS
SELECT p.trace_id, sum(p.event_count)::bigint AS event_count, min(p.first_timestamp) AS first_timestamp, max(p.last_timestamp) AS last_timestamp,
       trace_ext_internal.duration_ms(min(p.started_at), max(p.ended_at)) AS duration_ms,
       trace_ext_internal.text_set(p.services) AS services, cardinality(trace_ext_internal.text_set(p.services)) AS service_count,
       sum(p.error_count)::bigint AS error_count, sum(p.access_count)::bigint AS access_count,
       -- Parts are of different times, so the first with a root has the first root.
       (array_agg(p.root_name ORDER BY p.first_timestamp) FILTER (WHERE p.root_name IS NOT NULL OR p.root_service IS NOT NULL))[1] AS root_name,
       (array_agg(p.root_service ORDER BY p.first_timestamp) FILTER (WHERE p.root_name IS NOT NULL OR p.root_service IS NOT NULL))[1] AS root_service,
       min(p.started_at) AS started_at, max(p.ended_at) AS ended_at
  FROM trace_ext_internal.all_trace_summaries p
 GROUP BY p.trace_id;

-- Each node is sent those ids only that can be its own.
CREATE FUNCTION trace_ext_internal.ask_about(query text, ids uuid[]) RETURNS TABLE (node text, answer text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    up constant text[] := trace_ext_internal.nodes_to_ask();
    nodes text[];
    queries text[];
BEGIN
    SELECT array_agg(p.node), array_agg(replace(query, '$1', quote_literal(p.ids) || '::uuid[]')) INTO nodes, queries
      FROM (SELECT o.node, array_agg(o.id)::text AS ids
              FROM (SELECT DISTINCT e.nodes[1 + trace_ext_internal.hash_bucket(u.id, cardinality(e.nodes))] AS node, u.id
                      FROM unnest(ids) AS u (id), trace_ext_internal.shard_epochs e) AS o
             WHERE o.node = ANY (up) GROUP BY o.node) AS p;
    RETURN QUERY SELECT a.node, a.answer FROM trace_ext_internal.ask_each(nodes, queries) a;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.ask_about(text, uuid[]) IS 'asks nodes a query about some traces, $1 in it, each about those that it may have events of';

CREATE FUNCTION trace_ext_internal.times_of_traces(ids uuid[])
    RETURNS TABLE (trace_id uuid, first_timestamp timestamptz, last_timestamp timestamptz, started_at timestamptz, ended_at timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN QUERY
    SELECT r.a[1]::uuid, r.a[2]::timestamptz, r.a[3]::timestamptz, r.a[4]::timestamptz, r.a[5]::timestamptz
      FROM (SELECT string_to_array(q.answer, ',') AS a
              FROM trace_ext_internal.ask_about('SELECT concat_ws('','', s.trace_id, s.first_timestamp, s.last_timestamp, s.started_at, s.ended_at) '
                                                'FROM trace_ext.trace_summaries s WHERE s.trace_id = ANY ($1)', ids) q OFFSET 0) AS r;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.times_of_traces(uuid[]) IS 'when traces ran, a row a node that has events of one; all nodes are asked at a time';

-- The same, as wide as it may be, without having summaries put together: what bounds a query needs no more.
CREATE FUNCTION trace_ext_internal.ranges_of_traces(ids uuid[])
    RETURNS TABLE (trace_id uuid, first_timestamp timestamptz, last_timestamp timestamptz, started_at timestamptz, ended_at timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN QUERY
    SELECT nullif(r.a[1], '')::uuid, r.a[2]::timestamptz, r.a[3]::timestamptz, r.a[4]::timestamptz, r.a[5]::timestamptz
      FROM (SELECT string_to_array(q.answer, ',') AS a
              FROM trace_ext_internal.ask_about('SELECT pg_catalog.unnest(trace_ext_internal.times_told($1))', ids) q OFFSET 0) AS r;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.ranges_of_traces(uuid[]) IS
    'when events of traces can be stamped, a row a node that knows of one; without a trace_id: of events that a node has not counted yet';

-- Traces with events on two nodes. Only one that ran within trace_ext.horizon of the edge of an epoch is looked for.
CREATE FUNCTION trace_ext_internal.straddlers() RETURNS uuid[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, MDY'
    AS $$
DECLARE
    horizon interval;
    condition text;
BEGIN
    IF (SELECT count(*) FROM trace_ext_internal.shard_epochs) < 2 THEN
        RETURN '{}';
    END IF;
    -- In C: the call loads the library, which defines the settings.
    PERFORM trace_ext_internal.restoring();
    horizon := current_setting('trace_ext.horizon')::interval;
    SELECT string_agg(format('(s.last_timestamp >= %L AND s.first_timestamp <= %L)', trace_ext_internal.shifted(e.starts_at, - horizon),
                             trace_ext_internal.shifted(e.starts_at, horizon)), ' OR ')
      INTO condition
      FROM (SELECT d.starts_at, d.nodes, lag(d.nodes) OVER (ORDER BY d.starts_at) AS before FROM trace_ext_internal.shard_epochs d) AS e
     WHERE e.before <> e.nodes AND e.starts_at <= now() + interval '1 day';
    IF condition IS NULL THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT a.answer::uuid
          FROM trace_ext_internal.ask_nodes('SELECT s.trace_id::text FROM trace_ext.trace_summaries s WHERE ' || condition) a
         GROUP BY a.answer HAVING count(*) > 1);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.straddlers() IS 'traces with events on more than one node, that ran within trace_ext.horizon of the edge of an epoch';

-- Calls by links from one node to another. The consumer's node has all but the service of the producer: links that may lead
-- elsewhere are listed, the nodes of the producers asked, and each node says what follows of that for its traces; each round asks all nodes at a time.
CREATE FUNCTION trace_ext_internal.calls_over_nodes(without uuid[])
    RETURNS TABLE (hour timestamptz, from_service text, to_service text, link_type link_type, calls bigint, errors bigint, traces bigint,
                   latency histogram)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    up constant text[] := trace_ext_internal.nodes_to_ask();
    queries text[];
    nodes text[];
    -- One a link: the node and trace of the consumer, the trace and the first event of the producer's span.
    consumer_nodes text[];
    consumers uuid[];
    producers uuid[];
    events uuid[];
    -- One a producer that there is.
    known uuid[];
    services text[];
BEGIN
    queries := ARRAY(
        SELECT 'SELECT concat_ws('','', l.trace_id, l.linked_trace_id, s.id) FROM trace_ext.trace_links l, '
               'LATERAL (SELECT trace_ext_internal.otlp_start_id(l.linked_trace_id, l.linked_span_id) AS id OFFSET 0) s '
               'WHERE l.linked_trace_id <> l.trace_id AND s.id IS NOT NULL AND NOT (' ||
               (SELECT string_agg(format('(%L::text[])[1 + trace_ext_internal.hash_bucket(l.linked_trace_id, %s)] = %L', e.nodes, cardinality(e.nodes), u.name), ' AND ')
                  FROM (SELECT DISTINCT d.nodes FROM trace_ext_internal.shard_epochs d) AS e) || ')'
          FROM unnest(up) WITH ORDINALITY AS u (name, n) ORDER BY u.n);
    SELECT array_agg(r.node), array_agg(r.a[1]::uuid), array_agg(r.a[2]::uuid), array_agg(r.a[3]::uuid) INTO consumer_nodes, consumers, producers, events
      FROM (SELECT q.node, string_to_array(q.answer, ',') AS a FROM trace_ext_internal.ask_each(up, queries) q OFFSET 0) AS r
     WHERE r.a[1]::uuid <> ALL (without);
    IF consumers IS NULL THEN
        RETURN;
    END IF;

    SELECT array_agg(p.node), array_agg(format('SELECT jsonb_build_array(f.id, f.service)::text FROM unnest(%1$L::uuid[], trace_ext_internal.producers_of(%2$L, %1$L)) AS f (id, service) '
                                               'WHERE f.service IS NOT NULL', p.starts, p.ids))
      INTO nodes, queries
      FROM (SELECT d.node, array_agg(d.id) AS ids, array_agg(d.start) AS starts
              FROM (SELECT DISTINCT e.nodes[1 + trace_ext_internal.hash_bucket(u.id, cardinality(e.nodes))] AS node, u.id, u.start
                      FROM unnest(producers, events) AS u (id, start), trace_ext_internal.shard_epochs e) AS d
             WHERE d.node = ANY (up) GROUP BY d.node) AS p;
    SELECT array_agg((r.row ->> 0)::uuid), array_agg(r.row ->> 1) INTO known, services
      FROM (SELECT q.answer::jsonb AS row FROM trace_ext_internal.ask_each(nodes, queries) q OFFSET 0) AS r;
    IF known IS NULL THEN
        RETURN;
    END IF;

    SELECT array_agg(c.node), array_agg(format(
           'SELECT jsonb_build_object(''hour'', c.hour, ''from_service'', c.from_service, ''to_service'', c.to_service, ''link_type'', c.link_type, ''calls'', c.calls, '
           '''errors'', c.errors, ''traces'', c.traces, ''latency'', c.latency::text)::text FROM trace_ext_internal.linked_calls(%L, %L, %L) c', c.ids, c.starts, c.services))
      INTO nodes, queries
      FROM (SELECT u.node, array_agg(DISTINCT u.id) AS ids, array_agg(f.start) AS starts, array_agg(f.service) AS services
              FROM unnest(consumer_nodes, consumers, events) AS u (node, id, start)
                   JOIN (SELECT DISTINCT ON (x.start) x.start, x.service FROM unnest(known, services) AS x (start, service)) AS f ON f.start = u.start
             GROUP BY u.node) AS c;
    RETURN QUERY
    SELECT (r.row ->> 'hour')::timestamptz, r.row ->> 'from_service', r.row ->> 'to_service', (r.row ->> 'link_type')::trace_ext.link_type,
           (r.row ->> 'calls')::bigint, (r.row ->> 'errors')::bigint, (r.row ->> 'traces')::bigint, (r.row ->> 'latency')::trace_ext.histogram
      FROM (SELECT a.answer::jsonb AS row FROM trace_ext_internal.ask_each(nodes, queries) a OFFSET 0) AS r;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.calls_over_nodes(uuid[]) IS
    'calls by links whose producer is on another node than its consumer, but of some consumers'' traces: by how much what the nodes know of calls differs from all';

-- Each node has counted the calls of what it has of a trace; those of the whole trace are known here. And so to the rest that is outstanding.
CREATE OR REPLACE FUNCTION trace_ext_internal.outstanding_calls()
    RETURNS TABLE (hour timestamptz, from_service text, to_service text, link_type link_type, calls bigint, errors bigint, traces bigint,
                   latency histogram)
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 COST 10000 SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    several constant uuid[] := trace_ext_internal.straddlers();
BEGIN
    RETURN QUERY
    SELECT (r.row ->> 'hour')::timestamptz, r.row ->> 'from_service', r.row ->> 'to_service', (r.row ->> 'link_type')::trace_ext.link_type,
           (r.row ->> 'calls')::bigint, (r.row ->> 'errors')::bigint, (r.row ->> 'traces')::bigint, (r.row ->> 'latency')::trace_ext.histogram
      FROM (SELECT a.answer::jsonb AS row FROM trace_ext_internal.ask_nodes(
            'SELECT jsonb_build_object(''hour'', c.hour, ''from_service'', c.from_service, ''to_service'', c.to_service, ''link_type'', c.link_type, ''calls'', c.calls, '
            '''errors'', c.errors, ''traces'', c.traces, ''latency'', c.latency::text)::text FROM trace_ext_internal.outstanding_calls() c') a OFFSET 0) AS r;
    RETURN QUERY SELECT * FROM trace_ext_internal.calls_over_nodes(several);
    IF cardinality(several) > 0 THEN
        RETURN QUERY
        SELECT s.* FROM trace_ext_internal.sum_calls(
            ARRAY(SELECT c.calls FROM unnest(several) AS u (id), LATERAL (SELECT trace_ext_internal.trace_calls(u.id) AS calls) AS c WHERE c.calls IS NOT NULL),
            ARRAY(SELECT decode(a.answer, 'hex') FROM trace_ext_internal.ask_about(
                  'SELECT encode(c.calls, ''hex'') FROM unnest($1) AS u (id), LATERAL (SELECT trace_ext_internal.trace_calls(u.id) AS calls) AS c WHERE c.calls IS NOT NULL', several) a)) s;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION count_traces() RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (SELECT coalesce(sum(a.answer::bigint), 0) FROM trace_ext_internal.ask_nodes('SELECT trace_ext.count_traces()::text') a)
         + (SELECT coalesce(sum(1 - s.parts), 0)
              FROM (SELECT count(*) AS parts FROM trace_ext_internal.times_of_traces(trace_ext_internal.straddlers()) t GROUP BY t.trace_id) AS s);
END
$$;

CREATE OR REPLACE FUNCTION trace_ext_internal.traces_of_services() RETURNS TABLE (service_name text, trace_count bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    several constant uuid[] := trace_ext_internal.straddlers();
BEGIN
    RETURN QUERY
    SELECT p.name, sum(p.traces)::bigint
      FROM (SELECT r.row ->> 0 AS name, (r.row ->> 1)::bigint AS traces
              FROM (SELECT a.answer::jsonb AS row
                      FROM trace_ext_internal.ask_nodes('SELECT jsonb_build_array(t.service_name, t.trace_count)::text FROM trace_ext_internal.traces_of_services() t') a OFFSET 0) AS r
            UNION ALL
            -- Those that each of its parts counted.
            SELECT u.name, 1 - count(*) FROM trace_ext_internal.all_trace_summaries s, unnest(s.services) AS u (name)
             WHERE s.trace_id = ANY (several) GROUP BY s.trace_id, u.name) AS p
     GROUP BY p.name;
END
$$;

--
-- Lists
--

CREATE FUNCTION trace_ext_internal.judge_list(
    page_size bigint, page bigint, min_events bigint, service text, search text, before timestamptz, before_id uuid,
    since timestamptz, until timestamptz, min_duration_ms double precision, errors_only boolean, name text, variable text)
    RETURNS SETOF trace_summaries
    LANGUAGE c STABLE ROWS 20 AS 'MODULE_PATHNAME', 'tex_list_traces';
COMMENT ON FUNCTION trace_ext_internal.judge_list(bigint, bigint, bigint, text, text, timestamptz, uuid, timestamptz, timestamptz, double precision, boolean, text, text) IS
    'list_traces() as a store has it: no rows here, but its errors';

-- What list_traces() asks for, of traces that no node has all of.
CREATE FUNCTION trace_ext_internal.listed_straddlers(
    ids uuid[], min_events bigint, service text, search text, since timestamptz, until timestamptz, min_duration_ms double precision,
    errors_only boolean, name text, variable text)
    RETURNS SETOF trace_summaries
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF cardinality(ids) = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT s.* FROM trace_ext.trace_summaries s
     WHERE s.trace_id = ANY (ids) AND s.event_count >= coalesce(min_events, 1) AND (service IS NULL OR service = ANY (s.services))
       AND (search IS NULL OR replace(s.trace_id::text, '-', '') LIKE lower(replace(search, '-', '')) || '%')
       AND (since IS NULL OR s.ended_at >= since) AND (until IS NULL OR s.started_at <= until)
       AND (min_duration_ms IS NULL OR s.duration_ms >= min_duration_ms) AND (errors_only IS NOT TRUE OR s.error_count > 0)
       AND (name IS NULL OR s.root_name LIKE name)
       AND (variable IS NULL OR EXISTS (SELECT FROM trace_ext.events e WHERE e.trace_id = s.trace_id AND e.kind = 'StateChange' AND e.name = variable
                                           AND e."timestamp" BETWEEN s.first_timestamp AND s.last_timestamp));
END
$$;
COMMENT ON FUNCTION trace_ext_internal.listed_straddlers(uuid[], bigint, text, text, timestamptz, timestamptz, double precision, boolean, text, text) IS
    'those of some traces with events on several nodes that pass the filters of list_traces()';

-- Each node gives as many as the page may need, newest first.
CREATE OR REPLACE FUNCTION list_traces(
    page_size bigint = 20, page bigint = 1, min_events bigint = 1, service text = NULL,
    search text = NULL, before timestamptz = NULL, before_id uuid = NULL,
    since timestamptz = NULL, until timestamptz = NULL, min_duration_ms double precision = NULL,
    errors_only boolean = NULL, name text = NULL, variable text = NULL)
    RETURNS SETOF trace_summaries
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 20 SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, MDY'
    AS $$
DECLARE
    several uuid[];
    skipped bigint;
    needed bigint;
    pages bigint;
BEGIN
    PERFORM FROM trace_ext_internal.judge_list(page_size, page, min_events, service, search, before, before_id, since, until, min_duration_ms, errors_only, name, NULL);
    several := trace_ext_internal.straddlers();
    page_size := coalesce(page_size, 20);
    skipped := CASE WHEN before IS NULL THEN (coalesce(page, 1) - 1) * page_size ELSE 0 END;
    needed := skipped + page_size + cardinality(several);
    pages := (needed + 9999) / 10000;
    RETURN QUERY
    WITH given AS (
        SELECT (r.row).*
          FROM (SELECT a.answer::trace_ext.trace_summaries AS row FROM trace_ext_internal.ask_nodes(format(
               'SELECT t::text FROM generate_series(1, %s) AS p (page), LATERAL trace_ext.list_traces(%s, p.page, %L, %L, %L, %L, %L, %L, %L, %L, %L, %L, %L) t LIMIT %s',
               pages, least(needed, 10000), min_events, service, search, before, before_id, since, until, min_duration_ms, errors_only, name, variable, needed)) a OFFSET 0) AS r
    )
    SELECT l.* FROM (SELECT g.* FROM given g WHERE g.trace_id <> ALL (several)
                     UNION ALL
                     SELECT s.* FROM trace_ext_internal.listed_straddlers(several, min_events, service, search, since, until, min_duration_ms, errors_only, name, variable) s
                      WHERE before IS NULL OR (s.last_timestamp, s.trace_id) < (before, coalesce(before_id, '00000000-0000-0000-0000-000000000000'))) AS l
     ORDER BY l.last_timestamp DESC, l.trace_id DESC OFFSET skipped LIMIT page_size;
END
$$;

CREATE OR REPLACE FUNCTION list_traces_total(
    min_events bigint = 1, service text = NULL, search text = NULL,
    since timestamptz = NULL, until timestamptz = NULL, min_duration_ms double precision = NULL,
    errors_only boolean = NULL, name text = NULL, variable text = NULL)
    RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, MDY'
    AS $$
DECLARE
    several constant uuid[] := trace_ext_internal.straddlers();
    filters constant text := format('%L, %L, %L, %L, %L, %L, %L, %L, %L', min_events, service, search, since, until, min_duration_ms, errors_only, name, variable);
    parts bigint := 0;
BEGIN
    IF cardinality(several) > 0 THEN
        -- What the nodes count of them is known by their lists of that time.
        SELECT count(*) INTO parts FROM trace_ext_internal.ask_nodes(format(
            'SELECT ''''::text FROM unnest(%L::uuid[]) AS u (id) WHERE EXISTS (SELECT FROM trace_ext.list_traces(1, 1, %L, %L, u.id::text, NULL, NULL, %L, %L, %L, %L, %L, %L))',
            several, min_events, service, since, until, min_duration_ms, errors_only, name, variable)) a
         WHERE search IS NULL;
        IF search IS NOT NULL THEN
            RETURN (SELECT count(*) FROM trace_ext.list_traces(10000, 1, min_events, service, search, NULL, NULL, since, until, min_duration_ms, errors_only, name, variable));
        END IF;
    END IF;
    RETURN (SELECT coalesce(sum(a.answer::bigint), 0) FROM trace_ext_internal.ask_nodes('SELECT trace_ext.list_traces_total(' || filters || ')::text') a)
         - parts
         + (SELECT count(*) FROM trace_ext_internal.listed_straddlers(several, min_events, service, search, since, until, min_duration_ms, errors_only, name, variable));
END
$$;
