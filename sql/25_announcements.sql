-- What is new, for whoever listens: fold() and detect() add it up here, the job
-- notify sends it. One row a channel, so that it stays small if nobody sends.
CREATE TABLE announcements (
    channel  name        PRIMARY KEY,
    total    bigint      NOT NULL DEFAULT 0,
    ids      uuid[]      NOT NULL DEFAULT '{}',
    details  jsonb       NOT NULL DEFAULT '[]',
    since    timestamptz,
    sent_at  timestamptz,
    sent     bigint      NOT NULL DEFAULT 0,
    dropped  bigint      NOT NULL DEFAULT 0,
    forgotten bigint     NOT NULL DEFAULT 0
);
ALTER TABLE announcements SET (fillfactor = 10);
INSERT INTO announcements (channel) VALUES ('trace_ext_traces'), ('trace_ext_summaries'), ('trace_ext_findings');
COMMENT ON TABLE announcements IS 'what is to be announced on each channel, and what was';
COMMENT ON COLUMN announcements.channel IS 'the channel to LISTEN to';
COMMENT ON COLUMN announcements.total IS 'how many things are to be announced';
COMMENT ON COLUMN announcements.ids IS 'the first 100 of them';
COMMENT ON COLUMN announcements.details IS 'the first of them, where they have no ids: an object each';
COMMENT ON COLUMN announcements.since IS 'when the first of them was added';
COMMENT ON COLUMN announcements.sent_at IS 'when a notification was last sent, or dropped';
COMMENT ON COLUMN announcements.sent IS 'notifications sent so far';
COMMENT ON COLUMN announcements.dropped IS 'notifications that were not sent because a subscriber does not read: the queue was half full';
COMMENT ON COLUMN announcements.forgotten IS 'id of the last notification that is not kept any more; 0: all are';

-- NOTIFY takes 8,000 bytes.
CREATE FUNCTION trace_ext_internal.announce(channel name, how_many bigint, ids uuid[], details jsonb = '[]') RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF how_many = 0 OR current_setting('trace_ext.notify_interval', true) = '-1' THEN
        RETURN;
    END IF;
    UPDATE trace_ext.announcements a
       SET total = a.total + how_many, ids = (a.ids || announce.ids)[:100], since = coalesce(a.since, clock_timestamp()),
           details = a.details || CASE WHEN octet_length(a.details::text) + octet_length(announce.details::text) <= 6000
                                       THEN announce.details ELSE '[]' END
     WHERE a.channel = announce.channel;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.announce(name, bigint, uuid[], jsonb) IS 'adds to what is announced on a channel';
