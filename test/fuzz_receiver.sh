#!/usr/bin/env bash
# fuzz_receiver.sh
#		Damaged and random bodies for a receiver: what "make fuzz-receiver" calls.
#
# The inputs of fuzz.sh go over HTTP through all that a body passes: gzip, readers, redaction (half
# of them), mapping, steps of five rows instead of 2,000, rows and refused records. The libraries are
# built with AddressSanitizer and UndefinedBehaviorSanitizer, on a server of their own. Each body must
# get an answer that bodies may get, nothing may be an error of the database, and counts and summaries
# must be those of the events in the end.
#
#	COUNT=100000		how many inputs
#	SEED=...			the seed, else a random one; both are printed
#	PG_CONFIG=...		the server

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

COUNT=${COUNT:-100000}
SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
ROUND=10000
STATUS=0
LISTEN=

finish()
{
	trap - EXIT
	cluster_stop "$CLUSTER"
	rm -rf "$WORK"
	exit "$STATUS"
}

psql()
{
	as_server "$BINDIR/psql" -XAtq -v ON_ERROR_STOP=1 -d postgres "$@"
}

failed()
{
	say "$*"
	STATUS=1
}

# A port that nobody has, as far as can be told.
free_port()
{
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

await_receiver()
{
	for ((try = 0; try < 600; try++)); do
		[ "$(psql -c 'SELECT receiver_state FROM trace_ext.status')" != listening ] || return 0
		sleep 0.1
	done
	die "the receiver does not listen: $(psql -c 'SELECT receiver_error FROM trace_ext.status')"
}

# run FIRST COUNT
run()
{
	"$WORK/fuzz" -w "$SEED" "$1" "$2" "${FILES[@]}" | python3 "$ROOT/test/fuzz/post.py" "$LISTEN" ||
		failed "of seed $SEED, inputs from $1 on"
}

# What is wrong with the server by now.
check()
{
	local died
	died=$(grep -E 'terminated by signal|PANIC: |TRAP: |AddressSanitizer|runtime error: |could not store' "$CLUSTER/log" || true)
	[ -z "$died" ] || failed "$died"
	[ "$(psql -c 'SELECT count(*) FROM trace_ext.verify_summaries()')" = 0 ] || failed "summaries are not those of the events"
	[ "$(psql -c 'SELECT trace_ext.count_events() = count(*) FROM trace_ext.events')" = t ] || failed "events are not counted once"
}

find_postgres
make_work fuzz
use_private_postgres "$WORK"
CLUSTER=$WORK/cluster
export PGHOST=$CLUSTER PGPORT=$PORT PGUSER=postgres
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
BUILD_ARGS=(WERROR=1)
sanitize -DSTEP_ROWS=5
say "building with sanitizers for $VERSION"
build_and_install "${BUILD_ARGS[@]}"
KEEP="$WORK/fuzz" COUNT=1 PG_CONFIG=$PG_CONFIG "$ROOT/test/fuzz.sh" >/dev/null
FILES=("$ROOT"/test/data/otlp/*.bin "$ROOT"/test/data/otlp/*.json "$ROOT"/test/data/otlp/*.gz "$ROOT"/test/data/*.json)
LISTEN=$(free_port)
cluster_make "$CLUSTER"
cluster_start "$CLUSTER" fsync=off shared_preload_libraries=trace_ext trace_ext.workers=off "trace_ext.otlp_listen=127.0.0.1:$LISTEN"
psql -c 'CREATE EXTENSION trace_ext' \
	-c "INSERT INTO trace_ext.redaction_rules (name, path, action, pattern, keep, enabled) VALUES ('a', '**.http.*', 'hash', NULL, 0, false), ('b', 'events.**', 'truncate', NULL, 3, false), ('c', '**', 'mask', '[0-9]{3}', 0, false)"
await_receiver
say "seed $SEED, $COUNT inputs"
for ((first = 0; first < COUNT && STATUS == 0; first += ROUND)); do
	psql -c "UPDATE trace_ext.redaction_rules SET enabled = NOT enabled" -c 'TRUNCATE trace_ext.ingest_errors'
	run "$first" $((COUNT - first < ROUND ? COUNT - first : ROUND))
	check
done
