-- Pictures: what they say, what they do with what clients send, and with traces of every shape.
\getenv abs_srcdir PG_ABS_SRCDIR
\set plain :abs_srcdir '/plain.sql'
\set banking :abs_srcdir '/data/express-banking.json'
\set ECHO none
\i :plain
\set ECHO all
SET search_path = trace_ext;
TRUNCATE findings, race_pairs, detect_queue;
SET timezone = 'UTC';
SET datestyle = iso;

-- Whether a text is XML; a server without libxml leaves that to xmllint (test/t).
CREATE FUNCTION pg_temp.is_xml(picture text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM xmlparse(DOCUMENT picture);
    RETURN picture LIKE '<svg xmlns="http://www.w3.org/2000/svg" %</svg>' || chr(10);
EXCEPTION WHEN feature_not_supported THEN
    RETURN true;
WHEN OTHERS THEN
    RETURN false;
END $$;
-- What a picture has to read, text by text.
CREATE FUNCTION pg_temp.texts(picture text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT replace(replace(replace((regexp_match(m[1], '^[^>]*>(.*)$'))[1], '&quot;', '"'), '&#39;', ''''), '&amp;', '&')
      FROM regexp_matches(picture, '<text([^<]*)</text>', 'g') AS m
$$;

--
-- A captured batch: who lost which update
--
SELECT inserted FROM ingest_events(pg_read_file(:'banking'));
SELECT detect() > 0 AS detected;
SELECT id AS finding, event1_trace_id AS remote, event2_trace_id AS home FROM findings WHERE kind = 'lost update' AND confirmed AND variable = 'accounts.alice.balance' \gset
SELECT pg_temp.is_xml(race_svg(:'finding'));
SELECT texts FROM pg_temp.texts(race_svg(:'finding')) AS texts;
-- The value is struck out, where it is.
SELECT count(*) FROM regexp_matches(race_svg(:'finding'), '<line class="badline" x1="[0-9.]+" y1="([0-9.]+)" x2="[0-9.]+" y2="\1"/>', 'g');
-- Once its events have left, what was written down.
BEGIN;
DELETE FROM events WHERE trace_id = :'home';
SELECT texts FROM pg_temp.texts(race_svg(:'finding')) AS texts OFFSET 2;
ROLLBACK;
SELECT race_svg(plain.id('ab'));
SELECT race_svg(NULL::uuid) IS NULL AND race_svg('' || :'finding') = race_svg(:'finding'::uuid) AS by_text;
-- Each kind of finding has its words.
SELECT kind, bool_and(pg_temp.is_xml(race_svg(id))) AS is_xml, bool_and(ARRAY(SELECT t FROM pg_temp.texts(race_svg(id)) t) @> ARRAY['What that means', 'What happened', 'What to do']) AS told
  FROM findings WHERE event2_trace_id IN (SELECT trace_id FROM events) GROUP BY kind ORDER BY kind;

SELECT pg_temp.is_xml(trace_svg(:'home'));
SELECT texts FROM pg_temp.texts(trace_svg(:'home')) AS texts;
SELECT folded(:'home');
SELECT pg_temp.is_xml(flame_svg(:'home'));
SELECT texts FROM pg_temp.texts(flame_svg(:'home')) AS texts;
SELECT trace_dot(:'home');
-- The time of a picture of services goes by the hour that it is.
SELECT regexp_replace(service_dot('100 years'), '\\n(silent|critical|degraded)", color="#b83200", penwidth=2', '"');

--
-- Several traces in one
--
SELECT pg_temp.is_xml(trace_svg(ARRAY[:'home', :'remote']::uuid[])) AS svg, pg_temp.is_xml(flame_svg(ARRAY[:'home', :'remote']::uuid[])) AS flame,
       folded(ARRAY[:'home', :'remote']::uuid[]) AS folded;
SELECT count(*) FROM regexp_matches(trace_dot(ARRAY[:'home', :'remote']::uuid[]), 'subgraph cluster_', 'g');
-- What is not stored is left out; nothing is left of nothing.
SELECT folded(ARRAY[NULL, plain.id('ab'), :'home']::uuid[]) = folded(:'home') AS same;
SELECT trace_svg('{}'::uuid[]), trace_svg(NULL::uuid[]), trace_svg(ARRAY[plain.id('ab')]), flame_svg(plain.id('ab')), trace_dot(plain.id('ab')), folded(plain.id('ab'));

--
-- Folded stacks against plain SQL: 50 random trees of nested calls in three services
--
TRUNCATE events;
SELECT setseed(0.5);
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns)
SELECT plain.id('f' || t), plain.id(t || 'f' || e), CASE WHEN e > 1 THEN plain.id(t || 'f' || (1 + floor(random() * (e - 1)))::int) END,
       '2001-01-01+00'::timestamptz + t * interval '1 hour' + e * interval '1 ms', 'FunctionCall', 'call' || (e % 5), 'svc' || floor(random() * 3), 50000000 + floor(random() * 30000000)::bigint / 1000 * 1000
  FROM generate_series(10, 59) t, generate_series(1, 40) e;
CREATE TEMP VIEW plain_folded AS
WITH RECURSIVE stacks AS (
    SELECT trace_id, event_id, service_name, service_name || ';' || name AS stack, self_ms FROM traced WHERE depth = 0
    UNION ALL
    SELECT t.trace_id, t.event_id, t.service_name, s.stack || CASE WHEN t.service_name = s.service_name THEN '' ELSE ';' || t.service_name END || ';' || t.name, t.self_ms
      FROM stacks s JOIN traced t ON t.trace_id = s.trace_id AND t.parent_id = s.event_id
), traced AS (
    SELECT s.trace_id, t.* FROM (SELECT DISTINCT trace_id FROM events) s, trace_tree(s.trace_id) t
)
SELECT trace_id, stack, round(sum(self_ms) * 1000)::bigint AS us FROM stacks GROUP BY trace_id, stack HAVING sum(self_ms) > 0;
SELECT count(*) > 1000 AS stacks FROM plain_folded;
CREATE TEMP VIEW told AS
SELECT s.trace_id, regexp_replace(line, ' \d+$', '') AS stack, substring(line from '\d+$')::bigint AS us
  FROM (SELECT DISTINCT trace_id FROM events) s, string_to_table(folded(s.trace_id), chr(10)) AS line;
(TABLE told EXCEPT ALL TABLE plain_folded) UNION ALL (TABLE plain_folded EXCEPT ALL TABLE told) LIMIT 5;
-- All of them at once are their sum.
SELECT * FROM (SELECT regexp_replace(line, ' \d+$', '') AS stack, substring(line from '\d+$')::bigint AS us
                 FROM string_to_table(folded((SELECT array_agg(DISTINCT trace_id) FROM events)), chr(10)) AS line) AS a
EXCEPT ALL SELECT stack, sum(us)::bigint FROM plain_folded GROUP BY stack LIMIT 5;

--
-- Shapes: one event, a cycle, an orphan, points alone, no services, far apart, long
--
TRUNCATE events;
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns) VALUES
    (plain.id('1'), plain.id('11'), NULL, '2001-01-01+00', 'Custom', NULL, NULL, NULL),
    (plain.id('2'), plain.id('21'), plain.id('22'), '2001-01-01+00', 'FunctionCall', 'a', 's', 1000),
    (plain.id('2'), plain.id('22'), plain.id('21'), '2001-01-01+00', 'FunctionCall', 'b', 's', 1000),
    (plain.id('3'), plain.id('31'), plain.id('99'), '2001-01-01+00', 'FunctionCall', 'orphan', 's', 5000000),
    (plain.id('4'), plain.id('41'), NULL, '0001-01-01+00', 'FunctionCall', 'first', '', 1),
    (plain.id('4'), plain.id('42'), plain.id('41'), '9000-01-01+00', 'FunctionCall', 'last', 's', 9223372036854775807);
SELECT t AS trace, pg_temp.is_xml(trace_svg(i)) AS svg, pg_temp.is_xml(flame_svg(i)) AS flame, trace_dot(i) ~ '^digraph trace \{.*\}$' AS dot, folded(i) AS folded
  FROM generate_series(1, 4) t, LATERAL (SELECT plain.id(t::text) AS i) i;
SELECT t AS trace, string_agg(texts, ' | ') FROM generate_series(1, 4) t, pg_temp.texts(trace_svg(plain.id(t::text))) WITH ORDINALITY AS texts (texts, n) WHERE n > 6 GROUP BY t ORDER BY t;
-- 20,000 calls, each in the one before, and each after the one before: the most important are drawn.
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns)
SELECT plain.id('5'), plain.id('5' || i), CASE WHEN i > 10000 THEN plain.id('5' || (i - 1)) END, '2001-01-01+00'::timestamptz + i * interval '1 ms', 'FunctionCall', 'deep', 's', (30000 - i) * 1000000::bigint
  FROM generate_series(10000, 29999) i;
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns)
SELECT plain.id('6'), plain.id('6' || i), CASE WHEN i > 10000 THEN plain.id('610000') END, '2001-01-01+00'::timestamptz + i * interval '1 ms', 'FunctionCall', 'wide' || i, 's' || i % 100, 1000000
  FROM generate_series(10000, 29999) i;
SELECT t AS trace, pg_temp.is_xml(trace_svg(i)) AS svg, length(trace_svg(i)) < 300000 AS short, pg_temp.is_xml(flame_svg(i)) AS flame, length(flame_svg(i)) < 300000 AS short,
       length(trace_dot(i)) < 300000 AS dot, length(folded(i)) < 3000000 AS folded, (SELECT texts FROM pg_temp.texts(trace_svg(i)) texts ORDER BY texts LIKE '%not drawn%' DESC LIMIT 1)
  FROM generate_series(5, 6) t, LATERAL (SELECT plain.id(t::text) AS i) i;

--
-- Hostile texts: in every place that a client fills
--
TRUNCATE events;
CREATE TABLE plain.hostile (n int, what text, text text);
INSERT INTO plain.hostile VALUES
    (1, 'markup', '<script>alert(1)</script>'), (2, 'end of CDATA', ']]><svg onload="x">'), (3, 'quotes', '"''`"; } x [label="'), (4, 'entities', '&lt;b&gt; &amp; &#60; &bogus;'),
    (5, 'lines', E'one\ntwo\r\nthree\tfour'), (6, 'terminal', E'\x1b[31mred\x1b[0m\x07'), (7, 'control', E'\x01\x08\x0b\x0c\x0e\x1f\x7f'),
    (8, 'direction', U&'abc\202Edef\202C\2067ghi\2069\200F\061C'), (9, 'noncharacters', U&'\FFFE\FFFF\FDD0\+01FFFE'), (10, 'C1', U&'\0080\0085\009F'),
    (11, 'marks', 'Z' || repeat(U&'\0301\0316', 200)), (12, 'wide', repeat('漢字', 300)), (13, 'backslash', '\" \\ \n \N \x00'), (14, 'style', '</style><style>*{display:none}</style>'),
    (15, 'comment', '--><!-- x'), (16, 'semicolons', 'a;b;c 12'), (17, 'blank', ' '), (18, 'long', repeat('x', 1000000)), (19, 'emoji', U&'\+01F468\200D\+01F469\FE0F'),
    (20, 'separators', U&'a\2028b\2029c');
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, thread_id, duration_ns, attributes)
SELECT plain.id('a' || n || 'b' || t), plain.id('a' || n || 'b' || t || e), CASE WHEN e > 1 THEN plain.id('a' || n || 'b' || t || '1') END, '2001-01-01+00'::timestamptz + n * interval '1 hour' + (t + 2 * e) * interval '1 ms',
       (ARRAY['HttpRequest', 'StateChange', 'StateChange', 'Error', 'DatabaseQuery'])[e]::event_kind,
       CASE WHEN e IN (2, 3) THEN left(text, 250) ELSE text END, left(text, 120), text, 't' || t, CASE WHEN e IN (1, 5) THEN 20000000 END,
       CASE WHEN e IN (2, 3) THEN jsonb_build_object('access_type', CASE e WHEN 2 THEN 'Read' ELSE 'Write' END, 'new_value', left(text, 900), 'location', left(text, 900)) ELSE jsonb_build_object(left(text, 1000), text, 'message', text) END
  FROM plain.hostile, generate_series(1, 2) t, generate_series(1, 5) e;
SELECT detect() > 0 AS detected;
SELECT count(DISTINCT variable) AS raced FROM findings WHERE variable IN (SELECT left(text, 250) FROM plain.hostile);
CREATE TEMP VIEW drawn AS
SELECT n, what, picture, svg FROM plain.hostile h, LATERAL (VALUES
    ('trace_svg', trace_svg(plain.id('a' || n || 'b1'))), ('flame_svg', flame_svg(plain.id('a' || n || 'b1'))),
    ('race_svg', (SELECT race_svg(f.id) FROM findings f WHERE f.variable = left(h.text, 250) ORDER BY f.id LIMIT 1))) AS p (picture, svg);
SELECT picture, what, pg_temp.is_xml(svg) AS is_xml, length(svg) AS bytes FROM drawn WHERE svg IS NULL OR NOT pg_temp.is_xml(svg) OR length(svg) > 40000
    -- No element, attribute or style but ours; nothing that is not seen.
    OR svg ~* '<script|<[^>]*onload=|</style>.*</style>|<!--' OR svg ~ U&'[\0001-\0009\000B-\001F\007F-\009F\061C\200E\200F\2028-\202E\2066-\2069\FFFE\FFFF]' ORDER BY n, 1;
-- What can be read is read: as text.
SELECT texts FROM drawn, pg_temp.texts(svg) AS texts WHERE picture = 'trace_svg' AND texts ~ 'alert|svg|bogus|two|red|def|label' AND n < 10 ORDER BY n, texts COLLATE "C";
-- A string of DOT ends where it should: what is left without strings has only words of ours.
SELECT what, left(rest, 100) FROM plain.hostile, LATERAL (SELECT regexp_replace(trace_dot(plain.id('a' || n || 'b1')), '"([^"\\\n]|\\.)*"', 'S', 'g') AS rest) r
 WHERE rest ~ '"' OR regexp_replace(rest, '\m(digraph|trace|rankdir|LR|bgcolor|S|node|shape|box|style|fillcolor|color|fontname|fontsize|edge|label|labelloc|t|penwidth|dashed|dir|none|fontcolor|t\d+_\d+|x_[0-9a-f]+|[0-9.]+)\M', '', 'g') ~ '[[:alnum:]<&]';
-- A line of a folded stack is frames and a number.
SELECT what, line FROM plain.hostile, string_to_table(folded(plain.id('a' || n || 'b1')), chr(10)) AS line WHERE line !~ '^[^;]+(;[^;]+){1,3} \d+$' OR line ~ '[\x01-\x1f\x7f]' OR length(line) > 2000;
SELECT count(*) AS stacks FROM plain.hostile, string_to_table(folded(plain.id('a' || n || 'b1')), chr(10)) AS line;
SELECT service_dot('100 years') ~ '^digraph services \{.*\}$' AND length(service_dot('100 years')) < 20000 AS short;

-- An id as it is shown is enough, here and for what goes out; it must be of one.
SELECT what FROM (SELECT '0000a1b1' AS short, plain.id('a1b1') AS id, f.id AS finding FROM findings f ORDER BY f.id LIMIT 1) AS i,
     LATERAL (VALUES ('trace_svg', trace_svg(short) = trace_svg(id)), ('flame_svg', flame_svg(short) = flame_svg(id)), ('folded', folded(short) = folded(id)), ('trace_dot', trace_dot(short) = trace_dot(id)),
                     ('trace_html', trace_html(short) = trace_html(id)), ('race_svg', race_svg(left(finding::text, 8)) = race_svg(finding)), ('export_otlp', export_otlp(short) = export_otlp(id)),
                     ('export_jaeger', export_jaeger(short) = export_jaeger(id)), ('export_zipkin', export_zipkin(short) = export_zipkin(id)), ('export_chrome', export_chrome(short) = export_chrome(id)),
                     ('grafana_trace', (SELECT jsonb_agg(g) FROM grafana_trace(short) g) = (SELECT jsonb_agg(g) FROM grafana_trace(id) g))) AS t (what, equal) WHERE equal IS NOT TRUE;
SELECT trace_svg('ffffffff');
SELECT race_svg('zz');
SELECT trace_svg(NULL::text), export_otlp(NULL::text);

-- A reader may look; one without rights may not.
CREATE ROLE regress_looker IN ROLE trace_ext_reader;
SET ROLE regress_looker;
SELECT trace_svg(plain_id) IS NOT NULL AND flame_svg(plain_id) IS NOT NULL AND trace_dot(plain_id) IS NOT NULL AND folded(plain_id) IS NOT NULL AND service_dot() IS NOT NULL
   AND (SELECT bool_and(race_svg(id) IS NOT NULL) FROM findings) AS all_seen FROM (SELECT '0000a1b1-0000-0000-0000-000000000000'::uuid AS plain_id) i;
RESET ROLE;
DROP ROLE regress_looker;
TRUNCATE events;
DROP SCHEMA plain CASCADE;
