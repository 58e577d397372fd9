#!/usr/bin/env bash
# run.sh [NAME...]
#		Run the benchmarks: what "make bench" calls. Each measures the extension and
#		the usual way of doing the same work in one run, on one throw-away cluster.
#
# A benchmark is a file NAME.sh here that defines bench_NAME, and perhaps
# bench_NAME_large, which finds ten times the events loaded. Without names all
# run. docs/benchmarks.md says what each measures.
#
#	BENCH_EVENTS=1000000	size of the data; the figures of the docs are of this size
#	BENCH_LARGE=0			leave out what is measured at ten times BENCH_EVENTS
#	BENCH_ROUNDS=3			how often alternatives take turns
#	BENCH_SECONDS=20		length of a run of writers
#	BENCH_DIR=/var/tmp		where the cluster goes; 10 GB at full size
#	PG_CONFIG=...			the server to measure on

. "$(dirname "${BASH_SOURCE[0]}")/../test/lib.sh"
BENCH_SOURCE=$ROOT/bench
. "$BENCH_SOURCE/lib.sh"

EVENTS=${BENCH_EVENTS:-1000000}
LARGE=${BENCH_LARGE:-1}
ROUNDS=${BENCH_ROUNDS:-3}
SECONDS_EACH=${BENCH_SECONDS:-20}
ALL=(copy ingest otlp receiver counts lists calls analysis looking pages exchange partitions writers races cache workers anomalies bystander watch router)

# A trace has 35 events in the mean; a few more, and LIMIT makes it exact.
TRACES=$((EVENTS / 34 + 8))
LOADED_DAYS=0

# The same for both sides of each comparison; everything else is as initdb left it.
SETTINGS=(
	shared_buffers=2GB
	max_wal_size=8GB
	checkpoint_timeout=30min
	autovacuum=on
	fsync=on
	synchronous_commit=on
	log_lock_waits=on
	log_min_messages=warning
	shared_preload_libraries=trace_ext
)

start_cluster()
{
	CLUSTER=$WORK/cluster
	# The path of a socket may have 107 bytes at most, and BENCH_DIR may be long.
	SOCKET=$(mktemp -d /tmp/trace_ext-bench.XXXXXX)
	give "$SOCKET"
	export PGHOST=$SOCKET PGPORT=$PORT PGUSER=postgres
	cluster_make "$CLUSTER"
	cluster_start "$CLUSTER" "${SETTINGS[@]}" "unix_socket_directories=$SOCKET"
}

stop_cluster()
{
	if [ -n "${CLUSTER:-}" ]; then
		cluster_stop "$CLUSTER" immediate
	fi
	if [ -n "${PLAIN:-}" ]; then
		cluster_stop "$PLAIN" immediate
	fi
	if [ -n "${ROUTERS:-}" ]; then
		cluster_stop "$ROUTERS" immediate
	fi
	rm -rf "${WORK:-}" "${SOCKET:-}"
}

make_data()
{
	say "making $EVENTS events"
	as_server "$BINDIR/createdb" bench
	run_sql -c 'CREATE EXTENSION trace_ext'
	run_sql -v events="$EVENTS" -v traces_per_day="$TRACES" -f "$BENCH/generate.sql" >/dev/null
}

run_large()
{
	local name
	empty_events
	for name in "$@"; do
		if declare -F "bench_${name}_large" >/dev/null; then
			say "==> $name, large"
			load_days 10
			"bench_${name}_large"
		fi
	done
}

print_machine()
{
	say "$(date +%F), $VERSION, $(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)," \
		"load $(cut -d' ' -f1-3 /proc/loadavg) at the start"
	say "settings: ${SETTINGS[*]}"
}

main()
{
	local name names=("$@")
	[ "$EVENTS" -ge 20000 ] || die "BENCH_EVENTS must be 20000 at least"
	[ "$#" -gt 0 ] || names=("${ALL[@]}")
	for name in "${names[@]}"; do
		[ -e "$BENCH_SOURCE/$name.sh" ] || die "there is no benchmark \"$name\""
		. "$BENCH_SOURCE/$name.sh"
	done

	"$ROOT/test/packages.sh" demo
	find_postgres
	SERVER_USER=$(server_user)
	WORK=$(mktemp -d "${BENCH_DIR:-/var/tmp}/trace_ext-bench.XXXXXX")
	trap stop_cluster EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	give "$WORK"
	print_machine
	say "building trace_ext"
	build_and_install || die "the build failed"
	BENCH=$SRC/bench
	start_cluster
	make_data
	for name in "${names[@]}"; do
		say "==> $name"
		"bench_$name"
	done
	if [ "$LARGE" = 1 ]; then
		run_large "${names[@]}"
	fi
	say "load at the end: $(cut -d' ' -f1-3 /proc/loadavg)"
	print_results
}

main "$@"
