-- What was announced, for a listener that was away: NOTIFY reaches only who is
-- connected. Each notification is kept for a while, under the id that it carries.
--
-- One transaction at a time gives ids out, and keeps others from it until it ends.
-- So they ascend in the order of commits, in which PostgreSQL delivers as well: who
-- has seen an id will never find a lower one that was not there yet.
--
-- Ids are microseconds since 1970, or one more than the last where that is not past. So
-- no other database, and none that is restored later, gives out those of this one, and
-- a listener that comes back to another database than it left is told.

CREATE TABLE sent_announcements (
    id       bigint      PRIMARY KEY,
    channel  name        NOT NULL,
    sent_at  timestamptz NOT NULL,
    payload  jsonb       NOT NULL
);
CREATE INDEX sent_announcements_channel_idx ON sent_announcements (channel, id);
COMMENT ON TABLE sent_announcements IS 'notifications of the last trace_ext.announcement_retention; call changes_since()';
COMMENT ON INDEX sent_announcements_channel_idx IS 'notifications on a channel';
COMMENT ON COLUMN sent_announcements.id IS 'ascending in the order in which they were committed, over all channels; not without gaps';
COMMENT ON COLUMN sent_announcements.channel IS 'the channel';
COMMENT ON COLUMN sent_announcements.sent_at IS 'when it was sent, or dropped because the queue was half full';
COMMENT ON COLUMN sent_announcements.payload IS 'what was sent';

-- One row, locked by who sends, until his transaction ends.
CREATE TABLE announcement_ids (
    first_id  bigint NOT NULL,
    last_id   bigint NOT NULL
);
ALTER TABLE announcement_ids SET (fillfactor = 10);
COMMENT ON TABLE announcement_ids IS 'one row: ids of notifications';
COMMENT ON COLUMN announcement_ids.first_id IS 'all that were given out in this database are above it';
COMMENT ON COLUMN announcement_ids.last_id IS 'the last that was given out';
INSERT INTO announcement_ids
SELECT n, n FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS begin (n);

CREATE FUNCTION trace_ext_internal.next_announcement_id() RETURNS bigint
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    UPDATE trace_ext.announcement_ids i
       SET last_id = greatest(i.last_id + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    RETURNING i.last_id;
    END;
COMMENT ON FUNCTION trace_ext_internal.next_announcement_id() IS 'the id of a notification; until this transaction ends no other one gets any';

-- What is forgotten is noted with the channel, so that a gap is known for certain.
CREATE FUNCTION trace_ext_internal.keep_announcement(id bigint, channel name, payload jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    oldest constant timestamptz := clock_timestamp() - current_setting('trace_ext.announcement_retention')::interval;
BEGIN
    INSERT INTO trace_ext.sent_announcements VALUES (keep_announcement.id, keep_announcement.channel, clock_timestamp(), keep_announcement.payload);
    WITH old AS (
        DELETE FROM trace_ext.sent_announcements s WHERE s.channel = keep_announcement.channel AND s.sent_at < oldest RETURNING s.id
    )
    UPDATE trace_ext.announcements a
       SET forgotten = greatest(a.forgotten, (SELECT max(old.id) FROM old))
     WHERE a.channel = keep_announcement.channel AND EXISTS (SELECT FROM old);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_announcement(bigint, name, jsonb) IS
    'keeps what was sent on a channel, and forgets what was longer ago than trace_ext.announcement_retention';

CREATE FUNCTION changes_since(channel text, after bigint = NULL) RETURNS TABLE (id bigint, sent_at timestamptz, payload jsonb)
    LANGUAGE plpgsql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    ids trace_ext.announcement_ids;
    forgotten bigint;
    begins bigint;
    why text;
BEGIN
    SELECT a.forgotten INTO forgotten FROM trace_ext.announcements a WHERE a.channel::text = changes_since.channel;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no channel "%"', changes_since.channel USING ERRCODE = 'undefined_object',
              HINT = format('The channels are %s.', (SELECT string_agg(a.channel::text, ', ' ORDER BY a.channel) FROM trace_ext.announcements a));
    END IF;
    SELECT i.* INTO ids FROM trace_ext.announcement_ids i;
    begins := greatest(forgotten, ids.first_id);
    why := CASE WHEN after > ids.last_id OR (after BETWEEN 1 AND ids.first_id - 1) THEN 'this database has not sent it'
                WHEN forgotten > 0 AND after < forgotten THEN 'some of what was sent since is no longer kept' END;
    IF why IS NOT NULL THEN
        RETURN QUERY SELECT begins, NULL::timestamptz,
                            jsonb_build_object('gap', true, 'after', after, 'begins', begins, 'reason', why);
        after := NULL;
    END IF;
    RETURN QUERY SELECT s.id, s.sent_at, s.payload FROM trace_ext.sent_announcements s
                  WHERE s.channel::text = changes_since.channel AND (after IS NULL OR s.id > after) ORDER BY s.id;
END
$$;
COMMENT ON FUNCTION changes_since(text, bigint) IS
    'what was sent on a channel after the notification with this id, or on any channel; NULL: all that is kept. Where some of it is not known any '
    'more, the first row has no sent_at, and the payload {"gap": true, "reason": ...}; all that is kept follows, and its id is one to go on from. '
    'Kept for trace_ext.announcement_retention; also what no listener was sent because the queue was half full';
