# ingest.sh
#		ingest_events() in batches of 1,000 against the document schema, with the
#		same events, by one client and by four.
#
# The batches lie in the database, as text for ingest_events() and as the arrays
# that the peer's client binds, so neither side pays for a network or for a
# client. The peer's client would have parsed the JSON and taken edges, roots
# and accesses out of it; that is not counted here.
#
# shellcheck shell=bash

# ingest_rate SCRIPT CLIENTS: events a second. Each batch is sent once.
ingest_rate()
{
	local tps
	run_sql -c CHECKPOINT
	tps=$(as_server "$BINDIR/pgbench" -n -M prepared -f "$BENCH/$1" -c "$2" -j "$2" -t "$((BATCHES / $2))" \
		-D clients="$2" -D i=-1 bench 2>"$WORK/pgbench.log" | sed -n 's/^tps = \([0-9.]*\) .*/\1/p')
	[ -n "$tps" ] || die "pgbench failed: $(tail -5 "$WORK/pgbench.log")"
	calc "$tps * 1000"
}

# Both must have stored every event of every batch.
must_have_stored()
{
	local stored
	stored=$(run_sql -c "SELECT count(*) FROM $1")
	[ "$stored" = "$((BATCHES * 1000))" ] || die "$1 has $stored rows, not $((BATCHES * 1000))"
}

compare_ingest()
{
	local clients=$1 round ours=() peer=()
	for ((round = 1; round <= ROUNDS; round++)); do
		empty_events
		ours+=("$(ingest_rate ingest.sql "$clients")")
		must_have_stored trace_ext.events
		if [ "$round" -eq 1 ]; then
			must_be_exact ingest
		fi
		run_sql -c 'TRUNCATE peer.events, peer.causal_edges, peer.trace_roots, peer.cross_trace_index'
		peer+=("$(ingest_rate ingest_peer.sql "$clients")")
		must_have_stored peer.events
	done
	say "    ours ${ours[*]}, peer ${peer[*]} events/s"
	result "ingest_events, batches of 1,000, clients: $clients" "$(per_second "$(median "${ours[@]}")")" \
		"$(per_second "$(median "${peer[@]}")")" "$(calc "$(median "${ours[@]}") / $(median "${peer[@]}")")" '>=' 5
}

# A fifth of the events: enough, and the peer gets slower as its indexes grow.
bench_ingest()
{
	local ingest_events=$((EVENTS < 100000 ? 20000 : EVENTS / 5))
	run_sql -v ingest_events="$ingest_events" -f "$BENCH/ingest_setup.sql" >/dev/null
	BATCHES=$(run_sql -c 'SELECT count(*) FROM bench.batches')
	compare_ingest 1
	compare_ingest 4
	run_sql -c 'DROP SCHEMA peer CASCADE' -c 'DROP TABLE bench.batches, bench.peer_batches, bench.batched CASCADE' 2>/dev/null
	empty_events
}
