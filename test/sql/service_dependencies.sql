-- Which service called which in a trace.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set lines :abs_srcdir '/data/lines.sql'
\set checkout :abs_srcdir '/data/checkout.sql'
\set file :abs_srcdir '/data/express-banking.json'
\set ECHO none
\i :plain
\i :lines
\i :checkout
\set ECHO all
SET client_min_messages = notice;
SET timezone = 'UTC';
-- By spans.
SELECT * FROM service_dependencies('000000c0-0000-0000-0000-000000000000');
-- By parents: not an answer, nor the caller's own work that goes on below the called one; within a service there are none.
SELECT pg_temp.make('a1', $$
    1 - 0 req GET_/ front/t
    2 1 1 call f back/u
    3 2 2 query SELECT_1 db/v
    4 3 5 result - db/v
    5 4 6 call g back/u
    6 5 7 err Broken back/u
    7 6 8 resp 500 front/t
    8 1 9 spawn job queue/w
    9 1 10 call h front/t
    10 1 11 call i mail/x 5
    11 10 12 err Down mail/x $$) AS t \gset
SELECT * FROM service_dependencies(:'t');
-- Both, each call once.
SELECT pg_temp.make('a2', $$
    1 - 0 req GET_/ front/t - s1
    2 1 1 req GET_http://back/x front/t - s1
    3 2 2 req GET_/x back/u 10 s2 s1
    4 3 3 call f lib/u 4 s2 s1
    5 2 15 resp 200 front/t - s1
    6 2 3 req GET_/y back/v 5 s3 s1
    7 6 4 err Broken back/v - s3 s1 $$) AS t \gset
SELECT * FROM service_dependencies(:'t');
SELECT pg_temp.make('a3', '1 - 0 call f front/t') AS t \gset
SELECT * FROM service_dependencies(:'t');
-- As the view has it, where there are spans.
SELECT count(*) AS differences FROM (
    SELECT from_service, to_service, link_type, call_count, error_count FROM service_dependencies('000000c0-0000-0000-0000-000000000000')
    EXCEPT SELECT c.service, d.service, e.link_type, count(*), count(*) FILTER (WHERE d.status = 'ERROR') FROM distributed_edges e JOIN distributed_spans c ON c.trace_id = e.trace_id AND c.span_id = e.from_span
      JOIN distributed_spans d ON d.trace_id = e.trace_id AND d.span_id = e.to_span WHERE e.trace_id = '000000c0-0000-0000-0000-000000000000' AND c.service <> d.service GROUP BY 1, 2, 3) d;

SELECT count(*) FROM service_dependencies(NULL::uuid);
SELECT count(*) FROM service_dependencies('000000ff-0000-0000-0000-000000000000');
SELECT count(*) FROM service_dependencies('000000c0-0000-0000-0000-000000000000'::text, 2);
SELECT count(*) FROM service_dependencies('000000c0-0000-0000-0000-000000000000', NULL);
SELECT count(*) FROM service_dependencies('000000c0-0000-0000-0000-000000000000', -1);
TRUNCATE events;
SET client_min_messages = warning;
DROP SCHEMA plain CASCADE;
