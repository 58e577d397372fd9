# receiver.sh
#		The receiver, with bodies of 512 spans from 4 clients that each have a connection, beside a
#		sink that reads HTTP, unpacks nothing and only parses the JSON; and the memory of the receiver.
#
# The peer is what remains when nothing is stored: what a collector in memory could reach at
# most in one process. Bodies are made before the clock starts (receiver.py).
#
# shellcheck shell=bash

RECEIVER_PORT=${RECEIVER_PORT:-24318}

receiver_row()
{
	run_sql -c "SELECT $1 FROM trace_ext_internal.receiver()"
}

wait_for_receiver()
{
	local i
	for ((i = 0; i < 100; i++)); do
		[ "$(receiver_row "state = 'listening'")" != t ] || return 0
		sleep 0.1
	done
	die "the receiver does not listen: $(receiver_row error)"
}

# send_bodies PORT ENCODING ROUND: spans a second.
send_bodies()
{
	python3 "$BENCH/receiver.py" send "$1" "$2" "$3" "$RECEIVER_BODIES"
}

# Memory that the receiver has for itself, in kB, at most while this is awake.
watch_memory()
{
	local pid most=0 now
	pid=$(receiver_row pid)
	trap 'echo "$most" >"$WORK/receiver_memory"; exit' TERM
	while now=$(awk '/^RssAnon:/ { print $2 }' "/proc/$pid/status"); do
		most=$((now > most ? now : most))
		sleep 0.02
	done
}

bench_receiver()
{
	local round json=() proto=() sink=() sink_pid watch_pid private
	RECEIVER_BODIES=$((EVENTS < 100000 ? 8 : 40))
	empty_events
	run_sql -c "ALTER SYSTEM SET trace_ext.otlp_database = 'bench'" -c "ALTER SYSTEM SET trace_ext.otlp_listen = '127.0.0.1:$RECEIVER_PORT'" -c 'SELECT pg_reload_conf()' >/dev/null
	wait_for_receiver
	python3 "$BENCH/receiver.py" sink $((RECEIVER_PORT + 1)) &
	sink_pid=$!
	watch_memory &
	watch_pid=$!
	sleep 1
	for ((round = 1; round <= ROUNDS; round++)); do
		empty_events
		proto+=("$(send_bodies "$RECEIVER_PORT" protobuf "$round")")
		json+=("$(send_bodies "$RECEIVER_PORT" json "$round$round")")
		[ "$(run_sql -c 'SELECT count(*) FROM trace_ext.events')" = $((RECEIVER_BODIES * 4 * 512 * 2)) ] || die "the receiver has lost something"
		sink+=("$(send_bodies $((RECEIVER_PORT + 1)) json "$round")")
	done
	kill "$sink_pid" "$watch_pid"
	wait "$sink_pid" "$watch_pid" || true
	must_be_exact receiver
	private=$(cat "$WORK/receiver_memory")
	say "    protobuf ${proto[*]}, JSON ${json[*]}, sink ${sink[*]} spans/s; p99 $(receiver_row 'p99 * 1000') ms, $(receiver_row 'bodies') bodies in $(receiver_row batches) transactions"
	say "    private memory of the receiver: $private kB at most"
	result "receiver, 512 spans a body, 4 clients, protobuf" "$(per_second "$(median "${proto[@]}")")" "$(per_second "$(median "${sink[@]}")")" \
		"$(calc "$(median "${proto[@]}") / $(median "${sink[@]}")")" -
	result "the same, JSON" "$(per_second "$(median "${json[@]}")")" "$(per_second "$(median "${sink[@]}")")" \
		"$(calc "$(median "${json[@]}") / $(median "${sink[@]}")")" -
	result "private memory of the receiver" "$((private / 1024)) MiB" "64 MiB" "$(calc "$private / 65536")" '<=' 1
	run_sql -c "ALTER SYSTEM RESET trace_ext.otlp_listen" -c "ALTER SYSTEM RESET trace_ext.otlp_database" -c 'SELECT pg_reload_conf()' >/dev/null
	empty_events
}
