-- events of a router: epochs by time, each by the hash of trace_id onto nodes. What
-- keeps deltas, summaries and partitions is the nodes'.

DROP EVENT TRIGGER trace_ext_partition_came;
DROP EVENT TRIGGER trace_ext_partition_gone;
DROP EVENT TRIGGER trace_ext_partition_restored;
DROP TRIGGER trace_ext_note ON events;
DROP TRIGGER trace_ext_append ON events;
DROP TRIGGER trace_ext_before_truncate ON events;
DROP TRIGGER trace_ext_after_truncate ON events;
DROP TABLE events_default;
DELETE FROM partitions;
-- The nodes have these: a foreign partition can have no index.
ALTER TABLE events DROP CONSTRAINT events_pkey;
DO $$
DECLARE
    i regclass;
BEGIN
    FOR i IN SELECT indexrelid FROM pg_index WHERE indrelid = 'events'::regclass LOOP
        EXECUTE format('DROP INDEX %s', i);
    END LOOP;
END
$$;
COMMENT ON TABLE events IS
    'one row an event; partitioned by range of "timestamp" into epochs and by trace_id onto nodes; redelivery of (trace_id, id, "timestamp") conflicts on its node';

CREATE FUNCTION trace_ext_internal.refuse_update() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'a router does not change trace_id or "timestamp" of events' USING ERRCODE = 'feature_not_supported',
          DETAIL = 'They say which node an event is on.', HINT = 'Delete the event and insert it anew.';
END
$$;
COMMENT ON FUNCTION trace_ext_internal.refuse_update() IS 'statement trigger on events: refuses updates that would move an event to another node';
CREATE TRIGGER trace_ext_refuse_update BEFORE UPDATE OF trace_id, "timestamp" ON events
    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.refuse_update();
COMMENT ON TRIGGER trace_ext_refuse_update ON events IS 'refuses updates that would move an event to another node';

CREATE FUNCTION trace_ext_internal.refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'a router does not truncate events' USING ERRCODE = 'feature_not_supported', HINT = 'TRUNCATE trace_ext.events on each node.';
END
$$;
COMMENT ON FUNCTION trace_ext_internal.refuse_truncate() IS 'statement trigger on events: a view of a node''s cannot be truncated';
CREATE TRIGGER trace_ext_refuse_truncate BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.refuse_truncate();
COMMENT ON TRIGGER trace_ext_refuse_truncate ON events IS 'says that nodes are truncated one by one';
