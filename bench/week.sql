-- week.sql: a week of 30 services, the same in each run but for its end, in which five
-- of them fall ill: to see whether the questions that people ask find them.
--
--	psql -v now="'2026-03-08 10:20:00+00'" -v per_hour=150 -f week.sql
--
-- Or so many hours in its place: -v hours=168.
--
-- A trace goes from the gateway to one of ten services of the front, and on to one
-- behind it; each answers after a query of its own. More by day than by night.
--	checkout	a deploy 5 hours ago made a query twelve times as slow
--	catalog		since 26 hours ago, one query a price in place of one for all
--	inventory	since 3 hours ago, all wait for the lock "stock"
--	mailer		has died 3 hours and 10 minutes ago
--	payments	since 2 hours ago, one request in eight fails
-- Everything hangs on the number of the trace by hashes: no seed, no state.

\if :{?hours}
\else
\set hours 168
\endif

CREATE SCHEMA week;
CREATE TABLE week.front (n int PRIMARY KEY, name text);
INSERT INTO week.front SELECT ordinality - 1, name FROM unnest(ARRAY['checkout', 'catalog', 'search', 'cart', 'profile', 'orders', 'reviews', 'offers', 'sessions', 'tracking']) WITH ORDINALITY AS s (name);
CREATE TABLE week.back (n int PRIMARY KEY, name text);
INSERT INTO week.back SELECT ordinality - 1, name FROM unnest(ARRAY['inventory', 'payments', 'mailer', 'pricing', 'accounts', 'ledger', 'fraud-check', 'addresses', 'tax', 'shipping', 'media',
    'ranking', 'loyalty', 'vouchers', 'audit-log', 'flags', 'geo', 'stock-feed', 'sms'] ) WITH ORDINALITY AS s (name);

-- From 0 to 1.
CREATE FUNCTION week.chance(n bigint, salt bigint) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((hashint8extended(n, salt) >> 8) & 1073741823) / 1073741824.0;

-- Durations as they are: many near the middle, some much longer.
CREATE FUNCTION week.ms(n bigint, salt bigint, middle double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN middle * exp(0.5 * sqrt(-2 * ln(1 - week.chance(n, salt))) * cos(2 * pi() * week.chance(n, salt + 1)));

CREATE TABLE week.traces AS
SELECT t.*, f.name AS front, b.name AS back, t.started >= :now::timestamptz - interval '5 hours' AS deployed,
       week.ms(t.n, 10, 20) AS front_query, week.ms(t.n, 12, 12) AS back_query,
       CASE WHEN f.name = 'catalog' AND t.started >= :now::timestamptz - interval '26 hours' THEN 30 ELSE 1 END AS price_queries,
       CASE WHEN b.name = 'inventory' AND t.started >= :now::timestamptz - interval '3 hours' THEN week.ms(t.n, 14, 250) ELSE 0 END AS waited,
       CASE WHEN b.name = 'payments' AND week.chance(t.n, 16) < CASE WHEN t.started >= :now::timestamptz - interval '2 hours' THEN 0.125 ELSE 0.002 END THEN 503 ELSE 200 END AS status
  FROM (SELECT h * 100000 + i AS n, at + week.chance(h * 100000 + i, 1) * interval '1 hour' AS started
          FROM (SELECT h, :now::timestamptz - (169 - h) * interval '1 hour' AS at FROM generate_series(169 - :hours, 168) h) AS hours,
               LATERAL generate_series(1, (:per_hour * (1 + 0.5 * sin(extract(hour FROM at AT TIME ZONE 'UTC') * pi() / 12 - 2)))::int) AS i) AS t
  JOIN week.front f ON f.n = floor(week.chance(t.n, 2) * 10)
  JOIN week.back b ON b.n = floor(week.chance(t.n, 3) * 19);
UPDATE week.traces SET front_query = front_query * 12 WHERE front = 'checkout' AND deployed;
-- What was to be mailed is lost.
UPDATE week.traces SET back = NULL WHERE back = 'mailer' AND started >= :now::timestamptz - interval '3 hours 10 minutes';

CREATE FUNCTION week.id(n bigint, what text) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN md5(what || n)::uuid;

-- One event a row: when after the begin of the trace, and how long.
CREATE VIEW week.events AS
SELECT t.n, e.*, t.started + e.after * interval '1 ms' AS "timestamp"
  FROM week.traces t, LATERAL (
       SELECT front_query + 3 * price_queries + coalesce(back_query + waited, 0) + 6 AS front_ms, back_query + waited + 3 AS back_ms) AS d, LATERAL (
       VALUES ('root', NULL, 0, 'HttpRequest', 'GET /' || t.front || '/' || t.n, 'gateway', NULL::double precision, NULL::jsonb),
              ('front', 'root', 1, 'HttpRequest', 'GET /' || t.front || '/' || t.n, t.front, NULL, NULL),
              ('front query', 'front', 2, 'DatabaseQuery', 'SELECT * FROM ' || replace(t.front, '-', '_') || ' WHERE id = ' || t.n, t.front, front_query, NULL),
              ('front answer', 'front', front_ms, 'HttpResponse', '200', t.front, front_ms, '{"status": 200}'),
              ('answer', 'root', front_ms + 1, 'HttpResponse', '200', 'gateway', front_ms + 1, '{"status": 200}'),
              ('back', 'front', front_query + 3 * price_queries + 2, 'HttpRequest', 'POST /' || t.back, t.back, NULL, NULL),
              ('lock', 'back', front_query + 3 * price_queries + 3, 'LockAcquire', CASE t.back WHEN 'inventory' THEN 'stock' END, t.back, waited, NULL),
              ('back query', 'back', front_query + 3 * price_queries + 3 + waited, 'DatabaseQuery', 'UPDATE ' || replace(t.back, '-', '_') || ' SET n = n + 1 WHERE id = ' || t.n, t.back, back_query, NULL),
              ('access', 'back', front_query + 3 * price_queries + 4 + waited, 'StateChange', CASE t.back WHEN 'inventory' THEN 'stock.' || t.n % 500 END, t.back, NULL,
               jsonb_build_object('access_type', CASE WHEN t.n % 3 = 0 THEN 'Write' ELSE 'Read' END)),
              ('unlock', 'back', front_query + 3 * price_queries + 5 + waited, 'LockRelease', CASE t.back WHEN 'inventory' THEN 'stock' END, t.back, NULL, NULL),
              ('error', 'back', front_query + 3 * price_queries + 3 + back_query, 'Error', CASE t.status WHEN 503 THEN 'CardProviderTimeout' END, t.back, NULL, NULL),
              ('back answer', 'back', front_query + 3 * price_queries + 2 + back_ms, 'HttpResponse', t.status::text, t.back, back_ms, jsonb_build_object('status', t.status))
       ) AS e (what, cause, after, kind, name, service, ms, attributes)
 WHERE e.service IS NOT NULL AND e.name IS NOT NULL
UNION ALL
SELECT t.n, 'price ' || i, 'front', 2 + front_query + 3 * i - 3, 'DatabaseQuery', 'SELECT price FROM prices WHERE sku = ' || t.n % 1000 + i, t.front, 2 + week.chance(t.n * 32 + i, 20), NULL,
       t.started + (front_query + 3 * i - 1) * interval '1 ms'
  FROM week.traces t, LATERAL generate_series(1, t.price_queries) i WHERE t.front = 'catalog';

INSERT INTO trace_ext.events (trace_id, id, parent_id, "timestamp", kind, name, service_name, instance_id, thread_id, span_id, duration_ns, attributes, stamped_at_end)
SELECT week.id(n, 'trace'), week.id(n, what), week.id(n, cause), "timestamp", kind::trace_ext.event_kind, name, service, service || '-1', 'thread-' || n % 8,
       left(week.id(n, service)::text, 8) || '00000000', (ms * 1e6)::bigint, attributes, CASE WHEN kind = 'HttpResponse' THEN true END
  FROM week.events WHERE "timestamp" <= :now::timestamptz ORDER BY "timestamp";
SELECT trace_ext.fold() > 0 AS folded;
