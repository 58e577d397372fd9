-- request_log(): one row a request, newest first.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
-- By ingest: responses carry the duration and are stamped at the end.
SELECT inserted, rejected FROM ingest_events(jsonb_build_array(
    jsonb_build_object('id', plain.id('1'), 'trace_id', plain.id('a1'), 'timestamp', '2001-02-03T10:00:00Z', 'kind', jsonb_build_object('HttpRequest', jsonb_build_object('method', 'GET', 'url', '/a b', 'headers', '{}'::jsonb, 'body', NULL)), 'metadata', jsonb_build_object('service_name', 'api', 'thread_id', 't', 'process_id', 1)),
    jsonb_build_object('id', plain.id('2'), 'trace_id', plain.id('a1'), 'parent_id', plain.id('1'), 'timestamp', '2001-02-03T10:00:00.250Z', 'kind', jsonb_build_object('HttpResponse', jsonb_build_object('status', 201, 'headers', '{}'::jsonb, 'body', NULL, 'duration_ms', 240)), 'metadata', jsonb_build_object('service_name', 'api', 'thread_id', 't', 'process_id', 1))));
SELECT reason FROM ingest_errors;
CREATE PROCEDURE plain.event(trace text, id text, parent text, at timestamptz, kind event_kind, name text, service text = 'api', span text = NULL, attributes jsonb = NULL, ms float = NULL)
LANGUAGE sql AS $$
    INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, span_id, attributes, duration_ns)
    VALUES (plain.id(trace), plain.id(id), plain.id(parent), at, kind, name, service, span, attributes, (ms * 1000000)::bigint);
$$;
-- Two services, a span each; the inner one fails, so the outer one does.
CALL plain.event('a2', '1', NULL, '2001-02-03 10:01:00+00', 'HttpRequest', 'POST /pay?x=1', 'api', 's1');
CALL plain.event('a2', '2', '1', '2001-02-03 10:01:01+00', 'HttpRequest', 'PUT http://bank/pay', 'bank', 's2');
CALL plain.event('a2', '3', '2', '2001-02-03 10:01:02+00', 'Error', 'Timeout', 'bank', 's2', '{"message": "no card"}');
CALL plain.event('a2', '4', '3', '2001-02-03 10:01:03+00', 'HttpResponse', '503', 'bank', 's2', '{"status": 503}');
CALL plain.event('a2', '5', '4', '2001-02-03 10:01:04.5+00', 'HttpResponse', '502', 'api', 's1', '{"status": 502}');
-- Two requests of one span; a response that names its request, one that does not, a late one.
CALL plain.event('a3', '1', NULL, '2001-02-03 10:02:00+00', 'HttpRequest', 'GET /1', 'api', 's1');
CALL plain.event('a3', '2', NULL, '2001-02-03 10:02:01+00', 'HttpRequest', 'GET /2', 'api', 's1');
CALL plain.event('a3', '3', '1', '2001-02-03 10:02:03+00', 'HttpResponse', '404', 'api', 's1', '{"status": 404}');
CALL plain.event('a3', '4', NULL, '2001-02-03 10:02:04+00', 'HttpResponse', '200', 'api', 's1', '{"status": 200}');
CALL plain.event('a3', '5', NULL, '2001-02-03 10:02:05+00', 'HttpResponse', '500', 'api', 's1', '{"status": 500}');
-- Without a response; of strange content.
CALL plain.event('a4', '1', NULL, '2001-02-03 10:03:00+00', 'HttpRequest', 'HEAD', 'api');
CALL plain.event('a4', '2', NULL, '2001-02-03 10:03:00+00', 'HttpRequest', NULL, NULL, 's9');
CALL plain.event('a5', '1', NULL, '2001-02-03 10:04:00+00', 'HttpRequest', 'GET /x', 'api', NULL, '{"method": "PATCH", "url": "/y"}', 20);
CALL plain.event('a5', '2', '1', '2001-02-03 10:04:01+00', 'HttpResponse', '1e99', 'api', NULL, '{"status": 1e99}');
CALL plain.event('a6', '1', NULL, '2001-02-03 10:05:00+00', 'HttpRequest', 'GET /z', 'api');
CALL plain.event('a6', '2', '1', '2001-02-03 10:05:01+00', 'HttpResponse', 'ok', 'api', NULL, '{"status": "ok"}');
-- A long trace: its request began before all others.
CALL plain.event('a7', '1', NULL, '2001-02-03 09:59:00+00', 'HttpRequest', 'GET /long', 'api');
CALL plain.event('a7', '2', '1', '2001-02-03 10:10:00+00', 'HttpResponse', '200', 'api', NULL, '{"status": 200}');
CALL plain.event('a8', '1', NULL, '2001-02-03 10:09:00+00', 'FunctionCall', 'no request', 'api');
SELECT started, method, url, status, duration_ms, service, error FROM request_log('-infinity');
CREATE TEMP TABLE outstanding AS SELECT * FROM request_log('-infinity');
CALL plain.fold();
SELECT count(*) FROM (SELECT * FROM outstanding EXCEPT ALL SELECT * FROM request_log('-infinity')) d;
SELECT url, request_id FROM request_log('-infinity', page_size => 2);
SELECT url FROM request_log('-infinity', page_size => 2, before => '2001-02-03 10:03:00+00');
SELECT url FROM request_log('2001-02-03 10:02:01+00', before => '2001-02-03 10:04:00+00');
SELECT url FROM request_log();
SELECT url FROM request_log('infinity');
SELECT url, service FROM request_log('-infinity', 'bank');
SELECT url, status FROM request_log('-infinity', 'api', '2xx');
SELECT url, status FROM request_log('-infinity', status => '5XX');
SELECT url, status FROM request_log('-infinity', status => '404');
SELECT url, error FROM request_log('-infinity', status => 'error');
SELECT method, url, duration_ms FROM request_log('-infinity', status => 'none');
SELECT url FROM request_log('-infinity', service => 'nobody');

-- Many traces, at random: the newest page is what all of them, sorted, begin with.
SELECT setseed(0.1);
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, attributes)
SELECT md5('t' || t)::uuid, md5(t || 'e' || e)::uuid, '2001-02-04 00:00:00+00'::timestamptz + random() * interval '10 min' + e * random() * interval '1 min',
       CASE WHEN e % 2 = 0 THEN 'HttpResponse' ELSE 'HttpRequest' END::event_kind, 'GET /' || t, 's' || t % 3, CASE WHEN e % 2 = 0 THEN jsonb_build_object('status', 200 + 100 * (t % 4)) END
  FROM generate_series(1, 500) t, generate_series(1, 4) e;
CREATE FUNCTION plain.wrong(most int, until timestamptz) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM (
        SELECT started FROM request_log('2001-02-04 00:05:00+00', page_size => most, before => until)
        EXCEPT ALL
        (SELECT "timestamp" FROM events WHERE kind = 'HttpRequest' AND "timestamp" >= '2001-02-04 00:05:00+00' AND "timestamp" < coalesce(until, 'infinity') ORDER BY 1 DESC LIMIT most)) d
$$;
SELECT m, plain.wrong(m, NULL) AS wrong, plain.wrong(m, '2001-02-04 00:08:00+00') AS wrong_before FROM unnest('{1, 10, 150, 10000}'::int[]) m;
SELECT count(*) = (SELECT count(*) FROM events WHERE kind = 'HttpRequest' AND "timestamp" >= '2001-02-04 00:05:00+00') AS all FROM request_log('2001-02-04 00:05:00+00', page_size => 10000);
SELECT count(*) AS failed, bool_and(status = 500) AS only_these FROM request_log('2001-02-04 00:00:00+00', status => '500', page_size => 10000);

\set VERBOSITY terse
SELECT * FROM request_log(NULL);
SELECT * FROM request_log(status => 'bad');
SELECT * FROM request_log(status => '');
SELECT * FROM request_log(status => '0xx');
SELECT * FROM request_log(page_size => 0);
SELECT * FROM request_log(page_size => NULL);
TRUNCATE events;
SELECT count(*) FROM request_log('-infinity');
DROP SCHEMA plain CASCADE;
