-- Views that derive, never store: always as exact as the events.

CREATE VIEW cross_trace_index AS
SELECT name AS variable,
       trace_id,
       id AS event_id,
       "timestamp",
       service_name,
       instance_id,
       process_id,
       thread_id,
       (attributes ->> 'access_type')::trace_ext.access_type AS access_type,
       attributes -> 'old_value' AS old_value,
       attributes -> 'new_value' AS value,
       attributes ->> 'location' AS location,
       lock_set,
       attributes -> 'new_value' AS new_value
  FROM trace_ext.events
 WHERE kind = 'StateChange';
COMMENT ON VIEW cross_trace_index IS
    'one row an access of a variable, over all traces; an index finds those of one variable, by time; value and new_value are the same';

-- A state change as the model system's helper view shows it.
CREATE VIEW state_changes AS
SELECT event_id AS id, trace_id, "timestamp", variable, access_type, old_value,
       value AS new_value, location, thread_id, service_name
  FROM trace_ext.cross_trace_index;
COMMENT ON VIEW state_changes IS 'accesses of variables, with old and new value';

-- What derives from the events of one trace, as a view of all traces and as a function of one. A view
-- cannot know when a trace ran, so it looks into every partition, also for WHERE trace_id = ...; the
-- function of the same name reads what events_of() finds by the summary. One text makes both.
CREATE FUNCTION trace_ext_internal.events_of(trace_id uuid) RETURNS SETOF events
    LANGUAGE plpgsql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
DECLARE
    low timestamptz;
    high timestamptz;
BEGIN
    SELECT r.first_timestamp, r.last_timestamp INTO low, high FROM trace_ext_internal.trace_range(ARRAY[$1]) r;
    -- With times as constants: it is not planned for other partitions.
    RETURN QUERY EXECUTE 'SELECT e.* FROM trace_ext.events e WHERE e.trace_id = $1 AND e."timestamp" >= $2 AND e."timestamp" <= $3' USING $1, low, high;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.events_of(uuid) IS 'all events of a trace, in no order, with the rights of the caller; costs the same with any number of partitions';

DO $do$
DECLARE
    derived record;
BEGIN
    FOR derived IN SELECT * FROM (VALUES
('causal_edges', $view$
SELECT trace_id,
       parent_id AS from_event_id,
       id AS to_event_id,
       CASE kind
           WHEN 'AsyncSpawn'     THEN 'AsyncSpawn'
           WHEN 'AsyncAwait'     THEN 'AsyncAwait'
           WHEN 'HttpResponse'   THEN 'HttpRequestResponse'
           WHEN 'DatabaseResult' THEN 'DatabaseQueryResult'
           WHEN 'StateChange'    THEN 'DataDependency'
           ELSE 'DirectCall'
       END AS edge_type
  FROM trace_ext.events
 WHERE parent_id <> id
UNION ALL
-- A consumer and its producer, mostly of another trace.
SELECT e.trace_id, trace_ext_internal.otlp_start_id(l.linked_trace_id, l.linked_span_id), e.id, 'AsyncAwait'
  FROM trace_ext.trace_links l
  JOIN trace_ext.events e ON e.trace_id = l.trace_id AND e.id = trace_ext_internal.otlp_start_id(l.trace_id, l.span_id)
 WHERE e.kind = 'AsyncAwait'
   AND trace_ext_internal.otlp_start_id(l.linked_trace_id, l.linked_span_id) IS DISTINCT FROM e.parent_id$view$),
('trace_roots', $view$
SELECT trace_id, id AS root_event_id, "timestamp", name, service_name
  FROM trace_ext.events
 WHERE parent_id IS NULL OR parent_id = id$view$),
('distributed_spans', $view$
SELECT trace_id,
       span_id,
       trace_ext_internal.earliest("timestamp", id, service_name) AS service,
       trace_ext_internal.earliest("timestamp", id, instance_id) AS instance,
       min("timestamp") AS first_event,
       max("timestamp") AS last_event,
       trace_ext_internal.earliest("timestamp", id, upstream_span_id) FILTER (WHERE upstream_span_id IS NOT NULL) AS parent_span_id,
       coalesce(trace_ext_internal.earliest("timestamp", id, name) FILTER (WHERE parent_id IS NULL OR parent_id = id OR kind = 'HttpRequest'),
                trace_ext_internal.earliest("timestamp", id, name)) AS name,
       CASE WHEN bool_or(trace_ext.is_error(kind, attributes)) THEN 'ERROR' ELSE 'OK' END AS status,
       trace_ext_internal.earliest("timestamp", id, service_name) AS service_name,
       trace_ext_internal.earliest("timestamp", id, instance_id) AS instance_id
  FROM trace_ext.events
 WHERE span_id IS NOT NULL
 GROUP BY trace_id, span_id$view$),
-- What started a span is the event that no other one of the span caused. Where several
-- are, it is a request whatever its time says, as clients' times step backwards; else the
-- first.
('distributed_edges', $view$
SELECT e.upstream_span_id AS from_span,
       e.span_id AS to_span,
       (CASE CASE WHEN bool_or(p.id IS NULL AND e.kind = 'HttpRequest') THEN 'HttpRequest'
                  ELSE coalesce(trace_ext_internal.earliest(e."timestamp", e.id, e.kind::text) FILTER (WHERE p.id IS NULL),
                                trace_ext_internal.earliest(e."timestamp", e.id, e.kind::text)) END
           WHEN 'HttpRequest'   THEN 'HttpCall'
           WHEN 'HttpResponse'  THEN 'HttpCall'
           WHEN 'DatabaseQuery' THEN 'DatabaseQuery'
           WHEN 'AsyncSpawn'    THEN 'MessageQueue'
           WHEN 'AsyncAwait'    THEN 'MessageQueue'
           ELSE 'Custom'
       END)::trace_ext.link_type AS link_type,
       e.trace_id,
       min(e."timestamp") AS first_event
  FROM trace_ext.events e
  LEFT JOIN trace_ext.events p ON p.trace_id = e.trace_id AND p.id = e.parent_id AND p.id <> e.id AND p.span_id = e.span_id
 WHERE e.span_id IS NOT NULL AND e.upstream_span_id IS NOT NULL
 GROUP BY e.trace_id, e.upstream_span_id, e.span_id
UNION ALL
SELECT l.linked_span_id, l.span_id, 'MessageQueue'::trace_ext.link_type, l.trace_id, e."timestamp"
  FROM trace_ext.trace_links l
  JOIN trace_ext.events e ON e.trace_id = l.trace_id AND e.id = trace_ext_internal.otlp_start_id(l.trace_id, l.span_id)
 WHERE e.kind = 'AsyncAwait' AND (l.linked_trace_id <> l.trace_id OR l.linked_span_id IS DISTINCT FROM e.upstream_span_id)$view$)
        ) AS v (name, query) LOOP
        EXECUTE format('CREATE VIEW trace_ext.%I AS %s', derived.name, derived.query);
        -- A text: else no column of events could be altered, as it takes all of them.
        EXECUTE format('CREATE FUNCTION trace_ext.%1$I(trace_id uuid) RETURNS SETOF trace_ext.%1$I LANGUAGE sql STABLE ROWS 100
                        SET search_path = pg_catalog, pg_temp AS %2$L', derived.name,
                       'WITH one AS MATERIALIZED (SELECT * FROM trace_ext_internal.events_of($1)),
                             links AS MATERIALIZED (SELECT * FROM trace_ext.trace_links t WHERE t.trace_id = $1)'
                       || replace(replace(derived.query, 'trace_ext.events', 'one'), 'trace_ext.trace_links', 'links'));
        EXECUTE format('CREATE FUNCTION trace_ext.%1$I(trace_id text) RETURNS SETOF trace_ext.%1$I LANGUAGE sql STABLE ROWS 100
                        BEGIN ATOMIC
                        SELECT * FROM trace_ext.%1$I($1::uuid);
                        END', derived.name);
        EXECUTE format('COMMENT ON FUNCTION trace_ext.%1$I(uuid) IS %2$L', derived.name,
                       'the rows of the view of this name that are of one trace; costs the same with any number of partitions, which the view looks into one by one');
        EXECUTE format('COMMENT ON FUNCTION trace_ext.%1$I(text) IS %2$L', derived.name, 'the same, with the id as text');
    END LOOP;
END
$do$;
COMMENT ON VIEW causal_edges IS
    'one row an event with a parent: from the parent, which may not have arrived, to the event; edge_type by the kind of the latter. And one a link of a span CONSUMER: '
    'from the start of the span that it names, mostly of another trace than trace_id';
COMMENT ON VIEW trace_roots IS 'one row an event without a parent other than itself';
COMMENT ON VIEW distributed_spans IS
    'one row a span of a trace: service and instance (also as service_name and instance_id) of its first event, name of its root or request (else of its first event), '
    'times of its first and last event; status is ERROR where '
    'an event of it is an error, else OK';
COMMENT ON VIEW distributed_edges IS
    'one row a call or message from one span to another of a trace; link_type by the event that started the called span. And one a link of a span CONSUMER to the span that it names, mostly of '
    'another trace than trace_id';

CREATE VIEW services AS
SELECT c.service_name, c.event_count, c.error_count, c.first_hour, c.last_hour, coalesce(t.trace_count, 0) AS trace_count
  FROM (SELECT service_name,
               sum(event_count)::bigint AS event_count,
               sum(error_count)::bigint AS error_count,
               min(hour) AS first_hour,
               max(hour) AS last_hour
          FROM trace_ext.event_counts
         WHERE service_name IS NOT NULL
         GROUP BY service_name) AS c
  LEFT JOIN trace_ext_internal.traces_of_services() t ON t.service_name = c.service_name;
COMMENT ON VIEW services IS 'one row a service: its events, errors and traces, and the first and last hour it was seen; from the rollups, exact inside every snapshot';
COMMENT ON COLUMN services.trace_count IS 'number of traces that it takes part in';
