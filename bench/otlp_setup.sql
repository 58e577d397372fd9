-- otlp_setup.sql: bodies of 512 spans as SDKs send them, in protobuf and in JSON. The spans are the
-- captured ones, again and again, with ids of their own: traces of 8 spans, the first of which is the
-- root; so are the resources and scopes.
\set encode :source '/test/otlp_encode.sql'
\i :encode

CREATE UNLOGGED TABLE bench.captured AS
SELECT row_number() OVER () - 1 AS n, g - 'scopeSpans' AS resource, s - 'spans' AS scope, p.span
  FROM (SELECT regexp_replace(convert_from(pg_read_binary_file(:'source' || '/test/data/otlp/' || f), 'UTF8'), '\\u(0000|d[89a-f]..)', '', 'g')::jsonb AS body
          FROM pg_ls_dir(:'source' || '/test/data/otlp') f WHERE f LIKE '%.json') AS b,
       jsonb_array_elements(b.body -> 'resourceSpans') AS g, jsonb_array_elements(g -> 'scopeSpans') AS s,
       LATERAL (SELECT e.span - ARRAY['traceId', 'spanId', 'parentSpanId'] AS span FROM jsonb_array_elements(s -> 'spans') AS e (span)) AS p;
ALTER TABLE bench.captured ADD wire bytea;
UPDATE bench.captured SET wire = pg_temp.span(span);

CREATE UNLOGGED TABLE bench.sent AS
SELECT b AS body, b * 512 + i AS n, md5(format('trace %s', (b * 512 + i) / 8)) AS trace, left(md5(format('span %s', b * 512 + i)), 16) AS id,
       CASE WHEN i % 8 > 0 THEN left(md5(format('span %s', (b * 512 + i) / 8 * 8)), 16) END AS parent, c.n AS captured
  FROM generate_series(0, :bodies - 1) AS b, generate_series(0, 511) AS i, (SELECT count(*) AS count FROM bench.captured) AS t, bench.captured c
 WHERE c.n = (b * 512 + i) % t.count;
ANALYZE bench.sent;

-- Not compressed: to unpack them is no part of the work.
CREATE UNLOGGED TABLE bench.requests (n int PRIMARY KEY, wire bytea, json text, events text);
ALTER TABLE bench.requests ALTER wire SET STORAGE EXTERNAL, ALTER json SET STORAGE EXTERNAL, ALTER events SET STORAGE EXTERNAL;
INSERT INTO bench.requests (n, wire, json)
SELECT s.body,
       pg_temp.f_bytes(1, pg_temp.f_bytes(1, pg_temp.pairs(1, r.resource -> 'resource' -> 'attributes')) || pg_temp.f_bytes(2, pg_temp.scope(r.scope) || s.wire)),
       r.resource || jsonb_build_object('scopeSpans', jsonb_build_array(r.scope || jsonb_build_object('spans', s.json)))
  FROM (SELECT s.body, min(s.captured) AS captured,
               string_agg(pg_temp.f_bytes(2, pg_temp.f_bytes(1, decode(trace, 'hex')) || pg_temp.f_bytes(2, decode(id, 'hex')) || pg_temp.f_bytes(4, decode(parent, 'hex')) || c.wire), '' ORDER BY s.n) AS wire,
               jsonb_agg(c.span || jsonb_strip_nulls(jsonb_build_object('traceId', trace, 'spanId', id, 'parentSpanId', parent)) ORDER BY s.n) AS json
          FROM bench.sent s JOIN bench.captured c ON c.n = s.captured GROUP BY s.body) AS s,
       LATERAL (SELECT resource, scope FROM bench.captured c WHERE c.n = s.body % (SELECT count(*) FROM bench.captured)) AS r;
UPDATE bench.requests SET json = '{"resourceSpans": [' || json || ']}';
VACUUM ANALYZE bench.requests;
