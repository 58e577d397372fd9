# calls.sh
#		service_calls and service_map() against the query over all spans that the view
#		service_calls was before there were rollups.
#
# The peer knows no calls by parents and no latency, so it does less. It takes a second
# or more, so it runs for a few of them. What adding up costs is measured by itself: the
# time of the worker for a trace, and what it stores.
#
# shellcheck shell=bash

bench_calls()
{
	local peer ours traces bytes
	empty_events
	load_days 1
	CALLS_SMALL=$(quick_query calls.sql 5)
	CALLS_MAP_SMALL=$(quick_query calls_map.sql 5)
	peer=$(time_sql "$(cat "$BENCH/calls_peer.sql")")
	result "service_calls at $EVENTS" "$(milliseconds "$CALLS_SMALL")" "$(milliseconds "$peer")" \
		"$(calc "$peer / $CALLS_SMALL")" '>=' 200
	result "service_map() of one hour" "$(milliseconds "$CALLS_MAP_SMALL")" "$(milliseconds "$peer")" \
		"$(calc "$peer / $CALLS_MAP_SMALL")" '>=' 200
	outstanding_calls "$peer"

	traces=$(run_sql -c 'SELECT count(*) FROM trace_ext.summary_base')
	run_sql -c 'INSERT INTO trace_ext.calls_queue SELECT trace_id FROM trace_ext.summary_base' \
		-c 'TRUNCATE trace_ext.trace_call_rows, trace_ext.call_base, trace_ext.call_totals'
	ours=$(time_sql 'DO $$ BEGIN PERFORM trace_ext_internal.fold_lock(true); PERFORM trace_ext_internal.take_calls(NULL); END $$')
	result "adding up calls, a trace" "$(microseconds "$(calc "$ours * 1000 / $traces")")" "$(microseconds "$(calc "$peer * 1000 / $traces")")" \
		"$(calc "$peer / $ours")" -
	bytes=$(run_sql -c "SELECT pg_total_relation_size('trace_ext.trace_call_rows')")
	say "    stored of the calls of a trace, with its index: $(calc "$bytes / $traces") bytes"
	must_be_exact calls
}

# What a reader adds while 1,000 traces, of some second of many writers, are outstanding.
outstanding_calls()
{
	local outstanding
	run_sql -c 'INSERT INTO trace_ext.calls_queue SELECT trace_id FROM trace_ext.summary_base LIMIT 1000'
	outstanding=$(run_sql -c '\timing on' -c 'SELECT count(*) FROM trace_ext.service_calls' -c 'SELECT count(*) FROM trace_ext.service_calls' |
		sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -1)
	run_sql -c 'SELECT trace_ext.fold()' >/dev/null
	result "service_calls, 1,000 traces outstanding" "$(milliseconds "$outstanding")" "$(milliseconds "$1")" "$(calc "$1 / $outstanding")" -
}

bench_calls_large()
{
	local large large_map
	large=$(quick_query calls.sql 5)
	large_map=$(quick_query calls_map.sql 5)
	result "service_calls, 10 x the events / 1 x" "$(milliseconds "$large")" "$(milliseconds "$CALLS_SMALL")" \
		"$(calc "$large / $CALLS_SMALL")" '<=' 1.2
	result "service_map() of one hour, 10 x the events / 1 x" "$(milliseconds "$large_map")" "$(milliseconds "$CALLS_MAP_SMALL")" \
		"$(calc "$large_map / $CALLS_MAP_SMALL")" '<=' 1.2
}
