/*
 * apart.c
 *		Which traces of sessions need not be looked at for findings.
 *
 * Most transactions meet nobody: no other one uses their rows while they run.  To have the race detector
 * read their events again and compare them costs as much as to store them.  So the process that makes
 * events of records notes which trace used which variable, and from when to when.  A trace is *apart*
 * if, of each of its variables, no other trace used it within that time, or nobody wrote it.
 *
 * Why nothing is missed: whatever values prove of two traces, one of them wrote a variable that the other one
 * had used, and used again, or had not committed since.  The time of a trace and variable is from the
 * begin of its first transaction that uses it to the end of the last one; so the times of the two overlap.
 * When the later one is stored, neither is apart any more, and the later one is looked at with all
 * that is not apart and overlaps it.  Where anything else may play a part, a trace is not apart: of requests that are traced, as
 * others may send events of theirs; and of what takes row locks, as these order others.
 *
 * What is known is bounded.  A variable has the times of those few traces that used it last: who must make room
 * is not apart.  Traces and variables are kept in two generations, the older of which is dropped
 * when the newer one is full.  All that was stored before a generation began had ended by then; so what
 * began since overlaps nothing that was dropped.  A trace that began before is not apart, and counts as if
 * it had used each of its variables all the time.  When a trace began that others name is not known: as if always.
 *
 * What this process knows holds only while no other one stores records of the database: which
 * did last is in shared memory.  Who begins knows nothing of what went before, so nothing is apart that began
 * before he did.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "watch/apart.h"
#include "watch/shared.h"

PG_FUNCTION_INFO_V1(tex_watch_known);

/* A generation is full with so many variables or traces: some 4 MB. */
#define MOST_VARIABLES	32768
#define MOST_TRACES		8192

/* Traces of a variable that are told apart: those that used it last. */
#define SPANS 2

/* What is known of a trace, for SQL; each includes those before. */
typedef enum Known
{
	KNOWN_NOTHING = -1,			/* nor is anything of any */
	KNOWN_NOT,
	KNOWN_ACCESSES,				/* all its accesses are of watched tables */
	KNOWN_OWN,					/* all its events are: it is of a session that nobody traces */
	KNOWN_APART					/* and no other trace has to do with it */
} Known;

struct TexApartTrace
{
	pg_uuid_t	id;				/* hash key */
	int64		events;
	int64		accesses;
	TimestampTz began;
	bool		own;
	bool		apart;
};

/* When a trace used a variable. */
typedef struct Span
{
	pg_uuid_t	trace;
	TimestampTz from;
	TimestampTz to;
	bool		used;
	bool		writes;
} Span;

typedef struct Variable
{
	uint64		key;			/* hash of its name: two that are taken for one are not apart */
	Span		spans[SPANS];
	bool		crowded;		/* there was no room for a span */
	TimestampTz forgotten;		/* where the last such ended */
} Variable;

typedef struct Generation
{
	MemoryContext context;		/* NULL: there is none */
	HTAB	   *traces;
	HTAB	   *variables;
	TimestampTz since;			/* what was stored before had ended by then */
} Generation;

static Generation current;
static Generation before;

/* Where it stands which process was the last one to store records of this database; another database may share it. */
static pg_atomic_uint32 *
storer(void)
{
	return &tex_watch_shared->storers[murmurhash32(MyDatabaseId) % TEX_WATCH_STORERS];
}

static void
drop_generation(Generation *generation)
{
	if (generation->context)
		MemoryContextDelete(generation->context);
	*generation = (Generation) {0};
}

/* Forgets all: a transaction that stored records was rolled back.  Throws nothing. */
void
tex_apart_forget(void)
{
	drop_generation(&current);
	drop_generation(&before);
}

/* Makes an empty one, whose memory is kept when that is all there. */
static void
begin_generation(void)
{
	Generation	new = {.since = GetCurrentTimestamp()};
	HASHCTL		ctl = {.keysize = sizeof(pg_uuid_t),.entrysize = sizeof(TexApartTrace)};

	new.context = AllocSetContextCreate(TopMemoryContext, "trace_ext traces apart", ALLOCSET_DEFAULT_SIZES);
	ctl.hcxt = new.context;
	new.traces = hash_create("watched traces", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(uint64);
	ctl.entrysize = sizeof(Variable);
	new.variables = hash_create("watched variables", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	drop_generation(&before);
	before = current;
	current = new;
}

/*
 * Records are about to be taken, and no other process of this database takes any until the end of the transaction.
 */
void
tex_apart_begin(void)
{
	if (tex_watch_shared && pg_atomic_exchange_u32(storer(), (uint32) MyProcPid) != (uint32) MyProcPid)
		tex_apart_forget();
	if (current.context == NULL || hash_get_num_entries(current.variables) >= MOST_VARIABLES ||
		hash_get_num_entries(current.traces) >= MOST_TRACES)
		begin_generation();
}

/* What began before this may have overlapped something that is not known any more. */
static TimestampTz
known_since(void)
{
	return before.context ? before.since : current.since;
}

/* The entry of a key, brought into the current generation; *is_new: it is not known in either, and has its key only. */
static void *
find(HTAB *now, HTAB *earlier, const void *key, Size size, bool *is_new)
{
	bool		found;
	void	   *entry = hash_search(now, key, HASH_ENTER, &found);
	void	   *old = found || earlier == NULL ? NULL : hash_search(earlier, key, HASH_FIND, NULL);

	if (old)
		memcpy(entry, old, size);
	*is_new = !found && old == NULL;
	return entry;
}

/*
 * A statement is an event of a trace that began then; own: it is of a session that nobody traces.
 */
TexApartTrace *
tex_apart_statement(const pg_uuid_t *trace, bool own, TimestampTz began)
{
	bool		is_new;
	TexApartTrace *entry = find(current.traces, before.traces, trace, sizeof(TexApartTrace), &is_new);

	if (is_new)
		*entry = (TexApartTrace) {.id = *trace,.began = began,.own = own,.apart = own};
	entry->events++;
	if (!own)
	{
		entry->began = DT_NOBEGIN;
		entry->own = entry->apart = false;
	}
	return entry;
}

/* A trace has to do with another one. */
static void
not_apart(const pg_uuid_t *trace)
{
	TexApartTrace *entry = hash_search(current.traces, trace, HASH_FIND, NULL);

	if (entry == NULL && before.context)
		entry = hash_search(before.traces, trace, HASH_FIND, NULL);
	if (entry)
		entry->apart = false;
}

/* Whether a span is of that trace. */
static inline bool
is_of(const Span *span, const TexApartTrace *trace)
{
	return memcmp(&span->trace, &trace->id, sizeof(pg_uuid_t)) == 0;
}

/* Whether two traces used a variable at the same time, and not only to read it. */
static bool
meet(const Span *a, const Span *b)
{
	return (a->writes || b->writes) && a->from <= b->to && b->from <= a->to;
}

/* The span of a trace, whose transaction began then, or one that is free for it; else the one that ended first is given up. */
static Span *
find_span(Variable *variable, const TexApartTrace *trace, TimestampTz began)
{
	Span	   *span = &variable->spans[0];
	bool		may_have_been = variable->crowded || trace->began < known_since();

	for (int i = 0; i < SPANS; i++)
		if (variable->spans[i].used && is_of(&variable->spans[i], trace))
			return &variable->spans[i];
	for (int i = 1; i < SPANS && span->used; i++)
		if (!variable->spans[i].used || variable->spans[i].to < span->to)
			span = &variable->spans[i];
	if (span->used)
	{
		not_apart(&span->trace);
		variable->forgotten = variable->crowded ? Max(variable->forgotten, span->to) : span->to;
		variable->crowded = true;
	}
	*span = (Span) {.trace = trace->id,.used = true,.from = may_have_been ? trace->began : began,.to = DT_NOBEGIN,
		.writes = may_have_been};
	return span;
}

/* An access of a trace, by a transaction that began then, and that everybody saw from visible_at on. */
void
tex_apart_access(TexApartTrace *trace, const char *name, int len, bool writes,
				 TimestampTz began, TimestampTz visible_at)
{
	uint64		key = hash_bytes_extended((const unsigned char *) name, len, 0);
	bool		is_new;
	Variable   *variable = find(current.variables, before.variables, &key, sizeof(Variable), &is_new);
	Span	   *span;

	if (is_new)
		*variable = (Variable) {.key = key};
	trace->events++;
	trace->accesses++;
	span = find_span(variable, trace, began);
	span->from = Min(span->from, began);
	span->to = Max(span->to, visible_at);
	span->writes |= writes;
	if (variable->crowded && span->from <= variable->forgotten)
		trace->apart = false;
	for (int i = 0; i < SPANS; i++)
	{
		const Span *other = &variable->spans[i];

		if (other->used && other != span && meet(other, span))
		{
			trace->apart = false;
			not_apart(&other->trace);
		}
	}
}

/* A row lock of a trace, which is two events, and may order others. */
void
tex_apart_lock(TexApartTrace *trace)
{
	trace->events += 2;
	trace->apart = false;
}

/*
 * watch_known(trace_id uuid, events bigint, accesses bigint) returns int: what this process knows of a trace
 * that has so many events and accesses by now: if they are more than went through here, others sent some.
 */
Datum
tex_watch_known(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = PG_GETARG_UUID_P(0);
	const TexApartTrace *trace = NULL;
	Known		known = KNOWN_NOT;

	if (tex_watch_shared == NULL || current.context == NULL || pg_atomic_read_u32(storer()) != (uint32) MyProcPid)
		PG_RETURN_INT32(KNOWN_NOTHING);
	trace = hash_search(current.traces, id, HASH_FIND, NULL);
	if (trace == NULL && before.context)
		trace = hash_search(before.traces, id, HASH_FIND, NULL);
	if (trace && PG_GETARG_INT64(2) <= trace->accesses)
		known = !trace->own || PG_GETARG_INT64(1) > trace->events ? KNOWN_ACCESSES :
			trace->apart && trace->began >= known_since() ? KNOWN_APART : KNOWN_OWN;
	PG_RETURN_INT32(known);
}
