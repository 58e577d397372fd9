# otlp.sh
#		ingest_otlp() of bodies of 512 spans, in protobuf and JSON, beside ingest_events() of
#		the same events; what redaction costs; and what a span takes on disk beside its protobuf.
#
# The bodies lie in the database, so nobody pays for a network. What ingest_events() is given are the
# events that the spans became, with all of their attributes, in as many batches.
#
# shellcheck shell=bash

# otlp_rate SCRIPT: spans a second, each body sent once into an empty store.
otlp_rate()
{
	local tps
	empty_events
	run_sql -c 'TRUNCATE trace_ext.otlp_resources, trace_ext.otlp_scopes, trace_ext.trace_links, trace_ext.ingest_errors' -c CHECKPOINT
	tps=$(as_server "$BINDIR/pgbench" -n -M prepared -f "$BENCH/$1" -c 1 -t "$BODIES" -D i=-1 bench 2>"$WORK/pgbench.log" |
		sed -n 's/^tps = \([0-9.]*\) .*/\1/p')
	[ -n "$tps" ] || die "pgbench failed: $(tail -5 "$WORK/pgbench.log")"
	calc "$tps * 512"
}

# All must have stored the same number of events.
must_have_events()
{
	local stored
	stored=$(run_sql -c 'SELECT count(*) FROM trace_ext.events')
	OTLP_EVENTS=${OTLP_EVENTS:-$stored}
	[ "$stored" = "$OTLP_EVENTS" ] || die "$1: $stored events, not $OTLP_EVENTS"
}

# What is stored for a span, and what it was as protobuf.
otlp_storage()
{
	run_sql -c 'SELECT trace_ext.fold()' -c 'VACUUM ANALYZE' >/dev/null
	local table index raw all
	table=$(run_sql -c "SELECT sum(pg_table_size(part::regclass))::bigint FROM trace_ext.partitions")
	index=$(run_sql -c "SELECT sum(pg_indexes_size(part::regclass))::bigint FROM trace_ext.partitions")
	all=$(run_sql -c "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c WHERE relnamespace = 'trace_ext'::regnamespace AND relkind = 'r'")
	raw=$(run_sql -c "SELECT sum(length(wire)) FROM bench.requests")
	result 'a span: its events, their table and index' "$(calc "int(($table + $index) / $SPANS)") bytes" "$(calc "int($raw / $SPANS)") bytes of protobuf" "$(calc "($table + $index) / $raw")" -
	result 'a span: all that is kept, sums and findings too' "$(calc "int($all / $SPANS)") bytes" "$(calc "int($raw / $SPANS)") bytes of protobuf" "$(calc "$all / $raw")" -
}

bench_otlp()
{
	local round wire=() json=() events=() redacted_wire=() redacted_events=() each
	BODIES=$((EVENTS < 200000 ? 20 : EVENTS / 10000))
	SPANS=$((BODIES * 512))
	run_sql -v bodies="$BODIES" -v source="$SRC" -f "$BENCH/otlp_setup.sql" >/dev/null
	otlp_rate otlp_wire.sql >/dev/null
	must_have_events protobuf
	must_be_exact otlp
	otlp_storage
	run_sql -f "$BENCH/otlp_events.sql" >/dev/null
	each=$(calc "$OTLP_EVENTS / $SPANS")
	for ((round = 1; round <= ROUNDS; round++)); do
		wire+=("$(otlp_rate otlp_wire.sql)")
		must_have_events protobuf
		json+=("$(otlp_rate otlp_json.sql)")
		must_have_events JSON
		events+=("$(otlp_rate otlp_peer.sql)")
		must_have_events 'event JSON'
		run_sql -c 'UPDATE trace_ext.redaction_rules SET enabled = true'
		redacted_wire+=("$(otlp_rate otlp_wire.sql)")
		redacted_events+=("$(otlp_rate otlp_peer.sql)")
		run_sql -c 'UPDATE trace_ext.redaction_rules SET enabled = false'
	done
	say "    $SPANS spans are $OTLP_EVENTS events; spans/s: protobuf ${wire[*]}, JSON ${json[*]}, as event JSON ${events[*]}"
	result "ingest_otlp, protobuf, spans ($each events each)" "$(per_second "$(median "${wire[@]}")")" \
		"$(per_second "$(median "${events[@]}")"), ingest_events" "$(calc "$(median "${wire[@]}") / $(median "${events[@]}")")" -
	result 'ingest_otlp, JSON, spans' "$(per_second "$(median "${json[@]}")")" \
		"$(per_second "$(median "${events[@]}")"), ingest_events" "$(calc "$(median "${json[@]}") / $(median "${events[@]}")")" -
	result 'ingest_otlp, protobuf, with the three redaction rules' "$(per_second "$(median "${redacted_wire[@]}")")" \
		"$(per_second "$(median "${wire[@]}")"), without" "$(calc "$(median "${redacted_wire[@]}") / $(median "${wire[@]}")")" -
	result 'ingest_events, with the three redaction rules, spans' "$(per_second "$(median "${redacted_events[@]}")")" \
		"$(per_second "$(median "${events[@]}")"), without" "$(calc "$(median "${redacted_events[@]}") / $(median "${events[@]}")")" -
	run_sql -c 'DROP TABLE bench.requests, bench.sent, bench.captured' 2>/dev/null
	empty_events
}
