-- ingest_peer.sql: the document schema, with its ten indexes and its tables of
-- edges, roots and accesses, and the batches as its client sends them: one
-- array a column.

CREATE SCHEMA peer;

CREATE TABLE peer.events (
    id                uuid        PRIMARY KEY,
    trace_id          uuid        NOT NULL,
    parent_id         uuid,
    "timestamp"       timestamptz NOT NULL,
    kind              jsonb       NOT NULL,
    metadata          jsonb       NOT NULL,
    causality_vector  jsonb       NOT NULL,
    lock_set          jsonb       NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON peer.events (trace_id);
CREATE INDEX ON peer.events ("timestamp");
CREATE INDEX ON peer.events (parent_id);
CREATE INDEX ON peer.events (created_at);
CREATE INDEX ON peer.events USING gin (kind);
CREATE INDEX ON peer.events USING gin (metadata);
CREATE INDEX ON peer.events (trace_id, "timestamp");
CREATE INDEX ON peer.events (trace_id, "timestamp") WHERE kind ? 'StateChange';
CREATE INDEX ON peer.events (trace_id, "timestamp", id);
CREATE INDEX ON peer.events ("timestamp", id);

-- Of these only what they must have: the keys that ON CONFLICT needs, the
-- foreign keys, and the index that finds the accesses of a variable.
CREATE TABLE peer.causal_edges (
    from_event  uuid NOT NULL REFERENCES peer.events (id),
    to_event    uuid NOT NULL REFERENCES peer.events (id),
    edge_type   text NOT NULL,
    PRIMARY KEY (from_event, to_event)
);
CREATE TABLE peer.trace_roots (
    trace_id    uuid PRIMARY KEY,
    root_event  uuid NOT NULL
);
CREATE TABLE peer.cross_trace_index (
    event_id     uuid        PRIMARY KEY,
    variable     text        NOT NULL,
    trace_id     uuid        NOT NULL,
    "timestamp"  timestamptz NOT NULL,
    access_type  text        NOT NULL,
    location     text
);
CREATE INDEX ON peer.cross_trace_index (variable, "timestamp");

-- Four clients, each with the events of a fourth of the traces in order of time
-- (an edge never waits for an event of another client), in batches of 1,000.
-- Batch n is of client n % 4.
CREATE UNLOGGED TABLE bench.batched AS
SELECT (row_number() OVER (PARTITION BY client ORDER BY n) - 1) / 1000 * 4 + client AS batch, *
  FROM (SELECT uuid_hash(s.trace_id) & 3 AS client, s.n, s.trace_id, s.id, s.parent_id, s."timestamp",
               s.kind AS kind_name, s.name, s.attributes ->> 'access_type' AS access_type,
               s.attributes ->> 'location' AS location,
               bench.kind_document(s) AS kind, bench.metadata_document(s) AS metadata,
               coalesce((SELECT jsonb_agg(jsonb_build_array(key, value)) FROM jsonb_each(s.causality_vector::jsonb)), '[]') AS vector,
               coalesce(to_jsonb(s.lock_set), '[]') AS lock_set
          FROM bench.sample s WHERE s.n < :ingest_events) AS posted;
CREATE INDEX ON bench.batched (batch);
-- Whole batches only, and the same number for each client.
DELETE FROM bench.batched WHERE batch / 4 >=
       (SELECT min(events / 1000) FROM (SELECT client, count(*) AS events FROM bench.batched GROUP BY client) AS c);
ANALYZE bench.batched;

-- Not compressed: to unpack them is no part of the work.
CREATE UNLOGGED TABLE bench.batches (n int PRIMARY KEY, body text);
ALTER TABLE bench.batches ALTER body SET STORAGE EXTERNAL;
INSERT INTO bench.batches
SELECT batch, jsonb_build_object('events', jsonb_agg(jsonb_build_object('id', id, 'trace_id', trace_id,
           'parent_id', parent_id, 'timestamp', "timestamp", 'kind', kind, 'metadata', metadata,
           'causality_vector', vector, 'lock_set', lock_set) ORDER BY n))::text
  FROM bench.batched GROUP BY batch;

CREATE UNLOGGED TABLE bench.peer_batches (
    n int PRIMARY KEY,
    id uuid[], trace_id uuid[], parent_id uuid[], "timestamp" timestamptz[],
    kind text[], metadata text[], vector text[], lock_set text[],
    edge_from uuid[], edge_to uuid[],
    root_trace uuid[], root_event uuid[],
    access_event uuid[], access_variable text[], access_trace uuid[], access_time timestamptz[],
    access_type text[], access_location text[]
);
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT attname FROM pg_attribute WHERE attrelid = 'bench.peer_batches'::regclass AND attnum > 1 LOOP
        EXECUTE format('ALTER TABLE bench.peer_batches ALTER %I SET STORAGE EXTERNAL', name);
    END LOOP;
END
$$;
INSERT INTO bench.peer_batches
SELECT batch,
       array_agg(id ORDER BY n), array_agg(trace_id ORDER BY n), array_agg(parent_id ORDER BY n),
       array_agg("timestamp" ORDER BY n), array_agg(kind::text ORDER BY n), array_agg(metadata::text ORDER BY n),
       array_agg(vector::text ORDER BY n), array_agg(lock_set::text ORDER BY n),
       array_agg(parent_id ORDER BY n) FILTER (WHERE parent_id IS NOT NULL),
       array_agg(id ORDER BY n) FILTER (WHERE parent_id IS NOT NULL),
       array_agg(trace_id ORDER BY n) FILTER (WHERE parent_id IS NULL),
       array_agg(id ORDER BY n) FILTER (WHERE parent_id IS NULL),
       array_agg(id ORDER BY n) FILTER (WHERE kind_name = 'StateChange'),
       array_agg(name ORDER BY n) FILTER (WHERE kind_name = 'StateChange'),
       array_agg(trace_id ORDER BY n) FILTER (WHERE kind_name = 'StateChange'),
       array_agg("timestamp" ORDER BY n) FILTER (WHERE kind_name = 'StateChange'),
       array_agg(access_type ORDER BY n) FILTER (WHERE kind_name = 'StateChange'),
       array_agg(location ORDER BY n) FILTER (WHERE kind_name = 'StateChange')
  FROM bench.batched GROUP BY batch;
VACUUM ANALYZE bench.batches, bench.peer_batches;
