# counts.sh
#		count_events() against SELECT count(*) over the same table, which is
#		vacuumed, so that an index-only scan may count it.
#
# shellcheck shell=bash

bench_counts()
{
	local small_peer outstanding
	empty_events
	load_days 1
	COUNTS_SMALL=$(quick_query counts.sql 5)
	small_peer=$(quick_query counts_peer.sql 10)
	result "count_events() at $EVENTS" "$(milliseconds "$COUNTS_SMALL")" "$(milliseconds "$small_peer")" \
		"$(calc "$small_peer / $COUNTS_SMALL")" '>=' 300

	VERSION_SMALL=$(quick_query counts_version.sql 5)
	run_sql -f "$BENCH/outstanding.sql"
	outstanding=$(quick_query counts.sql 5)
	result "the same, 5,000 deltas outstanding" "$(milliseconds "$outstanding")" "$(milliseconds "$small_peer")" \
		"$(calc "$small_peer / $outstanding")" -
}

bench_counts_large()
{
	local large large_peer version
	large=$(quick_query counts.sql 5)
	large_peer=$(quick_query counts_peer.sql 20)
	result "count_events() at 10 x $EVENTS" "$(milliseconds "$large")" "$(milliseconds "$large_peer")" \
		"$(calc "$large_peer / $large")" '>=' 300
	result "count_events(), 10 x the events / 1 x" "$(milliseconds "$large")" "$(milliseconds "$COUNTS_SMALL")" \
		"$(calc "$large / $COUNTS_SMALL")" '<=' 1.2
	version=$(quick_query counts_version.sql 5)
	result "data_version(), 10 x the events / 1 x" "$(milliseconds "$version")" "$(milliseconds "$VERSION_SMALL")" \
		"$(calc "$version / $VERSION_SMALL")" '<=' 1.2
}
