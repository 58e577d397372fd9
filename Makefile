EXTENSION    = trace_ext
EXTVERSION  := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" trace_ext.control)
MODULE_big   = trace_ext

# In the order of the flow: a file calls only what stands before it.
OBJS = \
	src/guc.o \
	src/event.o \
	src/owner.o \
	src/vclock.o \
	src/vclock_ops.o \
	src/vclock_io.o \
	src/json_scan.o \
	src/timestamps.o \
	src/event_json.o \
	src/ingest.o \
	src/summary.o \
	src/fold.o \
	src/folder.o \
	src/worker_slots.o \
	src/restore.o \
	src/deltas.o \
	src/aggregates.o \
	src/reads.o \
	src/outstanding.o \
	src/trace_range.o \
	src/recompute.o \
	src/trace_events.o \
	src/list.o \
	src/truncate.o \
	src/partitions.o \
	src/names.o \
	src/spelling.o \
	src/trace_load.o \
	src/trace_prepare.o \
	src/schedule.o \
	src/strand_clock.o \
	src/client_clocks.o \
	src/strands.o \
	src/tasks.o \
	src/messages.o \
	src/locks.o \
	src/lock_types.o \
	src/sharing.o \
	src/happens_before.o \
	src/proof.o \
	src/accesses.o \
	src/races.o \
	src/patterns.o \
	src/evidence.o \
	src/race_rows.o \
	src/overlaps.o \
	src/find_races.o \
	src/audit.o \
	src/detect.o \
	src/cache_locks.o \
	src/cache_counters.o \
	src/cache_relations.o \
	src/cache_writes.o \
	src/cache_blocks.o \
	src/cache_entries.o \
	src/cache_local.o \
	src/cache_flight.o \
	src/cache_failures.o \
	src/cache_settings.o \
	src/cache_functions.o \
	src/cache_query.o \
	src/cache_memo.o \
	src/cache_call.o \
	src/cache_rows.o \
	src/cache_compute.o \
	src/cache_refresh.o \
	src/cached.o \
	src/cache_reports.o \
	src/cache_keep.o \
	src/cache_views.o \
	src/keep_out.o \
	src/job_call.o \
	src/job_process.o \
	src/cache_turn.o \
	src/cache_roles.o \
	src/worker.o \
	src/launcher.o \
	src/worker_rows.o \
	src/shmem.o \
	src/trace_ext.o

# The script of the version is its fragments, in the order of their numbers.
FRAGMENTS   := $(sort $(wildcard sql/[0-9][0-9]_*.sql))
SCRIPT       = sql/$(EXTENSION)--$(EXTVERSION).sql
DATA_built   = $(SCRIPT)
DATA         = $(filter-out $(SCRIPT),$(wildcard sql/$(EXTENSION)--*.sql))

REGRESS      = $(basename $(notdir $(sort $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test --load-extension=trace_ext
ISOLATION    = $(basename $(notdir $(sort $(wildcard test/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=trace_ext

PG_CFLAGS    = -Wall -Wextra -Wno-unused-parameter
ifdef WERROR
PG_CFLAGS   += -Werror
endif

EXTRA_CLEAN  = $(SCRIPT) output_iso

PG_CONFIG   ?= pg_config
PGXS        := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)
else
# The commands below install PostgreSQL, so they must work without it.
all install installcheck clean:
	@echo "PostgreSQL's development files were not found: set PG_CONFIG, or install them as test/packages.sh does" >&2; exit 1
endif

$(SCRIPT): $(FRAGMENTS) $(EXTENSION).control
	cat $(FRAGMENTS) > $@

$(OBJS): $(wildcard src/*.h)

# Commands. Each works on a copy of the source and installs what it needs.
.PHONY: demo demo-stop test sanitize assert bench
demo:
	@test/demo.sh start

demo-stop:
	@test/demo.sh stop

test:
	@test/run.sh

# The same tests with AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize:
	@SANITIZE=yes test/run.sh

# The SQL tests on a server built with assertions.
assert:
	@test/assert.sh

# Ours against the usual ways, with the ratio and the goal of each.
bench:
	@bench/run.sh
