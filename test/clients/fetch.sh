#!/usr/bin/env bash
# fetch.sh python|node|java|prisma DIR
#		Put what the programs here need below DIR, from the registries of these languages.
#
# What is there already is kept, unless the list of it has changed since; a download that was
# cut short goes on from there the next time. None takes longer than LIMIT seconds.
#
#	LIMIT=60
#
# Exit status 75: it could not be had, and the last line says why.

set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LIMIT=${LIMIT:-60}
UNFETCHED=75
language=${1:?usage: fetch.sh python|node|java|prisma DIR}
dir=${2:?usage: fetch.sh python|node|java|prisma DIR}/$language

give_up()
{
	tail -n 5 "$dir/log" 2>/dev/null || true
	echo "$*"
	exit "$UNFETCHED"
}

# limited WHAT COMMAND...
limited()
{
	local what=$1 status=0
	shift
	timeout --kill-after=5 "$LIMIT" "$@" </dev/null >>"$dir/log" 2>&1 || status=$?
	case $status in
		0) ;;
		124 | 137) give_up "$what did not come within $LIMIT s" ;;
		*) give_up "$what cannot be had here" ;;
	esac
}

require()
{
	local tool
	for tool in "$@"; do
		command -v "$tool" >/dev/null || give_up "\"$tool\" is not installed"
	done
}

# The system's Python: others may be where the server's user cannot read.
fetch_python()
{
	local python=/usr/bin/python3 line packages
	[ -x "$python" ] || python=python3
	require "$python"
	"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || give_up "this Python is older than 3.10"
	[ -x "$dir/venv/bin/pip" ] || limited "a virtual environment" "$python" -m venv --clear "$dir/venv"
	while read -r line; do
		read -ra packages <<<"$line"
		limited "$line" "$dir/venv/bin/pip" --no-cache-dir --retries 1 --timeout 15 install --quiet "${packages[@]}"
	done < <(grep -v '^#' "$HERE/requirements.txt")
}

fetch_node()
{
	require node npm
	cp "$HERE/package.json" "$dir/"
	limited "the packages of Node" npm --prefix "$dir" --cache "$dir/cache" --fetch-retries 1 \
		install --ignore-scripts --no-audit --no-fund --silent
}

# 300 MB, most of which is the program that makes its client; that needs no other from outside.
fetch_prisma()
{
	require node npm
	cp "$HERE"/prisma/* "$dir/"
	limited "Prisma" npm --prefix "$dir" --cache "$dir/cache" --fetch-retries 1 \
		install --ignore-scripts --no-audit --no-fund --silent
	PRISMA_SCHEMA_ENGINE_BINARY=/bin/true limited "Prisma's client" env --chdir="$dir" node_modules/.bin/prisma generate
}

# Maven resumes what a limit cut short.
fetch_java()
{
	local jars
	require java javac mvn
	jars() { limited "the libraries of Java" mvn -q -B -f "$HERE/pom.xml" -Dmaven.repo.local="$dir/cache" \
		dependency:copy-dependencies -DoutputDirectory="$dir/lib"; }
	(jars >/dev/null) || jars
}

mkdir -p "$dir"
case $language in
	python) list=requirements.txt ;;
	node) list=package.json ;;
	java) list=pom.xml ;;
	prisma) list=prisma/package.json ;;
esac
if ! cmp -s "$HERE/$list" "$dir/complete"; then
	rm -f "$dir/log" "$dir/complete"
	"fetch_$language"
	cp "$HERE/$list" "$dir/complete"
fi
