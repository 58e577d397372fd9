/*
 * look_through.c
 *		One pass over the events of many traces, for the job anomalies: which of them took
 *		longer than their operation usually does, and what is odd about the traces.
 *
 * To analyse a trace costs ten times what it costs to read it among others, and where
 * it may have waited for locks, all that ran beside it is to be read as well.  So here is found
 * out, from each event alone, what a trace cannot have:
 * - without an event that is an error, no error and no retry that failed;
 * - without five queries of one operation and service, in a request, no repeated query;
 * - without an acquire after which its thread stood still long enough, while another one gave
 *	 that lock back, no wait for a lock.
 *
 * Invariant: what is left out has none of these, whatever clocks are adjusted by.  That shifts
 * all events of an instance by the same, so how long a thread stood still does not change,
 * and no instance's part of a trace is longer than the trace.
 *
 * What is left is analysed by anomalies.c, a history for each trace.  Most of it has errors, and
 * of those the summaries know: their histories are filled as the pass goes, so that they are read
 * once.  Others are read again.
 *
 * Names are interned, so the operation of a name is made once, and its baseline is read once
 * for all events of an hour, all of them by one query.
 */
#include "postgres.h"

#include <math.h>

#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analysis/anomalies.h"
#include "analysis/judges.h"
#include "analysis/requests.h"
#include "analysis/slow.h"
#include "common/event.h"
#include "common/extent.h"
#include "guc.h"
#include "history/row_query.h"
#include "history/trace_load.h"
#include "races/arrays.h"
#include "store/operation.h"
#include "store/trace_range.h"

/* So many traces are read by one query, neighbours in time. */
#define TRACES_OF_A_QUERY 1000

PG_FUNCTION_INFO_V1(tex_anomalies_of);

static const char releases_query[] =
	"SELECT n, beside FROM trace_ext_internal.released_beside($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/* A trace. */
typedef struct Looked
{
	pg_uuid_t	id;
	int32		number;
	bool		is_odd;
	bool		takes_lock;
	bool		has_release;
	bool		may_wait;
	ArrayType  *beside;			/* traces that gave back what it may have waited for, or NULL */
	TexHistory *history;		/* of one that is expected to be odd, else NULL */
	struct Moment *moments;		/* its events, the last one read first */
	int32		nmoments;
} Looked;

/* The operation of a name. */
typedef struct Named
{
	struct NamedKey
	{
		int32		kind;
		int32		name;
	}			key;
	int32		operation;
} Named;

/* Queries of a trace that are of one operation. */
typedef struct Queries
{
	struct QueriesKey
	{
		int32		trace;
		int32		service;
		int32		operation;
	}			key;
	int32		n;
} Queries;

/* An event that took longer than trace_ext.slow_floor. */
typedef struct Candidate
{
	pg_uuid_t	trace_id;
	pg_uuid_t	id;
	int32		trace;			/* its number */
	TimestampTz at;
	int32		span;
	int64		duration_ns;
	const TexJudge *judge;
} Candidate;

/* When an event of a thread was. */
typedef struct Moment
{
	struct Moment *next;		/* of the trace */
	uint64		instance;		/* hashes */
	uint64		thread;
	TimestampTz at;
	TexExtent	extent;
	struct Acquire *acquire;	/* or NULL */
	uint8		kind;
} Moment;

/* An acquire that names its lock. */
typedef struct Acquire
{
	int32		lock;
	int32		service;
	int32		instance;
	int32		process;		/* or -1 */
	int32		thread;
	int32		task;
	Looked	   *trace;			/* once it may have waited: by whom, from when, until when, and how long at least */
	TimestampTz started;
	TimestampTz limit;
	int64		least;
} Acquire;

typedef struct Search
{
	MemoryContext context;		/* of all of it */
	Oid			kinds[TEX_KIND_COUNT];
	TexSink    *sink;
	TexRanges  *ranges;
	TexStrings *names;
	HTAB	   *named;
	TexJudges  *judges;
	Candidate  *candidates;
	int32		ncandidates;
	int32		candidates_room;
	TexRequest *requests;
	int32		nrequests;
	int32		requests_room;
	int32		ntraces;		/* numbers given out */
	/* Of a group of traces, whose memory goes with it. */
	MemoryContext group;
	HTAB	   *traces;
	HTAB	   *queries;
	Looked	  **looked;
	int32		nlooked;
	Acquire   **waits;			/* those that may have waited */
	int32		nwaits;
	int32		waits_room;
} Search;

/* Makes room for one more element of an array. */
static void *
with_room(MemoryContext context, void *array, int32 count, int32 *room, Size size)
{
	if (count < *room)
		return array;
	*room = *room ? *room * 2 : 256;
	if (array == NULL)
		return MemoryContextAllocHuge(context, size * *room);
	return repalloc_huge(array, size * *room);
}

/* A table by keys of some bytes. */
static HTAB *
make_table(MemoryContext context, const char *of, Size key, Size entry)
{
	HASHCTL		ctl = {.keysize = key,.entrysize = entry,.hcxt = context};

	return hash_create(of, 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* The number of a text column, or TEX_NO_NAME. */
static int32
name_of(Search *s, TupleTableSlot *slot, int column)
{
	text	   *value;

	if (slot->tts_isnull[column])
		return TEX_NO_NAME;
	value = DatumGetTextPP(slot->tts_values[column]);
	return tex_strings_add(s->names, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* The number of an event's operation. */
static int32
operation_of(Search *s, TupleTableSlot *slot, TexKind kind)
{
	struct NamedKey key = {kind, name_of(s, slot, TEX_COL_NAME)};
	bool		found;
	Named	   *named = hash_search(s->named, &key, HASH_ENTER, &found);

	if (!found)
	{
		text	   *operation = tex_operation(kind, DatumGetTextPP(slot->tts_values[TEX_COL_NAME]));

		named->operation = tex_strings_add(s->names, VARDATA_ANY(operation), VARSIZE_ANY_EXHDR(operation));
	}
	return named->operation;
}

/* ------------------------------------------------------------------ an event */

/* Notes an event that took long enough to be slow. */
static void
note_candidate(Search *s, Looked *trace, TupleTableSlot *slot, TexKind kind)
{
	Candidate  *candidate;

	s->candidates = with_room(s->context, s->candidates, s->ncandidates, &s->candidates_room, sizeof(Candidate));
	candidate = &s->candidates[s->ncandidates++];
	candidate->trace_id = trace->id;
	candidate->trace = trace->number;
	candidate->id = *DatumGetUUIDP(slot->tts_values[TEX_COL_ID]);
	candidate->at = DatumGetTimestampTz(slot->tts_values[TEX_COL_AT]);
	candidate->span = name_of(s, slot, TEX_COL_SPAN);
	candidate->duration_ns = DatumGetInt64(slot->tts_values[TEX_COL_DURATION]);
	candidate->judge = tex_judge_of(s->judges, candidate->at, name_of(s, slot, TEX_COL_SERVICE), kind, operation_of(s, slot, kind));
}

/* Notes a request, for a slow answer to be named by it. */
static void
note_request(Search *s, const Looked *trace, TupleTableSlot *slot)
{
	s->requests = with_room(s->context, s->requests, s->nrequests, &s->requests_room, sizeof(TexRequest));
	s->requests[s->nrequests++] = (TexRequest) {
		trace->number, name_of(s, slot, TEX_COL_SERVICE), name_of(s, slot, TEX_COL_SPAN), name_of(s, slot, TEX_COL_NAME),
		DatumGetTimestampTz(slot->tts_values[TEX_COL_AT]), *DatumGetUUIDP(slot->tts_values[TEX_COL_ID])
	};
}

/* Whether a query is of a session of a database that nobody traces, which is not one request. */
static bool
is_of_session(TupleTableSlot *slot)
{
	JsonbValue	buffer;
	Jsonb	   *attributes;

	if (slot->tts_isnull[TEX_COL_ATTRIBUTES])
		return false;
	attributes = DatumGetJsonbP(slot->tts_values[TEX_COL_ATTRIBUTES]);
	return JB_ROOT_IS_OBJECT(attributes) &&
		getKeyJsonValueFromContainer(&attributes->root, "trace_of", strlen("trace_of"), &buffer) != NULL;
}

/* Counts a query. */
static void
note_query(Search *s, Looked *trace, TupleTableSlot *slot)
{
	struct QueriesKey key = {trace->number, name_of(s, slot, TEX_COL_SERVICE), operation_of(s, slot, TEX_DATABASE_QUERY)};
	bool		found;
	Queries    *queries = hash_search(s->queries, &key, HASH_ENTER, &found);

	queries->n = found ? queries->n + 1 : 1;
	trace->is_odd |= queries->n >= TEX_FEWEST_QUERIES;
}

/* Mixes a text column into a hash. */
static uint64
hash_column(TupleTableSlot *slot, int column, uint64 seed)
{
	text	   *value;

	if (slot->tts_isnull[column])
		return hash_bytes_uint32_extended(column, seed);
	value = DatumGetTextPP(slot->tts_values[column]);
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), seed + column);
}

/* What is to be known of an acquire, to find who gave its lock back. */
static Acquire *
make_acquire(Search *s, TupleTableSlot *slot)
{
	Acquire    *acquire = MemoryContextAllocZero(s->group, sizeof(Acquire));

	acquire->lock = name_of(s, slot, TEX_COL_NAME);
	acquire->service = name_of(s, slot, TEX_COL_SERVICE);
	acquire->instance = name_of(s, slot, TEX_COL_INSTANCE);
	acquire->process = slot->tts_isnull[TEX_COL_PROCESS] ? -1 : DatumGetInt32(slot->tts_values[TEX_COL_PROCESS]);
	acquire->thread = name_of(s, slot, TEX_COL_THREAD);
	acquire->task = name_of(s, slot, TEX_COL_TASK);
	return acquire;
}

/* Notes when an event of which thread was: the task that it names, else its thread, as the loader does. */
static void
note_moment(Search *s, Looked *trace, TupleTableSlot *slot, TexKind kind)
{
	Moment	   *moment = MemoryContextAlloc(s->group, sizeof(Moment));
	uint64		process;

	moment->next = trace->moments;
	trace->moments = moment;
	moment->at = DatumGetTimestampTz(slot->tts_values[TEX_COL_AT]);
	moment->extent = tex_extent_of_columns(moment->at, slot->tts_values[TEX_COL_DURATION], slot->tts_isnull[TEX_COL_DURATION],
										   slot->tts_values[TEX_COL_AT_END], slot->tts_isnull[TEX_COL_AT_END]);
	moment->kind = kind;
	moment->instance = hash_column(slot, TEX_COL_INSTANCE, hash_column(slot, TEX_COL_SERVICE, 0));
	process = hash_bytes_uint32_extended(slot->tts_isnull[TEX_COL_PROCESS] ? PG_UINT32_MAX : DatumGetUInt32(slot->tts_values[TEX_COL_PROCESS]),
										 moment->instance);
	moment->thread = hash_column(slot, slot->tts_isnull[TEX_COL_TASK] ? TEX_COL_THREAD : TEX_COL_TASK, process);
	moment->acquire = kind == TEX_LOCK_ACQUIRE && !slot->tts_isnull[TEX_COL_NAME] ? make_acquire(s, slot) : NULL;
	trace->nmoments++;
	trace->takes_lock |= moment->acquire != NULL;
}

/* An empty history in a context of its own, beside which there are the ranges that the pass has. */
static TexHistory *
new_history(Search *s)
{
	MemoryContext old = MemoryContextSwitchTo(AllocSetContextCreate(s->group, "trace_ext odd trace", ALLOCSET_DEFAULT_SIZES));
	TexHistory *history = tex_history_create();

	history->keeps_messages = true;
	history->without_values = true;
	history->ranges = s->ranges;
	MemoryContextSwitchTo(old);
	return history;
}

/* The trace of an event. */
static Looked *
trace_of(Search *s, const pg_uuid_t *id)
{
	bool		found;
	Looked	   *trace = hash_search(s->traces, id, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) trace + sizeof(pg_uuid_t), 0, sizeof(Looked) - sizeof(pg_uuid_t));
		trace->number = s->ntraces++;
		if (tex_has_errors(s->ranges, id))
			trace->history = new_history(s);
		s->looked[s->nlooked++] = trace;
	}
	return trace;
}

/* Takes an event; for tex_query_traces(). */
static void
take_event(TupleTableSlot *slot, void *arg)
{
	Search	   *s = arg;
	Looked	   *trace = trace_of(s, DatumGetUUIDP(slot->tts_values[TEX_COL_TRACE_ID]));
	TexKind		kind = 0;

	while (kind < TEX_NO_KIND && s->kinds[kind] != DatumGetObjectId(slot->tts_values[TEX_COL_KIND]))
		kind++;
	if (trace->history)
		tex_history_take(trace->history, slot->tts_values, slot->tts_isnull, TEX_ROLE_HOME);
	if (!slot->tts_isnull[TEX_COL_DURATION] && !slot->tts_isnull[TEX_COL_NAME] &&
		DatumGetInt64(slot->tts_values[TEX_COL_DURATION]) > tex_slow_floor * INT64CONST(1000000))
		note_candidate(s, trace, slot, kind);
	if (kind == TEX_ERROR || (kind == TEX_HTTP_RESPONSE && !slot->tts_isnull[TEX_COL_ATTRIBUTES]))
		trace->is_odd |= tex_event_is_error(kind, kind == TEX_ERROR ? NULL : DatumGetJsonbP(slot->tts_values[TEX_COL_ATTRIBUTES]));
	else if (kind == TEX_DATABASE_QUERY && !slot->tts_isnull[TEX_COL_NAME] && !is_of_session(slot))
		note_query(s, trace, slot);
	else if (kind == TEX_HTTP_REQUEST)
		note_request(s, trace, slot);
	trace->has_release |= kind == TEX_LOCK_RELEASE;
	note_moment(s, trace, slot, kind);
}

/* ------------------------------------------------------------------ waits for locks */

/* For qsort(): the events of a thread of a trace one after another, the threads of an instance. */
static int
compare_moments(const void *a, const void *b)
{
	const Moment *x = *(Moment *const *) a;
	const Moment *y = *(Moment *const *) b;

	CHECK_FOR_INTERRUPTS();
	if (x->instance != y->instance)
		return x->instance < y->instance ? -1 : 1;
	if (x->thread != y->thread)
		return x->thread < y->thread ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

/* How long the longest part of a trace is that is of one instance; "ended" is its last end. */
static int64
longest_part(Moment *const *moments, int32 n, TimestampTz *ended)
{
	TexExtent	part = moments[0]->extent;
	int64		longest = 0;

	*ended = part.ended;
	for (int32 i = 0; i < n; i++)
	{
		if (i > 0 && moments[i]->instance != moments[i - 1]->instance)
			part = moments[i]->extent;
		part.started = Min(part.started, moments[i]->extent.started);
		part.ended = Max(part.ended, moments[i]->extent.ended);
		*ended = Max(*ended, part.ended);
		longest = Max(longest, tex_usecs_between(part.started, part.ended));
	}
	return longest;
}

/*
 * Until when an acquire can have waited at most; see find_limits() in handovers.c.  Which of two
 * events of a microsecond comes first is not known here, so the next one is of a later time.
 */
static TimestampTz
latest_limit(const Looked *trace, Moment *const *moments, int32 n, int32 acquire, TimestampTz trace_ended)
{
	const Moment *moment = moments[acquire];

	if (moment->extent.ended > moment->extent.started)
		return moment->extent.ended;
	for (int32 i = acquire + 1; i < n && moments[i]->thread == moment->thread && moments[i]->instance == moment->instance; i++)
		if (moments[i]->at > moment->at)
			/* An answer begins where it ends, once its request has the time that it took. */
			return moments[i]->kind == TEX_HTTP_RESPONSE || moments[i]->kind == TEX_DATABASE_RESULT ?
				moments[i]->extent.ended : moments[i]->extent.started;
	return trace->has_release ? trace_ended : moment->extent.ended;
}

/* Notes the acquires of a trace that can have waited long. */
static void
judge_waits(Search *s, Looked *trace, Moment *const *moments, int32 n)
{
	TimestampTz ended;
	int64		longest = longest_part(moments, n, &ended);
	/* Rounding must not be against us. */
	int64		least = Max(TEX_SHORTEST_WAIT, Min(longest * TEX_LARGE_WAIT / 100 - 1, TEX_LONG_WAIT));

	for (int32 i = 0; i < n; i++)
	{
		Acquire    *acquire = moments[i]->acquire;

		CHECK_FOR_INTERRUPTS();
		if (acquire == NULL)
			continue;
		acquire->trace = trace;
		acquire->started = moments[i]->extent.started;
		acquire->limit = latest_limit(trace, moments, n, i, ended);
		acquire->least = least;
		if (tex_usecs_between(acquire->started, acquire->limit) < least)
			continue;
		s->waits = with_room(s->group, s->waits, s->nwaits, &s->waits_room, sizeof(Acquire *));
		s->waits[s->nwaits++] = acquire;
	}
}

/* The same of all traces of the group that take a lock. */
static void
find_waits(Search *s)
{
	for (int32 i = 0; i < s->nlooked; i++)
	{
		Looked	   *trace = s->looked[i];
		Moment	  **moments;
		int32		n = 0;

		if (!trace->takes_lock)
			continue;
		moments = tex_new_array(sizeof(Moment *), trace->nmoments, 0);
		for (Moment *moment = trace->moments; moment; moment = moment->next)
			moments[n++] = moment;
		qsort(moments, n, sizeof(Moment *), compare_moments);
		judge_waits(s, trace, moments, n);
		pfree(moments);
	}
}

/* A name as a datum; NULL is told apart. */
static Datum
name_datum(const Search *s, int32 name, bool *isnull)
{
	*isnull = name == TEX_NO_NAME;
	return *isnull ? (Datum) 0 : CStringGetTextDatum(tex_strings_text(s->names, name));
}

#define WAIT_COLUMNS 11

/* Asks who gave the locks back that may have been waited for, and notes it with the traces. */
static void
find_releases(Search *s)
{
	static const Oid element_types[WAIT_COLUMNS] = {
		UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, TEXTOID, BOOLOID, TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID
	};
	Oid			types[WAIT_COLUMNS] = {
		UUIDARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID, TEXTARRAYOID, BOOLARRAYOID, TEXTARRAYOID,
		TEXTARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID
	};
	Datum	   *columns[WAIT_COLUMNS];
	bool	   *isnull[WAIT_COLUMNS];
	Datum		args[WAIT_COLUMNS];
	bool		none;

	for (int c = 0; c < WAIT_COLUMNS; c++)
	{
		columns[c] = tex_new_array(sizeof(Datum), s->nwaits, 0);
		isnull[c] = tex_new_array(sizeof(bool), s->nwaits, 0);
	}
	for (int32 i = 0; i < s->nwaits; i++)
	{
		const Acquire *acquire = s->waits[i];

		columns[0][i] = UUIDPGetDatum(&acquire->trace->id);
		columns[1][i] = TimestampTzGetDatum(acquire->started);
		columns[2][i] = TimestampTzGetDatum(acquire->limit);
		columns[3][i] = Int64GetDatum(acquire->least);
		columns[4][i] = name_datum(s, acquire->lock, &isnull[4][i]);
		columns[5][i] = BoolGetDatum(tex_is_global_lock(tex_strings_text(s->names, acquire->lock)));
		columns[6][i] = name_datum(s, acquire->service, &isnull[6][i]);
		columns[7][i] = name_datum(s, acquire->instance, &isnull[7][i]);
		columns[8][i] = Int32GetDatum(acquire->process);
		isnull[8][i] = acquire->process < 0;
		columns[9][i] = name_datum(s, acquire->thread, &isnull[9][i]);
		columns[10][i] = name_datum(s, acquire->task, &isnull[10][i]);
	}
	for (int c = 0; c < WAIT_COLUMNS; c++)
		args[c] = tex_value_array(columns[c], isnull[c], s->nwaits, element_types[c]);
	SPI_execute_with_args(releases_query, WAIT_COLUMNS, types, args, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		Looked	   *trace = s->waits[DatumGetInt64(SPI_getbinval(row, desc, 1, &none)) - 1]->trace;
		ArrayType  *beside = DatumGetArrayTypeP(SPI_getbinval(row, desc, 2, &none));

		trace->may_wait = true;
		trace->beside = trace->beside == NULL ? beside :
			DatumGetArrayTypeP(OidFunctionCall2(F_ARRAY_CAT, PointerGetDatum(trace->beside), PointerGetDatum(beside)));
	}
}

/* ------------------------------------------------------------------ all of it */

/* Takes an event of a trace that is read again; for tex_query_traces(). */
static void
take_again(TupleTableSlot *slot, void *arg)
{
	Search	   *s = arg;
	Looked	   *trace = hash_search(s->traces, DatumGetUUIDP(slot->tts_values[TEX_COL_TRACE_ID]), HASH_FIND, NULL);

	if (trace)
		tex_history_take(trace->history, slot->tts_values, slot->tts_isnull, TEX_ROLE_HOME);
}

/* Whether a trace is to be looked at as a whole. */
static bool
is_worth_a_look(const Looked *trace)
{
	return trace->is_odd || trace->may_wait;
}

/* Reads the traces that nobody expected to be worth a look, by one query. */
static void
read_again(Search *s)
{
	pg_uuid_t  *ids = tex_new_array(sizeof(pg_uuid_t), s->nlooked, 0);
	int32		n = 0;

	for (int32 i = 0; i < s->nlooked; i++)
	{
		Looked	   *trace = s->looked[i];

		if (!is_worth_a_look(trace) || trace->history)
			continue;
		trace->history = new_history(s);
		ids[n++] = trace->id;
	}
	if (n > 0)
		tex_query_traces(tex_load_query, s->ranges, ids, n, take_again, s);
}

/* The rows of a trace that is worth a look, with all that may have kept it from a lock. */
static void
look_at(Search *s, Looked *trace)
{
	MemoryContext old = MemoryContextSwitchTo(trace->history->context);

	tex_history_complete(trace->history, &trace->id);
	if (trace->beside)
	{
		int			n;
		pg_uuid_t  *beside = tex_traces_by_start(s->ranges, trace->beside, &n);

		tex_history_load(trace->history, beside, n, TEX_ROLE_CONTEXT);
	}
	tex_odd_rows(trace->history, &trace->id, s->sink);
	MemoryContextSwitchTo(old);
}

/* Looks at a group of traces. */
static void
look_at_group(Search *s, const pg_uuid_t *ids, int32 n)
{
	MemoryContext old = MemoryContextSwitchTo(s->group);

	s->traces = make_table(s->group, "traces", sizeof(pg_uuid_t), sizeof(Looked));
	s->queries = make_table(s->group, "queries", sizeof(struct QueriesKey), sizeof(Queries));
	s->looked = tex_new_array(sizeof(Looked *), n, 0);
	s->waits = NULL;
	s->nlooked = s->nwaits = s->waits_room = 0;
	tex_query_traces(tex_load_query, s->ranges, ids, n, take_event, s);
	find_waits(s);
	if (s->nwaits > 0)
		find_releases(s);
	read_again(s);
	for (int32 i = 0; i < s->nlooked; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_worth_a_look(s->looked[i]))
			look_at(s, s->looked[i]);
		if (s->looked[i]->history)
			MemoryContextDelete(s->looked[i]->history->context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->group);
}

/* What an event that took too long is named by: of an answer, its request. */
static const char *
slow_operation(Search *s, const Candidate *c)
{
	const TexRequest *request;
	const char *name;
	text	   *operation;

	if (c->judge->key.kind != TEX_HTTP_RESPONSE)
		return tex_strings_text(s->names, c->judge->key.operation);
	request = tex_request_before(s->requests, s->nrequests, c->trace, c->judge->key.service, c->span, c->at);
	name = request ? tex_strings_text(s->names, request->name) : NULL;
	if (name == NULL)
		return NULL;
	operation = tex_operation(TEX_HTTP_REQUEST, cstring_to_text(name));
	return text_to_cstring(operation);
}

/* The row of an event that took too long. */
static void
put_slow(Search *s, const Candidate *c)
{
	const TexJudge *judge = c->judge;
	double		actual_ms = c->duration_ns / 1e6;
	double		score = actual_ms / judge->bound_ms;
	const char *service = tex_strings_text(s->names, judge->key.service);
	const char *operation = slow_operation(s, c);
	TexSink    *sink = s->sink;

	tex_sink_datum(sink, UUIDPGetDatum(&c->trace_id));
	tex_sink_datum(sink, UUIDPGetDatum(&c->id));
	tex_sink_text(sink, "slow");
	tex_sink_text(sink, score >= TEX_CRITICALLY_SLOW ? "CRITICAL" : "WARNING");
	tex_sink_text(sink, service);
	tex_sink_text(sink, operation);
	tex_sink_number(sink, actual_ms);
	tex_sink_number(sink, judge->p99_ms);
	tex_sink_number(sink, score);
	tex_sink_text(sink, tex_slow_sentence(service, operation, rint(c->duration_ns / 1e3) / 1e3, judge));
	tex_sink_datum(sink, TimestampTzGetDatum(c->at));
	tex_sink_end_row(sink);
}

/* The rows of what is slow. */
static void
put_all_slow(Search *s)
{
	tex_judges_read(s->judges);
	tex_requests_sort(s->requests, s->nrequests);
	for (int32 i = 0; i < s->ncandidates; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (tex_is_slow(s->candidates[i].judge, s->candidates[i].duration_ns / 1e6))
			put_slow(s, &s->candidates[i]);
	}
}

/*
 * anomalies_of(trace_ids uuid[]): of the owner, who may read all.
 */
Datum
tex_anomalies_of(PG_FUNCTION_ARGS)
{
	Search		s = {0};
	int			n;
	pg_uuid_t  *ids;

	InitMaterializedSRF(fcinfo, 0);
	s.sink = tex_sink_to_caller(fcinfo, PG_INT64_MAX);
	SPI_connect();
	s.context = CurrentMemoryContext;
	s.group = AllocSetContextCreate(CurrentMemoryContext, "trace_ext group of traces", ALLOCSET_DEFAULT_SIZES);
	for (int kind = 0; kind < TEX_KIND_COUNT; kind++)
		s.kinds[kind] = tex_kind_oid(kind);
	s.ranges = tex_ranges_create();
	s.names = tex_strings_create();
	s.named = make_table(s.context, "operations of names", sizeof(struct NamedKey), sizeof(Named));
	s.judges = tex_judges_create(s.names);
	ids = tex_traces_by_start(s.ranges, PG_GETARG_ARRAYTYPE_P(0), &n);
	for (int i = 0; i < n; i += TRACES_OF_A_QUERY)
		look_at_group(&s, &ids[i], Min(n - i, TRACES_OF_A_QUERY));
	put_all_slow(&s);
	SPI_finish();
	return (Datum) 0;
}
