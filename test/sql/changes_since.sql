-- What a listener missed: notifications are kept, by ascending ids, and a gap is never silent.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE PROCEDURE plain.quiet() LANGUAGE sql AS $$
    UPDATE trace_ext.announcements SET total = 0, ids = '{}', details = '[]', since = NULL, sent_at = NULL;
$$;
-- A new trace, and all that is to be told of it.
CREATE PROCEDURE plain.send(n int) LANGUAGE plpgsql AS $$
DECLARE
    again boolean;
BEGIN
    INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind) VALUES (plain.id('a' || n), plain.id('1'), '1990-01-01+00', 'Custom');
    PERFORM trace_ext.fold();
    UPDATE trace_ext.announcements SET sent_at = NULL;
    CALL trace_ext.job_notify(again);
END $$;
CREATE FUNCTION plain.heard(channel text, after bigint) RETURNS TABLE (n bigint, gap boolean, reason text, traces text) LANGUAGE sql AS $$
    SELECT row_number() OVER (ORDER BY c.id), c.payload ? 'gap', c.payload ->> 'reason', (SELECT string_agg(left(t::text, 8), ', ' ORDER BY t) FROM jsonb_array_elements_text(c.payload -> 'trace_ids') t)
      FROM trace_ext.changes_since(channel, after) AS c ORDER BY c.id
$$;
SELECT notify_payload(a) IS NOT NULL AS loaded FROM announcements a LIMIT 1;
CALL plain.fold();
CALL plain.quiet();
TRUNCATE sent_announcements;
UPDATE announcements SET forgotten = 0;
SELECT last_id AS begin FROM announcement_ids \gset

-- Nothing was sent.
SELECT * FROM plain.heard('trace_ext_traces', NULL);
SELECT * FROM plain.heard('trace_ext_traces', :begin);
-- Three are; each payload has the id of its row, and ids ascend over all channels.
CALL plain.send(1);
CALL plain.send(2);
CALL plain.send(3);
SELECT * FROM plain.heard('trace_ext_traces', NULL);
SELECT * FROM plain.heard('trace_ext_traces', :begin);
SELECT count(*), count(DISTINCT id) AS ids, bool_and((payload ->> 'id')::bigint = id) AS in_payload, bool_and(id > :begin) AS after_all,
       bool_and(sent_at BETWEEN now() - interval '1 min' AND clock_timestamp()) AS just_now FROM sent_announcements;
SELECT bool_and(id > before) AS ascending FROM (SELECT id, lag(id) OVER (ORDER BY sent_at) AS before FROM sent_announcements) AS s;
SELECT p -> 'count' AS count, p -> 'truncated' AS truncated, array(SELECT jsonb_object_keys(p) ORDER BY 1) AS keys FROM changes_since('trace_ext_summaries', NULL) AS c (id, at, p) LIMIT 1;
SELECT min(id) AS first, max(id) AS last FROM changes_since('trace_ext_traces', NULL) \gset
SELECT * FROM plain.heard('trace_ext_traces', :first);
SELECT * FROM plain.heard('trace_ext_traces', :last);
-- The id of another channel does as well: who listens to many keeps one.
SELECT max(id) AS other FROM changes_since('trace_ext_summaries', NULL) WHERE id < :last \gset
SELECT * FROM plain.heard('trace_ext_traces', :other);
-- The same by default, and in the types that drivers send.
SELECT count(*) FROM changes_since('trace_ext_traces');
SELECT count(*) FROM changes_since('trace_ext_traces'::varchar, :first::bigint);

-- What is too old is forgotten with the next; from what is known nothing is missing, before that it is said.
UPDATE sent_announcements SET sent_at = sent_at - interval '11 min' WHERE id <= :first;
SELECT * FROM plain.heard('trace_ext_traces', :begin);
CALL plain.send(4);
SELECT * FROM plain.heard('trace_ext_traces', NULL);
SELECT * FROM plain.heard('trace_ext_traces', :first);
SELECT * FROM plain.heard('trace_ext_traces', :first - 1);
SELECT * FROM plain.heard('trace_ext_traces', :begin);
SELECT * FROM plain.heard('trace_ext_traces', 0);
SELECT * FROM plain.heard('trace_ext_traces', -9223372036854775808);
-- The row that says so has an id to go on from.
SELECT c.id = :first AS id, sent_at, payload - 'after' - 'begins' AS payload FROM changes_since('trace_ext_traces', :begin) AS c LIMIT 1;
SELECT count(*) FROM plain.heard('trace_ext_traces', (SELECT id FROM changes_since('trace_ext_traces', :begin) LIMIT 1)) WHERE gap;
-- Of each channel by itself: nothing was forgotten that concerns another one.
UPDATE sent_announcements SET sent_at = now() WHERE channel = 'trace_ext_summaries';
SELECT forgotten > 0 AS forgotten FROM announcements WHERE channel IN ('trace_ext_alerts', 'trace_ext_traces') ORDER BY channel;
-- Only the last is kept.
SET trace_ext.announcement_retention = 0;
SELECT max(id) AS last FROM changes_since('trace_ext_traces', NULL) \gset
UPDATE sent_announcements SET sent_at = sent_at - interval '1 s';
CALL plain.send(5);
SELECT * FROM plain.heard('trace_ext_traces', NULL);
SELECT * FROM plain.heard('trace_ext_traces', :last - 1);
SELECT * FROM plain.heard('trace_ext_traces', :last);
RESET trace_ext.announcement_retention;
SELECT max(id) AS last FROM changes_since('trace_ext_traces', NULL) \gset

-- Another database, or one of before: its ids are none of this one.
SELECT * FROM plain.heard('trace_ext_traces', 1);
SELECT * FROM plain.heard('trace_ext_traces', :last + 3600000000);
SELECT * FROM plain.heard('trace_ext_traces', 9223372036854775807);
-- A clock that is set back gives out no id twice.
BEGIN;
UPDATE announcement_ids SET last_id = last_id + 3600000000;
CALL plain.send(6);
CALL plain.send(7);
SELECT id - :last > 3600000000 AS ahead, id - lag(id) OVER (ORDER BY id) < 10 AS next FROM changes_since('trace_ext_traces', :last) AS c;
ROLLBACK;
-- What is rolled back was never sent.
BEGIN;
CALL plain.send(8);
SELECT * FROM plain.heard('trace_ext_traces', :last);
ROLLBACK;
SELECT * FROM plain.heard('trace_ext_traces', :last);

-- No such channel.
SELECT * FROM changes_since('trace_ext_trace', NULL);
\set VERBOSITY terse
SELECT * FROM changes_since('', NULL);
SELECT * FROM changes_since(NULL, NULL);
SELECT * FROM changes_since('trace_ext_traces' || repeat('x', 100), NULL);
SELECT * FROM changes_since($$x'; DROP TABLE trace_ext.events; --$$, NULL);

-- A finding has its payload too; nothing is kept where nothing is sent.
INSERT INTO findings (id, kind, variable, severity, confidence, confirmed, occurrences) VALUES (plain.id('f1'), 'lost update', 'x', 'CRITICAL', 1, true, 1);
UPDATE announcements SET sent_at = NULL;
CALL job_notify();
SELECT payload - 'id' - 'since' - 'until' AS payload FROM changes_since('trace_ext_findings', :last) AS c;
SET trace_ext.notify_interval = -1;
DELETE FROM findings;
SELECT max(id) AS last FROM sent_announcements \gset
CALL plain.send(9);
SELECT count(*) FROM sent_announcements WHERE id > :last;
RESET trace_ext.notify_interval;

CALL plain.quiet();
TRUNCATE events;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
