# races.sh
#		count_variable_races() over one variable with k accesses by 64 strands, against
#		the pairwise method: a join of the accesses with themselves. That join is the
#		least a pairwise method does, for it asks for no order at all. It is left out
#		where it would take hours. Then a trace of 200,000 events, and detect().
#
# shellcheck shell=bash

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

bench_races()
{
	local small large locked count
	empty_events
	run_sql -f "$BENCH/races_setup.sql" >/dev/null
	compare_races 1000
	compare_races 10000
	small=$RACES_TIME
	compare_races 100000
	large=$RACES_TIME
	result "races, 100,000 accesses / 1 s" "$(milliseconds "$large")" "1000 ms" "$(calc "$large / 1000")" '<=' 1
	result "races, 100,000 accesses / 10,000" "$(milliseconds "$large")" "$(milliseconds "$small")" \
		"$(calc "$large / $small")" '<=' 12
	locked=$(best_of "SELECT count(*) FROM trace_ext.find_races(md5('locked')::uuid)")
	result "races, trace of 200,000 events / 2 s" "$(milliseconds "$locked")" "2000 ms" "$(calc "$locked / 2000")" '<=' 1

	empty_events
	load_days 1
	run_sql -c 'TRUNCATE trace_ext.detect_queue' -c 'INSERT INTO trace_ext.detect_queue SELECT trace_id FROM trace_ext.summary_base' >/dev/null
	large=$(time_sql 'SELECT trace_ext.detect()')
	count=$(run_sql -c 'SELECT count(*) FROM trace_ext.findings')
	result "detect() over $EVENTS events, $count findings" "$(per_second "$(calc "$EVENTS * 1000 / $large")")" "-" 0 -
	run_sql -c 'TRUNCATE trace_ext.findings, trace_ext.race_pairs' >/dev/null
}
