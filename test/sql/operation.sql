-- The operation of an event: its name as a template.
SET client_min_messages = warning;
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' -> '
\pset null NULL
SET search_path = trace_ext, pg_temp;

-- Numbers, UUIDs, hexadecimal ids, tokens and quoted literals go; what is joined is one.
SELECT n, operation('StateChange'::event_kind, n) FROM unnest(ARRAY[
    'accounts.alice.balance', 'accounts[1].balance', 'accounts[1][22].balance', 'cart:8f14e45fceea167a', 'user_42', 'user_42_17', 'order-2024-11-30-17',
    '2024-11-30T17:00:00.123Z', '2024-11-30 17:00:00+01', '20241130T170000Z', '10.0.0.1:8080', '-5', '1.5', '8f14e45f-ceea-467a-9c9c-1234567890ab', 'lock 8F14E45F-CEEA-467A-9C9C-1234567890AB of 3',
    'Foo@7f3a2b10', '0x1F', 'task123456', 'accounts.user1234.balance', 'user17', 'sha512', 'HTTP404', 'x8664', 'sha123456', 'session:V1StGXR8_Z5jdHi6B-myT', 'cjld2cjxh0000qzrmn831i7rn', '01ARZ3NDEKTSV4RRFFQ69G5FAV',
    'say ''it''''s'' now', 'say "a 1" now', 'say ""', 'it''s a dog''s life', 'half ''open', '42', '0', '', ' ', '{}', '{}-{}', 'größe 2', '订单 42']) n;
-- What looks like it stays.
SELECT n, operation('FunctionCall'::event_kind, n) FROM unnest(ARRAY[
    'md5', 'sha256', 'utf8', 'int4', 's3', 'ipv6', 'k8s', 'base64Encode', 'deadbeef', 'x509', 'iso8859', 'secp256k1', 'sha256WithRSAEncryption', 'convertIpv4ToIpv6Address',
    'utf8ToUtf16Converter', 'TLS_ECDHE_RSA_WITH_AES128_GCM_SHA256', '1st', '3d', '42abc', 'größe2', 'pkg.v1.Service/Method', 'std::vector<int32_t>::push_back', '8f14e45f-ceea']) n;
-- Requests: the path without ids, query and fragment; the host, but not who logs in.
SELECT n, operation('HttpRequest'::event_kind, n) FROM unnest(ARRAY[
    'GET /api/users/42?page=2', 'GET /api/users/42/', 'GET /', 'GET', 'get /a#b/1', 'GET /?', 'GET ?a=1', '?1', '', 'POST http://bob:pw1@shop1.example.com:8080/v1/orders/8f14e45fceea167a/items#x', 'https://host2',
    'GET //10.0.0.1/7', 'GET /orders/8f14e45f-ceea-467a-9c9c-1234567890ab.json', 'GET /u/bob.b@example.com/x', 'GET /u/bob%40example.com', 'GET /lodash@4.17.21', 'GET /d/2024-11-30/2024/11', 'GET /api/v2/api2/v1.2',
    'GET /f/a%20b%2042', 'GET /%E2%82%AC/5', 'GET /t/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U',
    'GET /n/V1StGXR8_Z5jdHi6B-myT/e', 'GET /jquery-3.6.0.min.js', 'GET /Users(''bob'')/x', 'GET /how-to-sort-a-list-in-python-3', 'GET /a/../b', 'GET /sha256/utf8', 'GET /größe/1']) n;
SELECT n, operation('HttpResponse'::event_kind, n) FROM unnest(ARRAY['200', '']) n;

-- Queries, as pg_stat_statements prints them; test/t/024_operation.pl compares.
SELECT n, operation('DatabaseQuery'::event_kind, n) FROM unnest(ARRAY[
    'SELECT * FROM t WHERE a = 5 AND b = ''it''''s''', 'SELECT $1, 5, $3', 'SELECT -5, a - 5, a-5, - 5, -5::int, (-5), - -5, -a', 'SELECT 1e5, .5, 5., 1_000, 0x1F, 1..10, a[1:2]',
    'SELECT E''a\''b'', N''n'', X''1F'', U&''u'', $$d$$, $t$ $$ $t$, ''a''  ''b''', 'SELECT ''O\''Brien'', ''C:\'' , 1', 'SELECT NULL, TRUE, a IS NOT NULL, b IS NOT TRUE, c IS DISTINCT FROM NULL',
    'SELECT a FROM t GROUP BY 1, 2 ORDER BY 1 DESC, a + 1 LIMIT 10', 'SELECT sum(a) OVER (ORDER BY 1), a::numeric(10,2), CAST(b AS varchar(20)), extract(year FROM c)',
    -- Lists of all lengths but one are the same.
    'SELECT 1 FROM t WHERE a IN (1)', 'SELECT 1 FROM t WHERE a IN (1, 2) AND b = 3', 'SELECT 1 FROM t WHERE a IN ( -1, NULL , ''x'', 4::int, DATE ''2024-11-30'', ''y''::varchar(9)) AND b = 3',
    'SELECT 1 FROM t WHERE a = $1 AND b IN ($2, $3) AND c = $4', 'SELECT 1 FROM t WHERE a IN (?, ?, ?) AND b = ?', 'SELECT 1 FROM t WHERE a IN (:a_1, :a_2)', 'SELECT 1 FROM t WHERE a IN (@p0, @p1)',
    'SELECT 1 FROM t WHERE a IN (%s, %s)', 'SELECT 1 FROM t WHERE a IN (%(a)s, %(b)s)', 'SELECT ARRAY[1, 2]', 'SELECT 1 FROM t WHERE a IN (1, b)', 'SELECT 1 FROM t WHERE a IN ($1 /*, ... */)', 'SELECT 1 FROM t WHERE a IN (1, 2',
    -- Comments and white space
    E'  SELECT a,\n\t  b  FROM t -- x\n ; ', 'SELECT 1/* a /* nested */ 2 */+/**/2 /*traceparent=''00-1''*/', '/* a /* flat */ SELECT 1', 'SELECT 1 /* open', '/* 1 */', 'BEGIN;; COMMIT;',
    -- Other dialects, and what is cut off
    'SELECT `a 1` FROM `t` WHERE b = "x" AND c = ''it\''s'' LIMIT 5, 10 # x', 'SELECT "a 1" FROM t WHERE b = :1 AND c = ?2 AND d = @e AND f = :g', 'SELECT [a b] FROM t', 'SELECT ''open 1', 'SELECT "open 1', 'SELECT $a$ open', 'SELECT data ? ''k'', data #>> ''{a}''',
    'SAVEPOINT s1', 'RELEASE SAVEPOINT s1', 'ROLLBACK TO "s1"', 'ROLLBACK', 'SELECT release FROM savepoint', 'INSERT INTO t VALUES (1, ''a''), (2, ''b'')', 'SET statement_timeout = 5000',
    -- No SQL
    'GET user:42', 'HGETALL session:8f14e45f-ceea-467a-9c9c-1234567890ab', '42', 'selection 5', '']) n;

-- NULL, and kinds as text
SELECT operation(NULL::event_kind, 'a'), operation('Custom'::event_kind, NULL), operation(NULL::text, 'a'), operation('Custom'::text, NULL), operation('Custom'::varchar, 'a 1');
SELECT operation('custom', 'a');
SELECT provolatile, proparallel, proisstrict, count(*) FROM pg_proc WHERE proname = 'operation' AND pronamespace = 'trace_ext'::regnamespace GROUP BY 1, 2, 3;
-- Every kind takes every name.
SELECT string_agg(kind || '=' || operation(kind, 'a 1'), ' ') FROM unnest(enum_range(NULL::event_kind)) kind;

-- At most 200 bytes, cut between characters, never in what a word or an id is told by.
SELECT kind, octet_length(o), right(o, 12) FROM (VALUES
    ('Custom', repeat('ä', 150)), ('Custom', 'a' || repeat('ä', 150)), ('Custom', repeat('a', 195) || ' 12345'), ('Custom', repeat('a', 198) || ' 12345'), ('Custom', repeat('a', 195) || '-12ab'),
    ('Custom', repeat('a', 190) || ' abc12345xyz'), ('HttpResponse', repeat('ä', 150) || '1'), ('HttpRequest', 'GET /' || repeat('abc/', 100)), ('HttpRequest', 'GET /' || repeat('a', 190) || '%20%20%20'),
    ('DatabaseQuery', 'SELECT ' || repeat('a', 188) || ', trueish'), ('DatabaseQuery', 'SELECT ' || repeat('a', 183) || ' IN (1, 2, 3)'), ('DatabaseQuery', 'SELECT ' || repeat('a, ', 64) || '''x'''), ('DatabaseQuery', 'SELECT "' || repeat('ä ', 100))) v (kind, n),
    LATERAL operation(kind, n) o;

-- Hostile names of 1 MB take milliseconds; square time would be minutes. And each has an operation that is its own.
CREATE TEMP TABLE hostile AS
SELECT what, kind FROM unnest(ARRAY['1', 'a', 'ä', '1-', 'a1-', '{}', '''', '''''', ' ''', '"', 'select /*', 'select (', 'select in (1,', 'select in ($1,', 'select 1 in (1::in(', 'select $a$ ', 'select 1 in (1::varchar(1,', 'select -', 'select ;', 'select $1', 'select 1 order by 1,/**/',
    'select /* /* */', '(-- ', '@a', '%2', '/', '/a.b@', '8f14e45f-', 'http://', 'a@', '{', 'xX9', '\''']) what, unnest(ARRAY['Custom', 'HttpRequest', 'DatabaseQuery']) kind;
CREATE FUNCTION pg_temp.took(kind text, what text, bytes int) RETURNS interval LANGUAGE plpgsql AS $$
DECLARE
    name text := CASE WHEN what ~ '^select ' THEN 'select ' || repeat(substr(what, 8), bytes / (length(what) - 7)) ELSE repeat(what, bytes / length(what)) END;
    began timestamptz := clock_timestamp();
    took interval;
BEGIN
    PERFORM octet_length(trace_ext.operation(kind::trace_ext.event_kind, name));
    took := clock_timestamp() - began;
    IF trace_ext.operation(kind::trace_ext.event_kind, trace_ext.operation(kind::trace_ext.event_kind, name)) <> trace_ext.operation(kind::trace_ext.event_kind, name) THEN
        RAISE EXCEPTION '% of % is another one', kind, what;
    END IF;
    RETURN took;
END $$;
SELECT what, kind, took FROM hostile, LATERAL pg_temp.took(kind, what, 1000000) took WHERE took > '5 s';

-- The code of an error is what it is.
SELECT string_agg(operation('Error', name), ', ') FROM unnest(ARRAY['500', '22012', '40P01', '123456', 'user 42', 'ABCDE']) name;
-- Random names whose template is known. Rows are faults.
CREATE TEMP TABLE seed AS SELECT (random() * 2 - 1)::numeric(8, 7)::double precision AS seed;
SELECT setseed(seed) IS NOT NULL AS seeded FROM seed;
CREATE FUNCTION pg_temp.pick(VARIADIC a text[]) RETURNS text VOLATILE LANGUAGE sql AS $$ SELECT a[ceil(random() * cardinality(a))] $$;
CREATE FUNCTION pg_temp.digits(n int) RETURNS text VOLATILE LANGUAGE sql AS $$ SELECT string_agg(floor(random() * 10)::text, '') FROM generate_series(1, n) $$;
CREATE FUNCTION pg_temp.id() RETURNS text VOLATILE LANGUAGE sql AS $$
    SELECT pg_temp.pick(pg_temp.digits(ceil(random() * 20)::int), md5(random()::text), gen_random_uuid()::text, upper(gen_random_uuid()::text), '7' || left(md5(random()::text), 7 + floor(random() * 20)::int),
                        to_char(timestamp '2020-01-01' + random() * interval '9 years', 'YYYY-MM-DD'), '0x' || left(md5(random()::text), ceil(random() * 12)::int)) $$;
CREATE FUNCTION pg_temp.word() RETURNS text VOLATILE LANGUAGE sql AS $$
    SELECT pg_temp.pick('accounts', 'balance', 'v1', 'md5', 'k8s', 'user', 'a', 'base64Encode', 'größe', 'API', 'deadbeef', 'order', 'x509') $$;
CREATE FUNCTION pg_temp.text() RETURNS text VOLATILE LANGUAGE sql AS $$ SELECT pg_temp.pick('', 'x', 'it is', '1', '--', '/*', '(', '$1', 'ä', ', ', ' IN (', ';', '"', '`', '?') || pg_temp.digits(3) $$;
CREATE FUNCTION pg_temp.name(n int, OUT kind text, OUT name text, OUT template text) VOLATILE LANGUAGE plpgsql AS $$
DECLARE
    join_with text;
    id text;
    part text;
BEGIN
    kind := pg_temp.pick('Custom', 'StateChange', 'LockAcquire', 'FunctionCall', 'Error', 'AsyncSpawn', 'HttpRequest');
    name := CASE WHEN kind = 'HttpRequest' THEN pg_temp.pick('GET /', 'POST http://host1:80/', '/') ELSE '' END;
    template := name;
    FOR i IN 1 .. ceil(random() * 4) LOOP
        part := pg_temp.word() || CASE WHEN kind = 'HttpRequest' THEN pg_temp.pick('/', '-', '_', ':') ELSE pg_temp.pick('/', '-', '_', ':', ' ', '.', '[', '=', ' #') END;
        id := pg_temp.id();
        IF kind <> 'HttpRequest' AND random() < 0.2 THEN
            id := '''' || replace(pg_temp.text(), '''', '') || '''';
        END IF;
        join_with := CASE WHEN kind = 'HttpRequest' THEN pg_temp.pick('/', '/', '.', '-') ELSE pg_temp.pick('/', '-', ' ', '.', ']', ' of ') END;
        name := name || part || id || join_with;
        template := template || part || '{}' || join_with;
    END LOOP;
    IF kind = 'HttpRequest' AND random() < 0.5 THEN
        name := name || pg_temp.pick('?', '#') || pg_temp.text();
    END IF;
END $$;
SELECT seed, kind, name, operation(kind, name), template FROM seed, generate_series(1, 6000) n, LATERAL pg_temp.name(n) x WHERE operation(kind::event_kind, name) <> template LIMIT 5;

CREATE FUNCTION pg_temp.constant() RETURNS text VOLATILE LANGUAGE sql AS $$
    SELECT pg_temp.pick(pg_temp.digits(1 + floor(random() * 9)::int), '-' || pg_temp.digits(2), '- 5', pg_temp.digits(2) || '.5e-3', '''' || pg_temp.text() || '''', 'E''\''' || pg_temp.text() || '''', '$q$' || pg_temp.text() || '$q$',
                        'NULL', 'true', 'False', '''a'' ''b''', 'x''1F''', '''it''''s''') $$;
CREATE FUNCTION pg_temp.space() RETURNS text VOLATILE LANGUAGE sql AS $$ SELECT pg_temp.pick(' ', '  ', E'\n\t', '/* ' || pg_temp.digits(4) || ' '' */', ' /* /* nested */ 1 */ ', E' -- "1\n ') $$;
-- Queries: random conditions, numbered here by counting.
CREATE FUNCTION pg_temp.query(nth int, OUT kind text, OUT name text, OUT template text) VOLATILE LANGUAGE plpgsql AS $$
DECLARE
    n int := 0;
    part text;
BEGIN
    kind := 'DatabaseQuery';
    name := pg_temp.pick('', pg_temp.space()) || 'SELECT' || pg_temp.space() || 'a';
    template := 'SELECT a';
    FOR i IN 1 .. ceil(random() * 6) LOOP
        part := pg_temp.pick(' FROM t1 WHERE b =', ' AND "C 1" >', ' OR d BETWEEN', ' - f(', ' LIMIT', ' || ', ',');
        name := name || part;
        template := template || part;
        IF random() < 0.3 THEN
            name := name || ' x' || pg_temp.space() || pg_temp.pick('IN', 'in', 'not In') || pg_temp.space();
            template := template || ' x IN';
            n := n + 1;
            name := name || '(' || (SELECT string_agg(pg_temp.constant() || pg_temp.pick('', '::int', pg_temp.space()), ',') FROM generate_series(1, 2 + floor(random() * 9)::int)) || ')';
            template := template || ' ($' || n || ' /*, ... */)';
        ELSE
            n := n + 1;
            name := name || pg_temp.space() || pg_temp.constant();
            template := template || ' $' || n;
        END IF;
    END LOOP;
    name := name || pg_temp.pick('', ';', ' ; ', pg_temp.space());
END $$;
SELECT seed, name, operation(kind, name), template FROM seed, generate_series(1, 3000) n, LATERAL pg_temp.query(n) x
 WHERE lower(left(regexp_replace(operation(kind::event_kind, name), '\mnot in\M', 'in', 'gi'), 150)) <> lower(left(regexp_replace(template, ' +', ' ', 'g'), 150)) LIMIT 5;

-- Of tokens that machines make nearly all are seen, and no word among them.
SELECT bytes, count(*) FILTER (WHERE operation('Custom'::event_kind, 'token ' || t) = 'token {}') > 3600 AS nearly_all
  FROM unnest(ARRAY[16, 24, 32]) bytes, generate_series(1, 4000) n,
       LATERAL (SELECT '7' || string_agg(substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', ceil(random() * 62 + g * 0)::int, 1), '') AS t FROM generate_series(2, bytes + n * 0) g) x
 GROUP BY 1 ORDER BY 1;

-- The operation of an operation is itself, and no longer than it may be: of anything.
CREATE FUNCTION pg_temp.anything(words text[], n int) RETURNS text VOLATILE LANGUAGE sql AS $$
    SELECT string_agg(words[ceil(random() * cardinality(words))], '') FROM generate_series(1, n) $$;
CREATE TEMP TABLE anything AS
SELECT kind, pg_temp.anything(CASE n % 3 WHEN 0 THEN ARRAY['{}', '-', '_', '.', ':', 'a', '1', 'x1y2z3a4', 'abcdefgh', '8f14e45f', '''', '"', '/', '%20', '%', '@', 'b', '  ', '?', '#', '[', 'T', 'Z', '30T17', '123456',
           'task123456', 'e9', '8f14e45f-ceea-467a-9c9c-1234567890ab', 'ü', 'GET ', 'http://', '%40', '.b', '{', '}', 'V1StGXR8_Z5jdHi6B-myT']
        WHEN 1 THEN ARRAY['select ', '1', '$1', '$', '''', '''', '"', '`', '-', '- ', '/*', '*/', '--', E'\n', '/*, ... */', ' in (', ',', ',', ')', '(', 'array[', ']', ' null', ' true', ' is ', ' not ', '::', 'int',
           'numeric(', 'order by ', 'limit ', ';', 'e''', 'N', '$a$', '$2', ' ', 'a', '?', ':a', '@b', '%s', '%(a)s', '%(', 'ü', '.', '5', ' savepoint ', 'rollback to ', '\', '{}', ' from ', 'extract(', 'distinct ', 'values ', '#']
        ELSE ARRAY['select ', 'a', 'b', '1', ' ', '''x''', '$3', ', ', ' in (1,2)', ' = ', 'true', 'is null', 'x.y', 'ünï', ' foo_bar_baz', '"Q r"', '2024', '-5', '(', ')', ' in (?, ?)', 'abc123', '/abc-x1y2z3a4'] END,
        1 + floor(random() * CASE WHEN random() < 0.3 THEN 120 ELSE 14 END)::int) AS name
  FROM generate_series(1, 60000) n, LATERAL (SELECT CASE WHEN n % 2 = 0 THEN 'DatabaseQuery' ELSE (enum_range(NULL::event_kind))[ceil(random() * 13 + n * 0)] END AS kind) k;
SELECT seed, kind, name, once, twice FROM seed, anything, LATERAL (SELECT operation(kind, name) AS once OFFSET 0) o, LATERAL (SELECT operation(kind, once) AS twice OFFSET 0) t
 WHERE once IS DISTINCT FROM twice OR octet_length(once) > 200 ORDER BY length(name) LIMIT 5;
SELECT count(DISTINCT name) > 40000 AS many, count(*) FILTER (WHERE octet_length(operation(kind, name)) > 195) > 1000 AS cut FROM anything;
