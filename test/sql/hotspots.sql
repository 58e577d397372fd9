-- system_hotspots(), analyze_global(): what is hot, and the system at a glance.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set ECHO none
\i :plain
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
DELETE FROM findings;
SELECT * FROM system_hotspots();
SELECT analyze_global() - '{as_of,alerts,anomalies}'::text[] AS empty_store;
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, duration_ns, span_id, upstream_span_id, attributes)
SELECT plain.id('a' || n), plain.id(i || n::text), '2001-02-03 10:00:00+00'::timestamptz + n * interval '1 minute' + (ordinality || ' ms')::interval, kind::event_kind, name, service, ms * 1000000, span, upstream,
       CASE WHEN access IS NOT NULL THEN jsonb_build_object('access_type', access) WHEN kind = 'HttpResponse' THEN '{"status": 500}' END
  FROM generate_series(1, 3) n,
       ROWS FROM (unnest('{1,2,3,4,5,6,7,8}'::int[],
                         '{HttpRequest,StateChange,LockAcquire,LockAcquire,DatabaseQuery,FunctionCall,LockRelease,HttpResponse}'::text[],
                         '{GET /a/1,users.17.balance,m,m,"SELECT 1",f,m,500}'::text[],
                         '{api,bank,bank,bank,bank,api,bank,bank}'::text[],
                         '{NULL,NULL,0,5,8,2,NULL,NULL}'::bigint[],
                         '{a,b,b,b,b,a,b,b}'::text[],
                         '{NULL,a,a,a,a,NULL,a,a}'::text[],
                         '{NULL,Write,NULL,NULL,NULL,NULL,NULL,NULL}'::text[])) WITH ORDINALITY AS e (i, kind, name, service, ms, span, upstream, access, ordinality);
INSERT INTO events (trace_id, id, "timestamp", kind, name, service_name, attributes)
SELECT plain.id('b'), plain.id(i::text), '2001-02-03 11:00:00+00', 'StateChange', 'stock', 'api', '{"access_type": "Read"}' FROM generate_series(1, 2) i;
SELECT * FROM system_hotspots();
SELECT what, name, count FROM system_hotspots(1);
INSERT INTO findings (id, kind, variable, severity, confidence, confirmed, occurrences, last_seen, status)
VALUES (gen_random_uuid(), 'lost update', 'users.17.balance', 'CRITICAL', 1, true, 3, '2001-02-03 10:00:00+00', 'open'),
       (gen_random_uuid(), 'read-write', 'users.18.balance', 'WARNING', 0.5, false, 2, '2001-02-03 11:00:00+00', 'open'),
       (gen_random_uuid(), 'read-write', 'users.18.balance', 'WARNING', 0.5, false, 2, '2001-02-03 12:00:00+00', 'acknowledged'),
       (gen_random_uuid(), 'read-write', 'users.19.balance', 'WARNING', 0.5, false, 0, '2001-02-03 11:00:00+00', 'open'),
       (gen_random_uuid(), 'lost update', 'stock', 'CRITICAL', 1, true, 9, '2001-02-03 11:00:00+00', 'ignored');
SELECT name, service_name, count, writers, findings FROM system_hotspots() WHERE what = 'variable';
SELECT jsonb_pretty(analyze_global() - '{as_of,alerts,anomalies}'::text[]);
CREATE TEMP TABLE outstanding AS SELECT * FROM system_hotspots();
CALL plain.fold();
SELECT count(*) FROM (SELECT * FROM outstanding EXCEPT ALL SELECT * FROM system_hotspots()) d;

\set VERBOSITY terse
SELECT * FROM system_hotspots(0);
SELECT * FROM system_hotspots(NULL);
SELECT * FROM system_hotspots(-1);
SELECT * FROM system_hotspots(1001);
DELETE FROM findings;
TRUNCATE events;
DROP SCHEMA plain CASCADE;
