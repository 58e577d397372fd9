# writers.sh
#		8 writers whose transactions touch the same traces, against the same on
#		traces of their own, a materialized view refreshed every 30 s, and a summary
#		table that a trigger updates at once.
#
# What writers wait for is sampled. A lock "extend" is that of a table that
# grows, held for microseconds by whoever adds pages, with or without summaries;
# it is counted apart. Any other lock means that a writer waits for another one.
#
# shellcheck shell=bash

WRITERS=8

# run_writers SCHEMA SHARED: sets RATE (transactions a second), DEADLOCKS, WAITS
# and EXTENDS (in per cent of the samples of running writers).
run_writers()
{
	local output sampler
	run_sql -c 'TRUNCATE bench.waits' -c CHECKPOINT
	run_sql -c "CALL bench.sample_waits($SECONDS_EACH)" &
	sampler=$!
	output=$(PGAPPNAME=writer PGOPTIONS="-c search_path=$1,trace_ext" pgbench_run writers.sql "$SECONDS_EACH" \
		-c "$WRITERS" -j 2 --failures-detailed -D shared="$2" -D events="$EVENTS")
	wait "$sampler"
	RATE=$(sed -n 's/^tps = \([0-9.]*\) .*/\1/p' <<<"$output")
	DEADLOCKS=$(sed -n 's/^number of deadlock failures: \([0-9]*\) .*/\1/p' <<<"$output")
	read -r WAITS EXTENDS < <(run_sql -F' ' -c "
		SELECT round(100.0 * count(*) FILTER (WHERE what NOT IN ('', 'extend')) / greatest(count(*), 1), 1),
		       round(100.0 * count(*) FILTER (WHERE what = 'extend') / greatest(count(*), 1), 1) FROM bench.waits")
	say "    $1, shared=$2: $RATE transactions/s, $DEADLOCKS deadlocks, waiting for a writer $WAITS %, for a table to grow $EXTENDS %"
}

# Refresh every 30 s, but at least once in the run.
refresh_now_and_then()
{
	local pause=$((SECONDS_EACH < 60 ? SECONDS_EACH / 2 : 30))
	while sleep "$pause"; do
		run_sql -c 'REFRESH MATERIALIZED VIEW CONCURRENTLY refreshed.summaries'
	done
}

bench_writers()
{
	local round shared=() disjoint=() immediate=() refreshed=() deadlocks=0 waits=0 their_deadlocks=0 their_waits=() refresher
	run_sql -f "$BENCH/writers_setup.sql"
	for ((round = 1; round <= ROUNDS; round++)); do
		empty_events
		run_writers trace_ext 1
		shared+=("$RATE")
		deadlocks=$((deadlocks + DEADLOCKS))
		waits=$(calc "($WAITS > $waits ? $WAITS : $waits)")
		must_be_exact writers

		empty_events
		run_writers trace_ext 0
		disjoint+=("$RATE")

		run_sql -c 'TRUNCATE immediate.events, immediate.summaries'
		run_writers immediate 1
		immediate+=("$RATE")
		their_deadlocks=$((their_deadlocks + DEADLOCKS))
		their_waits+=("$WAITS")

		run_sql -c 'TRUNCATE refreshed.events'
		refresh_now_and_then &
		refresher=$!
		run_writers refreshed 1
		kill "$refresher" 2>/dev/null
		wait "$refresher" 2>/dev/null || true
		refreshed+=("$RATE")
	done

	compare_writers "shared traces / disjoint" "${disjoint[*]}" "${shared[*]}" '>=' 0.9
	compare_writers "against a summary updated at once" "${immediate[*]}" "${shared[*]}" -
	compare_writers "against a view refreshed every 30 s" "${refreshed[*]}" "${shared[*]}" -
	result "$WRITERS writers, deadlocks (peer: updated at once)" "$deadlocks" "$their_deadlocks" "$deadlocks" '<=' 0
	result "$WRITERS writers, samples that wait (the same)" "$waits %" "$(median "${their_waits[@]}") %" "$waits" '<=' 0
}

# compare_writers WHAT PEER_RATES OUR_RATES COMPARISON [GOAL], in events a second.
compare_writers()
{
	local ours peer
	# shellcheck disable=SC2086
	peer=$(median $2)
	# shellcheck disable=SC2086
	ours=$(median $3)
	result "$WRITERS writers, $1" "$(per_second "$ours * 20")" "$(per_second "$peer * 20")" \
		"$(calc "$ours / $peer")" "$4" "${5:-}"
}
