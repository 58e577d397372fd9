# lists.sh
#		The first page of list_traces() against GROUP BY over events, each while 2
#		writers send batches of 100 events as fast as they are taken.
#
# The GROUP BY computes the id, the count and both times only, less than
# list_traces() returns.
#
# shellcheck shell=bash

# under_load SCRIPT SECONDS: mean latency while writers run.
under_load()
{
	local writers latency
	PGAPPNAME=writers as_server "$BINDIR/pgbench" -n -M prepared -f "$BENCH/lists_writer.sql" -T 3600 -c 2 -j 2 \
		-D events="$EVENTS" bench >"$WORK/writers.log" 2>&1 &
	writers=$!
	sleep 2
	latency=$(quick_query "$1" "$2")
	# However long the last query took, they wrote until here.
	[ "$(run_sql -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'writers'")" = 2 ] ||
		die "the writers stopped: $(tail -3 "$WORK/writers.log")"
	wait "$writers" || true
	say "$latency"
}

bench_lists()
{
	local small_peer
	empty_events
	load_days 1
	LISTS_SMALL=$(under_load lists.sql 20)
	small_peer=$(under_load lists_peer.sql 20)
	result "list_traces() at $EVENTS, 2 writers" "$(milliseconds "$LISTS_SMALL")" "$(milliseconds "$small_peer")" \
		"$(calc "$small_peer / $LISTS_SMALL")" '>=' 500
	idle_lists
	filtered_lists
	must_be_exact lists
}

bench_lists_large()
{
	local large large_peer
	large=$(under_load lists.sql 20)
	large_peer=$(under_load lists_peer.sql 60)
	result "list_traces() at 10 x $EVENTS, 2 writers" "$(milliseconds "$large")" "$(milliseconds "$large_peer")" \
		"$(calc "$large_peer / $large")" '>=' 500
	result "list_traces(), 10 x the events / 1 x" "$(milliseconds "$large")" "$(milliseconds "$LISTS_SMALL")" \
		"$(calc "$large / $LISTS_SMALL")" '<=' 1.2
}

# filtered_list LABEL ARGUMENTS: the first page of a filter, against the one without.
filtered_list()
{
	local filtered
	filtered=$(quick_query lists_filtered.sql 3 -M simple -D arguments="$2")
	result "list_traces(), $1" "$(milliseconds "$filtered")" "$(milliseconds "$LISTS_PLAIN")" \
		"$(calc "$filtered / $LISTS_PLAIN")" '<=' 30
}

# Whether all traces pass, five or none: a filter costs what its answer needs.
filtered_lists()
{
	local fifth
	run_sql -c 'SELECT trace_ext.fold()' -c 'VACUUM ANALYZE' >/dev/null
	LISTS_PLAIN=$(quick_query lists_filtered.sql 3 -M simple -D arguments="page => 1")
	fifth=$(run_sql -c 'SELECT duration_ms FROM trace_ext.trace_summaries ORDER BY 1 DESC OFFSET 4 LIMIT 1')
	filtered_list "since, all pass" "since => '-infinity', until => '9999-01-01'"
	filtered_list "since, none" "since => '9999-01-01'"
	filtered_list "duration, all" "min_duration_ms => 0.001"
	filtered_list "duration, five" "min_duration_ms => $fifth"
	filtered_list "duration, none" "min_duration_ms => 1e12"
	filtered_list "errors" "errors_only => true"
	filtered_list "name, all" "name => '%'"
	filtered_list "name, a quarter" "name => 'POST /api/transfer'"
	filtered_list "name, none" "name => 'DELETE /api%'"
	filtered_list "variable, many" "variable => 'accounts.user7.balance'"
	filtered_list "variable, none" "variable => 'nothing'"
}

# Without writers it can be told what outstanding deltas cost.
idle_lists()
{
	local folded outstanding
	run_sql -c 'SELECT trace_ext.fold()' -c 'VACUUM ANALYZE' >/dev/null
	folded=$(quick_query lists.sql 5)
	run_sql -f "$BENCH/outstanding.sql"
	outstanding=$(quick_query lists.sql 5)
	result "list_traces(), no writers, 5,000 deltas / none" "$(milliseconds "$outstanding")" "$(milliseconds "$folded")" \
		"$(calc "$outstanding / $folded")" -
}
