-- writers_setup.sql: the same table of events, with summaries kept the two usual ways.

-- A view that a refresh computes anew.
CREATE SCHEMA refreshed;
CREATE TABLE refreshed.events (LIKE trace_ext.events INCLUDING ALL);
CREATE MATERIALIZED VIEW refreshed.summaries AS
SELECT trace_id, count(*) AS event_count, min("timestamp") AS first_timestamp, max("timestamp") AS last_timestamp,
       count(*) FILTER (WHERE kind = 'Error') AS error_count
  FROM refreshed.events GROUP BY trace_id;
CREATE UNIQUE INDEX ON refreshed.summaries (trace_id);

-- A table that each statement updates at once, one row a trace, in no order, as
-- a trigger does that groups what was inserted.
CREATE SCHEMA immediate;
CREATE TABLE immediate.events (LIKE trace_ext.events INCLUDING ALL);
CREATE TABLE immediate.summaries (
    trace_id         uuid        PRIMARY KEY,
    event_count      bigint      NOT NULL,
    first_timestamp  timestamptz NOT NULL,
    last_timestamp   timestamptz NOT NULL,
    error_count      bigint      NOT NULL
);
CREATE FUNCTION immediate.maintain() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO immediate.summaries AS s
    SELECT trace_id, count(*), min("timestamp"), max("timestamp"), count(*) FILTER (WHERE kind = 'Error')
      FROM added GROUP BY trace_id
    ON CONFLICT (trace_id) DO UPDATE SET
        event_count = s.event_count + excluded.event_count,
        first_timestamp = least(s.first_timestamp, excluded.first_timestamp),
        last_timestamp = greatest(s.last_timestamp, excluded.last_timestamp),
        error_count = s.error_count + excluded.error_count;
    RETURN NULL;
END
$$;
CREATE TRIGGER maintain AFTER INSERT ON immediate.events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION immediate.maintain();

-- What sessions called "writer" wait for, sampled 50 times a second.
CREATE UNLOGGED TABLE bench.waits (what text);
CREATE PROCEDURE bench.sample_waits(seconds int)
    LANGUAGE plpgsql AS $$
DECLARE
    until timestamptz := clock_timestamp() + seconds * interval '1 second';
BEGIN
    WHILE clock_timestamp() < until LOOP
        PERFORM pg_stat_clear_snapshot();
        INSERT INTO bench.waits
        SELECT CASE wait_event_type WHEN 'Lock' THEN wait_event ELSE '' END
          FROM pg_stat_activity WHERE application_name = 'writer' AND state = 'active';
        COMMIT;
        PERFORM pg_sleep(0.02);
    END LOOP;
END
$$;
