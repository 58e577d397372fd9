# races.sh
#		count_variable_races() over one variable with k accesses by 64 strands, against
#		the pairwise method: a join of the accesses with themselves. That join is the
#		least a pairwise method does, for it asks for no order at all. It is left out
#		where it would take hours. Then a trace of 200,000 events, and detect() against
#		ingest_events().
#
# shellcheck shell=bash

. "$BENCH_SOURCE/ingest.sh"

# best_of SQL: milliseconds, the median of the rounds.
best_of()
{
	local round times=()
	for ((round = 1; round <= ROUNDS; round++)); do
		times+=("$(time_sql "$1")")
	done
	median "${times[@]}"
}

pairwise_sql()
{
	echo "SELECT count(*) FROM trace_ext.cross_trace_index a JOIN trace_ext.cross_trace_index b
		ON a.variable = b.variable AND a.thread_id <> b.thread_id AND (a.\"timestamp\", a.event_id) < (b.\"timestamp\", b.event_id)
		WHERE a.variable = 'bench.$1' AND b.variable = 'bench.$1' AND 'Write' IN (a.access_type, b.access_type)"
}

compare_races()
{
	local k=$1 ours peer found
	ours=$(best_of "SELECT trace_ext.count_variable_races('bench.$k')")
	if [ "$k" -gt 10000 ]; then
		result "races, 1 variable, $k accesses" "$(milliseconds "$ours")" "not run" 0 -
	else
		peer=$(time_sql "$(pairwise_sql "$k")")
		found=$(run_sql -c "SELECT trace_ext.count_variable_races('bench.$k') = ($(pairwise_sql "$k"))")
		[ "$found" = t ] || die "races: the two methods do not find the same pairs"
		result "races, 1 variable, $k accesses" "$(milliseconds "$ours")" "$(milliseconds "$peer")" \
			"$(calc "$peer / $ours")" -
	fi
	RACES_TIME=$ours
}

# The rate of detect() against that of ingest_events(), of the same events, each on
# one core: what is ingested must be examined in less time than it took to come.
compare_detect()
{
	local ingest detect took count
	run_sql -v ingest_events=$((EVENTS / 5)) -f "$BENCH/ingest_setup.sql" >/dev/null
	BATCHES=$(run_sql -c 'SELECT count(*) FROM bench.batches')
	empty_events
	run_sql -c 'TRUNCATE trace_ext.detect_queue, trace_ext.findings, trace_ext.race_pairs'
	ingest=$(ingest_rate ingest.sql 1)
	must_have_stored trace_ext.events
	run_sql -c 'SELECT trace_ext.fold()' -c 'VACUUM ANALYZE trace_ext.events, trace_ext.summary_base' >/dev/null
	took=$(time_sql 'SELECT trace_ext.detect()')
	count=$(run_sql -c 'SELECT count(*) FROM trace_ext.findings')
	detect=$(calc "$BATCHES * 1000000 / $took")
	result "detect(), $count findings / ingest_events, 1 client" "$(per_second "$detect")" "$(per_second "$ingest")" \
		"$(calc "$detect / $ingest")" '>=' 1
	run_sql -c 'DROP SCHEMA peer CASCADE' -c 'DROP TABLE bench.batches, bench.peer_batches, bench.batched CASCADE' 2>/dev/null
}

# Small traces a second, one every 100 s: each has a time of its own.
compare_sparse()
{
	local traces=6000 took rate
	empty_events
	run_sql -c 'TRUNCATE trace_ext.detect_queue, trace_ext.findings, trace_ext.race_pairs'
	run_sql -c "INSERT INTO trace_ext.events (trace_id, id, \"timestamp\", kind, name, thread_id, attributes)
		SELECT md5('sparse ' || t)::uuid, md5(t || ' ' || e)::uuid, '2025-03-01 00:00+00'::timestamptz + t * interval '100 s' + e * interval '5 ms',
			'StateChange', 'v' || t % 7, 'T', '{\"access_type\": \"Write\"}'
		  FROM generate_series(1, $traces) t, generate_series(1, 4) e" -c 'SELECT trace_ext.fold()' \
		-c 'VACUUM ANALYZE trace_ext.events, trace_ext.summary_base' >/dev/null
	took=$(time_sql 'SELECT trace_ext.detect()')
	rate=$(calc "$traces * 1000 / $took")
	result "detect(), sparse traces / 5,000 a second" "$(per_second "$rate")" "5,000/s" "$(calc "$rate / 5000")" '>=' 1
}

bench_races()
{
	local quarter full locked
	empty_events
	run_sql -f "$BENCH/races_setup.sql" >/dev/null
	compare_races 1000
	compare_races 10000
	compare_races 25000
	quarter=$RACES_TIME
	compare_races 50000
	compare_races 100000
	full=$RACES_TIME
	result "races, 100,000 accesses / 1 s" "$(milliseconds "$full")" "1000 ms" "$(calc "$full / 1000")" '<=' 1
	# Four times the accesses; a quadratic method would take 16 times as long.
	result "races, 100,000 accesses / 25,000" "$(milliseconds "$full")" "$(milliseconds "$quarter")" \
		"$(calc "$full / $quarter")" '<=' 6
	locked=$(best_of "SELECT count(*) FROM trace_ext.find_races(md5('locked')::uuid)")
	result "races, trace of 200,000 events / 2 s" "$(milliseconds "$locked")" "2000 ms" "$(calc "$locked / 2000")" '<=' 1
	compare_detect
	compare_sparse
	empty_events
	run_sql -c 'TRUNCATE trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue' >/dev/null
}
