-- From when to when events and traces lasted.
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

-- From the timestamp on, or up to it; to the microsecond; never beyond the times that there are.
SELECT what, event_extent(at::timestamptz, ns, at_end)
  FROM (VALUES ('from its timestamp on', '2026-01-01 00:00:10+00', 1500000000::bigint, NULL::boolean), ('so says false', '2026-01-01 00:00:10+00', 1500000000, false),
               ('up to it', '2026-01-01 00:00:10+00', 1500000000, true), ('no duration', '2026-01-01 00:00:10+00', NULL, true),
               ('none at all', '2026-01-01 00:00:10+00', 0, true), ('less than none', '2026-01-01 00:00:10+00', -5, true),
               ('half a microsecond', '2026-01-01 00:00:10+00', 500, NULL), ('less', '2026-01-01 00:00:10+00', 499, NULL),
               ('to the end of time', '294276-12-31 23:59:59.999999+00', 9223372036854775807, NULL),
               ('to its begin', '4714-11-24 00:00:00+00 BC', 9223372036854775807, true),
               ('292 years', '2000-01-01 00:00:00+00', 9223372036854775807, true),
               ('never', 'infinity', 5, NULL), ('no time', NULL, 5, NULL)) AS cases (what, at, ns, at_end);

-- Who sends the event JSON sends an event when its work is done; a request is stamped when it begins.
SELECT * FROM ingest_events($$[
    {"id": "00000001-0000-0000-0000-000000000000", "trace_id": "000000a1-0000-0000-0000-000000000000", "timestamp": "2001-02-03T04:05:10Z",
     "kind": {"FunctionCall": {"function_name": "f"}}, "metadata": {"duration_ns": 4000000000}},
    {"id": "00000002-0000-0000-0000-000000000000", "trace_id": "000000a1-0000-0000-0000-000000000000", "timestamp": "2001-02-03T04:05:08Z",
     "kind": {"HttpRequest": {"method": "GET", "url": "/"}}, "metadata": {"duration_ns": 1000000000}},
    {"id": "00000003-0000-0000-0000-000000000000", "trace_id": "000000a1-0000-0000-0000-000000000000", "timestamp": "2001-02-03T04:05:09Z",
     "kind": {"DatabaseQuery": {"query": "SELECT 1", "duration_ms": 12.5}}},
    {"id": "00000004-0000-0000-0000-000000000000", "trace_id": "000000a1-0000-0000-0000-000000000000", "timestamp": "2001-02-03T04:05:09.5Z",
     "kind": {"HttpResponse": {"status": 200, "duration_ms": 7}}, "metadata": {"duration_ns": 8000000}},
    {"id": "00000005-0000-0000-0000-000000000000", "trace_id": "000000a1-0000-0000-0000-000000000000", "timestamp": "2001-02-03T04:05:09.6Z",
     "kind": {"HttpResponse": {"status": 200, "duration_ms": -7}}},
    {"id": "00000006-0000-0000-0000-000000000000", "trace_id": "000000a1-0000-0000-0000-000000000000", "timestamp": "2001-02-03T04:05:09.7Z",
     "kind": {"HttpResponse": {"status": 200, "duration_ms": "7"}}},
    {"id": "00000007-0000-0000-0000-000000000000", "trace_id": "000000a1-0000-0000-0000-000000000000", "timestamp": "2001-02-03T04:05:09.8Z",
     "kind": {"HttpResponse": {"status": 200, "duration_ms": 1e300}}}]$$);
SELECT kind, duration_ns, stamped_at_end, event_extent("timestamp", duration_ns, stamped_at_end) FROM events ORDER BY id;
SELECT first_timestamp, last_timestamp, started_at, ended_at, duration_ms FROM trace_summaries;
SELECT started_at, ended_at, duration_ms FROM list_traces();

-- It survives the way out and in again.
CREATE TABLE plain.copied AS TABLE events;
TRUNCATE events;
INSERT INTO events SELECT * FROM plain.copied;
SELECT started_at, ended_at FROM trace_summaries;
SELECT * FROM plain.differences();

-- Updates and deletes, outstanding and folded.
UPDATE events SET duration_ns = 100000000000 WHERE id = plain.id('4');
SELECT started_at, ended_at FROM trace_summaries;
SELECT fold() > 0 AS folded;
SELECT started_at, ended_at FROM trace_summaries;
UPDATE events SET stamped_at_end = false WHERE id = plain.id('4');
SELECT started_at, ended_at FROM trace_summaries;
DELETE FROM events WHERE id = plain.id('4');
CALL plain.fold();
SELECT started_at, ended_at FROM trace_summaries;
SELECT * FROM plain.differences();
SELECT * FROM verify_summaries();

-- What a client captured: where a response says how long it took, there its request began.
TRUNCATE events;
\set file :abs_srcdir '/data/express-banking.json'
\set captured `cat :file`
SELECT inserted, rejected FROM ingest_events(:'captured'::text);
SELECT count(*) AS responses,
       count(*) FILTER (WHERE abs(extract(epoch FROM lower(event_extent(r."timestamp", r.duration_ns, r.stamped_at_end)) - q."timestamp")) < 0.0015) AS begin_with_their_request
  FROM events r JOIN events q USING (trace_id)
 WHERE r.kind = 'HttpResponse' AND q.kind = 'HttpRequest';
SELECT count(*) AS traces, count(*) FILTER (WHERE abs(extract(epoch FROM started_at - first_timestamp)) < 0.0015 AND ended_at = last_timestamp) AS as_stamped
  FROM trace_summaries;

-- A call with nothing recorded at its end overlaps what ran meanwhile, and so may race with it.
TRUNCATE events;
CREATE PROCEDURE plain.call(trace text, at timestamptz, seconds int, at_end boolean) LANGUAGE sql AS $$
    INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, instance_id, thread_id, duration_ns, stamped_at_end)
    VALUES (plain.id(trace), plain.id('1'), at, 'FunctionCall', 'transfer', 'bank', 'i', trace, seconds * 1000000000::bigint, at_end);
    INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, thread_id, attributes)
    VALUES (plain.id(trace), plain.id('2'), plain.id('1'), at, 'StateChange', 'account', 'bank', 'i', trace,
            '{"access_type": "Write", "new_value": 1}');
$$;
CALL plain.call('b1', '2001-02-03 04:05:00+00', 10, NULL);        -- 04:05:00 to 04:05:10
CALL plain.call('b2', '2001-02-03 04:05:06+00', 1, NULL);         -- 04:05:06 to 04:05:07
CALL plain.call('b3', '2001-02-03 04:05:31+00', 20, true);        -- 04:05:11 to 04:05:31
CALL plain.call('b4', '2001-02-03 04:05:12+00', 1, NULL);         -- 04:05:12 to 04:05:13
CALL plain.call('b5', '2001-02-03 04:05:40+00', 1, NULL);         -- alone
CALL plain.call('b6', '2001-02-03 05:00:00+00', 3000, NULL);      -- 05:00 to 05:50
CALL plain.call('b7', '2001-02-03 05:40:00+00', 1, NULL);
SELECT trace_id, (SELECT string_agg(DISTINCT left(CASE WHEN r.event1_trace_id = s.trace_id THEN r.event2_trace_id ELSE r.event1_trace_id END::text, 8), ' ')
                    FROM find_races(trace_id) r) AS races_with
  FROM trace_summaries s ORDER BY trace_id;
SELECT count(*) FROM find_variable_races('account');
SELECT count(*) FROM find_variable_races('account', '2001-02-03 05:30:00+00');
TRUNCATE findings, race_pairs, detect_queue;
CALL detect_all();
SELECT kind, variable, occurrences FROM findings ORDER BY 1;
TRUNCATE events, findings, race_pairs, detect_queue;
DROP SCHEMA plain CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
