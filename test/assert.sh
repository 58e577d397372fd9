#!/usr/bin/env bash
# assert.sh
#		Run the SQL tests on a server that checks itself: what "make assert" calls.
#
# Debian's servers come without assertions, so one is built from Debian's source,
# once, below CACHE. It also overwrites memory that is freed, which is how uses
# of such memory are found. Needs root, for the cache.
#
#	CACHE=/var/cache/trace_ext	where the server is built and kept
#	SUITES="regress tap"		as for run.sh

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CACHE=${CACHE:-/var/cache/trace_ext}
DIR=$CACHE/assert
SERVER=$DIR/server

# Named for what was asked of configure, so that a server of other wishes is built anew.
COMPLETE=$SERVER/complete-with-libxml

# Lists of sources of our own: the machine's apt may have none.
fetch_source()
{
	local lists=$DIR/lists major=$1
	mkdir -p "$lists/partial"
	echo "deb-src http://deb.debian.org/debian $(. /etc/os-release && echo "$VERSION_CODENAME") main" >"$DIR/sources.list"
	local apt=(apt-get -qq -o "Dir::Etc::SourceList=$DIR/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$lists" -o APT::Sandbox::User=root)
	"${apt[@]}" update
	(cd "$DIR" && "${apt[@]}" source --download-only "postgresql-$major")
}

build_server()
{
	local major=$1
	say "building PostgreSQL $major with assertions; this takes some minutes"
	fetch_source "$major"
	rm -rf "$DIR/source" "$SERVER"
	mkdir "$DIR/source"
	tar xf "$DIR"/postgresql-"$major"_*.orig.tar.* -C "$DIR/source" --strip-components=1
	(
		cd "$DIR/source"
		./configure --quiet --prefix="$SERVER" --enable-cassert --enable-debug \
			--without-readline --without-icu --without-zlib --with-libxml CFLAGS='-O1 -g'
		make -s -j2
		make -s install
		make -s -C contrib install
	) >"$DIR/log" 2>&1 || { tail -20 "$DIR/log"; die "the server could not be built"; }
	rm -rf "$DIR/source"
	touch "$COMPLETE"
}

"$ROOT/test/packages.sh" assert
is_root || die "this needs root"
mkdir -p "$DIR"
if [ ! -e "$COMPLETE" ]; then
	build_server "$(pg_config --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')"
fi
export PG_CONFIG=$SERVER/bin/pg_config SUITES=${SUITES:-regress isolation}
exec "$ROOT/test/run.sh"
