#!/usr/bin/env bash
# demo.sh start|stop
#		A throw-away cluster with captured events: what "make demo" calls.
#
# start builds the extension, installs it into a copy of the server that is the
# demo's own, replaces the cluster of an earlier demo, shows test/demo.sql and
# leaves the cluster running. stop removes all of it. The installed server and
# other clusters are left as they are.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# One place for each user and checkout: the next start or stop finds its own, and
# nobody else's. Short, as it is part of the path of a socket.
find_demo()
{
	SERVER_USER=$(server_user)
	DEMO=/tmp/trace_ext-demo-$SERVER_USER-$(printf '%s' "$(id -un):$ROOT" | cksum | cut -d' ' -f1)
	if [ -e "$DEMO" ] && [ "$(stat -c %U "$DEMO")" != "$SERVER_USER" ]; then
		die "$DEMO belongs to someone else"
	fi
}

# The binaries of the running server may not be those of PG_CONFIG now.
remove_demo()
{
	local pid_file=$DEMO/data/postmaster.pid
	if [ -e "$pid_file" ]; then
		WORK=/ as_server "$(dirname "$(head -1 "$DEMO/data/postmaster.opts" | cut -d' ' -f1)")/pg_ctl" \
			-D "$DEMO/data" -s -w -m fast stop >/dev/null 2>&1 || true
	fi
	rm -rf "$DEMO"
}

# Who called make can open the socket, as its owner or as root.
connect_line()
{
	local psql=psql
	command -v psql >/dev/null || psql=$BINDIR/psql
	say "$psql -h $DEMO -p $PORT -U postgres demo"
}

start()
{
	"$ROOT/test/packages.sh" demo
	find_postgres
	find_demo
	remove_demo
	make_work demo
	trap 'rm -rf "$WORK"' EXIT

	say "building trace_ext for $VERSION"
	cluster_dir "$DEMO"
	use_private_postgres "$DEMO"
	# shellcheck disable=SC2119 # it takes arguments of make, not ours
	build_and_install || die "the build failed"
	say "starting a cluster of its own in $DEMO"
	cluster_make "$DEMO"
	as_server tee -a "$DEMO/data/postgresql.conf" >/dev/null <<-CONF
		shared_preload_libraries = 'trace_ext'
		cluster_name = 'trace_ext demo'
	CONF
	cluster_start "$DEMO"
	cd "$ROOT"
	export PGHOST=$DEMO PGPORT=$PORT PGUSER=postgres PGCLIENTENCODING=UTF8 BINDIR
	"$BINDIR/createdb" demo
	"$BINDIR/psql" -X -d demo -c "ALTER DATABASE demo SET search_path = trace_ext, public" -q
	PAGE=$DEMO/lost-update.html "$BINDIR/psql" -X -d demo -f test/demo.sql ||
		die "the demo failed; the server's log ends so:"$'\n'"$(tail -20 "$DEMO/log")"
	say "The cluster is left running; \"make demo-stop\" removes it. To look around:"
	connect_line
}

stop()
{
	find_demo
	remove_demo
	say "the demo's cluster is stopped and removed"
}

case ${1:-} in
	start | stop) "$1" ;;
	*) die "usage: demo.sh start|stop" ;;
esac
