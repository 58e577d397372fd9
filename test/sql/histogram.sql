-- The type histogram: buckets, quantiles, addition and subtraction, its forms, and every refusal.
\getenv abs_builddir PG_ABS_BUILDDIR
SET search_path = public, trace_ext, trace_ext_internal;
SET client_min_messages = warning;

-- Random tests have a new seed in each run; it is printed with what they find wrong.
CREATE TABLE seed AS SELECT (random() * 2 - 1)::numeric(8, 7)::double precision AS seed;
SELECT setseed(seed) IS NOT NULL AS seeded FROM seed;

--
-- What it looks like
--
SELECT histogram(v) FROM unnest('{0, 1, 2, 1000, 1048576, 9223372036854775807}'::bigint[]) v;
SELECT histogram(-1);
SELECT histogram(NULL) IS NULL AS of_null;
SELECT histogram_agg(v) FROM unnest('{0, 1, 5, 1000, 1001, 0, NULL}'::bigint[]) v;
SELECT '{}'::histogram AS empty, '{}'::histogram - '{}' AS still_empty, ' { } '::histogram;

-- Compact: one value, also beside a short header in a table.
CREATE TABLE stored (h histogram);
INSERT INTO stored SELECT histogram(v) FROM unnest('{0, 1, 1000000, 1000000000, 9223372036854775807}'::bigint[]) v;
SELECT pg_column_size(h) FROM stored ORDER BY total_sum(h);
SELECT max(pg_column_size(histogram(v))) <= 40 AS small
  FROM generate_series(0, 62) p, LATERAL (VALUES ((2::numeric ^ p)::bigint), ((2::numeric ^ p)::bigint - 1)) s (v);
SELECT typstorage, typalign, typlen, typbyval FROM pg_type WHERE oid = 'histogram'::regtype;

--
-- Buckets, by the definition in integers of any size: above 2^(i/16), up to 2^((i+1)/16)
--
CREATE FUNCTION power_16(v numeric) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    FOR i IN 1 .. 4 LOOP
        v := v * v;
    END LOOP;
    RETURN v;
END $$;
-- The numbers that are read, and the integers each holds.
CREATE FUNCTION bucket(i int, OUT h histogram) LANGUAGE plpgsql AS $$
BEGIN
    h := format('{"count": 1, "sum": 0, "subtracted": true, "buckets": {"%s": 1}}', i);
EXCEPTION WHEN data_exception THEN
    NULL;
END $$;
CREATE TABLE buckets AS
WITH RECURSIVE powers (i, lower, upper) AS (
    SELECT -2, 0.25, 0.5 UNION ALL SELECT i + 1, lower * 2, upper * 2 FROM powers WHERE i < 1010)
SELECT i, lower, upper, minimum(h) AS first, maximum(h) AS last FROM powers, bucket(i) h;
SELECT count(first), min(i) FILTER (WHERE first IS NOT NULL), max(i) FILTER (WHERE first IS NOT NULL) FROM buckets;
SELECT i, first, last FROM buckets WHERE first IS NOT NULL ORDER BY i LIMIT 5;
SELECT count(*) AS wrong FROM buckets
 WHERE NOT (power_16(first) > lower AND power_16(first - 1) <= lower AND power_16(last) <= upper
            AND (last = 9223372036854775807 AND i = 1007 OR power_16(last + 1::numeric) > upper));
-- They follow on each other, so that no integer is missed where a number is refused.
SELECT count(*) AS wrong FROM (SELECT first, lag(last) OVER (ORDER BY i) AS before FROM buckets WHERE first IS NOT NULL) b
 WHERE first <> coalesce(before, 0) + 1;
-- Values find their buckets, at both ends and between.
SELECT seed, i, v FROM buckets, LATERAL (VALUES (first), (last), (first + floor(random() * (last - first))::bigint)) u (v), seed
 WHERE first IS NOT NULL AND histogram(v)::jsonb -> 'buckets' <> jsonb_build_object(i::text, 1);

--
-- Quantiles, by the rule of percentile_disc()
--
CREATE TABLE samples AS
SELECT shape, size, CASE shape WHEN 'log-uniform' THEN round(1e3 * exp(random() * ln(3.6e9))) WHEN 'uniform' THEN round(1e3 + random() * 3.6e12)
                               WHEN 'small' THEN floor(random() * 60) ELSE 5 + floor(random() * 2) * 1e6 END::bigint AS ns,
       random() < 0.3 AS deleted
  FROM unnest(ARRAY['log-uniform', 'uniform', 'small', 'two values']) shape, unnest('{1, 2, 3, 10, 100, 1000, 10000}'::int[]) size, generate_series(1, size);
SELECT min(ns) >= 1e3 AND max(ns) <= 3.6e12 AS "from 1 us to 1 h" FROM samples WHERE shape LIKE '%uniform';
CREATE TABLE summed AS
SELECT shape, size, h, ns, q, percentiles
  FROM (SELECT shape, size, histogram_agg(ns) AS h, array_agg(ns) AS ns, percentile_disc('{0, 0.01, 0.5, 0.95, 0.99, 1}'::float8[]) WITHIN GROUP (ORDER BY ns) AS percentiles
          FROM samples GROUP BY 1, 2) s, LATERAL quantiles(h, '{0, 0.01, 0.5, 0.95, 0.99, 1}') q;
SELECT seed, shape, size, found, percentile FROM summed, seed, LATERAL unnest(q, percentiles) u (found, percentile)
 WHERE NOT coalesce(abs(found - percentile) <= 0.022 * percentile, false);
-- The ends are exact, the others mostly are not.
SELECT seed, shape, size FROM summed, seed WHERE q[1] <> percentiles[1] OR q[6] <> percentiles[6];
SELECT count(*) >= 8 AS inexact FROM summed WHERE q[3] <> percentiles[3];
SELECT seed, shape, size FROM summed, seed,
       LATERAL (SELECT min(v) AS min, max(v) AS max, sum(v) AS sum, avg(v) AS mean, count(*) AS count FROM unnest(ns) v) p
 WHERE (minimum(h), maximum(h), total_sum(h), total_count(h)) IS DISTINCT FROM (p.min, p.max, p.sum, p.count) OR abs(mean(h) - p.mean) > 1e-9 * p.mean;
-- After deletes as well, by subtraction, and by merging the delta of what was deleted.
CREATE TABLE deleted AS
SELECT shape, size, coalesce(histogram_agg(ns) FILTER (WHERE deleted), '{}') AS gone, coalesce(histogram_agg(ns) FILTER (WHERE NOT deleted), '{}') AS rest,
       percentile_disc('{0, 0.01, 0.5, 0.95, 0.99, 1}'::float8[]) WITHIN GROUP (ORDER BY ns) FILTER (WHERE NOT deleted) AS percentiles
  FROM samples GROUP BY 1, 2;
SELECT seed, shape, size, found, percentile FROM deleted JOIN summed USING (shape, size), seed,
       LATERAL unnest(quantiles(h - gone, '{0, 0.01, 0.5, 0.95, 0.99, 1}'), deleted.percentiles) u (found, percentile)
 WHERE deleted.percentiles IS NOT NULL AND NOT coalesce(abs(found - percentile) <= 0.022 * percentile, false);
SELECT seed, shape, size FROM deleted JOIN summed USING (shape, size), seed
 WHERE h - gone <> rest OR ('{}'::histogram - gone) + h <> rest OR rest + gone <> h OR (h - gone) + gone <> h OR h - gone - rest <> '{}'
    OR total_count(h - gone) <> total_count(rest) OR total_sum(h - gone) <> total_sum(rest);
-- What is told then as minimum and maximum bounds what is left, within a bucket.
SELECT seed, shape, size FROM deleted JOIN summed USING (shape, size), seed, LATERAL (SELECT h - gone AS left) l
 WHERE gone <> '{}' AND rest <> '{}'
   AND NOT (minimum(l.left) <= minimum(rest) AND minimum(l.left) >= minimum(rest) * 0.957 - 1 AND maximum(l.left) >= maximum(rest) AND maximum(l.left) <= maximum(rest) * 1.045);

-- NULL and refusals
SELECT quantile('{}', 0.5) AS empty, quantile(histogram(7) - histogram(7), 0.5) AS emptied, quantile(histogram(5) + ('{}' - histogram(7)), 0.5) AS negative,
       quantile('{}' - histogram(7), 0.5) AS delta, quantile(histogram(5) + histogram(6) + histogram(8) - histogram(7), 0.5) AS mixed, quantile(NULL, 0.5) AS of_null, quantile(histogram(7), NULL) AS q_null;
SELECT quantile(histogram(7), q) FROM unnest('{0, 5e-324, 0.5, 1}'::float8[]) q;
SELECT quantile(histogram(7), 1.0000001);
SELECT quantile('{}', -0.1);
SELECT quantile(histogram(7), 'NaN');
SELECT quantile(histogram(7), 'Infinity');
SELECT quantiles(histogram(7), '{{0, NULL}, {0.5, 1}}'), quantiles(histogram(7), '[3:4]={0, 1}'), quantiles(histogram(7), '{}'), quantiles('{}', '{0.5, NULL}'), quantiles(histogram(7), NULL);
SELECT quantiles(histogram(7), '{0.5, 2}');
-- More than a double counts: the ranks are rounded, and none is beyond the last value.
SELECT quantiles(h, '{0, 0.5, 1}'), total_count(h), total_sum(h)
  FROM (SELECT '{"count": 9223372036854775807, "sum": 9223372036854775816, "min": 1, "max": 10, "buckets": {"-1": 9223372036854775806, "53": 1}}'::histogram AS h) s;

-- count_below(): at most so many; exact at the ends of buckets, else without the bucket of the bound.
SELECT b, count_below(h, b), count_below(h - histogram(3000), b) AS without_3000
  FROM (SELECT histogram_agg(v) AS h FROM unnest('{0, 1, 1000, 1010, 1024, 2000, 3000}'::bigint[]) v) s, unnest('{-9223372036854775808, -1, 0, 1, 999, 1000, 1023, 1024, 1999, 2000, 2048, 2999, 3000, 9223372036854775807}'::bigint[]) b;
SELECT seed, shape, size, b FROM summed, seed, LATERAL (SELECT last AS b FROM buckets WHERE last IS NOT NULL ORDER BY random() + size * 0 LIMIT 20) p
 WHERE count_below(h, b) <> (SELECT count(*) FROM unnest(ns) v WHERE v <= b);
SELECT seed, shape, size, b FROM summed, seed, LATERAL (SELECT v AS b FROM unnest(ns) v LIMIT 20) p
 WHERE NOT count_below(h, b) BETWEEN (SELECT count(*) FROM unnest(ns) v WHERE v <= b * 0.957 - 1) AND (SELECT count(*) FROM unnest(ns) v WHERE v <= b);
SELECT count_below('{}', 5), count_below('{}' - histogram(3), 5) AS delta, count_below(histogram(3), NULL);

SELECT h, total_count(h), total_sum(h), minimum(h), maximum(h), mean(h)
  FROM (VALUES ('{}'::histogram), (NULL), (histogram(0)), (histogram(7) - histogram(7)), ('{}' - histogram(1000)), (histogram(1000) + histogram(3) - histogram(1001)), (histogram(1000) + histogram(3000) - histogram(10))) v (h);

--
-- Addition and subtraction
--
-- Parts, some of which take away, give one answer in whatever order they come and however they are grouped, the mark and bounds included.
CREATE TABLE parts AS
SELECT part, negative, histogram_agg(ns) AS values, CASE WHEN negative THEN '{}' - histogram_agg(ns) ELSE histogram_agg(ns) END AS h, array_agg(ns) AS ns
  FROM (SELECT part, random() < 0.4 AS negative FROM generate_series(1, 40) part) p, LATERAL (SELECT round(exp(random() * 12 + part * 0))::bigint AS ns FROM generate_series(1, 1 + part % 5)) s
 GROUP BY 1, 2;
CREATE FUNCTION in_turn() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result histogram := '{}';
    p record;
BEGIN
    FOR p IN SELECT * FROM parts ORDER BY random() LOOP
        IF p.negative AND random() < 0.5 THEN
            result := result - p.values;
        ELSIF random() < 0.5 THEN
            result := result + p.h;
        ELSE
            result := p.h + result;
        END IF;
    END LOOP;
    RETURN result;
END $$;
CREATE TABLE orders AS
SELECT merge(h)::text AS result FROM parts
UNION ALL SELECT (SELECT merge(h ORDER BY random() + n) FROM parts)::text FROM generate_series(1, 20) n
UNION ALL SELECT (SELECT merge(h) FROM (SELECT merge(h) AS h FROM parts GROUP BY floor(random() * 7 + n * 0)) g)::text FROM generate_series(1, 20) n
UNION ALL SELECT in_turn() FROM generate_series(1, 20);
SELECT seed, result FROM orders, seed WHERE (SELECT count(DISTINCT result) FROM orders) > 1;
SELECT DISTINCT result LIKE '%"subtracted": true%' AS marked FROM orders;
-- It is what plain SQL counts.
SELECT seed, result::histogram, plain.* FROM (SELECT DISTINCT result FROM orders) o, seed,
       (SELECT sum(count) AS count, sum(sum) AS sum, jsonb_object_agg(i, count) FILTER (WHERE count <> 0) AS buckets
          FROM (SELECT i, sum(CASE WHEN negative THEN -1 ELSE 1 END) AS count, sum(CASE WHEN negative THEN -v ELSE v END) AS sum
                  FROM parts, unnest(ns) v JOIN buckets ON v BETWEEN first AND last GROUP BY i) b) plain
 WHERE (result::jsonb -> 'count', result::jsonb -> 'sum', result::jsonb -> 'buckets') IS DISTINCT FROM (to_jsonb(plain.count), to_jsonb(plain.sum), plain.buckets);
-- Laws
SELECT seed, a.part, b.part, c.part FROM seed, parts a, parts b, parts c
 WHERE a.part < 10 AND ((a.h + b.h)::text <> (b.h + a.h)::text OR ((a.h + b.h) + c.h)::text <> (a.h + (b.h + c.h))::text
    OR a.h - b.h + b.h <> a.h OR a.h - (b.h - c.h) <> a.h - b.h + c.h OR (a.h + '{}')::text <> a.h::text OR a.h - a.h <> '{}');
-- The mark: set where anything was taken away, and then it stays.
SELECT (histogram(5) - '{}')::text LIKE '%subtracted%' AS nothing_taken, (histogram(5) + histogram(6))::text LIKE '%subtracted%' AS added,
       (histogram(5) - histogram(6) + histogram(6))::text LIKE '%subtracted%' AS taken_and_given, (histogram(5) - histogram(5)) AS emptied, histogram(5) - histogram(5) = '{}' AS equals_empty;
-- Buckets cancel, a sum may be left: 1000 and 1001 share a bucket.
SELECT histogram(1000) - histogram(1001) AS left, histogram(1000) - histogram(1001) = '{}' AS empty;
-- At the ends of the types
CREATE TABLE ends AS SELECT name, format('{"count": %s, "sum": %s, "subtracted": true, "buckets": {"-1": %s}}', c, s, c)::histogram AS h
  FROM (VALUES ('most', '9223372036854775807', '170141183460469231731687303715884105727'), ('least', '-9223372036854775808', '-170141183460469231731687303715884105728'),
               ('sum', '0', '170141183460469231731687303715884105727'), ('count', '9223372036854775807', '0'), ('one', '1', '1')) v (name, c, s);
SELECT name, h FROM ends;
SELECT total_sum(h), mean(h) FROM ends;
SELECT a.name, b.name, a.h - b.h + b.h = a.h AS back FROM ends a, ends b WHERE (a.name, b.name) IN (('most', 'one'), ('most', 'sum'), ('most', 'count'), ('least', 'least'), ('most', 'most'));
SELECT a.h + b.h FROM ends a, ends b WHERE a.name = 'count' AND b.name = 'one';
SELECT a.h + b.h FROM ends a, ends b WHERE a.name = 'sum' AND b.name = 'one';
SELECT a.h - b.h FROM ends a, ends b WHERE a.name = 'least' AND b.name = 'one';
SELECT '{}' - h FROM ends WHERE name = 'least';
-- The count of all, where no bucket overflows
SELECT h + '{"count": 1, "sum": 5, "min": 5, "max": 5, "buckets": {"37": 1}}' FROM ends WHERE name = 'count';
SELECT merge(h) FROM ends WHERE name IN ('count', 'most');

--
-- Equality: counts and sum, not what is known of min and max
--
SELECT a = b AS eq, a <> b AS ne, histogram_hash(a) = histogram_hash(b) AS hash, histogram_hash_extended(a, 7) = histogram_hash_extended(b, 7) AS extended, a::text = b::text AS text
  FROM (VALUES (histogram(5), histogram(5)), (histogram(5), histogram(6)), (histogram(5), histogram(5) + histogram(6) - histogram(6)), (histogram(1000), histogram(1001)),
               ('{}', '{}' - histogram(5) + histogram(5)), ('{}', histogram(0)), (histogram(5), histogram(5) + histogram(5))) v (a, b);
SELECT count(DISTINCT histogram_hash(h)) > 30 AS hashes_differ, bool_and(histogram_hash_extended(h, 0) <> histogram_hash_extended(h, 1)) AS seed_counts FROM parts;
CREATE TABLE twice AS SELECT part, h FROM parts UNION ALL SELECT part, h + histogram(9) - histogram(9) FROM parts;
SELECT (SELECT count(*) FROM (SELECT DISTINCT h FROM twice) d) = count(*) AS distinct_works FROM (SELECT DISTINCT h::jsonb - '{min,max,subtracted}'::text[] FROM parts) p;
SELECT count(*) AS different FROM (SELECT part, h FROM parts EXCEPT ALL SELECT part, h + histogram(9) - histogram(9) FROM parts) e;
SELECT count(*) = (SELECT count(*) FROM parts) AS all_different FROM (SELECT part, h FROM parts EXCEPT ALL SELECT part, h + histogram(9) FROM parts) e;
SELECT count(*) = 0 AS no_difference FROM (SELECT h FROM twice EXCEPT SELECT h FROM parts) e;
SET enable_nestloop = off;
SELECT count(*) >= 80 AS joined FROM twice a JOIN parts b ON a.h = b.h;
RESET enable_nestloop;
ANALYZE twice;
CREATE INDEX ON twice USING hash (h);
CREATE TABLE parted (h histogram) PARTITION BY HASH (h);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT h FROM parts;
SELECT count(DISTINCT tableoid), count(*) FROM parted;

--
-- Aggregates
--
SELECT merge(h), histogram_agg(v) FROM (VALUES (histogram(5), 5::bigint), (NULL, NULL), (histogram(9), 9)) u (h, v);
SELECT merge(h) IS NULL AS over_nothing, histogram_agg(total_count(h)) IS NULL AS no_values FROM parts WHERE false;
SELECT merge(NULL::histogram) IS NULL AS over_null, merge('{}'::histogram) AS over_empty, histogram_agg(NULL) IS NULL AS values_null;
SELECT histogram_agg(v) FROM unnest('{5, -6}'::bigint[]) v;
SELECT histogram_agg(v) FROM unnest('{5, 6}'::int[]) v;
-- As window functions their state goes on after a result.
SELECT i, merge(histogram(i)) OVER (ORDER BY i), histogram_agg(i) OVER (ORDER BY i DESC) FROM unnest('{1, 2, 3}'::bigint[]) i ORDER BY i;
-- In parallel, with groups that have none
CREATE TABLE many AS SELECT i % 3 AS g, CASE WHEN i % 3 <> 2 THEN i::bigint * i END AS v FROM generate_series(1, 30000) i;
ALTER TABLE many SET (parallel_workers = 2);
ANALYZE many;
CREATE TABLE serially AS SELECT g, histogram_agg(v) AS h, merge(histogram(v)) AS merged FROM many GROUP BY g;
SELECT g, total_count(h), total_sum(h), h::text = merged::text AS same FROM serially ORDER BY g;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT histogram_agg(v), merge(histogram(v)) FROM many;
SELECT g, p.h::text IS NOT DISTINCT FROM s.h::text AS same, p.merged::text IS NOT DISTINCT FROM s.h::text AS merged
  FROM serially s JOIN (SELECT g, histogram_agg(v) AS h, merge(histogram(v)) AS merged FROM many GROUP BY g) p USING (g) ORDER BY g;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

--
-- Text and jsonb
--
CREATE TABLE forms AS SELECT h FROM parts UNION ALL SELECT h FROM summed UNION ALL SELECT h - gone FROM deleted JOIN summed USING (shape, size)
    UNION ALL SELECT h FROM ends UNION ALL SELECT histogram(first) FROM buckets WHERE first IS NOT NULL UNION ALL VALUES ('{}'::histogram), ('{}' - histogram(0));
SELECT seed, h FROM forms, seed WHERE h::text::histogram::text <> h::text OR h::jsonb::histogram::text <> h::text OR h::json::histogram::text <> h::text OR h::jsonb::text::histogram::text <> h::text;
SELECT to_jsonb(f) FROM (SELECT histogram(5) AS h) f;
-- Fields and buckets in any order; a bucket without a count is as if it were not there.
SELECT '{"buckets": {"159": 1, "zero": 2, "37": 0, "-1": 1}, "max": 1000, "sum": 1001, "min": 0, "subtracted": false, "count": 4}'::histogram;
SELECT '{"buckets": {}, "sum": 0, "count": 0}'::histogram AS empty, '{"buckets": {}, "sum": 0, "count": 0, "min": null, "max": null, "subtracted": false}'::histogram AS in_full;
SELECT '{"count": 1, "sum": -3, "subtracted": true, "buckets": {"37": 1}}'::histogram AS without_bounds;
SELECT '{"count": 1e2, "sum": 500, "min": 5, "max": 5, "buckets": {"37": 100}}'::jsonb::histogram AS jsonb_knows_exponents;
INSERT INTO stored VALUES ('{"count": 1, "sum": 5, "min": 5, "max": 5, "buckets": {"37": 1}}'::jsonb), ('{}'::json);
SELECT count(*) FROM stored;

CREATE FUNCTION refusal(input text, OUT state text, OUT message text, OUT detail text) LANGUAGE plpgsql AS $$
BEGIN
    message := 'accepted: ' || input::histogram::text;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
END $$;
\pset format unaligned
-- Malformed
SELECT left(t, 60) AS input, r.* FROM (VALUES
    (''), (' '), ('null'), ('1'), ('[]'), ('x'), ('{'), ('{]'), ('{"count"'), ('{"count":'), ('{"count" 1}'), ('{"count":1'), ('{"count":1,}'), ('{,}'), ('{count:1}'), ('{}}'), ('{} x'),
    ('{"count'), (E'{"count\n":1}'), ('{"co\u0075nt":1}'), ('{"Count":1}'), ('{"":1}'), ('{"count":"1"}'), ('{"count":null}'), ('{"count":{}}'), ('{"sum":null}'), ('{"min":true}'), ('{"min":nul}'),
    ('{"subtracted":1}'), ('{"subtracted":null}'), ('{"buckets":[]}'), ('{"buckets":{"1"}}'), ('{"buckets":{1:1}}'), ('{"buckets":{"37":{}}}'), ('{"buckets":{"37":null}}'), ('{"buckets":{"37":1}'), ('{"buckets":null}'),
    (repeat('{"buckets":', 100000))) v (t), LATERAL refusal(t) r;
-- Numbers
SELECT left(t, 60) AS input, r.* FROM (VALUES
    ('{"count":1.0}'), ('{"count":1e2}'), ('{"count":01}'), ('{"count":+1}'), ('{"count":-}'), ('{"count":0x1}'), ('{"count":NaN}'), ('{"count":9223372036854775808}'), ('{"count":-9223372036854775809}'),
    ('{"sum":170141183460469231731687303715884105728}'), ('{"sum":-170141183460469231731687303715884105729}'), ('{"sum":' || repeat('9', 100000) || '}'), ('{"min":-1}'), ('{"max":9223372036854775808}'),
    ('{"buckets":{"37":9223372036854775808}}'), ('{"buckets":{"-2":1}}'), ('{"buckets":{"1008":1}}'), ('{"buckets":{"037":1}}'), ('{"buckets":{" 37":1}}'), ('{"buckets":{"":1}}'), ('{"buckets":{"Zero":1}}'), ('{"buckets":{"-0":1}}'), ('{"buckets":{"14":1}}')) v (t), LATERAL refusal(t) r;
-- Repeated, missing
SELECT t AS input, r.* FROM (VALUES
    ('{"count":1,"count":1}'), ('{"min":null,"min":1}'), ('{"buckets":{"37":1,"37":1}}'), ('{"buckets":{"37":0,"37":1}}'), ('{"buckets":{"zero":1,"zero":1}}'), ('{"buckets":{},"buckets":{}}'),
    ('{"count":0}'), ('{"count":0,"sum":0}'), ('{"sum":0,"buckets":{}}'), ('{"min":null}'), ('{"subtracted":true}')) v (t), LATERAL refusal(t) r;
-- Not of any values
SELECT t AS input, r.* FROM (VALUES
    ('{"count":2,"sum":5,"min":5,"max":5,"buckets":{"37":1}}'), ('{"count":-1,"sum":-5,"buckets":{"37":-1}}'), ('{"count":0,"sum":0,"buckets":{"37":-1,"15":1}}'),
    ('{"count":9223372036854775807,"sum":9,"min":1,"max":5,"buckets":{"-1":9223372036854775807,"37":1}}'), ('{"count":-9223372036854775808,"sum":9,"subtracted":true,"buckets":{"-1":-9223372036854775808,"37":-1}}'),
    ('{"count":1,"sum":5,"buckets":{"37":1}}'), ('{"count":1,"sum":5,"min":5,"buckets":{"37":1}}'), ('{"count":1,"sum":5,"min":null,"max":5,"buckets":{"37":1}}'),
    ('{"count":1,"sum":5,"min":6,"max":5,"buckets":{"37":1}}'), ('{"count":1,"sum":5,"min":5,"max":6,"buckets":{"37":1}}'), ('{"count":2,"sum":6,"min":1,"max":6,"buckets":{"-1":1,"37":1}}'), ('{"count":2,"sum":2010,"min":1010,"max":1000,"buckets":{"159":2}}'),
    ('{"count":1,"sum":6,"min":5,"max":5,"buckets":{"37":1}}'), ('{"count":1,"sum":1001,"min":1000,"max":1002,"buckets":{"159":1}}'), ('{"count":2,"sum":2001,"min":1000,"max":1002,"buckets":{"159":2}}'), ('{"count":2,"sum":2002,"min":1000,"max":1002,"buckets":{"159":2}}'),
    ('{"count":3,"sum":3004,"min":1000,"max":1002,"buckets":{"159":3}}'), ('{"count":3,"sum":3005,"min":1000,"max":1002,"buckets":{"159":3}}'), ('{"count":3,"sum":3001,"min":1000,"max":1002,"buckets":{"159":3}}'),
    ('{"count":3,"sum":1986,"min":5,"max":1000,"buckets":{"37":1,"159":2}}'), ('{"count":3,"sum":1985,"min":5,"max":1000,"buckets":{"37":1,"159":2}}'), ('{"count":3,"sum":2005,"min":5,"max":1000,"buckets":{"37":1,"159":2}}'), ('{"count":3,"sum":2006,"min":5,"max":1000,"buckets":{"37":1,"159":2}}'),
    ('{"count":0,"sum":1,"buckets":{}}'), ('{"count":0,"sum":0,"min":1,"max":1,"buckets":{}}'), ('{"count":1,"sum":5,"min":5,"max":6,"subtracted":true,"buckets":{"37":1}}'), ('{"count":1,"sum":1000,"min":981,"subtracted":true,"buckets":{"159":1}}'),
    ('{"count":0,"sum":0,"max":0,"subtracted":true,"buckets":{}}')) v (t), LATERAL refusal(t) r;
\pset format aligned
-- All sums that some values have are read, and no others: by trying all values of three buckets.
CREATE TABLE tried AS SELECT s AS sum, message LIKE 'accepted%' AS is_read FROM generate_series(1820, 1900) s,
       refusal(format('{"count": 4, "sum": %s, "min": 100, "max": 1000, "buckets": {"106": 2, "149": 1, "159": 1}}', s));
SELECT sum, is_read FROM tried WHERE is_read <> (sum IN (SELECT 100 + a + b + 1000 FROM buckets x, generate_series(greatest(x.first, 100), x.last) a, buckets y, generate_series(y.first, y.last) b WHERE x.i = 106 AND y.i = 149));
SELECT count(*) FILTER (WHERE is_read) > 10 AS some_read, count(*) FILTER (WHERE NOT is_read) > 10 AS some_refused FROM tried;
-- From 16 on, a caller may ask for a refusal without an error.
CREATE FUNCTION soft_errors_work() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    result boolean := true;
BEGIN
    IF current_setting('server_version_num')::int >= 160000 THEN
        EXECUTE $q$ SELECT pg_input_is_valid('{}', 'histogram') AND NOT pg_input_is_valid('{"count": 1}', 'histogram') AND NOT pg_input_is_valid('{"count": 1, "count": 1}', 'histogram') $q$ INTO result;
    END IF;
    RETURN result;
END $$;
SELECT soft_errors_work();

--
-- Binary
--
SELECT histogram_send('{}'), histogram_send(histogram(5) + histogram(0)), histogram_send('{}' - histogram(5));
CREATE TABLE received (LIKE forms);
\copy forms to 'results/histogram.copy' (format binary)
\copy received from 'results/histogram.copy' (format binary)
SELECT seed, count(*) FROM seed, (SELECT h::text FROM forms EXCEPT ALL SELECT h::text FROM received) d GROUP BY 1;
SELECT (SELECT count(*) FROM forms) = count(*) AS all_received FROM received;

-- A column of bytes is sent as it is, so any message can be made. The server reads and writes the file.
CREATE TABLE wire (message bytea);
CREATE FUNCTION receive(message bytea, file text, OUT state text, OUT message_text text, OUT detail text) LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE wire, received;
    INSERT INTO wire VALUES (message);
    EXECUTE format('COPY wire TO %L (FORMAT binary)', file);
    EXECUTE format('COPY received FROM %L (FORMAT binary)', file);
    SELECT 'accepted: ' || h::text INTO message_text FROM received;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message_text = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
END $$;
CREATE FUNCTION message_of(flags int, count bigint, high bigint, low bigint, min bigint, max bigint, zeros bigint, n int, VARIADIC buckets text[]) RETURNS bytea LANGUAGE sql AS $$
    SELECT '\x01' || substr(int4send(flags), 4) || int8send(count) || int8send(high) || int8send(low) || int8send(min) || int8send(max) || int8send(zeros) || int4send(n)
           || coalesce((SELECT string_agg(int2send(split_part(b, ':', 1)::int2) || int8send(split_part(b, ':', 2)::bigint), '' ORDER BY i) FROM unnest(buckets) WITH ORDINALITY u (b, i)), '')
$$;
\set file :abs_builddir '/results/histogram.copy'
\pset format unaligned
SELECT what, r.* FROM (VALUES
    (1, 'good', message_of(0, 3, 0, 1005, 0, 1000, 1, 2, '37:1', '159:1')),
    (2, 'good, taken away', message_of(1, -1, -1, -5, -1, -1, 0, 1, '37:-1')),
    (3, 'empty', message_of(0, 0, 0, 0, -1, -1, 0, 0, VARIADIC '{}')),
    (4, 'nothing at all', ''),
    (5, 'another version', '\x02' || substr(message_of(0, 0, 0, 0, -1, -1, 0, 0, VARIADIC '{}'), 2)),
    (6, 'unknown flags', message_of(2, 0, 0, 0, -1, -1, 0, 0, VARIADIC '{}')),
    (7, 'cut short', substr(message_of(0, 3, 0, 1005, 0, 1000, 1, 2, '37:1', '159:1'), 1, 70)),
    (8, 'too long', message_of(0, 3, 0, 1005, 0, 1000, 1, 2, '37:1', '159:1') || '\x00'),
    (9, 'fewer than no buckets', message_of(0, 1, 0, 0, 0, 0, 1, -1, VARIADIC '{}')),
    (10, 'more buckets than there are', message_of(0, 1, 0, 0, 0, 0, 1, 2147483647, VARIADIC '{}')),
    (11, 'more buckets than bytes', message_of(0, 1, 0, 0, 0, 0, 1, 1009, VARIADIC '{}')),
    (12, 'unordered', message_of(0, 2, 0, 1005, 5, 1000, 0, 2, '159:1', '37:1')),
    (13, 'repeated', message_of(0, 2, 0, 10, 5, 5, 0, 2, '37:1', '37:1')),
    (14, 'unknown bucket', message_of(0, 1, 0, 5, 5, 5, 0, 1, '1008:1')),
    (15, 'unknown bucket', message_of(0, 1, 0, 5, 5, 5, 0, 1, '-2:1')),
    (16, 'unknown bucket', message_of(0, 1, 0, 5, 5, 5, 0, 1, '-32768:1')),
    (17, 'bucket without integers', message_of(0, 1, 0, 1, 1, 1, 0, 1, '0:1')),
    (18, 'bucket without a count', message_of(0, 1, 0, 0, 0, 0, 1, 1, '37:0')),
    (19, 'wrong count', message_of(0, 2, 0, 5, 5, 5, 0, 1, '37:1')),
    (20, 'counts overflow', message_of(0, 9223372036854775807, 0, 5, 1, 5, 0, 2, '-1:9223372036854775807', '37:1')),
    (21, 'negative without the mark', message_of(0, -1, -1, -5, -1, -1, 0, 1, '37:-1')),
    (22, 'wrong min', message_of(0, 1, 0, 5, 1, 5, 0, 1, '37:1')),
    (23, 'negative min', message_of(0, 1, 0, 0, -1, 0, 1, 0, VARIADIC '{}')),
    (24, 'min that is not known', message_of(1, 1, 0, 5, 5, 5, 0, 1, '37:1')),
    (25, 'impossible sum', message_of(0, 1, 1, 5, 5, 5, 0, 1, '37:1')),
    (26, 'sum of nothing', message_of(0, 0, 0, 5, -1, -1, 0, 0, VARIADIC '{}'))) v (n, what, message), LATERAL receive(message, :'file') r ORDER BY n;
\pset format aligned
-- Mutated messages and texts: read, and then written and read again as the same; or refused by the type or the protocol.
CREATE FUNCTION mutate(message bytea) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 1 + floor(random() * 2) LOOP
        message := set_byte(message, floor(random() * length(message))::int, (ARRAY[0, 1, 2, 127, 128, 255, floor(random() * 256)::int])[1 + floor(random() * 7)]);
    END LOOP;
    RETURN CASE WHEN random() < 0.1 THEN substr(message, 1, floor(random() * length(message))::int) ELSE message END;
END $$;
CREATE TABLE mutated AS
SELECT message, r.* FROM (SELECT mutate(histogram_send((ARRAY[histogram(0) + histogram(5) + histogram(1000), histogram(1000) + histogram(1010) - histogram(5), '{}'])[1 + i % 3])) AS message
                            FROM generate_series(1, 600) i OFFSET 0) m, receive(message, :'file') r;
SELECT DISTINCT seed, message, state, message_text FROM mutated, seed WHERE state NOT IN ('22P03', '08P01', '22P04');
SELECT seed, message, message_text FROM mutated, seed WHERE state IS NULL AND (histogram_send(substr(message_text, 11)::histogram) <> message OR substr(message_text, 11)::histogram::text <> substr(message_text, 11));
SELECT count(*) FILTER (WHERE state IS NULL) > 10 AS some_read, count(*) FILTER (WHERE state IS NOT NULL) > 100 AS many_refused FROM mutated;
CREATE FUNCTION mutate(input text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    pieces text[] := ARRAY['{', '}', '[', '"', ',', ':', '\', ' ', E'\n', '0', '1', '9', '-', '.', 'e', 'zero', '"37": 1', ', "159": 1', 'null', 'true', '9223372036854775808', '"count": 1', '"sum"', ', "subtracted": true'];
BEGIN
    FOR i IN 1 .. 1 + floor(random() * 2) LOOP
        input := overlay(input PLACING CASE WHEN random() < 0.7 THEN pieces[1 + floor(random() * array_length(pieces, 1))] ELSE '' END FROM 1 + floor(random() * (length(input) + 1))::int FOR floor(random() * 3)::int);
    END LOOP;
    RETURN input;
END $$;
CREATE TABLE mutated_texts AS
SELECT input, r.* FROM (SELECT mutate((ARRAY['{"count": 3, "sum": 1005, "min": 0, "max": 1000, "buckets": {"zero": 1, "37": 1, "159": 1}}', '{"count": -1, "sum": -5, "subtracted": true, "buckets": {"37": -1}}', '{}'])[1 + i % 3]) AS input
                          FROM generate_series(1, 10000) i OFFSET 0) m, refusal(input) r;
SELECT seed, input, state, message FROM mutated_texts, seed WHERE state NOT IN ('22P02', '22003', '22030');
SELECT seed, input, message FROM mutated_texts, seed
 WHERE CASE WHEN state IS NULL THEN substr(message, 11)::histogram::text <> substr(message, 11) OR input::jsonb::histogram::text <> substr(message, 11) END;
SELECT count(*) FILTER (WHERE state IS NULL) > 200 AS many_read, count(*) FILTER (WHERE state IS NOT NULL) > 2000 AS many_refused FROM mutated_texts;

--
-- The catalog: the class is valid, functions are what planners may rely on, all is explained.
--
SELECT am.amname, amvalidate(c.oid) AS valid, opcdefault FROM pg_opclass c JOIN pg_am am ON am.oid = opcmethod WHERE opcintype = 'histogram'::regtype ORDER BY 1;
SELECT p.oid::regprocedure FROM pg_proc p
 WHERE pronamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) AND prokind = 'f' AND 'histogram'::regtype IN (prorettype, proargtypes[0], proargtypes[1])
   AND (provolatile <> 'i' OR proparallel <> 's' OR NOT proisstrict AND proname NOT IN ('histogram_merge_step', 'histogram_merge_final'));
SELECT o.oprname, c.oprname AS commutator, n.oprname AS negator, o.oprrest, o.oprjoin, o.oprcanhash, o.oprcanmerge
  FROM pg_operator o LEFT JOIN pg_operator c ON c.oid = o.oprcom LEFT JOIN pg_operator n ON n.oid = o.oprnegate
 WHERE o.oprleft = 'histogram'::regtype ORDER BY o.oprname COLLATE "C";
SELECT castsource::regtype, casttarget::regtype, castcontext, castmethod FROM pg_cast WHERE 'histogram'::regtype IN (castsource, casttarget) ORDER BY castsource::regtype::text, casttarget::regtype::text;
-- Drivers: no cast is needed.
PREPARE driver (histogram, double precision, bigint, numeric) AS SELECT quantile($1, $2), quantile($1, $4), count_below($1, $3), histogram($3), histogram($3) + $1;
EXECUTE driver ('{}', 0.5, 7, 0.5);
DEALLOCATE driver;

DROP TABLE seed, stored, buckets, samples, summed, deleted, parts, orders, ends, twice, parted, many, serially, forms, tried, received, wire, mutated, mutated_texts;
DROP FUNCTION power_16, bucket, in_turn, refusal, soft_errors_work, receive, message_of, mutate(bytea), mutate(text);
