-- How a trace differs from another one.
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
SELECT * FROM compare_traces('000000c1-0000-0000-0000-000000000000', '000000c0-0000-0000-0000-000000000000');
-- With itself nothing differs; the other way round it is the opposite.
SELECT count(*) > 10 AS steps, count(*) FILTER (WHERE count_a <> count_b OR ms_a <> ms_b OR difference_ms <> 0) AS different FROM compare_traces('000000c0-0000-0000-0000-000000000000', '000000c0-0000-0000-0000-000000000000');
SELECT count(*) FROM (SELECT path, kind, service_name, count_a, count_b, ms_a, ms_b, difference_ms FROM compare_traces('000000c0-0000-0000-0000-000000000000', '000000c1-0000-0000-0000-000000000000')
    EXCEPT ALL SELECT path, kind, service_name, count_b, count_a, ms_b, ms_a, -difference_ms FROM compare_traces('000000c1-0000-0000-0000-000000000000', '000000c0-0000-0000-0000-000000000000')) x;
-- Numbers, ids and literals are no difference; names with digits are.
SELECT pg_temp.make('a1', $$
    1 - 0 req GET_/orders/17?page=2 s/t 50
    2 1 1 query SELECT_*_FROM_t1_WHERE_id=17_AND_n='it''s_7' s/t 10
    3 1 2 call load_0f3b2a6e-1c7e-4d3a-9b6f-0a1b2c3d4e5f s/t 3
    4 1 3 call step1 s/t 3 $$) AS a, pg_temp.make('a2', $$
    1 - 0 req GET_/orders/4711 s/t 70
    2 1 1 query SELECT_*_FROM_t1_WHERE_id=4_AND_n='no' s/t 10.5
    3 1 2 call load_1f3b2a6e-1c7e-4d3a-9b6f-0a1b2c3d4e5f s/t 3
    4 1 3 call step2 s/t 3 $$) AS b \gset
SELECT path, kind, count_a, count_b, ms_a, ms_b, difference_ms FROM compare_traces(:'a', :'b');
-- Chains are aligned by what they are part of.
SELECT pg_temp.make('a3', $$
    1 - 0 req GET_/ s/t
    2 1 1 read x s/t
    3 2 2 read y s/t
    4 3 9 resp 200 s/t $$) AS a, pg_temp.make('a4', $$
    1 - 0 req GET_/ s/t
    2 1 1 read x s/t
    3 2 2 read x s/t
    4 3 3 read y s/t
    5 4 4 resp 200 s/t $$) AS b \gset
SELECT path, kind, count_a, count_b, ms_a, ms_b, difference_ms FROM compare_traces(:'a', :'b');

-- Traces to compare with: the good one first.
SELECT trace_id, duration_ms FROM find_similar_traces('000000c0-0000-0000-0000-000000000000');
SELECT trace_id FROM find_similar_traces(:'a');
SELECT trace_id FROM find_similar_traces('000000a1-0000-0000-0000-000000000000', 1);
SELECT count(*) FROM find_similar_traces('000000a1-0000-0000-0000-000000000000'::text, 0);
SELECT count(*) FROM find_similar_traces(NULL::uuid);
SELECT count(*) FROM find_similar_traces('000000ff-0000-0000-0000-000000000000');

SELECT count(*) FROM compare_traces(NULL::uuid, '000000c0-0000-0000-0000-000000000000');
SELECT count(*) FROM compare_traces('000000c0-0000-0000-0000-000000000000', NULL::uuid);
SELECT count(*) FROM compare_traces('000000c0-0000-0000-0000-000000000000', '000000ff-0000-0000-0000-000000000000');
SELECT count(*) FROM compare_traces('000000c0-0000-0000-0000-000000000000'::text, '000000c1-0000-0000-0000-000000000000'::text, 3);
SELECT count(*) FROM compare_traces('000000c0-0000-0000-0000-000000000000', '000000c1-0000-0000-0000-000000000000', -1);
TRUNCATE events;
SET client_min_messages = warning;
DROP SCHEMA plain CASCADE;
