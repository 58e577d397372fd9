EXTENSION    = trace_ext trace_ext_router
EXTVERSION  := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" trace_ext.control)
MODULE_big   = trace_ext

# In the order of the flow: a file includes only from its own room and those before it.
ROOMS        = common vclock histogram ingest store history races analysis render exchange workers receiver watch shards cache
OBJS         = $(patsubst %.c,%.o,$(wildcard src/*.c $(patsubst %,src/%/*.c,$(filter-out receiver,$(ROOMS)))))

# The receiver is a library of its own, where libmicrohttpd's header is there, so that nobody
# else needs that library.
ifeq ($(shell printf '\043include <microhttpd.h>\n' | $(CC) -E -x c - >/dev/null 2>&1 && echo yes),yes)
RECEIVER     = trace_ext_otlp
RECEIVER_OBJS = $(patsubst %.c,%.o,$(wildcard src/receiver/*.c))
endif

# The script of the version is its fragments, in the order of their numbers.
FRAGMENTS   := $(sort $(wildcard sql/[0-9][0-9]_*.sql))
SCRIPT       = sql/trace_ext--$(EXTVERSION).sql
# The router's has what the store's has, then what it does otherwise over nodes; rights come last.
ROUTER_FRAGMENTS := $(filter-out sql/90_grants.sql,$(FRAGMENTS)) $(sort $(wildcard sql/router/[0-9][0-9]_*.sql)) sql/90_grants.sql
ROUTER_SCRIPT = sql/trace_ext_router--$(EXTVERSION).sql
DATA_built   = $(SCRIPT) $(ROUTER_SCRIPT)
DATA         = $(filter-out $(DATA_built),$(wildcard sql/trace_ext--*.sql sql/trace_ext_router--*.sql))

REGRESS      = $(basename $(notdir $(sort $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test --load-extension=trace_ext
ISOLATION    = $(basename $(notdir $(sort $(wildcard test/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=trace_ext

# Headers are named with their room.
PG_CPPFLAGS  = -I$(srcdir)/src
PG_CFLAGS    = -Wall -Wextra -Wno-unused-parameter
ifdef WERROR
PG_CFLAGS   += -Werror
endif

EXTRA_CLEAN  = $(DATA_built) output_iso trace_ext_otlp.* src/receiver/*.o src/receiver/*.bc

# Bodies of gzip, where zlib's header is there; the server itself links zlib.
ifeq ($(shell printf '\043include <zlib.h>\n' | $(CC) -E -x c - >/dev/null 2>&1 && echo yes),yes)
PG_CPPFLAGS += -DTEX_HAVE_ZLIB
SHLIB_LINK  += -lz
endif

PG_CONFIG   ?= pg_config
PGXS        := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)
else
# The commands below install PostgreSQL, so they must work without it.
all install installcheck clean:
	@echo "PostgreSQL's development files were not found: set PG_CONFIG, or install them as test/packages.sh does" >&2; exit 1
endif

$(SCRIPT): $(FRAGMENTS) trace_ext.control
	cat $(FRAGMENTS) > $@

$(ROUTER_SCRIPT): $(ROUTER_FRAGMENTS) trace_ext_router.control
	sed 's/"CREATE EXTENSION trace_ext"/"CREATE EXTENSION trace_ext_router"/' $(ROUTER_FRAGMENTS) > $@

$(OBJS) $(RECEIVER_OBJS): $(wildcard src/*.h src/*/*.h)

# The second library, by the rules of the first.
ifneq ($(PGXS),)
ifneq ($(RECEIVER),)
all: $(RECEIVER)$(DLSUFFIX)
$(RECEIVER)$(DLSUFFIX): $(RECEIVER_OBJS)
	$(CC) $(CFLAGS) $(CFLAGS_SL) -shared -o $@ $(RECEIVER_OBJS) $(LDFLAGS) $(LDFLAGS_SL) -lmicrohttpd

install: install-receiver
.PHONY: install-receiver
install-receiver: $(RECEIVER)$(DLSUFFIX) installdirs
	$(INSTALL_SHLIB) $(RECEIVER)$(DLSUFFIX) '$(DESTDIR)$(pkglibdir)/$(RECEIVER)$(DLSUFFIX)'

uninstall: uninstall-receiver
.PHONY: uninstall-receiver
uninstall-receiver:
	rm -f '$(DESTDIR)$(pkglibdir)/$(RECEIVER)$(DLSUFFIX)'
else
all: no-receiver
.PHONY: no-receiver
no-receiver:
	@echo "trace_ext_otlp, the receiver of OpenTelemetry, is not built: libmicrohttpd's header was not found (Debian: libmicrohttpd-dev)"
endif
endif

# Commands. Each works on a copy of the source and installs what it needs.
.PHONY: demo demo-stop demo-router test sanitize assert fuzz fuzz-receiver bench
demo:
	@test/demo.sh start

demo-stop:
	@test/demo.sh stop

# Three throw-away stores and a router in front of them; nothing of it stays.
demo-router:
	@test/demo_router.sh

test:
	@test/run.sh

# The same tests with AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize:
	@SANITIZE=yes test/run.sh

# The SQL tests on a server built with assertions.
assert:
	@test/assert.sh

# A million damaged and random bodies for the readers, with the sanitizers; COUNT and SEED are told.
fuzz:
	@test/fuzz.sh

# Some of them through a receiver, with steps and redaction rules.
fuzz-receiver:
	@test/fuzz_receiver.sh

# Ours against the usual ways, with the ratio and the goal of each.
bench:
	@bench/run.sh
