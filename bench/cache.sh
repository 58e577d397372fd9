# cache.sh
#		A hit against the same rows made from nothing, against a prepared SELECT 1, and
#		against Redis GET of the same bytes; a heavy query cached and not; the reports
#		that use the cache by themselves, with it and without; 64 callers that miss one
#		key at once; and a skewed load while a writer ingests.
#
# A hit is measured in three ways. "Apart": runs of their own, in turns, so that
# each has the caches of the processor for itself. "Together": as two scripts of one
# run of pgbench, which draws between them each time; whatever else the machine does,
# both suffer alike, but each also pays for what the other drives out. "CPU": what
# the server process uses, whatever pgbench and the other processes do. The same rows
# made from nothing are constants beside generate_series(): the least that any
# answer of that size costs.
#
# Redis is measured by its own benchmark, in turns with that, over a Unix socket as
# well, and started here; without its package its rows are left out.
#
# shellcheck shell=bash

CACHE_SECONDS=5
HIT_SECONDS=2

# start_redis: false where it is not there and cannot be installed.
start_redis()
{
	"$ROOT/test/packages.sh" redis >"$WORK/redis.log" 2>&1 || return 1
	command -v redis-server redis-benchmark >/dev/null || return 1
	as_server redis-server --port 0 --unixsocket "$SOCKET/redis" --save '' --appendonly no --dir "$SOCKET" --daemonize yes \
		--pidfile "$SOCKET/redis.pid" >>"$WORK/redis.log" 2>&1 || return 1
	run_sql -c 'SELECT v FROM bench.payload WHERE k = 1' | tr -d '\n' |
		as_server redis-cli -s "$SOCKET/redis" -x SET payload >/dev/null
	[ "$(as_server redis-cli -s "$SOCKET/redis" STRLEN payload)" = 2048 ]
}

stop_redis()
{
	as_server redis-cli -s "$SOCKET/redis" SHUTDOWN NOSAVE >/dev/null 2>&1 || true
}

# redis_rate CLIENTS: GETs a second.
redis_rate()
{
	as_server redis-benchmark -s "$SOCKET/redis" -c "$1" -n $((20000 * CACHE_SECONDS)) --csv GET payload 2>/dev/null |
		sed -n '2s/^"[^"]*","\([0-9.]*\)".*/\1/p'
}

# hit_and_one CLIENTS: mean latency of SELECT 1 and of the hit, in one run.
hit_and_one()
{
	pgbench_run cache_one.sql "$CACHE_SECONDS" -f "$BENCH/cache_hit.sql" -c "$1" |
		awk '/^SQL script 1:/ { n = 1 } /^SQL script 2:/ { n = 2 } n && / - [0-9]+ transactions/ { sub(/.*tps = /, ""); done[n] = $1 + 0 }
			n && /latency average = / { mean[n] = $(NF - 1) } END { print mean[1], mean[2] }'
}

# rate_of SCRIPT CLIENTS: transactions a second.
rate_of()
{
	pgbench_run "$1" "$CACHE_SECONDS" -c "$2" | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

# An answer of so many rows: by a hit in rows_hit.sql, made in rows_made.sql.
write_rows()
{
	local columns="1000000007::bigint AS n, 'service-in-the-answer'::text AS name, '2026-01-01 00:00:00+00'::timestamptz AS at"
	echo "SELECT i AS k, $columns FROM generate_series(1, $1) i;" >"$BENCH/rows_made.sql"
	run_sql -c 'DROP TABLE IF EXISTS bench.answer' \
		-c "CREATE TABLE bench.answer AS SELECT i AS k, $columns FROM generate_series(1, $1) i" -c 'VACUUM ANALYZE bench.answer'
	echo "SELECT * FROM trace_ext.cached('SELECT k, n, name, at FROM bench.answer') AS t (k int, n bigint, name text, at timestamptz);" \
		>"$BENCH/rows_hit.sql"
}

# against NAME CLIENTS TIMES HIT PEER: the hit and its peer, apart and by CPU.
against()
{
	local name=$1 clients=$2 times=$3 hit=$4 peer=$5 round ours theirs
	local rates=() peers=() ratios=() used=() peer_used=() cpu_ratios=()
	for ((round = 1; round <= ROUNDS; round++)); do
		ours=$(pgbench_run "$hit" "$HIT_SECONDS" -c "$clients" | sed -n 's/^latency average = \([0-9.]*\) ms/\1/p')
		theirs=$(pgbench_run "$peer" "$HIT_SECONDS" -c "$clients" | sed -n 's/^latency average = \([0-9.]*\) ms/\1/p')
		rates+=("$ours") peers+=("$theirs") ratios+=("$(calc "$theirs / $ours")")
		ours=$(cpu_of_script "$hit" "$clients" "$times")
		theirs=$(cpu_of_script "$peer" "$clients" "$times")
		used+=("$ours") peer_used+=("$theirs") cpu_ratios+=("$(calc "$theirs / $ours")")
	done
	result "hit / $name, $clients clients, apart" "$(milliseconds "$(median "${rates[@]}")")" "$(milliseconds "$(median "${peers[@]}")")" \
		"$(median "${ratios[@]}")" '>=' 0.9
	result "hit / $name, $clients clients, CPU" "$(microseconds "$(median "${used[@]}")")" "$(microseconds "$(median "${peer_used[@]}")")" \
		"$(median "${cpu_ratios[@]}")" '>=' 0.9
}

compare_rows()
{
	local rows
	for rows in 1 30 1000; do
		write_rows "$rows"
		against "$rows rows made from nothing" "$1" $((rows == 1000 ? 10 : 50)) rows_hit.sql rows_made.sql
	done
	echo "SELECT repeat('x', 2048) AS v;" >"$BENCH/rows_made.sql"
	against "2 kB made from nothing" "$1" 50 cache_hit.sql rows_made.sql
	against "SELECT 1" "$1" 50 cache_hit.sql cache_one.sql
}

compare_hits()
{
	local clients=$1 round pair ones=() hits=() ratios=() rates=() plain=() redis=()
	for ((round = 1; round <= ROUNDS; round++)); do
		read -r -a pair <<<"$(hit_and_one "$clients")"
		ones+=("${pair[0]}")
		hits+=("${pair[1]}")
		ratios+=("$(calc "${pair[0]} / ${pair[1]}")")
		rates+=("$(rate_of cache_hit.sql "$clients")")
		if [ -n "$REDIS" ]; then
			redis+=("$(redis_rate "$clients")")
			plain+=("$(rate_of cache_one.sql "$clients")")
		fi
	done
	result "hit of 2 kB / SELECT 1, $clients clients, together" "$(milliseconds "$(median "${hits[@]}")")" "$(milliseconds "$(median "${ones[@]}")")" \
		"$(median "${ratios[@]}")" '>=' 0.9
	if [ -n "$REDIS" ]; then
		result "hit of 2 kB / Redis GET, $clients clients" "$(per_second "$(median "${rates[@]}")")" "$(per_second "$(median "${redis[@]}")")" \
			"$(calc "$(median "${rates[@]}") / $(median "${redis[@]}")")" '>=' 1
		result "SELECT 1 / Redis GET, $clients clients" "$(per_second "$(median "${plain[@]}")")" "$(per_second "$(median "${redis[@]}")")" \
			"$(calc "$(median "${plain[@]}") / $(median "${redis[@]}")")" -
	fi
}

compare_heavy()
{
	local ours peer
	rate_of cache_heavy.sql 1 >/dev/null
	ours=$(quick_query cache_heavy.sql "$CACHE_SECONDS")
	peer=$(quick_query cache_heavy_peer.sql 20)
	result "GROUP BY over $EVENTS events, cached" "$(milliseconds "$ours")" "$(milliseconds "$peer")" "$(calc "$peer / $ours")" -
}

# How many computations 64 callers of one key make: each of them calls once.
stampede()
{
	local before after
	run_sql -c "SELECT trace_ext.cache_invalidate('%')" >/dev/null
	before=$(run_sql -c 'SELECT misses FROM trace_ext.cache_stats')
	as_server "$BINDIR/pgbench" -n -f "$BENCH/cache_heavy.sql" -c 64 -j 2 -t 1 bench >/dev/null 2>>"$WORK/pgbench.log" || die "pgbench failed"
	after=$(run_sql -c 'SELECT misses FROM trace_ext.cache_stats')
	result "64 callers miss one key, computations" "$((after - before))" 64 "$((after - before))" '<=' 1
}

# Hit ratio and 99th percentile of 4 clients, while batches of 100 events arrive.
skewed()
{
	local writers p99 ratio before log=$WORK/skewed
	local counted='SELECT h, h + misses + bypasses FROM trace_ext.cache_stats, LATERAL (SELECT local_hits + shared_hits + stale_hits AS h) x'
	run_sql -c 'SELECT trace_ext.cache_reset()' >/dev/null
	PGAPPNAME=writers as_server "$BINDIR/pgbench" -n -M prepared -f "$BENCH/lists_writer.sql" -T 3600 -c 1 \
		-D events="$EVENTS" bench >"$WORK/writers.log" 2>&1 &
	writers=$!
	# The counters start anew only together with the cache, so take their difference.
	pgbench_run cache_skewed.sql "$SECONDS_EACH" -c 4 -j 2 >/dev/null
	before=$(run_sql -F ' ' -c "$counted")
	pgbench_run cache_skewed.sql "$SECONDS_EACH" -c 4 -j 2 -l --log-prefix="$log" >/dev/null
	ratio=$(echo "$before $(run_sql -F ' ' -c "$counted")" | awk '{ printf "%.4f", ($3 - $1) / ($4 - $2) }')
	run_sql -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'writers'" >/dev/null
	wait "$writers" || true
	p99=$(cat "$log".* | awk '{ print $3 / 1000 }' | sort -g | awk '{ v[NR] = $1 } END { print v[int(NR * 0.99)] }')
	result "Zipf over 10,000 keys, 1 writer: 99 % below" "$(milliseconds "$p99")" - 0 -
	result "the same: hit ratio" "$ratio" - "$ratio" -
}

# report_ms MODE WRITES REPORT: what a call takes, without and with the cache.
report_ms()
{
	run_sql -c "SET trace_ext.cache_mode = $1" -c "CALL bench.ask('$3', false, 2, NULL)" -c "CALL bench.ask('$3', $2, 10, NULL)" | tail -1
}

# A report uses the cache by itself only where it wins: asked again, and after commits.
reports()
{
	local report writes when ours peer
	run_sql -f "$BENCH/cache_reports.sql"
	for report in "trace_ext.find_variable_races(''accounts.user1'')" 'trace_ext.global_races()'; do
		for writes in false true; do
			when=$([ $writes = true ] && echo 'a commit before each' || echo 'asked again')
			ours=$(report_ms on $writes "$report")
			peer=$(report_ms bypass $writes "$report")
			result "${report%%(*}(), $when" "$(milliseconds "$ours")" "$(milliseconds "$peer")" "$(calc "$peer / $ours")" '>=' 0.95
		done
	done
}

bench_cache()
{
	REDIS=
	empty_events
	load_days 1
	run_sql -c 'CREATE TABLE bench.payload (k int PRIMARY KEY, v text)' \
		-c "INSERT INTO bench.payload SELECT i, (SELECT string_agg(md5((i * 64 + j)::text), '') FROM generate_series(1, 64) j) FROM generate_series(1, 100) i" \
		-c 'VACUUM ANALYZE bench.payload'
	if start_redis; then
		REDIS=yes
	else
		say "    Redis could not be installed or started: its rows are left out"
	fi
	compare_rows 1
	compare_rows 8
	compare_hits 1
	compare_hits 8
	stop_redis
	compare_heavy
	reports
	stampede
	skewed
}
