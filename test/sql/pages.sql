-- Pages: what is on them, that they ask nobody for anything, and that they stay short.
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

-- What a page has to read, without its style, script and tags.
CREATE FUNCTION pg_temp.words(page text) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(regexp_replace(regexp_replace(page, '<(style|script)>.*?</\1>', ' ', 'g'), '<[^>]*>', ' ', 'g'), '\s+', ' ', 'g')
$$;
-- What is wrong with a page: it would load something, run or style what is not ours, or leave an element open.
CREATE FUNCTION pg_temp.faults(page text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT 'loads ' || m[1] FROM regexp_matches((SELECT string_agg(t[1], '') FROM regexp_matches(page, '(<[^>]*>)', 'g') AS t) || (SELECT string_agg(t[1], '') FROM regexp_matches(page, '<style>(.*?)</style>', 'g') AS t),
                                                '((?:src|href|action|data|poster|srcset)=["''](?!#|data:,).{0,20}|url\(.{0,20}|@import.{0,20})', 'gi') AS m
    UNION ALL
    SELECT tag || ' ' || n FROM (SELECT tag, (SELECT count(*) FROM regexp_matches(page, '<' || tag || '[ >]', 'g')) AS n FROM unnest('{script,style,html,body,head,title,iframe,object,img,form,input}'::text[]) AS tag) t
     WHERE n <> CASE WHEN tag IN ('script', 'style', 'html', 'body', 'head') THEN 1 WHEN tag = 'title' THEN n ELSE 0 END
    UNION ALL
    SELECT 'handler ' || m[1] FROM regexp_matches(page, '<[a-z]+ [^>]*?\m(on[a-z]+=.{0,20})', 'g') AS m
    UNION ALL
    SELECT tag || ': ' || opened || ' opened, ' || closed || ' closed' FROM (SELECT tag, (SELECT count(*) FROM regexp_matches(page, '<' || tag || '[ >]', 'g')) AS opened, (SELECT count(*) FROM regexp_matches(page, '</' || tag || '>', 'g')) AS closed
      FROM unnest('{p,b,i,u,em,samp,bdi,div,table,tr,td,th,svg,g,text,span,h1,h2,button}'::text[]) AS tag) t WHERE opened <> closed
    UNION ALL
    SELECT 'wide cell ' || left(m[1], 20) FROM regexp_matches(page, '<td><bdi>[^<]*?([^< -]{180,})', 'g') AS m
    UNION ALL
    SELECT 'character ' || ascii(m[1]) FROM regexp_matches(page, U&'([\0001-\0009\000B-\001F\007F-\009F\061C\200E\200F\2028-\202E\2066-\2069\FFFE\FFFF])', 'g') AS m
    UNION ALL
    SELECT 'too long: ' || octet_length(page) WHERE octet_length(page) > 1000000
$$;

SELECT inserted FROM ingest_events(pg_read_file(:'banking'));
SELECT detect() > 0 AS detected;
SELECT event2_trace_id AS home FROM findings WHERE kind = 'lost update' AND confirmed AND variable = 'accounts.alice.balance' \gset
SELECT trace_html(:'home') AS page \gset
SELECT faults FROM pg_temp.faults(:'page') AS faults;
\pset format unaligned
SELECT pg_temp.words(:'page');
-- The race as race_svg() draws it, but for the style and how often it was seen; all that events say.
SELECT position(regexp_replace(regexp_replace(race_svg(id), '<style>.*</style>\n<rect[^\n]*\n', ''), ', seen once[^<]*', '') IN :'page') > 0 AS same FROM findings WHERE event2_trace_id = :'home' AND kind = 'lost update' AND confirmed;
SELECT regexp_matches(:'page', '<samp>(StateChange write accounts.alice.balance[^<]*)</samp>') AS says;
SELECT trace_html(:'home') = trace_html(:'home'::uuid) AS by_text, trace_html(NULL::uuid) IS NULL AS of_null, trace_html(plain.id('ab')) IS NULL AS unknown;

--
-- Long traces: 10,000 events are on a page of 1 MB, of more it says what is left out
--
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns, attributes)
SELECT plain.id('5'), plain.id('5' || i), CASE WHEN i > 1 THEN plain.id('5' || (i / 6 + (i < 6)::int)) END, '2001-01-01+00'::timestamptz + i * interval '100 us',
       (CASE WHEN i = 1 THEN 'HttpRequest' WHEN i % 3 = 0 THEN 'DatabaseQuery' WHEN i % 1001 = 0 THEN 'Error' ELSE 'FunctionCall' END)::event_kind, 'SELECT price FROM items WHERE id = ' || i, 's' || i % 5,
       CASE WHEN i = 1 THEN 1100000000 WHEN i % 1001 <> 0 THEN 1000000 END, jsonb_build_object('n', i, 'text', repeat('x', 50))
  FROM generate_series(1, 10000) i;
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns, attributes)
SELECT plain.id('6'), plain.id('6' || i), CASE WHEN i > 1 THEN plain.id('61') END, '2001-02-01+00'::timestamptz + i * interval '100 us',
       (CASE WHEN i % 20000 = 0 THEN 'Error' WHEN i % 3 = 0 THEN 'Custom' ELSE 'FunctionCall' END)::event_kind, 'call', 's', CASE WHEN i % 3 = 1 THEN i END, jsonb_build_object('n', i)
  FROM generate_series(1, 30000) i;
SELECT trace_html(plain.id('5')) AS page5, trace_html(plain.id('6')) AS page6 \gset
SELECT faults FROM pg_temp.faults(:'page5') AS faults;
SELECT faults FROM pg_temp.faults(:'page6') AS faults;
SELECT (SELECT count(*) FROM regexp_matches(:'page5', '<p [^>]*style=--d', 'g')) AS rows_of_10000, (SELECT count(*) FROM regexp_matches(:'page6', '<p [^>]*style=--d', 'g')) AS rows_of_30000;
-- What failed has its attributes before others.
SELECT (SELECT count(*) FROM regexp_matches(:'page5', '<samp>Error ', 'g')) AS errors_of_10000, (SELECT count(*) FROM regexp_matches(:'page6', '<samp>Error ', 'g')) AS errors_of_30000;
SELECT regexp_matches(:'page5', '<p class="note"><bdi>([^<]*(?:left out)[^<]*)', 'g');
SELECT regexp_matches(:'page6', '<p class="note"><bdi>([^<]*(?:left out)[^<]*)', 'g');

--
-- Shapes
--
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, duration_ns, attributes) VALUES
    (plain.id('1'), plain.id('11'), NULL, '2001-03-01+00', 'Custom', NULL, NULL, NULL, NULL),
    (plain.id('2'), plain.id('21'), plain.id('22'), '2001-03-01+00', 'FunctionCall', 'a', 's', 1000, '[]'),
    (plain.id('2'), plain.id('22'), plain.id('21'), '2001-03-01+00', 'FunctionCall', 'b', 's', 1000, '"scalar"'),
    (plain.id('3'), plain.id('31'), plain.id('99'), '2001-03-01+00', 'FunctionCall', 'orphan', 's', 5000000, '{"deep": {"a": {"b": {"c": {"d": {"e": 1}}}}}}');
SELECT t AS trace, (SELECT string_agg(f, ', ') FROM pg_temp.faults(trace_html(plain.id(t::text))) f) AS faults, regexp_replace(pg_temp.words(trace_html(plain.id(t::text))), '^.*attributes 0', '...') AS words FROM generate_series(1, 3) t;

\pset format aligned

--
-- Hostile texts
--
TRUNCATE events;
CREATE TABLE plain.hostile (n int, what text, text text);
INSERT INTO plain.hostile VALUES
    (1, 'markup', '<script>alert(1)</script><img src=x onerror=alert(1)>'), (2, 'end of an element', '</samp></p></div></body></html><b onclick=x>'), (3, 'quotes', '"'' onmouseover="alert(1)" x='''), (4, 'entities', '&lt;script&gt; &amp;lt; &#60;'),
    (5, 'lines', E'one\ntwo\r\nthree\tfour'), (6, 'terminal', E'\x1b]0;title\x07\x1b[31m'), (7, 'direction', U&'abc\202Edef\202C\2067ghi\2069\200F\061C'), (8, 'noncharacters', U&'\FFFE\FFFF\FDD0\+01FFFE\0080\0085'),
    (9, 'style', '</style></title><style>*{display:none}</style>'), (10, 'comment', '--><!-- <![CDATA[ ]]>'), (11, 'link', 'javascript:alert(1) href="http://example.com/x" url(http://example.com/y) @import "z"'), (12, 'long', repeat('x', 1000000));
INSERT INTO events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, thread_id, span_id, duration_ns, attributes, tags)
SELECT plain.id('a' || n || 'b' || t), plain.id('a' || n || 'b' || t || e), CASE WHEN e > 1 THEN plain.id('a' || n || 'b' || t || '1') END, '2001-01-01+00'::timestamptz + n * interval '1 hour' + (t + 2 * e) * interval '1 ms',
       (ARRAY['HttpRequest', 'StateChange', 'StateChange', 'Error', 'DatabaseQuery'])[e]::event_kind,
       CASE WHEN e IN (2, 3) THEN left(text, 250) ELSE text END, left(text, 120), text, 't' || t, left(text, 100) || e, CASE WHEN e IN (1, 5) THEN 20000000 END,
       CASE WHEN e IN (2, 3) THEN jsonb_build_object('access_type', CASE e WHEN 2 THEN 'Read' ELSE 'Write' END, 'new_value', left(text, 900), 'location', left(text, 900)) ELSE jsonb_build_object(left(text, 1000), text, 'list', jsonb_build_array(text), 'in', jsonb_build_object(left(text, 1000), text)) END,
       jsonb_build_object(left(text, 1000), text)
  FROM plain.hostile, generate_series(1, 2) t, generate_series(1, 5) e;
SELECT detect() > 0 AS detected;
SELECT n, what, f FROM plain.hostile, pg_temp.faults(trace_html(plain.id('a' || n || 'b1'))) f;
SELECT octet_length(trace_html(plain.id('a12b1'))) < 100000 AS short, trace_html(plain.id('a12b1')) ~ 'x\.\.\. \(cut, 1000000 bytes in all\)' AS said;
SELECT f FROM pg_temp.faults(report_html('100 years')) f;
SELECT octet_length(report_html('100 years')) < 500000 AS short, report_html(NULL::interval) IS NULL AS of_null;

-- A report says what there is, and where nothing is that there is nothing.
SELECT regexp_matches(report_html('1 hour'), '<h2 id="([^"]*)"', 'g');
SELECT pg_temp.words(report_html('1 microsecond')) ~ 'No service was seen.*None was seen.*No race was found' AS nothing;
SELECT count(*) > 0 AS drawn FROM regexp_matches(report_html('100 years'), '<svg [^>]*>\s*<title>lost update', 'g');

-- A reader may look.
CREATE ROLE regress_looker IN ROLE trace_ext_reader;
SET ROLE regress_looker;
SELECT trace_html('0000a1b1-0000-0000-0000-000000000000') IS NOT NULL AS page, report_html() IS NOT NULL AS report;
RESET ROLE;
DROP ROLE regress_looker;
TRUNCATE events;
DROP SCHEMA plain CASCADE;
