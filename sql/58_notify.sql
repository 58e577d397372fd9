-- Dashboards are told: NOTIFY on some channels, batched, throttled, and sent by
-- the worker, so that neither writers nor fold() wait for anybody who listens.

CREATE FUNCTION trace_ext_internal.announce_findings() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM trace_ext_internal.announce('trace_ext_findings', (SELECT count(*) FROM came), ARRAY(SELECT id FROM came LIMIT 100));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.announce_findings() IS 'statement trigger on findings: has new ones announced';
CREATE TRIGGER trace_ext_announce AFTER INSERT ON findings
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION trace_ext_internal.announce_findings();
COMMENT ON TRIGGER trace_ext_announce ON findings IS 'has new findings announced';

-- NULL: nothing to send. A time ahead of now is of a clock that was set back since.
CREATE FUNCTION trace_ext_internal.notify_due_at(a announcements) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    least_ms constant int := extract(epoch FROM current_setting('trace_ext.notify_interval')::interval) * 1000;
BEGIN
    IF a.total = 0 OR least_ms < 0 THEN
        RETURN NULL;
    ELSIF a.sent_at > clock_timestamp() THEN
        RETURN '-infinity';
    END IF;
    RETURN coalesce(a.sent_at + least_ms * interval '1 millisecond', '-infinity');
END
$$;
COMMENT ON FUNCTION trace_ext_internal.notify_due_at(announcements) IS 'when the next notification on a channel may be sent; NULL while there is none to send';

CREATE FUNCTION trace_ext_internal.notify_needed() RETURNS timestamptz
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT min(trace_ext_internal.notify_due_at(a)) FROM trace_ext.announcements a;
    END;
COMMENT ON FUNCTION trace_ext_internal.notify_needed() IS 'when there is something to send';

-- 100 ids are 3,900 bytes, and details have at most 6,000; with all the rest it stays
-- below the 8,000 that NOTIFY takes.
CREATE FUNCTION trace_ext_internal.notify_payload(a announcements, id bigint = NULL) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
    AS $$
    WITH named AS (
        SELECT DISTINCT u.id FROM unnest(a.ids) AS u (id)
    )
    SELECT jsonb_build_object('id', notify_payload.id, 'count', a.total, 'since', a.since, 'until', clock_timestamp(),
               'truncated', greatest(a.total - CASE a.channel WHEN 'trace_ext_alerts' THEN jsonb_array_length(a.details) ELSE cardinality(a.ids) END, 0))
        || CASE a.channel
           WHEN 'trace_ext_alerts' THEN jsonb_build_object('alerts', a.details)
           WHEN 'trace_ext_findings' THEN jsonb_build_object(
               'finding_ids', coalesce((SELECT jsonb_agg(named.id) FROM named), '[]'),
               'severities', coalesce((SELECT jsonb_object_agg(severity, n) FROM (SELECT f.severity, count(*) AS n
                                         FROM trace_ext.findings f JOIN named ON named.id = f.id GROUP BY 1) AS s), '{}'))
           WHEN 'trace_ext_anomalies' THEN jsonb_build_object(
               'anomaly_ids', coalesce((SELECT jsonb_agg(named.id) FROM named), '[]'),
               'severities', coalesce((SELECT jsonb_object_agg(severity, n) FROM (SELECT f.severity, count(*) AS n
                                         FROM trace_ext.anomalies f JOIN named ON named.id = f.id GROUP BY 1) AS s), '{}'))
           ELSE jsonb_build_object('trace_ids', coalesce((SELECT jsonb_agg(named.id) FROM named), '[]')) END
    $$;
COMMENT ON FUNCTION trace_ext_internal.notify_payload(announcements, bigint) IS 'what is sent on a channel';

-- Of its own transaction: at its commit NOTIFY fails where the queue is full. It
-- is not filled so far: what nobody reads is dropped, and counted. Who adds to what is
-- announced right now is not waited for: his turn is the next.
CREATE PROCEDURE job_notify(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    a trace_ext.announcements;
    id bigint;
    payload jsonb;
    is_full constant boolean := pg_notification_queue_usage() > 0.5;
BEGIN
    FOR a IN SELECT n.* FROM trace_ext.announcements n WHERE trace_ext_internal.notify_due_at(n) <= clock_timestamp()
              ORDER BY n.channel FOR UPDATE SKIP LOCKED LOOP
        id := trace_ext_internal.next_announcement_id();
        payload := trace_ext_internal.notify_payload(a, id);
        IF NOT is_full THEN
            PERFORM pg_notify(a.channel::text, payload::text);
        END IF;
        UPDATE trace_ext.announcements n
           SET total = 0, ids = '{}', details = '[]', since = NULL, sent_at = clock_timestamp(),
               sent = n.sent + (NOT is_full)::int, dropped = n.dropped + is_full::int
         WHERE n.channel = a.channel;
        PERFORM trace_ext_internal.keep_announcement(id, a.channel, payload);
    END LOOP;
    again := false;
END
$$;
COMMENT ON PROCEDURE job_notify(boolean) IS
    'sends what is new on the channels trace_ext_traces, trace_ext_summaries, trace_ext_findings, trace_ext_anomalies and trace_ext_alerts, each at most once in '
    'trace_ext.notify_interval, and keeps it for changes_since()';

INSERT INTO jobs (name, procedure, owner, builtin, "interval", timeout, priority, condition) VALUES
    ('notify', 'trace_ext.job_notify', current_user, true, '200 ms', '1 min', 90, 'trace_ext_internal.notify_needed');
