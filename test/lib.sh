# lib.sh
#		What the scripts of test/ share. Sourced by them, not run.
#
# Users: PostgreSQL refuses to run as root, so what root starts is run as
# SERVER_USER, who may not be able to read the checkout (think of /root).
# Hence every script works on a copy of the source in a directory of its own
# below /tmp; the checkout is only read.
#
# Clusters: each is a directory with data/, log and its socket, mode 0700, and
# listens on no network. So trust authentication is safe, ports never collide
# and the clusters of the machine are left alone.
#
# shellcheck shell=bash disable=SC2034

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Sockets are told apart by their directory; the port is only their suffix.
PORT=54320

SERVER_ENV=()

# A caller's PGHOST, PGDATABASE or MAKEFLAGS must not lead the scripts astray;
# PG_CONFIG is meant for them.
for name in "${!PG@}"; do
	case $name in
		PG_*) ;;
		*) unset "$name" ;;
	esac
done
unset name MAKEFLAGS MFLAGS MAKELEVEL

export LC_ALL=C.UTF-8
export PATH="$PATH:/usr/sbin:/sbin"

say()
{
	printf '%s\n' "$*"
}

warn()
{
	printf '%s\n' "$*" >&2
}

die()
{
	warn "error: $*"
	exit 1
}

is_root()
{
	[ "$(id -u)" -eq 0 ]
}

as_root()
{
	if is_root; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "\"$1\" needs root: run this as root, or install sudo"
	fi
}

# Whoever called sudo can then connect to the demo without it.
server_user()
{
	if ! is_root; then
		id -un
	elif [ "${SUDO_USER:-root}" != root ] && id "$SUDO_USER" >/dev/null 2>&1; then
		say "$SUDO_USER"
	elif id postgres >/dev/null 2>&1; then
		say postgres
	else
		say nobody
	fi
}

# Run a command as SERVER_USER, from WORK, which that user can read.
as_server()
(
	cd "$WORK"
	export HOME=$WORK
	if is_root; then
		exec runuser -u "$SERVER_USER" -- "$@"
	fi
	exec "$@"
)

# Make WORK and SERVER_USER. Not below TMPDIR: root's may be closed to others,
# and the path of a socket may have 107 bytes at most.
make_work()
{
	SERVER_USER=$(server_user)
	WORK=$(mktemp -d "/tmp/trace_ext-$1.XXXXXX")
	give "$WORK"
}

give()
{
	if is_root; then
		chown -R "$SERVER_USER" "$@"
	fi
}

# The installed server with the highest version that extensions can be built
# for; nothing if there is none.
installed_pg_config()
{
	local config
	for config in $(printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -Vr); do
		if is_complete "$config"; then
			say "$config"
			return
		fi
	done
}

is_complete()
{
	[ -x "$1" ] && [ -e "$("$1" --pgxs)" ] && [ -x "$("$1" --bindir)/postgres" ]
}

# Set PG_CONFIG, unless the caller chose one, and what follows from it.
find_postgres()
{
	PG_CONFIG=${PG_CONFIG:-$(installed_pg_config)}
	[ -n "$PG_CONFIG" ] || die "no PostgreSQL with its development files was found; set PG_CONFIG"
	PG_CONFIG=$(command -v "$PG_CONFIG") || die "PG_CONFIG names no program"
	is_complete "$PG_CONFIG" || die "$PG_CONFIG has no server or no development files beside it"
	BINDIR=$("$PG_CONFIG" --bindir)
	PKGLIBDIR=$("$PG_CONFIG" --pkglibdir)
	SHAREDIR=$("$PG_CONFIG" --sharedir)
	PGXS_SRC=$(cd "$(dirname "$("$PG_CONFIG" --pgxs)")/.." && pwd)
	VERSION=$("$PG_CONFIG" --version)
}

# use_private_postgres DIR: put a copy of the server below DIR and go on with that,
# so that what is installed is seen by no other cluster. It finds its files
# relative to itself.
use_private_postgres()
{
	local root=$1/server dir headers
	for dir in "$BINDIR" "$PKGLIBDIR" "$SHAREDIR"; do
		mkdir -p "$root$dir"
		cp -a "$dir/." "$root$dir"
	done
	headers=$("$PG_CONFIG" --includedir-server)
	mkdir -p "$root$(dirname "$headers")"
	ln -s "$headers" "$root$headers"
	PG_CONFIG=$root$BINDIR/pg_config
	find_postgres
}

copy_tree()
{
	mkdir -p "$1"
	tar -C "$ROOT" --exclude=./.git -cf - . | tar -C "$1" --no-same-owner -xf -
}

# make_source USER_COMMAND ARGUMENT...: make in the copy, as as_server or
# as_root. No bitcode: it doubles the time and nothing here needs it.
make_source()
{
	local as=$1
	shift
	"$as" make -s -C "$SRC" PG_CONFIG="$PG_CONFIG" with_llvm=no "$@"
}

# Build a fresh copy of the source in WORK and install it. Objects of the
# checkout are not reused: they may be of another server or made without the
# ARGUMENTs. Fails with the end of the log.
build_and_install()
{
	local log=$WORK/build.log installer=as_root
	SRC=$WORK/src
	copy_tree "$SRC"
	give "$SRC"
	if ! is_root && [ -w "$PKGLIBDIR" ] && [ -w "$SHAREDIR/extension" ]; then
		installer=as_server
	fi
	{
		make_source as_server clean &&
			make_source as_server -j "$(nproc)" "$@" all &&
			make_source "$installer" "$@" install
	} >"$log" 2>&1 || {
		tail -40 "$log" >&2
		return 1
	}
}

# Build the library, though not the server, with the sanitizers. They see
# undefined behaviour, the stack, and memory that comes from malloc: large chunks
# of palloc, but not what lies beside one inside its block. Leaks are what memory
# contexts are for. Stacks must be real ones, as the server measures their depth.
#
# sanitize [FLAG...]: adds to BUILD_ARGS, with more flags of the compiler, and sets SERVER_ENV.
sanitize()
{
	BUILD_ARGS+=("COPT=-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer $*")
	SERVER_ENV=(
		LD_PRELOAD="$(gcc -print-file-name=libasan.so):$(allocate_first)"
		ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=1
		UBSAN_OPTIONS=print_stacktrace=1
	)
}

# A library that is initialised before all others and allocates. Else a
# library whose constructor creates a locale may be the first to allocate
# (libp11-kit is, which comes with libldap), which starts the sanitizer while
# the lock on locales is held, and the sanitizer then asks for that lock.
allocate_first()
{
	local library=$WORK/first.so
	gcc -x c -O0 -fPIC -shared -Wl,-z,initfirst -o "$library" - <<-C
		#include <stdlib.h>
		__attribute__((constructor)) static void first(void) { free(malloc(1)); }
	C
	say "$library"
}

# cluster_dir DIR: the directory of a cluster, closed to others.
cluster_dir()
{
	[ -d "$1" ] || mkdir -m 700 "$1"
	give "$1"
}

# cluster_make DIR: a new cluster with superuser "postgres".
cluster_make()
{
	cluster_dir "$1"
	as_server "$BINDIR/initdb" -D "$1/data" -U postgres -A trust -E UTF8 \
		--locale=C.UTF-8 --no-sync >"$WORK/initdb.log" 2>&1 ||
		die "initdb failed: $(tail -5 "$WORK/initdb.log")"
	as_server tee -a "$1/data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$1'
		port = $PORT
	CONF
}

# cluster_start DIR [SETTING=VALUE ...]. SERVER_ENV is for the server alone.
cluster_start()
{
	local dir=$1 setting options=
	shift
	for setting in "$@"; do
		options+=" -c $setting"
	done
	as_server env "${SERVER_ENV[@]}" timeout 120 \
		"$BINDIR/pg_ctl" -D "$dir/data" -l "$dir/log" -w -s -o "$options" start \
		</dev/null >/dev/null 2>&1 ||
		die "the server did not start: $(tail -5 "$dir/log" 2>/dev/null)"
}

# cluster_stop DIR: at once where it does not stop in good order.
cluster_stop()
{
	local mode
	for mode in fast immediate; do
		[ -e "$1/data/postmaster.pid" ] || return 0
		as_server "$BINDIR/pg_ctl" -D "$1/data" -s -w -t 30 -m "$mode" stop >/dev/null 2>&1 || true
	done
}
