-- The tables that hold what clients sent. Everything else derives from them.

CREATE TABLE events (
    trace_id          uuid        NOT NULL,
    id                uuid        NOT NULL,
    parent_id         uuid,
    "timestamp"       timestamptz NOT NULL,
    kind              event_kind  NOT NULL,
    name              text,
    service_name      text,
    instance_id       text,
    process_id        int,
    thread_id         text,
    environment       text,
    span_id           text,
    upstream_span_id  text,
    duration_ns       bigint,
    attributes        jsonb,
    tags              jsonb,
    causality_vector  vclock,
    lock_set          text[],
    stamped_at_end    boolean,
    -- Both finds a trace and makes redelivery harmless.
    PRIMARY KEY (trace_id, id, "timestamp"),
    -- Differences of times must be finite.
    CONSTRAINT events_timestamp_is_finite CHECK (isfinite("timestamp")),
    -- Indexed values must fit an index page.
    CONSTRAINT events_variable_is_short
        CHECK (kind <> 'StateChange' OR octet_length(name) <= 1024),
    CONSTRAINT events_service_name_is_short
        CHECK (octet_length(service_name) <= 512),
    -- Else one bad row would break every query of cross_trace_index.
    CONSTRAINT events_access_type_is_known
        CHECK (kind <> 'StateChange' OR coalesce(attributes ->> 'access_type', '') IN
               ('Read', 'Write', 'AtomicRead', 'AtomicWrite', 'AtomicRMW')),
    -- An access of nothing can never race.
    CONSTRAINT events_access_has_variable
        CHECK (kind <> 'StateChange' OR coalesce(name, '') <> '')
) PARTITION BY RANGE ("timestamp");

-- Finds the accesses of a variable, over all traces, by time.
CREATE INDEX events_variable_idx ON events (name, "timestamp")
    WHERE kind = 'StateChange';

-- Finds the slowest events: where there is no duration, it costs nothing.
CREATE INDEX events_duration_idx ON events (duration_ns) WHERE duration_ns >= 0;

-- Finds those that had to wait for a lock, by time. (Of "timestamp" alone the default partition has one.)
CREATE INDEX events_wait_idx ON events ("timestamp", duration_ns)
    WHERE kind = 'LockAcquire' AND duration_ns > 0;

-- Finds who gave a lock back while another one waited. By time: a name may be longer than an index holds. (The kind
-- is there for the names of the indexes of partitions: of "timestamp" alone the default partition has one.)
CREATE INDEX events_release_idx ON events ("timestamp", kind) WHERE kind = 'LockRelease';

CREATE TABLE events_default PARTITION OF events DEFAULT;
-- Says at once whether rows of a range of time wait for their partition.
CREATE INDEX events_default_timestamp_idx ON events_default ("timestamp");

COMMENT ON TABLE events IS
    'one row an event; partitioned by range of "timestamp"; redelivery of (trace_id, id, "timestamp") conflicts';
COMMENT ON INDEX events_variable_idx IS 'accesses of a variable by time, over all traces';
COMMENT ON INDEX events_duration_idx IS 'events by how long they took';
COMMENT ON INDEX events_wait_idx IS 'acquires that waited for a lock, by time';
COMMENT ON INDEX events_release_idx IS 'releases of locks, by time';
COMMENT ON COLUMN events.trace_id IS 'the request or job this event belongs to';
COMMENT ON COLUMN events.id IS 'names the event within its trace';
COMMENT ON COLUMN events.parent_id IS 'the event that caused this one; NULL, or its own id, for a root';
COMMENT ON COLUMN events."timestamp" IS 'when it happened, by the client''s clock, never rewritten';
COMMENT ON COLUMN events.kind IS 'what happened';
COMMENT ON COLUMN events.name IS
    'what the event is about: function name, variable, lock id, "METHOD url", query text, error type, custom name';
COMMENT ON COLUMN events.service_name IS 'the service that sent it';
COMMENT ON COLUMN events.instance_id IS 'the instance of the service';
COMMENT ON COLUMN events.process_id IS 'operating system process id';
COMMENT ON COLUMN events.thread_id IS 'thread, task or request context, as the client names it';
COMMENT ON COLUMN events.environment IS 'deployment environment';
COMMENT ON COLUMN events.span_id IS 'the part of the trace inside one service instance';
COMMENT ON COLUMN events.upstream_span_id IS 'the span that called this span';
COMMENT ON COLUMN events.duration_ns IS 'how long it took, in nanoseconds: from "timestamp" on or, if stamped_at_end, up to it';
COMMENT ON COLUMN events.attributes IS
    'the other fields of its kind, under the names of the event JSON format';
COMMENT ON COLUMN events.tags IS 'free key and value pairs of the client';
COMMENT ON COLUMN events.causality_vector IS 'the client''s own vector clock; compare inside one trace only';
COMMENT ON COLUMN events.lock_set IS 'locks the client says were held';
COMMENT ON COLUMN events.stamped_at_end IS
    'true: "timestamp" is when it ended, as clients of the event JSON have it; NULL or false: when it began. Read it with event_extent()';

CREATE FUNCTION event_extent("timestamp" timestamptz, duration_ns bigint, stamped_at_end boolean) RETURNS tstzrange
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'tex_event_extent';
COMMENT ON FUNCTION event_extent(timestamptz, bigint, boolean) IS
    'from when to when an event lasted, both included, to the microsecond: an instant where it has no duration. '
    'NULL without a timestamp; an end beyond the times that there are is the last of them';

CREATE TABLE ingest_errors (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at  timestamptz NOT NULL DEFAULT now(),
    role_name    name        NOT NULL DEFAULT current_user,
    "position"   int         NOT NULL,
    event_id     text,
    trace_id     text,
    reason       text        NOT NULL,
    event        text
);
-- What was refused lately, and what is too old to be kept.
CREATE INDEX ingest_errors_received_idx ON ingest_errors (received_at);
COMMENT ON INDEX ingest_errors_received_idx IS 'refused events by when they were';
COMMENT ON TABLE ingest_errors IS 'events that ingest refused, each with the reason';
COMMENT ON COLUMN ingest_errors.id IS 'ascending number';
COMMENT ON COLUMN ingest_errors.received_at IS 'when the batch was received';
COMMENT ON COLUMN ingest_errors.role_name IS 'the role that sent the batch: the current one, not the one that logged in';
COMMENT ON COLUMN ingest_errors."position" IS 'place of the event in its batch, from 1';
COMMENT ON COLUMN ingest_errors.event_id IS 'its id, as far as it could be read';
COMMENT ON COLUMN ingest_errors.trace_id IS 'its trace id, as far as it could be read';
COMMENT ON COLUMN ingest_errors.reason IS 'the field and what is wrong with it';
COMMENT ON COLUMN ingest_errors.event IS
    'the event as it was sent; of one longer than 8 kB, the beginning';

-- Readers see all of them; who only writes sees why his own were refused.
CREATE VIEW my_ingest_errors WITH (security_barrier) AS
SELECT id, received_at, "position", event_id, trace_id, reason, event
  FROM trace_ext.ingest_errors
 WHERE role_name = current_user;
COMMENT ON VIEW my_ingest_errors IS 'events that ingest refused of those that the current role sent, each with the reason';

-- What clients sent is dumped; what derives from it is rebuilt by the restore.
SELECT pg_catalog.pg_extension_config_dump('events_default', '');
SELECT pg_catalog.pg_extension_config_dump('ingest_errors', '');
SELECT pg_catalog.pg_extension_config_dump('ingest_errors_id_seq', '');
