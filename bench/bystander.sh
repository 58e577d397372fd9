# bystander.sh
#		What the library costs a session that uses nothing of it: the same statement in
#		three places, in turns. A server that does not preload the library; a database
#		without the extension, in a server that does; and the database of the benchmarks,
#		which has it, with 0, 100 and about 2,000 relations that cached results depend on.
#
# Each hook and callback of the library is passed by one of these statements at least;
# docs/design.md says which. What is compared is the CPU that the server process used
# (lib.sh), by the median of the ratios of BYSTANDER_ROUNDS rounds.
#
# shellcheck shell=bash

BYSTANDER_ROUNDS=$((ROUNDS * 3))
TRACKED_MOST=2000

# name, how often a round, statement
BYSTANDERS=(
	'SELECT 1|2000|SELECT 1;'
	'BEGIN and COMMIT|2000|BEGIN; COMMIT;'
	'savepoint, released|1000|BEGIN; SAVEPOINT a; RELEASE a; COMMIT;'
	'commit of one row|1000|INSERT INTO bystander.plain VALUES (1);'
	'commit with 500 tables locked|20|BEGIN; LOCK bystander.parts IN ROW EXCLUSIVE MODE; INSERT INTO bystander.plain VALUES (1); COMMIT;'
	'create and drop a temporary table|50|CREATE TEMP TABLE x (n int); DROP TABLE x;'
	'truncate|50|TRUNCATE bystander.emptied;'
)

# bystander_sql SOCKET DATABASE ARGUMENT...
bystander_sql()
{
	local socket=$1 database=$2
	shift 2
	as_server "$BINDIR/psql" -XAtq -v ON_ERROR_STOP=1 -h "$socket" -d "$database" "$@"
}

make_bystanders()
{
	local place
	PLAIN=$WORK/plain
	# Its socket may be in a long path, so it is beside the other.
	mkdir "$SOCKET/plain"
	give "$SOCKET/plain"
	cluster_make "$PLAIN"
	cluster_start "$PLAIN" "${SETTINGS[@]/shared_preload_libraries=*/shared_preload_libraries=}" "unix_socket_directories=$SOCKET/plain"
	bystander_sql "$SOCKET/plain" postgres -c 'CREATE DATABASE bench'
	bystander_sql "$SOCKET" postgres -c 'CREATE DATABASE without'
	for place in "$SOCKET/plain bench" "$SOCKET without" "$SOCKET bench"; do
		# shellcheck disable=SC2086
		bystander_sql $place -c 'CREATE SCHEMA bystander' -c 'CREATE TABLE bystander.plain (n int)' \
			-c 'CREATE TABLE bystander.emptied (n int)' -c 'CREATE TABLE bystander.parts (n int) PARTITION BY LIST (n)' \
			-c "DO \$\$ BEGIN FOR i IN 1 .. 500 LOOP EXECUTE format('CREATE TABLE bystander.p%s PARTITION OF bystander.parts FOR VALUES IN (%s)', i, i);
				IF i % 50 = 0 THEN COMMIT; END IF; END LOOP; END \$\$"
	done
	bystander_sql "$SOCKET" bench -c 'CREATE SCHEMA tracked' \
		-c "DO \$\$ BEGIN FOR i IN 1 .. $TRACKED_MOST LOOP EXECUTE format('CREATE TABLE tracked.t%s (n int)', i);
			IF i % 50 = 0 THEN COMMIT; END IF; END LOOP; END \$\$"
}

# track NUMBER: results that depend on so many tables; prints how many are tracked.
track()
{
	bystander_sql "$SOCKET" bench -c 'SELECT trace_ext.cache_reset()' -c 'SELECT relations FROM trace_ext.cache_stats' >/dev/null
	bystander_sql "$SOCKET" bench \
		-c "DO \$\$ BEGIN FOR i IN 1 .. $1 LOOP PERFORM n FROM trace_ext.cached(format('SELECT n FROM tracked.t%s', i)) AS t (n int); END LOOP; END \$\$"
	bystander_sql "$SOCKET" bench -c 'SELECT relations FROM trace_ext.cache_stats'
}

# within NAME OURS PEER RATIO
within()
{
	result "$1" "$(microseconds "$2")" "$(microseconds "$3")" "$4" '<=' 1.05
}

# One statement without the library, with it, and beside the extension.
compare_places()
{
	local name=$1 times=$2 statement=$3 round plain without beside
	local plains=() withouts=() besides=() ratios=() beside_ratios=()
	for ((round = 0; round <= BYSTANDER_ROUNDS; round++)); do
		plain=$(cpu_of_statement "$SOCKET/plain" bench "$times" "$statement")
		without=$(cpu_of_statement "$SOCKET" without "$times" "$statement")
		beside=$(cpu_of_statement "$SOCKET" bench "$times" "$statement")
		# The first round warms.
		[ "$round" -gt 0 ] || continue
		plains+=("$plain") withouts+=("$without") besides+=("$beside")
		ratios+=("$(calc "$without / $plain")") beside_ratios+=("$(calc "$beside / $plain")")
	done
	within "$name, preloaded / not" "$(median "${withouts[@]}")" "$(median "${plains[@]}")" "$(median "${ratios[@]}")"
	within "$name, beside the extension / not preloaded" "$(median "${besides[@]}")" "$(median "${plains[@]}")" "$(median "${beside_ratios[@]}")"
}

# A commit of one row beside NUMBER tracked relations against one beside none.
compare_tracked()
{
	local name times statement number=$1 round tracked none some
	local nones=() somes=() ratios=()
	IFS='|' read -r name times statement <<<"${BYSTANDERS[3]}"
	for ((round = 1; round <= BYSTANDER_ROUNDS; round++)); do
		track 0 >/dev/null
		none=$(cpu_of_statement "$SOCKET" bench "$times" "$statement")
		tracked=$(track "$number")
		some=$(cpu_of_statement "$SOCKET" bench "$times" "$statement")
		nones+=("$none") somes+=("$some") ratios+=("$(calc "$some / $none")")
	done
	within "$name, $tracked tracked / none" "$(median "${somes[@]}")" "$(median "${nones[@]}")" "$(median "${ratios[@]}")"
}

# What a new process has used when it answers its first statement.
start_of_session()
{
	bystander_sql "$1" "$2" -c "SELECT $CPU_SO_FAR / 1000.0"
}

compare_starts()
{
	local round plain without plains=() withouts=() ratios=()
	for ((round = 1; round <= BYSTANDER_ROUNDS * 5; round++)); do
		plain=$(start_of_session "$SOCKET/plain" bench)
		without=$(start_of_session "$SOCKET" without)
		plains+=("$plain") withouts+=("$without") ratios+=("$(calc "$without / $plain")")
	done
	within 'start of a session, preloaded / not' "$(median "${withouts[@]}")" "$(median "${plains[@]}")" "$(median "${ratios[@]}")"
}

bench_bystander()
{
	local bystander name times statement
	make_bystanders
	for bystander in "${BYSTANDERS[@]}"; do
		IFS='|' read -r name times statement <<<"$bystander"
		compare_places "$name" "$times" "$statement"
	done
	compare_starts
	compare_tracked 100
	compare_tracked "$TRACKED_MOST"
	cluster_stop "$PLAIN"
	PLAIN=
}
