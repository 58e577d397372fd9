-- Exact and flat: what each statement changed is appended as deltas, fold()
-- adds them into the base rows, and readers add what is outstanding.

CREATE FUNCTION is_error(kind event_kind, attributes jsonb) RETURNS boolean
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tex_is_error';
COMMENT ON FUNCTION is_error(event_kind, jsonb) IS
    'whether an event counts as an error: kind Error, or an HttpResponse with status 500 or above; NULL for a NULL kind';

CREATE FUNCTION is_error(kind text, attributes jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN trace_ext.is_error(trace_ext_internal.kind_named(kind), attributes);
COMMENT ON FUNCTION is_error(text, jsonb) IS 'the same of a kind that is given as text';

-- One row a trace. Only fold() and rebuild_summaries() write it.
CREATE TABLE summary_base (
    trace_id         uuid        PRIMARY KEY,
    event_count      bigint      NOT NULL,
    error_count      bigint      NOT NULL,
    access_count     bigint      NOT NULL,
    first_timestamp  timestamptz NOT NULL,
    last_timestamp   timestamptz NOT NULL,
    started_at       timestamptz NOT NULL,
    ended_at         timestamptz NOT NULL,
    services         text[]      NOT NULL,
    root_timestamp   timestamptz,
    root_id          uuid,
    root_name        text,
    root_service     text
);
-- The newest traces first, for list_traces() and ORDER BY last_timestamp.
CREATE INDEX summary_base_newest_idx ON summary_base (last_timestamp, trace_id);
-- For filters of list_traces() that few traces pass.
CREATE INDEX summary_base_errors_idx ON summary_base (last_timestamp, trace_id) WHERE error_count > 0;
CREATE INDEX summary_base_duration_idx ON summary_base (trace_ext_internal.duration_ms(started_at, ended_at));
-- A name may be longer than an entry of an index.
CREATE INDEX summary_base_name_idx ON summary_base ("left"(root_name, 200) text_pattern_ops);

-- No index: readers take all of it, and fold() keeps it short.
CREATE TABLE summary_deltas (
    trace_id         uuid        NOT NULL,
    event_count      bigint      NOT NULL,
    error_count      bigint      NOT NULL,
    access_count     bigint      NOT NULL,
    first_timestamp  timestamptz,
    last_timestamp   timestamptz,
    started_at       timestamptz,
    ended_at         timestamptz,
    services         text[],
    root_timestamp   timestamptz,
    root_id          uuid,
    root_name        text,
    root_service     text,
    recompute        boolean     NOT NULL
);

CREATE TABLE count_base (
    hour          timestamptz NOT NULL,
    service_name  text,
    kind          event_kind  NOT NULL,
    event_count   bigint      NOT NULL,
    error_count   bigint      NOT NULL,
    latency       histogram   NOT NULL,
    UNIQUE NULLS NOT DISTINCT (hour, service_name, kind)
);

-- In which hours the slowest events are.
CREATE INDEX count_base_slowest_idx ON count_base (maximum(latency));

-- The same, by operation as well: more rows, for questions that need them.
CREATE TABLE operation_base (
    hour          timestamptz NOT NULL,
    service_name  text,
    kind          event_kind  NOT NULL,
    operation     text,
    event_count   bigint      NOT NULL,
    error_count   bigint      NOT NULL,
    write_count   bigint      NOT NULL,
    latency       histogram   NOT NULL,
    UNIQUE NULLS NOT DISTINCT (hour, service_name, kind, operation)
);

-- The sum of operation_base over all hours: what is asked of the whole store costs the
-- same however long it has been kept.
CREATE TABLE operation_totals (
    service_name  text,
    kind          event_kind  NOT NULL,
    operation     text,
    event_count   bigint      NOT NULL,
    error_count   bigint      NOT NULL,
    write_count   bigint      NOT NULL,
    latency       histogram   NOT NULL,
    UNIQUE NULLS NOT DISTINCT (service_name, kind, operation)
);

-- The same of count_base.
CREATE TABLE kind_totals (
    service_name  text,
    kind          event_kind  NOT NULL,
    event_count   bigint      NOT NULL,
    error_count   bigint      NOT NULL,
    latency       histogram   NOT NULL,
    UNIQUE NULLS NOT DISTINCT (service_name, kind)
);

-- What kind_totals lost as events left: counters that are scraped never go back.
CREATE TABLE gone_totals (
    service_name  text,
    kind          event_kind  NOT NULL,
    event_count   bigint      NOT NULL,
    error_count   bigint      NOT NULL,
    latency       histogram   NOT NULL,
    UNIQUE NULLS NOT DISTINCT (service_name, kind)
);
-- In how many traces a service takes part: by the services of summary_base.
CREATE TABLE service_traces (
    service_name  text        PRIMARY KEY,
    trace_count   bigint      NOT NULL
);
-- Few rows, rewritten by each fold.
ALTER TABLE service_traces SET (fillfactor = 20);

-- Hours know a service's last event to the hour only.
CREATE TABLE service_seen (
    service_name  text        PRIMARY KEY,
    last_seen     timestamptz NOT NULL
);

-- The operations that a service has rows of its own for, and '(other)' once it has
-- too many. Only a fold adds to it.
CREATE TABLE operation_names (
    service_key   text        NOT NULL,
    operation     text        NOT NULL,
    PRIMARY KEY (service_key, operation)
);

CREATE TABLE count_deltas (
    hour          timestamptz NOT NULL,
    service_name  text,
    kind          event_kind  NOT NULL,
    operation     text,
    event_count   bigint      NOT NULL,
    error_count   bigint      NOT NULL,
    write_count   bigint      NOT NULL,
    latency       histogram
);

-- What data_version() is made of: a number for each statement that changed what can be
-- seen. Whoever sees the same of them sees the same.
CREATE TABLE version_deltas (
    stamp  bigint NOT NULL
);

-- One row, so that counting costs the same at every size.
CREATE TABLE totals (
    event_count  bigint NOT NULL,
    trace_count  bigint NOT NULL,
    version      bigint NOT NULL
);
-- Two stores with nothing in them are two all the same.
INSERT INTO totals VALUES (0, 0, ('x' || left(md5(gen_random_uuid()::text), 16))::bit(64)::bigint);

-- Folding empties the delta tables all the time: vacuum them as soon as it pays.
ALTER TABLE summary_deltas SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE count_deltas SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE version_deltas SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0);
-- Few rows, rewritten by each fold.
ALTER TABLE totals SET (fillfactor = 10);

COMMENT ON TABLE summary_base IS 'summaries of traces as of the last fold; read trace_summaries instead';
COMMENT ON TABLE summary_deltas IS
    'by how much statements changed summaries since the last fold; "recompute": the trace must be read again';
COMMENT ON TABLE count_base IS 'counts of events as of the last fold; read event_counts instead';
COMMENT ON TABLE operation_base IS 'counts and latencies of operations as of the last fold; read latencies instead';
COMMENT ON TABLE operation_totals IS 'counts and latencies of operations over all hours as of the last fold; read total_latencies instead';
COMMENT ON TABLE kind_totals IS 'counts and latencies by service and kind over all hours as of the last fold';
COMMENT ON TABLE gone_totals IS 'counts and latencies of events that were counted in kind_totals and have left since: deleted, or with their partition';
COMMENT ON TABLE service_seen IS
    'when a service was seen last, as of the last fold: the last event of a trace that it took part in, as far as that had come with it, but no later than it came';
COMMENT ON TABLE service_traces IS 'in how many traces each service takes part, as of the last fold; read services instead';
COMMENT ON INDEX count_base_slowest_idx IS 'hours by their slowest event';
COMMENT ON TABLE operation_names IS
    'operations of a service ("=" and its name, or nothing for events without one) that have rows of their own in operation_base; with "(other)" among them, all others are counted there';
COMMENT ON TABLE count_deltas IS
    'by how much statements changed counts since the last fold; operation as the event has it, latency of the events with a duration';
COMMENT ON TABLE version_deltas IS
    'a random number for each statement that changed events, or what is found and decided about them, since the last fold; call data_version()';
COMMENT ON TABLE totals IS
    'one row: events, traces and version as of the last fold; call count_events(), count_traces(), data_version()';
COMMENT ON COLUMN totals.version IS 'the numbers that version_deltas had, as one: added without carry, so in any order';
COMMENT ON INDEX summary_base_newest_idx IS 'traces by time of their last event';
COMMENT ON INDEX summary_base_errors_idx IS 'traces with errors by time of their last event';
COMMENT ON INDEX summary_base_duration_idx IS 'traces by how long they lasted';
COMMENT ON INDEX summary_base_name_idx IS 'traces by the name of their root, by bytes';

CREATE FUNCTION trace_ext_internal.note_event() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_note_event';
COMMENT ON FUNCTION trace_ext_internal.note_event() IS 'row trigger on events: remembers by how much a row changes summaries and counts';

CREATE FUNCTION trace_ext_internal.append_deltas() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'tex_append_deltas';
COMMENT ON FUNCTION trace_ext_internal.append_deltas() IS 'statement trigger on events and its partitions: appends what trace_ext_internal.note_event() remembered';

CREATE FUNCTION trace_ext_internal.append_stamp() RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_append_stamp';
COMMENT ON FUNCTION trace_ext_internal.append_stamp() IS 'what can be seen changed: appends a random number to version_deltas';

-- Row triggers are cloned to every partition by PostgreSQL, statement triggers
-- are not: adopt_partition() makes those. ALWAYS: what logical replication
-- applies is counted as well.
CREATE TRIGGER trace_ext_note AFTER INSERT OR UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.note_event();
ALTER TABLE events ENABLE ALWAYS TRIGGER trace_ext_note;
CREATE TRIGGER trace_ext_append AFTER INSERT OR UPDATE OR DELETE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.append_deltas();
ALTER TABLE events ENABLE ALWAYS TRIGGER trace_ext_append;
COMMENT ON TRIGGER trace_ext_note ON events IS 'keeps summaries and counts: remembers each row';
COMMENT ON TRIGGER trace_ext_append ON events IS 'keeps summaries and counts: appends deltas at the end of the statement';

CREATE FUNCTION count_events() RETURNS bigint
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_count_events';
COMMENT ON FUNCTION count_events() IS
    'exact number of events that the caller''s snapshot sees; costs the same at every size';

-- Probe the base, and the events of traces that lost some, by their keys once a
-- trace with deltas, however large they are. Statistics from a time of few traces
-- would make a scan up to the first match look cheaper than a probe.
CREATE FUNCTION count_traces() RETURNS bigint
    LANGUAGE c STABLE SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
    AS 'MODULE_PATHNAME', 'tex_count_traces';
COMMENT ON FUNCTION count_traces() IS
    'exact number of traces that the caller''s snapshot sees; costs the same at every size';
