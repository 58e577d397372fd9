#!/usr/bin/env bash
# run.sh
#		Run every test: what "make test" calls.
#
# Builds a copy of the source with warnings as errors, installs it into a copy of
# the server, and runs the suites against throw-away clusters: what the machine
# has installed is left alone. The names of failed tests stand before the last line,
# which is "N passed, N failed"; the exit status is 1 when anything failed. A suite
# without tests counts as nothing.
#
#	SUITES="regress tap"	run only these of: house regress isolation pgtap tap
#	TAP_FILES="032*"		which files of test/t; all
#	PG_CONFIG=...			the server to test on
#	SUITE_TIMEOUT=1800		seconds after which a suite is given up
#	JOBS=3					how much runs at once; one more than there are processors, as tests wait, too
#	SANITIZE=yes			build with AddressSanitizer and UndefinedBehaviorSanitizer;
#							see sanitize() in lib.sh

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SANITIZE=${SANITIZE:-}
SUITES=${SUITES:-${SANITIZE:+regress isolation pgtap}}
SUITES=${SUITES:-house regress isolation pgtap tap}
TAP_FILES=${TAP_FILES:-*.pl}
SUITE_TIMEOUT=${SUITE_TIMEOUT:-1800}
JOBS=${JOBS:-$(($(nproc) + 1))}
DIFF_LINES=300
LOG_LINES=60

PASSED=0
FAILED=0
TABLE=()
FAILED_TESTS=()
TAP_STARTED=
TAP_LANES=()
FINISHED=

#
# Counting and reporting
#

begin()
{
	NAME=$1
	OUTPUT=$WORK/output
	STARTED=${EPOCHREALTIME/./}
	say "==> $NAME"
	if [ -e "$CLUSTER/log" ]; then
		: >"$CLUSTER/log"
	fi
}

# end PASSED FAILED: the suite's line of the table.
end()
{
	local ms=$(((${EPOCHREALTIME/./} - STARTED) / 1000))
	PASSED=$((PASSED + $1))
	FAILED=$((FAILED + $2))
	TABLE+=("$(printf '%-28s %7d %7d %8d.%d' "$NAME" "$1" "$2" $((ms / 1000)) $((ms % 1000 / 100)))")
}

# note_failed NAME...: tests of this suite, to be named again at the end.
note_failed()
{
	local test
	for test in "$@"; do
		FAILED_TESTS+=("$NAME: $test")
	done
}

# A suite that stopped before its end has failed, whatever it had counted.
at_least_one_if()
{
	if [ "$1" -ne 0 ] && [ "$2" -eq 0 ]; then
		echo 1
	else
		echo "$2"
	fi
}

show()
{
	local file=$1 lines=$2
	if [ -s "$file" ]; then
		say "--- ${file#"$WORK/"}"
		"${3:-tail}" -n "$lines" "$file"
	fi
}

# A test may pass although a backend died under it.
server_died()
{
	grep -E 'terminated by signal|PANIC: |TRAP: |AddressSanitizer|runtime error: ' "$CLUSTER/log" || true
}

# Ends a suite that ran in CLUSTER.
end_in_cluster()
{
	local failed=$2 died
	died=$(server_died)
	if [ -n "$died" ]; then
		show "$CLUSTER/log" "$LOG_LINES"
		say "$died"
		note_failed "the server died"
		failed=$((failed + 1))
	fi
	end "$1" "$failed"
}

print_totals()
{
	local row
	say ""
	printf '%-28s %7s %7s %10s\n' suite passed failed seconds
	for row in "${TABLE[@]}"; do
		say "$row"
	done
	say ""
	if [ "${#FAILED_TESTS[@]}" -gt 0 ]; then
		say "failed:"
		printf '  %s\n' "${FAILED_TESTS[@]}"
		say ""
	fi
	say "$PASSED passed, $FAILED failed"
}

# However the script ends: no server stays behind, and the totals come last.
finish()
{
	trap - EXIT
	stop_tap
	if [ -n "${CLUSTER:-}" ]; then
		cluster_stop "$CLUSTER"
	fi
	if [ -z "$FINISHED" ]; then
		FAILED=$((FAILED + 1))
		say "the tests did not come to their end"
	fi
	if [ "$FAILED" -eq 0 ]; then
		rm -rf "${WORK:-}"
	elif [ -n "${WORK:-}" ]; then
		rm -rf "$WORK/server"
		say "kept for a look: $WORK"
	fi
	print_totals
	[ "$FAILED" -eq 0 ] || exit 1
	exit 0
}

#
# The suites
#

as_server_timed()
{
	as_server timeout --kill-after=10 "$SUITE_TIMEOUT" "$@"
}

files()
{
	compgen -G "$SRC/test/$1" | sort || true
}

psql()
{
	as_server "$BINDIR/psql" -XAtq -v ON_ERROR_STOP=1 "$@"
}

# Tests at random, or of much, of what is a function of the stored events alone: neither
# shared memory nor workers have a part in them, so they run in one pass of the three; so does
# the router's, which has TAP files as well.
ONCE=(critical_path exchange histogram lock_order operation otlp_order otlp_wire pages pictures proof
	races_across races_random router waterfall week)

# Names of the SQL tests; of those without the ones that run once, where it is "most".
sql_tests()
{
	local file name
	while read -r file; do
		name=$(basename "$file" .sql)
		if [ "$1" = all ] || [[ " ${ONCE[*]} " != *" $name "* ]]; then
			echo "$name"
		fi
	done < <(files 'sql/*.sql')
}

specs()
{
	files 'specs/*.spec' | xargs -rn1 basename -s .spec
}

# pg_regress_suite NAME VARIABLE TEST...: pg_regress prints "test x ... ok" until 15 and
# "ok 1 - x" from 16 on. A test that it never came to is a failed one.
pg_regress_suite()
{
	local name=$1 variable=$2 passed status=0 failed_names
	shift 2
	[ $# -gt 0 ] || return 0
	begin "$name"
	rm -f "$SRC/regression.diffs"
	make_source as_server_timed REGRESS= ISOLATION= "$variable=$*" installcheck >"$OUTPUT" 2>&1 || status=$?
	passed=$(grep -cE '^ok [0-9]+ |^(test|    ) .*\.\.\. ok ' "$OUTPUT") || true
	if [ "$status" -ne 0 ] || [ "$passed" -ne $# ]; then
		show "$OUTPUT" "$DIFF_LINES"
		show "$SRC/regression.diffs" "$DIFF_LINES" head
		mapfile -t failed_names < <(sed -nE 's/^not ok [0-9]+ +[-+] ([^ ]+).*/\1/p; s/^(test|    ) ([^ ]+) +\.\.\. FAILED.*/\2/p' "$OUTPUT")
		note_failed "${failed_names[@]}"
	fi
	end_in_cluster "$passed" "$(at_least_one_if "$status" $(($# - passed)))"
}

# Without its shared memory, with it, and with workers that fold, look for races and
# make partitions meanwhile: all must give the same. Without autovacuum, which comes when it
# comes: a step of retention gives up its lock on a partition that is just being analysed,
# as it should. The other suites have it at work.
suite_regress()
{
	local most all
	mapfile -t most < <(sql_tests most)
	mapfile -t all < <(sql_tests all)
	restart autovacuum=off
	pg_regress_suite "regress, not preloaded" REGRESS "${most[@]}"
	restart autovacuum=off shared_preload_libraries=trace_ext trace_ext.workers=off
	pg_regress_suite "regress, preloaded" REGRESS "${all[@]}"
	restart autovacuum=off shared_preload_libraries=trace_ext
	pg_regress_suite "regress, beside workers" REGRESS "${most[@]}"
	restart shared_preload_libraries=trace_ext trace_ext.workers=off
}

suite_isolation()
{
	local specs
	mapfile -t specs < <(specs)
	pg_regress_suite isolation ISOLATION "${specs[@]}"
}

# prove_suite NAME GLOB PROVE_ARGUMENT...
prove_suite()
{
	local status=0 tests
	begin "$1"
	mapfile -t tests < <(files "$2")
	shift 2
	as_server_timed "$@" "${tests[@]}" >"$OUTPUT" 2>&1 || status=$?
	count_prove "$status"
}

# count_prove STATUS: counts assertions, but a skipped one as nothing.
count_prove()
{
	local passed failed
	passed=$(grep -E '^ok [0-9]+' "$OUTPUT" | grep -cviE '# *skip') || true
	failed=$(at_least_one_if "$1" "$(count_failed_prove)")
	if [ "$failed" -gt 0 ]; then
		show_failed_prove
	fi
	end_in_cluster "$passed" "$failed"
}

# From the summaries of prove. A file may have failed without an assertion: it
# died, or did not run all that it had planned.
count_failed_prove()
{
	awk '
		/\(Wstat: [0-9]+.*Failed: [0-9]+\)$/ {
			failed = $NF + 0
			died = ! /Wstat: 0 /
			sum += failed > 0 ? failed : died
		}
		/^  Parse errors: / && failed == 0 && ! died { sum++ }
		END { print sum + 0 }' "$OUTPUT"
}

# What a failed TAP file and its servers logged is in files that begin with its
# name; pgTAP has none.
show_failed_prove()
{
	local name names log
	grep -vE '^ok [0-9]+' "$OUTPUT" | tail -n "$DIFF_LINES"
	mapfile -t names < <(sed -n 's|.*/\([^/ ]*\)\.[a-z]* *(Wstat: .*|\1|p' "$OUTPUT")
	note_failed "${names[@]}"
	for name in "${names[@]}"; do
		for log in "$SRC/tmp_check/log/regress_log_$name" "$SRC/tmp_check/log/$name"_*.log; do
			show "$log" "$LOG_LINES"
		done
	done
}

suite_pgtap()
{
	[ -n "$(files 'pgtap/*.sql')" ] || return 0
	[ -e "$SHAREDIR/extension/pgtap.control" ] || die "pgTAP is not installed below $SHAREDIR"
	psql -d postgres -c 'CREATE DATABASE pgtap'
	psql -d pgtap -c 'CREATE EXTENSION trace_ext' -c 'CREATE EXTENSION pgtap'
	prove_suite pgTAP 'pgtap/*.sql' \
		prove -v --exec "$BINDIR/psql -XAtq -v ON_ERROR_STOP=1 -d pgtap -f"
}

# TAP files start their own servers. They wait in a queue that lanes take them from: all
# lanes but one from the start, beside the other suites, the last one after these. So
# as much runs at once as JOBS says, and no more.
start_tap()
{
	local file lane
	mkdir "$WORK/waiting" "$WORK/taken" "$WORK/lanes"
	while read -r file; do
		: >"$WORK/waiting/${file##*/}"
	done < <(files "t/$TAP_FILES")
	TAP_STARTED=${EPOCHREALTIME/./}
	set -m
	for ((lane = 1; lane < JOBS; lane++)); do
		tap_lane >"$WORK/lanes/$lane" 2>&1 &
		TAP_LANES+=($!)
	done
	set +m
}

# With the modules that come with PGXS. Until 15 they ask for TESTDIR, later for the
# two directories.
tap_lane()
{
	local file
	while file=$(take_tap_file); do
		as_server_timed env -u PGHOST -u PGUSER --chdir="$SRC" PATH="$BINDIR:$PATH" PGPORT="$PORT" \
			TESTDIR="$SRC" TESTDATADIR="$SRC/tmp_check" TESTLOGDIR="$SRC/tmp_check/log" \
			PG_REGRESS="$PGXS_SRC/test/regress/pg_regress" \
			prove -v -I "$PGXS_SRC/test/perl" -I test/t "test/t/$file" ||
			say "$file" >>"$WORK/tap_failed"
	done
}

# A rename succeeds for one lane alone.
take_tap_file()
{
	local file
	for file in "$WORK"/waiting/*.pl; do
		if mv "$file" "$WORK/taken/" 2>/dev/null; then
			say "${file##*/}"
			return
		fi
	done
	return 1
}

suite_tap()
{
	local status=0
	[ -n "$(files "t/$TAP_FILES")" ] || return 0
	begin TAP
	STARTED=$TAP_STARTED
	tap_lane >"$WORK/lanes/last" 2>&1
	wait "${TAP_LANES[@]}" || status=1
	TAP_LANES=()
	cat "$WORK"/lanes/* >"$OUTPUT"
	[ ! -e "$WORK/tap_failed" ] || status=1
	count_prove "$status"
}

# Nothing more is taken, and what runs is ended.
stop_tap()
{
	local lane
	rm -rf "$WORK/waiting"
	for lane in "${TAP_LANES[@]}"; do
		kill -- "-$lane" 2>/dev/null || true
	done
}

suite_house()
{
	local check problems passed=0 failed=0
	begin "house rules"
	psql -d postgres -c 'CREATE DATABASE house'
	psql -d house -c 'CREATE EXTENSION trace_ext'
	psql -d postgres -c 'CREATE DATABASE house_router'
	psql -d house_router -c 'CREATE EXTENSION trace_ext_router CASCADE'
	for check in foreign_symbols objects_without_comment versions_that_differ layout_faults includes_against_the_flow callbacks_out_of_order functions_on_no_page readme_faults readers_that_fail; do
		problems=$($check)
		if [ -z "$problems" ]; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			say "--- ${check//_/ }"
			say "$problems"
			note_failed "${check//_/ }"
		fi
	done
	end_in_cluster "$passed" "$failed"
}

# A library loaded into the server shares one name space with all the others.
foreign_symbols()
{
	local library
	for library in trace_ext trace_ext_otlp; do
		nm -D --defined-only "$SRC/$library.so" | awk '{ print $3 }' |
			grep -vE '^(tex_|pg_finfo_tex_|_PG_)|^Pg_magic_func$' || true
	done
	# What everybody preloads needs nothing that the server does not.
	ldd "$SRC/trace_ext.so" | grep microhttpd || true
}

# Some damaged bodies, so that "make fuzz", which gives them a million, is known to work.
readers_that_fail()
{
	local output
	output=$(COUNT=20000 PG_CONFIG=$BINDIR/pg_config "$ROOT/test/fuzz.sh" 2>&1) || say "$output"
}

objects_without_comment()
{
	psql -d house -f "$SRC/test/uncommented.sql"
	psql -d house_router -f "$SRC/test/uncommented.sql"
}

# What is in the schema of users is for them, so a page names it; of jobs one says how all are called.
functions_on_no_page()
{
	local name
	psql -d house -Atc "SELECT DISTINCT proname FROM pg_proc
		WHERE pronamespace = 'trace_ext'::regnamespace AND proname !~ '^job_' ORDER BY 1" |
		while read -r name; do
			cat "$SRC/README.md" "$SRC"/docs/*.md | grep -E "(^|[^a-z_])$name[(\`]" >/dev/null ||
				say "$name() is in the schema of users, and no page names it"
		done
}

# The control file has the version that SQL sees, as in 1.0; the others that
# of the release, as in 1.0.0.
versions_that_differ()
{
	local sql release
	sql=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$SRC/trace_ext.control")
	release=$(sed -n 's/^   "version": "\(.*\)",$/\1/p' "$SRC/META.json")
	[ "${release%.*}" = "$sql" ] ||
		say "META.json has version $release, trace_ext.control $sql"
	grep -qF "## [$release]" "$SRC/CHANGELOG.md" ||
		say "CHANGELOG.md has no section on $release"
}

# Every line of SQL in the README, in its order, must work; its Python sends the
# captured batch, and then there is a lost update to be found. Notices are no
# faults; what it sets for the server is taken back.
readme_faults()
{
	local load="SELECT inserted FROM trace_ext.ingest_events(pg_read_file('$SRC/test/data/express-banking.json'));"
	psql -d postgres -c 'CREATE DATABASE readme'
	awk -v load="$load" '/^```python$/ { print load } /^```/ { sql = /^```sql$/; next } sql' "$SRC/README.md" >"$WORK/readme.sql"
	give "$WORK/readme.sql"
	psql -d readme -f "$WORK/readme.sql" >"$OUTPUT" 2>&1 || true
	grep -E 'ERROR|FATAL|invalid command' "$OUTPUT" || true
	grep -q '^1|0|1$' "$OUTPUT" || say "its two events were not one stored and one refused"
	grep -q '^kind|lost update$' "$OUTPUT" || say "no lost update was found"
	psql -d readme -c 'ALTER SYSTEM RESET ALL' -c 'SELECT pg_reload_conf()' >/dev/null
}

# The rules of layout that need no parser.
layout_faults()
{
	local file
	for file in "$SRC"/src/*.[ch] "$SRC"/src/*/*.[ch]; do
		awk -v file="${file#"$SRC"/}" '
			function fault(what) { print file ":" FNR ": " what }
			/[ \t]$/ { fault("blank at the end of a line") }
			/^\t*    / { fault("indented by spaces instead of tabs") }
			/^\t*(if|else|for|while|do|switch|foreach)[ (].*\{$/ { fault("brace not on a line of its own") }
			/^\t*\/\// { fault("// comment") }' "$file"
	done
}

# The rooms of src/ are in the order of the flow, which the Makefile has: a file
# includes from its own room, those before it, and of what is in none only what
# all share. trace_ext.c and shmem.c, which put the rooms together, are free.
includes_against_the_flow()
{
	local rooms
	rooms=$(sed -n 's/^ROOMS *= //p' "$SRC/Makefile")
	(cd "$SRC/src" && awk -v rooms="$rooms" '
		BEGIN { for (n = split(rooms, name); n > 0; n--) place[name[n]] = n }
		FNR == 1 {
			split(FILENAME, path, "/")
			if (!(path[1] in place)) print "src/" FILENAME ": its room is not in the Makefile"
		}
		/^#include "[a-z]+\/[a-z_]+\.h"/ {
			split($2, included, "[\"/]")
			room = included[2]
			if (room in place && place[room] > place[path[1]])
				print "src/" FILENAME ": includes " $2 " of a later room"
		}
		/^#include "[a-z_]+\.h"/ {
			split($2, included, "\"")
			if (system("test -e " included[2]) == 0 && included[2] !~ /^(guc|compat)\.h$/)
				print "src/" FILENAME ": includes " $2
		}' */*.[ch])
}

# Ends of transactions are heard of in the one order that common/xact.h writes down.
callbacks_out_of_order()
{
	(cd "$SRC" && grep -nE 'Register(Sub)?XactCallback' src/*.[ch] src/*/*.[ch] | grep -v '^src/common/xact\.c:' || true)
}

restart()
{
	cluster_stop "$CLUSTER"
	cluster_start "$CLUSTER" "$@"
}

# One stream, so that the totals are the last line of it.
main()
{
	local suite
	exec 2>&1
	for suite in $SUITES; do
		declare -F "suite_$suite" >/dev/null || die "there is no suite \"$suite\""
	done
	"$ROOT/test/packages.sh" test
	find_postgres
	make_work test
	use_private_postgres "$WORK"
	trap finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP

	CLUSTER=$WORK/cluster
	export PGHOST=$CLUSTER PGPORT=$PORT PGUSER=postgres
	BUILD_ARGS=(WERROR=1)
	[ -z "$SANITIZE" ] || sanitize
	say "building with warnings as errors for $VERSION${SANITIZE:+, with sanitizers}"
	build_and_install "${BUILD_ARGS[@]}"
	cluster_make "$CLUSTER"
	restart shared_preload_libraries=trace_ext trace_ext.workers=off
	case " $SUITES " in
		*" tap "*) start_tap ;;
	esac
	for suite in $SUITES; do
		"suite_$suite"
	done
	FINISHED=yes
}

main "$@"
