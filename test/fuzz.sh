#!/usr/bin/env bash
# fuzz.sh
#		Damaged and random bodies for what reads them, with AddressSanitizer and
#		UndefinedBehaviorSanitizer and without a server: what "make fuzz" calls.
#
#	COUNT=1000000		how many inputs
#	SEED=...			the seed, else a random one; both are printed
#	JOBS=...			how many processes share them; as many as there are processors
#	KEEP=...			where the program is left, for fuzz_receiver.sh
#	PG_CONFIG=...		whose headers and library of encodings to take

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

COUNT=${COUNT:-1000000}
SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
JOBS=${JOBS:-$(nproc)}
CONFIG=${PG_CONFIG:-pg_config}

dir=$(mktemp -d /tmp/trace_ext_fuzz.XXXXXX)
trap 'rm -rf "$dir"' EXIT

sources=()
for name in otlp otlp_wire otlp_json otlp_json_records otlp_json_fields otlp_known json_text json_scan gunzip redaction redact_otlp; do
	sources+=("$ROOT/src/ingest/$name.c")
done
# What of these needs a server, and is not called here, is left out by the linker.
"${CC:-gcc}" -g -O2 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -fwrapv -DTEX_HAVE_ZLIB \
	-ffunction-sections -Wl,--gc-sections -Wall -I"$ROOT/src" -I"$("$CONFIG" --includedir-server)" -o "$dir/fuzz" "$ROOT/test/fuzz/fuzz.c" "${sources[@]}" \
	"$("$CONFIG" --pkglibdir)/libpgcommon.a" "$("$CONFIG" --pkglibdir)/libpgport.a" -lz -lm

[ -z "${KEEP:-}" ] || cp "$dir/fuzz" "$KEEP"

files=("$ROOT"/test/data/otlp/*.bin "$ROOT"/test/data/otlp/*.json "$ROOT"/test/data/otlp/*.gz "$ROOT"/test/data/*.json)
say "seed $SEED, $COUNT inputs, ${#files[@]} bodies to begin with, $JOBS processes"
pids=()
for ((job = 0; job < JOBS; job++)); do
	ASAN_OPTIONS=handle_abort=1:detect_stack_use_after_return=0:allocator_may_return_null=0 UBSAN_OPTIONS=print_stacktrace=1 \
		"$dir/fuzz" "$SEED" $((job * (COUNT / JOBS))) $((COUNT / JOBS + (job == JOBS - 1 ? COUNT % JOBS : 0))) "${files[@]}" &
	pids+=($!)
done
status=0
for pid in "${pids[@]}"; do
	wait "$pid" || status=1
done
exit "$status"
