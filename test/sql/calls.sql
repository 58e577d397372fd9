-- Calls between services: what counts as one, and rollups of them that are exact and flat.
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

-- An event of trace t at second n, whose id is t and n.
CREATE PROCEDURE put(t text, n int, service text, span text, upstream text, parent int, kind event_kind = 'Custom', ms int = NULL,
                     attributes jsonb = NULL) LANGUAGE sql AS $$
    INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, service_name, span_id, upstream_span_id, duration_ns, attributes)
    VALUES (plain.id(t), plain.id(t || lpad(n::text, 3, '0')), plain.id(t || lpad(parent::text, 3, '0')),
            '2001-02-03 00:00:00+00'::timestamptz + n * interval '1 second', kind, service, span, upstream, ms * 1000000::bigint, attributes)
$$;
CREATE VIEW map AS SELECT * FROM service_map(NULL, NULL);
-- Both ways, before and after the rollups have it; and it is what the plain query says.
CREATE FUNCTION shown() RETURNS TABLE (calls text, traces text) LANGUAGE plpgsql AS $$
DECLARE
    outstanding text := (SELECT string_agg(c::text, ' ' ORDER BY c::text COLLATE "C") FROM trace_ext.service_calls c);
BEGIN
    IF EXISTS (SELECT FROM plain.differences()) OR EXISTS (SELECT FROM trace_ext.verify_summaries()) THEN
        RAISE WARNING 'not exact while outstanding: %', (SELECT string_agg(d::text, E'\n') FROM plain.differences() d);
    END IF;
    PERFORM trace_ext.fold();
    IF EXISTS (SELECT FROM plain.differences()) OR EXISTS (SELECT FROM trace_ext.verify_summaries())
       OR EXISTS (SELECT FROM trace_ext_internal.outstanding_calls()) THEN
        RAISE WARNING 'not exact once folded: %', (SELECT string_agg(d::text, E'\n') FROM plain.differences() d);
    END IF;
    IF outstanding IS DISTINCT FROM (SELECT string_agg(c::text, ' ' ORDER BY c::text COLLATE "C") FROM trace_ext.service_calls c) THEN
        RAISE WARNING 'before the fold it was %', outstanding;
    END IF;
    RETURN QUERY SELECT concat_ws(' ', m.from_service, '->', m.to_service, 'by', m.link_type, m.calls, 'errors', m.errors, 'p50', round(m.p50_ms), 'p95', round(m.p95_ms)),
                        'in ' || c.trace_count
                   FROM map m JOIN trace_ext.service_calls c USING (from_service, to_service, link_type)
                  WHERE c.call_count = m.calls AND c.error_count = m.errors
                  ORDER BY m.from_service COLLATE "C", m.to_service COLLATE "C", m.link_type;
END $$;

-- Nothing calls nobody.
SELECT * FROM shown();
SELECT * FROM service_map();

--
-- What counts as a call
--
-- Spans: the called one lasts from its first start to its last end.
CALL put('a1', 1, 'api', 'x', NULL, NULL, 'HttpRequest');
CALL put('a1', 2, 'bank', 'y', 'x', 1, 'HttpRequest', 500);
SELECT * FROM shown();
CALL put('a1', 4, 'bank', 'y', 'x', 2, 'Custom', 3000);
CALL put('a1', 5, 'bank', 'y', 'x', 2, 'HttpResponse', NULL, '{"status": 500}');
SELECT * FROM shown();
-- The same service, no service, a span that nobody sent, and a span that names itself call nobody.
CALL put('a1', 6, 'api', 'z', 'x', 1);
CALL put('a1', 7, NULL, 'n', 'x', 1);
CALL put('a1', 8, 'bank', 'o', 'unknown', NULL);
CALL put('a1', 9, 'bank', 's', 's', NULL);
SELECT * FROM shown();
-- Parents tell of calls where spans do not: here of a cart without a span.
CALL put('a1', 10, 'cart', NULL, NULL, 2, 'DatabaseQuery', 250);
-- ... and of the event that follows it, in a span of its own, that names no caller.
CALL put('a1', 11, 'mail', 'm', NULL, 10, 'AsyncSpawn');
-- But not of what spans say already, by whichever event of the called span.
CALL put('a1', 12, 'bank', 'y', 'x', 1, 'Custom');
SELECT * FROM shown();
-- Two callers of one span are two calls.
CALL put('a1', 13, 'bank', 'y', 'm', NULL, 'AsyncAwait');
SELECT * FROM shown();
-- A caller that arrives last, in another batch, after a fold: calls of what was there.
CALL put('a2', 3, 'bank', 'y', 'x', 2, 'HttpRequest', 100);
CALL put('a2', 4, 'cart', NULL, NULL, 1, 'Custom');
SELECT fold();
SELECT * FROM shown();
CALL put('a2', 1, 'api', NULL, NULL, NULL);
CALL put('a2', 2, 'api', 'x', NULL, 1);
SELECT * FROM shown();
-- An earlier event of the span, of another service: the span changes sides.
CALL put('a2', 0, 'bank', 'x', NULL, NULL);
SELECT * FROM shown();
TRUNCATE events;

-- What carried it: the request that started the span, whatever its time says.
CALL put('a1', 1, 'api', 'x', NULL, NULL, 'Custom');
CALL put('a1', 90, 'bank', 'late', 'x', 1, 'HttpRequest');
CALL put('a1', 50, 'bank', 'late', 'x', 90, 'DatabaseQuery');
CALL put('a1', 20, 'bank', 'late', 'x', 1, 'AsyncSpawn');
-- No request: the first that no other one of the span caused.
CALL put('a1', 30, 'cart', 'first', 'x', 1, 'DatabaseQuery');
CALL put('a1', 10, 'cart', 'first', 'x', 30, 'HttpRequest');
CALL put('a1', 31, 'cart', 'first', 'x', 1, 'AsyncSpawn');
-- In a circle everything is caused by something: the first of all.
CALL put('a1', 40, 'mail', 'circle', 'x', 41, 'AsyncSpawn');
CALL put('a1', 41, 'mail', 'circle', 'x', 40, 'HttpRequest');
-- Its own parent is none.
CALL put('a1', 60, 'own', 'own', 'x', 60, 'DatabaseQuery');
SELECT * FROM shown();
SELECT to_span, link_type FROM distributed_edges ORDER BY to_span;
TRUNCATE events;

-- Circles of calls, and of parents; one id at two times, of two services.
CALL put('a1', 1, 'a', 'x', 'z', 3);
CALL put('a1', 2, 'b', 'y', 'x', 1);
CALL put('a1', 3, 'c', 'z', 'y', 2);
CALL put('a2', 1, 'a', NULL, NULL, 2);
CALL put('a2', 2, 'b', NULL, NULL, 1);
INSERT INTO events (trace_id, id, "timestamp", kind, service_name) SELECT plain.id('a3'), plain.id('a3001'), t::timestamptz, 'Custom', s
  FROM (VALUES ('2001-02-03 00:00:01+00', 'late'), ('2001-02-03 00:00:00+00', 'early')) v (t, s);
CALL put('a3', 2, 'late', NULL, NULL, 1);
CALL put('a3', 3, 'early', NULL, NULL, 1);
SELECT * FROM shown();
-- The same ids in another trace are others.
CALL put('a4', 2, 'late', NULL, NULL, NULL);
UPDATE events SET parent_id = plain.id('a3001') WHERE trace_id = plain.id('a4');
SELECT count(*) FROM map;
TRUNCATE events;

--
-- Whatever changes an event
--
CALL put('a1', 1, 'api', 'x', NULL, NULL, 'HttpRequest');
CALL put('a1', 2, 'bank', 'y', 'x', 1, 'HttpRequest', 500);
CALL put('a1', 3, 'cart', NULL, NULL, 2, 'Custom', 40);
SELECT * FROM shown();
UPDATE events SET span_id = 'other' WHERE service_name = 'api';
SELECT * FROM shown();
UPDATE events SET upstream_span_id = 'other' WHERE service_name = 'bank';
SELECT * FROM shown();
UPDATE events SET parent_id = plain.id('a1001') WHERE service_name = 'cart';
SELECT * FROM shown();
UPDATE events SET parent_id = NULL, upstream_span_id = NULL WHERE service_name IN ('bank', 'cart');
SELECT * FROM shown();
UPDATE events SET upstream_span_id = 'other', duration_ns = 7000000, kind = 'AsyncSpawn' WHERE service_name = 'bank';
SELECT * FROM shown();
UPDATE events SET trace_id = plain.id('a2');
SELECT * FROM shown();
SELECT count(*) FROM trace_call_rows;
-- What changes no call computes none.
UPDATE events SET tags = '{"a": 1}', thread_id = 't', lock_set = '{l}';
SELECT count(*) FROM summary_deltas;
UPDATE events SET "timestamp" = "timestamp" + interval '1 hour' WHERE service_name = 'bank';
SELECT hour, from_service, to_service, calls FROM outstanding_calls() ORDER BY hour;
SELECT * FROM shown();
DELETE FROM events WHERE service_name = 'api';
SELECT * FROM shown();
SELECT (SELECT count(*) FROM trace_call_rows) AS traces, (SELECT count(*) FROM call_base) AS hours, (SELECT count(*) FROM call_totals) AS totals;
-- Rolled back, also in part.
BEGIN;
CALL put('a1', 1, 'api', 'x', NULL, NULL);
SAVEPOINT s;
CALL put('a1', 2, 'bank', 'y', 'x', NULL);
SELECT count(*) FROM map;
SELECT fold() > 0 AS folded, (SELECT count(*) FROM map) AS calls;
ROLLBACK TO s;
SELECT count(*) FROM map;
COMMIT;
SELECT * FROM shown();
TRUNCATE events;

--
-- service_map(): hours of the call, quantiles
--
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, service_name, duration_ns)
SELECT plain.id('b' || n), plain.id(n || 'a' || i), CASE i WHEN 2 THEN plain.id(n || 'a1') END,
       '2001-02-03 00:00:00+00'::timestamptz + n * interval '10 minutes', CASE WHEN n % 10 = 0 THEN 'Error' ELSE 'Custom' END::event_kind, 's' || i, n * 1000000
  FROM generate_series(0, 99) n, generate_series(1, 2) i;
SELECT fold();
-- The first and the last hour count whole.
SELECT * FROM service_map('2001-02-03 02:30+00', '2001-02-03 03:05+00');
SELECT calls, errors FROM service_map('2001-02-03 02:00+00', '2001-02-03 02:00+00');
SELECT calls, errors FROM service_map('2001-02-03 02:59:59.999999+00', '2001-02-03 02:59:59.999999+00');
SELECT calls, errors FROM service_map('2001-02-03 05:00+00', '2001-02-03 04:59+00');
SELECT calls, errors, p50_ms BETWEEN 49 * 0.978 AND 49 * 1.022 AS p50, p95_ms BETWEEN 94 * 0.978 AND 94 * 1.022 AS p95 FROM service_map('-infinity', 'infinity');
SELECT calls FROM service_map('4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59+00');
SELECT calls FROM service_map(NULL, NULL);
SELECT calls FROM service_map(until => NULL, since => '2001-02-03 16:00+00');
SELECT * FROM service_map();
SELECT * FROM service_map(now(), NULL);
-- What went away leaves the quantiles as well.
DELETE FROM events WHERE duration_ns > 9000000;
SELECT calls, errors, p50_ms BETWEEN 4 * 0.978 AND 4 * 1.022 AS p50, p95_ms BETWEEN 9 * 0.978 AND 9 * 1.022 AS p95 FROM map;
SELECT * FROM shown();
TRUNCATE events;
-- The last hour.
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, service_name, duration_ns) VALUES
    (plain.id('a1'), plain.id('1'), NULL, now() - interval '1 minute', 'HttpRequest', 'api', NULL),
    (plain.id('a1'), plain.id('2'), plain.id('1'), now() - interval '1 minute', 'HttpRequest', 'bank', 1234000);
SELECT from_service, to_service, link_type, calls, errors FROM service_map();
SELECT count(*) FROM service_map(now() - interval '9 hours', now() - interval '3 hours');
-- Times at the ends of what there is, and durations beyond.
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, service_name, duration_ns, stamped_at_end) VALUES
    (plain.id('a2'), plain.id('1'), NULL, '4714-11-24 00:00:00+00 BC', 'Custom', 'old', 1, true),
    (plain.id('a2'), plain.id('2'), plain.id('1'), '4714-11-24 00:00:00+00 BC', 'Custom', 'new', 9223372036854775807, true),
    (plain.id('a2'), plain.id('3'), plain.id('2'), '294276-12-31 23:59:59.999999+00', 'Custom', 'old', 9223372036854775807, false),
    (plain.id('a3'), plain.id('1'), NULL, '4714-11-24 00:00:00+00 BC', 'Custom', 'old', NULL, NULL),
    (plain.id('a3'), plain.id('2'), plain.id('1'), '4714-11-24 00:00:00+00 BC', 'Custom', 'far', NULL, NULL);
UPDATE events SET span_id = service_name, upstream_span_id = 'old' WHERE trace_id = plain.id('a3');
INSERT INTO events (trace_id, id, "timestamp", kind, service_name, span_id) VALUES
    (plain.id('a3'), plain.id('3'), '294276-12-31 23:59:59.999999+00', 'Custom', 'far', 'far');
-- A span of all times takes longer than nanoseconds can say: what they can.
SELECT from_service, to_service, calls, round(p50_ms / 1000 / 86400 / 365) AS years FROM service_map(NULL, now() - interval '1 year');
SELECT fold() > 0 AS folded;
SELECT * FROM verify_summaries();
SELECT hour, from_service, to_service FROM call_base WHERE hour < '2001-01-01+00' ORDER BY 1, 2;
TRUNCATE events;
SELECT (SELECT count(*) FROM trace_call_rows) AS traces, (SELECT count(*) FROM call_base) AS hours, (SELECT count(*) FROM call_totals) AS totals,
       (SELECT count(*) FROM calls_queue) AS queued;

--
-- A trace of many calls, spans and events
--
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, service_name, span_id, upstream_span_id, duration_ns)
SELECT plain.id('c1'), md5('e' || n)::uuid, md5('e' || n / 2)::uuid, '2001-02-03 00:00+00'::timestamptz + n * interval '1 second', 'HttpRequest', 's' || n % 7,
       'span' || n, 'span' || n / 3, n
  FROM generate_series(1, 1000) n;
SELECT count(*), sum(calls) > 1000 AS many FROM map;
SELECT count(*) FROM plain.differences();
DELETE FROM events WHERE trace_id = plain.id('c1');
SELECT * FROM shown();
-- Hostile ones: one id at all times, one span with thousands of callers.
INSERT INTO events (trace_id, id, "timestamp", kind, service_name, span_id)
SELECT plain.id('c2'), plain.id('1'), '2001-02-03 00:00+00'::timestamptz + n * interval '1 second', 'Custom', 's' || n % 3, 'p' || n FROM generate_series(1, 4000) n;
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, service_name, span_id, upstream_span_id)
SELECT plain.id('c2'), plain.id((n + 1)::text), plain.id('1'), '2001-02-04 00:00+00'::timestamptz + n * interval '1 second', 'Custom', 't', 'q', 'p' || n FROM generate_series(1, 4000) n;
SELECT from_service, to_service, link_type, calls FROM map WHERE to_service = 't' ORDER BY 1;
SELECT fold() > 0 AS folded;
SELECT from_service, to_service, link_type, calls FROM map WHERE to_service = 't' ORDER BY 1;
SELECT * FROM verify_summaries();
DELETE FROM events WHERE trace_id = plain.id('c2');
SELECT count(*) FROM plain.differences();
-- Names at their longest, and of other letters.
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, service_name) VALUES
    (plain.id('c3'), plain.id('1'), NULL, '2001-02-03+00', 'Custom', repeat('ä', 256)), (plain.id('c3'), plain.id('2'), plain.id('1'), '2001-02-03+00', 'Custom', ''),
    (plain.id('c3'), plain.id('3'), plain.id('2'), '2001-02-03+00', 'Custom', repeat('ä', 255));
SELECT count(*) FROM plain.differences();
SELECT fold() > 0 AS folded, (SELECT count(*) FROM plain.differences()) AS differences;
TRUNCATE events;

--
-- Partitions, 60 of them. The plain queries read them all, and to compile that takes minutes.
--
SET jit = off;
DO $$ BEGIN
    FOR n IN 0 .. 59 LOOP
        EXECUTE format('CREATE TABLE public.calls_p%s PARTITION OF trace_ext.events FOR VALUES FROM (%L) TO (%L)', n,
                       timestamptz '2001-01-01+00' + n * interval '90 minutes', timestamptz '2001-01-01+00' + (n + 1) * interval '90 minutes');
    END LOOP;
END $$;
-- Each trace calls within its partition, and every tenth one into the next.
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, service_name, span_id, upstream_span_id)
SELECT md5('t' || n)::uuid, md5(n || 'e' || i)::uuid, CASE WHEN i > 1 THEN md5(n || 'e' || i - 1)::uuid END,
       timestamptz '2001-01-01+00' + n * interval '90 minutes' + CASE WHEN i = 3 AND n % 10 = 0 THEN interval '95 minutes' ELSE i * interval '1 minute' END,
       'HttpRequest', 's' || i, 'span' || i, CASE WHEN i > 1 THEN 'span' || i - 1 END
  FROM generate_series(0, 59) n, generate_series(1, 3) i WHERE n < 59 OR i < 3;
SELECT * FROM shown();
-- One is detached, dropped, truncated, attached again: outstanding, and added up.
ALTER TABLE events DETACH PARTITION calls_p10;
SELECT from_service, to_service, calls FROM map ORDER BY 1;
ALTER TABLE events ATTACH PARTITION calls_p10 FOR VALUES FROM ('2001-01-01 15:00+00') TO ('2001-01-01 16:30+00');
SELECT from_service, to_service, calls FROM map ORDER BY 1;
DROP TABLE calls_p20, calls_p21;
SELECT * FROM shown();
TRUNCATE calls_p30;
BEGIN;
DROP TABLE calls_p40;
SELECT from_service, to_service, calls FROM map ORDER BY 1;
ROLLBACK;
SELECT * FROM shown();
-- Reading looks into no other partition than those of outstanding traces.
CALL put('a1', 1, 'api', 'x', NULL, NULL);
SELECT count(*) AS partitions_locked FROM (SELECT count(*) FROM service_calls) c, pg_locks l
 WHERE l.pid = pg_backend_pid() AND l.relation::regclass::text LIKE 'calls_p%';
DROP TABLE calls_p50, calls_p51;
ALTER TABLE events DETACH PARTITION calls_p52;
SELECT * FROM shown();
TRUNCATE events;
\set ECHO none
SELECT format('DROP TABLE %s', string_agg(oid::regclass::text, ', ')) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'calls\_p%' \gexec
\set ECHO all
SELECT * FROM shown();

--
-- Who adds up, and in what steps
--
TRUNCATE events;
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, service_name)
SELECT md5('t' || n)::uuid, md5(n || 'e' || i)::uuid, CASE WHEN i > 1 THEN md5(n || 'e' || i - 1)::uuid END, '2001-02-03+00', 'HttpRequest', 's' || i % 3
  FROM generate_series(1, 500) n, generate_series(1, 4) i;
-- A trace of one service is not even queued.
INSERT INTO events (trace_id, id, "timestamp", kind, service_name) SELECT md5('one' || n)::uuid, md5('one')::uuid, '2001-02-03+00', 'Custom', 's1' FROM generate_series(1, 100) n;
SELECT fold_if_free();
SELECT count(*) FROM calls_queue;
SELECT take_some_calls(7);
SELECT (SELECT count(*) FROM calls_queue) AS queued, (SELECT count(*) FROM trace_call_rows) AS added_up, (SELECT sum(calls) FROM call_totals) AS calls,
       (SELECT sum(calls) FROM map) AS seen, (SELECT count(*) FROM plain.differences()) AS differences;
SELECT calls_needed();
SELECT state, error FROM run_job('calls');
SELECT (SELECT count(*) FROM calls_queue) AS queued, (SELECT count(*) FROM trace_call_rows) AS added_up, (SELECT sum(calls) FROM call_totals) AS calls,
       (SELECT count(*) FROM plain.differences()) AS differences;
SELECT calls_needed();
-- Traces that are taken again without having changed write nothing.
SELECT xmin AS before FROM trace_call_rows WHERE trace_id = md5('t1')::uuid \gset
INSERT INTO calls_queue SELECT trace_id FROM trace_call_rows;
SELECT take_some_calls(NULL);
SELECT xmin = :'before' AS untouched FROM trace_call_rows WHERE trace_id = md5('t1')::uuid;
-- The rollups alone are read.
EXPLAIN (COSTS OFF) SELECT from_service, to_service, call_count FROM service_calls;

-- What is wrong is found, and made anew.
UPDATE call_base SET errors = errors + 1;
UPDATE call_totals SET traces = traces + 1 WHERE from_service = 's1';
SELECT item, key, stored ->> 'errors' AS errors, stored ->> 'trace_count' AS traces, recomputed ->> 'errors' AS errors_now, recomputed ->> 'trace_count' AS traces_now
  FROM verify_summaries() ORDER BY 1, 2;
DELETE FROM trace_call_rows WHERE trace_id IN (md5('t1')::uuid, md5('t2')::uuid);
UPDATE call_base SET latency = latency + histogram(1);
SELECT item, count(*) FROM verify_summaries() GROUP BY 1 ORDER BY 1;
SELECT rebuild_summaries();
SELECT * FROM shown();
-- Damaged rows are refused, wherever they end.
SELECT state, message, hint, count(*) FROM generate_series(0, 20) n,
       LATERAL plain.outcome(format('SELECT trace_ext_internal.sum_calls(ARRAY[%L::bytea], ''{}'')', (SELECT substr(calls, 1, n) FROM trace_call_rows ORDER BY trace_id LIMIT 1))) o
 GROUP BY 1, 2, 3 ORDER BY 1, 2;
SELECT state, message, count(*) FROM (VALUES ('\xff'), ('\x'), ('\x00'), ('\x0001'), ('\x0101610000ff'), ('\x01016100000500000101'), ('\x0101610000000001ffffffffffffffffff7f'),
    ('\x010161000000feffffffffffffffff010001'), ('\xffffffffffffffffffff01')) v (b),
       LATERAL plain.outcome(format('SELECT trace_ext_internal.sum_calls(ARRAY[%L::bytea, NULL], ''{}'')', b)) o GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM sum_calls('{}', '{}');
SELECT * FROM sum_calls(NULL, '{}');
SELECT trace_calls(NULL), trace_calls(plain.id('dead'));

DROP PROCEDURE put;
DROP FUNCTION shown;
DROP VIEW map;
DROP SCHEMA plain CASCADE;
TRUNCATE trace_ext.events;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
