#!/usr/bin/env bash
# otlp_sdks.sh LANGUAGE DIR
#		Brings a live program of OpenTelemetry, and what it needs, to DIR, which is kept: of python, node,
#		java, go, or the collector. The functions with which a program tells of variables and locks are
#		those of docs/opentelemetry.md, word for word.
#
# Where DIR has it already, nothing is fetched. The test (t/036_otlp_sdks.pl) gives each of these a
# minute, which the Collector's build exceeds on the first times; what was fetched until then stays,
# and called by hand this takes the time that it needs. Status 69: the tools are not here, with a
# line that says which.

set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LANGUAGE=$1
DIR=$2

need()
{
	local tool
	for tool in "$@"; do
		command -v "$tool" >/dev/null || { echo "there is no $tool here"; exit 69; }
	done
}

# snippet LANGUAGE: the code that the page shows for it.
snippet()
{
	awk -v fence="\`\`\`$1" '/^## Who raced/ { here = 1 } here && $0 == fence { code = 1; next } code && /^```/ { exit } code' \
		"$HERE/../docs/opentelemetry.md"
}

prepare_python()
{
	need python3
	{ snippet python; cat "$HERE/otlp_sdk.py"; } >"$DIR/program.py"
	[ ! -e "$DIR/python/ready" ] || return 0
	python3 -m venv "$DIR/python"
	"$DIR/python/bin/pip" install --quiet opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
	touch "$DIR/python/ready"
}

prepare_node()
{
	need node npm
	{ snippet js; cat "$HERE/otlp_sdk.js"; } >"$DIR/program.js"
	[ ! -e "$DIR/node/ready" ] || return 0
	mkdir -p "$DIR/node"
	cd "$DIR/node"
	npm install --silent --cache "$DIR/npm" @opentelemetry/api @opentelemetry/sdk-trace-node @opentelemetry/exporter-trace-otlp-proto @opentelemetry/resources
	touch "$DIR/node/ready"
}

prepare_java()
{
	need java mvn
	sed -e "/^\/\/DOCS/{r "<(snippet java) -e 'd}' "$HERE/otlp_sdk.java" >"$DIR/program.java"
	cmp -s "$HERE/otlp_sdk_pom.xml" "$DIR/java/ready" || {
		mvn -q -B -f "$HERE/otlp_sdk_pom.xml" "-Dmaven.repo.local=$DIR/maven" dependency:copy-dependencies "-DoutputDirectory=$DIR/java/jars"
		cp "$HERE/otlp_sdk_pom.xml" "$DIR/java/ready"
	}
}

# The modules of one of both programs; go.sum says what they must be.
prepare_go()
{
	need go
	mkdir -p "$DIR/src-$1"
	cp -r "$HERE/otlp_go/." "$DIR/src-$1"
	cd "$DIR/src-$1"
	{
		printf 'package main\n\nimport (\n\t"context"\n\n\t"go.opentelemetry.io/otel/attribute"\n\t"go.opentelemetry.io/otel/trace"\n)\n\n'
		snippet go
	} >sdk/docs.go
	GOTOOLCHAIN=local GOPATH=$DIR/gopath GOCACHE=$DIR/gocache GOFLAGS=-modcacherw go build -buildvcs=false -o "$DIR/$1" "./$1"
}

mkdir -p "$DIR"
case $LANGUAGE in
python | node | java) "prepare_$LANGUAGE" ;;
go) prepare_go sdk ;;
collector) prepare_go collector ;;
*) echo "no such language: $LANGUAGE"; exit 64 ;;
esac
