-- cache_churn.sql
--		How much of the result cache is usable after results of mixed sizes came and went.
--
-- Stores results of 1 kB to 1 MB, as many small as large ones by order of magnitude; in every other round
-- only the smaller or only the larger half of these, as a load that changes.  Run it by hand:
--
--		psql -v rounds=20000 -f bench/cache_churn.sql

SELECT trace_ext.cache_reset() \g /dev/null
SET trace_ext.cache_local_size = 0;
SELECT set_config('bench.rounds', :'rounds', false) \g /dev/null

DO $$
DECLARE
	rounds int := current_setting('bench.rounds')::int;
	phase int;
	size int;
	share numeric;
	least numeric := 1;
	shares numeric[];
BEGIN
	FOR i IN 1 .. rounds LOOP
		phase := i * 20 / (rounds + 1) % 2;
		size := 1000 * 2 ^ ((random() + phase) * 5 * 0.99);
		EXECUTE format('SELECT FROM trace_ext.cached(%L) AS t (v text)', format('SELECT repeat(%L, %s)', 'x', size - i % 100))
			|| format(' WHERE %s > 0', i);
		IF i > rounds / 10 AND i % 100 = 0 THEN
			SELECT sum(e.bytes) / pg_size_bytes(current_setting('trace_ext.cache_size')) INTO share
			  FROM trace_ext.cache_entries e;
			shares := shares || share;
			least := least(least, share);
		END IF;
	END LOOP;
	RAISE NOTICE 'of trace_ext.cache_size results take % %% in the mean, % %% at least',
		round(100 * (SELECT avg(s) FROM unnest(shares) s), 1), round(100 * least, 1);
END $$;

SELECT stores, evictions, no_space, too_large, entries FROM trace_ext.cache_stats;
