#!/usr/bin/env bash
# chroot.sh RELEASE
#		Run "make test" on another release of Debian, and so on its PostgreSQL.
#
# The release is installed with debootstrap below CACHE, with this machine's
# mirror and apt settings, and kept: a second run is quick. Inside, everything
# goes as on a fresh machine. The script runs in a mount and a process
# namespace of its own, so that nothing it mounted or started survives it,
# even if it is killed.
#
#	CACHE=/var/cache/trace_ext	where the releases are kept
#	MIRROR=http://...			where to get them from
#	SUITES="regress tap"		as for run.sh
#
# Exit status 75: the release could not be fetched. Needs root.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

UNFETCHED=75
CACHE=${CACHE:-/var/cache/trace_ext}

# Environment that means the same inside.
PASSED_ON=(SUITES SUITE_TIMEOUT http_proxy https_proxy no_proxy CI)

#
# Making the release
#

# The mirror that apt uses for Debian itself.
mirror()
{
	local uri
	# shellcheck disable=SC2016 # apt expands it
	uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
		'Label: Debian' 'Component: main' 2>/dev/null | grep -m1 '^https\?://') || true
	say "${MIRROR:-${uri:-http://deb.debian.org/debian}}"
}

# The newest keyring of those that were checked: this machine's, or one in a
# release that was installed with it. It may have to know the keys of a
# release younger than this machine's.
keyring()
{
	local best=/usr/share/keyrings/debian-archive-keyring.gpg other
	for other in "$CACHE"/*/complete; do
		other=${other%complete}root$best
		if [ "$other" -nt "$best" ]; then
			best=$other
		fi
	done
	say "$best"
}

# A debootstrap older than the release has no script for it; they are all alike.
release_script()
{
	local scripts=/usr/share/debootstrap/scripts
	if [ -e "$scripts/$RELEASE" ]; then
		say "$scripts/$RELEASE"
	else
		say "$scripts/sid"
	fi
}

run_debootstrap()
{
	local log=$DIR/debootstrap.log from status=0
	from=$(mirror)
	say "installing Debian $RELEASE from $from"
	debootstrap --variant=minbase --include=make,ca-certificates --keyring="$(keyring)" \
		"$RELEASE" "$DIR/root" "$from" "$(release_script)" >"$log" 2>&1 || status=$?
	[ "$status" -ne 0 ] || return 0

	tail -5 "$log"
	if grep -qE "^E: (Failed getting|Couldn't download)" "$log"; then
		say "Debian $RELEASE could not be fetched"
		exit "$UNFETCHED"
	fi
	die "debootstrap failed"
}

# A directory without the mark is what an interrupted run left.
make_release()
{
	if [ ! -e "$DIR/complete" ]; then
		rm -rf "$DIR"
		mkdir -p "$DIR"
		run_debootstrap
		touch "$DIR/complete"
	fi
}

#
# Working inside
#

# What a machine knows: where names are looked up, and how apt is to fetch.
# No service is to be started when its package is installed.
configure()
{
	local root=$DIR/root
	cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
	apt-config dump | grep -E '^Acquire::(https?|Check-|ForceIPv)[^"]* "[^"]+"' \
		>"$root/etc/apt/apt.conf.d/90machine" || true
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod +x "$root/usr/sbin/policy-rc.d"
}

# In /root, as on a machine where root cloned it.
copy_in()
{
	rm -rf "$DIR"/root/root/trace_ext "$DIR"/root/tmp/trace_ext-*
	copy_tree "$DIR/root/root/trace_ext"
}

mount_what_it_needs()
{
	mkdir -p "$DIR/root/dev/shm"
	chmod 1777 "$DIR/root/dev/shm"
	if ! mount -t proc proc "$DIR/root/proc" ||
		! mount -t tmpfs -o mode=1777 tmpfs "$DIR/root/dev/shm"; then
		warn "not everything could be mounted; going on without"
	fi
}

inside()
{
	local name environment=()
	for name in "${PASSED_ON[@]}"; do
		[ -z "${!name:-}" ] || environment+=("$name=${!name}")
	done
	chroot "$DIR/root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
		"${environment[@]}" "$@"
}

# Two runs in one directory would take away each other's files. The lock is let
# go when the last process of this run is gone.
lock_release()
{
	mkdir -p "$CACHE"
	exec 9>"$CACHE/$RELEASE.lock"
	flock --nonblock 9 || say "waiting for another run on Debian $RELEASE"
	flock 9
}

# Calls the script again: as root, and then in namespaces, where they can be had.
enter_namespaces()
{
	local names
	if ! is_root; then
		names=$(IFS=, && say "${PASSED_ON[*]},CACHE,MIRROR")
		exec sudo --preserve-env="$names" "$0" "$RELEASE"
	fi
	if [ -z "${IN_NAMESPACES:-}" ]; then
		export IN_NAMESPACES=yes
		if unshare --mount --pid --fork true 2>/dev/null; then
			exec unshare --mount --pid --fork --kill-child "$0" "$RELEASE"
		fi
	fi
}

main()
{
	RELEASE=${1:?usage: chroot.sh RELEASE}
	DIR=$CACHE/$RELEASE
	enter_namespaces
	"$ROOT/test/packages.sh" chroot
	lock_release
	make_release
	configure
	copy_in
	mount_what_it_needs
	inside /root/trace_ext/test/packages.sh test
	inside make -s --no-print-directory -C /root/trace_ext test
}

main "$@"
