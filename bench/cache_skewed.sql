-- One of 10,000 questions, by Zipf's law. One in four is about the events that are
-- being written, whose answer may be 2 s old; the others are about tables at rest.
\set k random_zipfian(1, 10000, 1.1)
\set moving random(1, 4)
\if :moving = 1
SELECT n FROM trace_ext.cached('SELECT count(*) FROM trace_ext.events WHERE trace_id = (SELECT trace_id FROM bench.sample WHERE n = $1)', '2 s', :k::int) AS t(n bigint);
\else
SELECT n, ms FROM trace_ext.cached('SELECT count(*), sum(duration_ns) / 1e6 FROM bench.sample WHERE n % 10000 = $1', NULL, :k::int) AS t(n bigint, ms numeric);
\endif
