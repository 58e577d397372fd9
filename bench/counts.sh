# counts.sh
#		count_events() against SELECT count(*) over the same table, which is
#		vacuumed, so that an index-only scan may count it.
#
# shellcheck shell=bash

bench_counts()
{
	local small small_peer large large_peer
	empty_events
	load_days 1
	small=$(quick_query counts.sql 5)
	small_peer=$(quick_query counts_peer.sql 10)
	result "count_events() at $EVENTS" "$(milliseconds "$small")" "$(milliseconds "$small_peer")" \
		"$(calc "$small_peer / $small")" '>=' 300

	run_sql -f "$BENCH/outstanding.sql"
	result "the same, 5,000 deltas outstanding" "$(milliseconds "$(quick_query counts.sql 5)")" \
		"$(milliseconds "$small_peer")" "$(calc "$small_peer / $(quick_query counts.sql 5)")" -

	[ "$LARGE" = 1 ] || return 0
	load_days 10
	large=$(quick_query counts.sql 5)
	large_peer=$(quick_query counts_peer.sql 20)
	result "count_events() at 10 x $EVENTS" "$(milliseconds "$large")" "$(milliseconds "$large_peer")" \
		"$(calc "$large_peer / $large")" -
	result "count_events(), 10 x the events / 1 x" "$(milliseconds "$large")" "$(milliseconds "$small")" \
		"$(calc "$large / $small")" '<=' 1.2
}
