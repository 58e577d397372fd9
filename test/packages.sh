#!/usr/bin/env bash
# packages.sh demo|test|assert|chroot|redis
#		Install the Debian packages that the demo, the tests, chroot.sh or a benchmark need.
#
# Does nothing when all are there. PostgreSQL is the one that the distribution
# calls its own (15 on bookworm, 17 on trixie), unless one that extensions can
# be built for is installed, or PG_CONFIG names one.
#
# Exit status 75: the packages exist but could not be downloaded.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

UNFETCHED=75

# The major version of the server to use; nothing while apt's lists are empty.
major()
{
	local config
	config=$(installed_pg_config)
	if [ -n "$config" ]; then
		"$config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/'
	else
		apt-cache depends postgresql 2>/dev/null |
			sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p'
	fi
}

wanted()
{
	local n
	if [ "$1" = chroot ]; then
		echo debootstrap debian-archive-keyring gpgv
		return
	fi
	if [ "$1" = redis ]; then
		echo redis-server redis-tools
		return
	fi
	echo gcc libc6-dev make zlib1g-dev libmicrohttpd-dev
	if [ -z "${PG_CONFIG:-}" ]; then
		n=$(major)
		echo "postgresql-${n:-N}" "postgresql-server-dev-${n:-N}"
	fi
	if [ "$1" = assert ]; then
		echo libxml2-dev pkgconf
	fi
	if [ "$1" = test ] || [ "$1" = assert ]; then
		echo perl libipc-run-perl python3-venv
		[ -n "${PG_CONFIG:-}" ] || echo "postgresql-${n:-N}-pgtap"
	fi
}

is_installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Those of the wanted packages that are not installed.
missing()
{
	local package
	for package in $(wanted "$1"); do
		is_installed "$package" || echo "$package"
	done
}

apt_get()
{
	as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a \
		apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

# Any-mode: without it, update succeeds when nothing could be reached.
update_lists()
{
	apt_get update -o APT::Update::Error-Mode=any
}

# Sets PACKAGES, which are only known when there are lists. Lists that could
# not be updated (a foreign source is down, perhaps) may still be good enough.
download()
{
	update_lists || true
	mapfile -t PACKAGES < <(missing "$1")
	apt_get install --no-install-recommends --download-only "${PACKAGES[@]}"
}

install_missing()
{
	local attempt
	for attempt in 1 2 3 4; do
		if download "$1" >"$LOG" 2>&1; then
			say "installing ${PACKAGES[*]}"
			apt_get install --no-install-recommends "${PACKAGES[@]}" >"$LOG" 2>&1 ||
				die "apt-get install failed:"$'\n'"$(tail -20 "$LOG")"
			return
		fi
		warn "attempt $attempt of 4: $(grep -m1 '^E:' "$LOG")"
		[ "$attempt" = 4 ] || sleep $((attempt * 5))
	done
	explain_failure "$1"
}

# Tell a network that fails from a distribution that lacks a package.
explain_failure()
{
	if update_lists >"$LOG" 2>&1 &&
		! apt_get install --simulate "${PACKAGES[@]}" >"$LOG" 2>&1; then
		die "these packages cannot be installed here:"$'\n'"$(tail -5 "$LOG")"
	fi
	warn "error: packages could not be downloaded: ${PACKAGES[*]}"
	exit "$UNFETCHED"
}

# Elsewhere than on Debian the tools must be there already.
require_tools()
{
	local tool
	for tool in gcc make perl; do
		command -v "$tool" >/dev/null ||
			die "\"$tool\" is missing, and without apt-get this script cannot install it"
	done
	find_postgres
}

main()
{
	local purpose=${1:?usage: packages.sh demo|test|assert|chroot|redis}
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		require_tools
	elif [ -n "$(missing "$purpose")" ]; then
		say "some packages are missing; installing them takes minutes on a fresh machine"
		LOG=$(mktemp)
		trap 'rm -f "$LOG"' EXIT
		install_missing "$purpose"
	fi
}

main "$@"
