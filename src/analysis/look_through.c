/*
 * look_through.c
 *		One pass over the events of many traces, for the job anomalies: which of them took
 *		longer than their operation usually does, and which traces are worth a look as a whole.
 *
 * To analyse a trace costs a hundred times what it costs to read it among others, and where
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
 * Names are interned, so the operation of a name is made once, and its baseline is read once
 * for all events of an hour, all of them by one query.
 */
#include "postgres.h"

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
#include "common/event.h"
#include "common/extent.h"
#include "guc.h"
#include "history/row_query.h"
#include "races/arrays.h"
#include "store/operation.h"
#include "store/trace_range.h"

/* So many traces are read by one query, neighbours in time. */
#define TRACES_OF_A_QUERY 1000

PG_FUNCTION_INFO_V1(tex_look_through);

/* The columns of the query, from 0. */
enum
{
	COL_TRACE_ID, COL_ID, COL_AT, COL_KIND, COL_NAME, COL_SERVICE, COL_INSTANCE, COL_PROCESS, COL_THREAD,
	COL_SPAN, COL_DURATION, COL_AT_END, COL_TAGS, COL_ATTRIBUTES
};

static const char events_query[] =
	"SELECT trace_id, id, \"timestamp\", kind, name, service_name, instance_id, process_id, thread_id, "
	"span_id, duration_ns, stamped_at_end, tags, attributes "
	"FROM trace_ext.events WHERE trace_id OPERATOR(pg_catalog.=) ANY ($1) "
	"AND \"timestamp\" OPERATOR(pg_catalog.>=) $2 AND \"timestamp\" OPERATOR(pg_catalog.<=) $3";

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
	Looked	   *trace;
	pg_uuid_t	id;
	TimestampTz at;
	int32		span;
	int64		duration_ns;
	const TexJudge *judge;
} Candidate;

/* When an event of a thread was; of a group of traces. */
typedef struct Moment
{
	Looked	   *trace;
	uint64		instance;		/* hashes */
	uint64		thread;
	TimestampTz at;
	TexExtent	extent;
	uint8		kind;
	struct Acquire *acquire;	/* or NULL */
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
	bool		slow_only;
	TexStrings *names;
	HTAB	   *traces;			/* of the group */
	Looked	  **looked;			/* of all groups */
	int32		ntraces;
	HTAB	   *named;
	HTAB	   *queries;
	TexJudges  *judges;
	Candidate  *candidates;
	int32		ncandidates;
	int32		candidates_room;
	Moment	   *moments;		/* of the group */
	int32		nmoments;
	int32		moments_room;
	Acquire   **waits;			/* those that may have waited, of all groups */
	int32		nwaits;
	int32		waits_room;
} Search;

/* Makes room for one more element of an array. */
static void *
with_room(Search *s, void *array, int32 count, int32 *room, Size size)
{
	if (count < *room)
		return array;
	*room = *room ? *room * 2 : 256;
	if (array == NULL)
		return MemoryContextAllocHuge(s->context, size * *room);
	return repalloc_huge(array, size * *room);
}

/* A table by keys of some bytes. */
static HTAB *
make_table(Search *s, const char *of, Size key, Size entry)
{
	HASHCTL		ctl = {.keysize = key,.entrysize = entry,.hcxt = s->context};

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
	struct NamedKey key = {kind, name_of(s, slot, COL_NAME)};
	bool		found;
	Named	   *named = hash_search(s->named, &key, HASH_ENTER, &found);

	if (!found)
	{
		text	   *operation = tex_operation(kind, DatumGetTextPP(slot->tts_values[COL_NAME]));

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

	s->candidates = with_room(s, s->candidates, s->ncandidates, &s->candidates_room, sizeof(Candidate));
	candidate = &s->candidates[s->ncandidates++];
	candidate->trace = trace;
	candidate->id = *DatumGetUUIDP(slot->tts_values[COL_ID]);
	candidate->at = DatumGetTimestampTz(slot->tts_values[COL_AT]);
	candidate->span = name_of(s, slot, COL_SPAN);
	candidate->duration_ns = DatumGetInt64(slot->tts_values[COL_DURATION]);
	candidate->judge = tex_judge_of(s->judges, candidate->at, name_of(s, slot, COL_SERVICE), kind, operation_of(s, slot, kind));
}

/* Whether a query is of a session of a database that nobody traces, which is not one request. */
static bool
is_of_session(TupleTableSlot *slot)
{
	JsonbValue	buffer;
	Jsonb	   *attributes;

	if (slot->tts_isnull[COL_ATTRIBUTES])
		return false;
	attributes = DatumGetJsonbP(slot->tts_values[COL_ATTRIBUTES]);
	return JB_ROOT_IS_OBJECT(attributes) &&
		getKeyJsonValueFromContainer(&attributes->root, "trace_of", strlen("trace_of"), &buffer) != NULL;
}

/* Counts a query. */
static void
note_query(Search *s, Looked *trace, TupleTableSlot *slot)
{
	struct QueriesKey key = {trace->number, name_of(s, slot, COL_SERVICE), operation_of(s, slot, TEX_DATABASE_QUERY)};
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
make_acquire(Search *s, TupleTableSlot *slot, const JsonbValue *task)
{
	Acquire    *acquire = MemoryContextAllocZero(s->context, sizeof(Acquire));

	acquire->lock = name_of(s, slot, COL_NAME);
	acquire->service = name_of(s, slot, COL_SERVICE);
	acquire->instance = name_of(s, slot, COL_INSTANCE);
	acquire->process = slot->tts_isnull[COL_PROCESS] ? -1 : DatumGetInt32(slot->tts_values[COL_PROCESS]);
	acquire->thread = name_of(s, slot, COL_THREAD);
	acquire->task = task && task->type == jbvString ?
		tex_strings_add(s->names, task->val.string.val, task->val.string.len) : TEX_NO_NAME;
	return acquire;
}

/* Notes when an event of which thread was: the task that it names, else its thread, as the loader does. */
static void
note_moment(Search *s, Looked *trace, TupleTableSlot *slot, TexKind kind, TexExtent extent)
{
	Moment	   *moment;
	uint64		process;
	JsonbValue	buffer;
	JsonbValue *task = NULL;

	s->moments = with_room(s, s->moments, s->nmoments, &s->moments_room, sizeof(Moment));
	moment = &s->moments[s->nmoments++];
	moment->trace = trace;
	moment->at = DatumGetTimestampTz(slot->tts_values[COL_AT]);
	moment->extent = extent;
	moment->kind = kind;
	moment->instance = hash_column(slot, COL_INSTANCE, hash_column(slot, COL_SERVICE, 0));
	process = hash_bytes_uint32_extended(slot->tts_isnull[COL_PROCESS] ? PG_UINT32_MAX : DatumGetUInt32(slot->tts_values[COL_PROCESS]),
										 moment->instance);
	if (!slot->tts_isnull[COL_TAGS])
	{
		Jsonb	   *tags = DatumGetJsonbP(slot->tts_values[COL_TAGS]);

		if (JB_ROOT_IS_OBJECT(tags))
			task = getKeyJsonValueFromContainer(&tags->root, "task_id", strlen("task_id"), &buffer);
	}
	/* One that is no string is told apart by its bytes less well than by the whole: then each is its own. */
	if (task && task->type == jbvString)
		moment->thread = hash_bytes_extended((const unsigned char *) task->val.string.val, task->val.string.len, process + 1);
	else if (task && task->type != jbvNull)
		moment->thread = hash_bytes_extended(DatumGetUUIDP(slot->tts_values[COL_ID])->data, UUID_LEN, process + 2);
	else
		moment->thread = hash_column(slot, COL_THREAD, process);
	moment->acquire = kind == TEX_LOCK_ACQUIRE && !slot->tts_isnull[COL_NAME] ? make_acquire(s, slot, task) : NULL;
	trace->takes_lock |= moment->acquire != NULL;
}

/* The trace of an event. */
static Looked *
trace_of(Search *s, const pg_uuid_t *id)
{
	bool		found;
	Looked	   *trace = hash_search(s->traces, id, HASH_ENTER, &found);

	if (!found)
	{
		trace->number = s->ntraces;
		trace->is_odd = trace->takes_lock = trace->has_release = trace->may_wait = false;
		trace->beside = NULL;
		s->looked[s->ntraces++] = trace;
	}
	return trace;
}

/* Takes an event; for tex_query_traces(). */
static void
take_event(TupleTableSlot *slot, void *arg)
{
	Search	   *s = arg;
	Looked	   *trace;
	TexKind		kind = 0;

	trace = trace_of(s, DatumGetUUIDP(slot->tts_values[COL_TRACE_ID]));
	while (kind < TEX_NO_KIND && s->kinds[kind] != DatumGetObjectId(slot->tts_values[COL_KIND]))
		kind++;
	if (!slot->tts_isnull[COL_DURATION] && !slot->tts_isnull[COL_NAME] &&
		DatumGetInt64(slot->tts_values[COL_DURATION]) > tex_slow_floor * INT64CONST(1000000))
		note_candidate(s, trace, slot, kind);
	if (!s->slow_only)
	{
		TexExtent	extent = tex_extent_of_columns(DatumGetTimestampTz(slot->tts_values[COL_AT]),
												   slot->tts_values[COL_DURATION], slot->tts_isnull[COL_DURATION],
												   slot->tts_values[COL_AT_END], slot->tts_isnull[COL_AT_END]);

		if (kind == TEX_ERROR || (kind == TEX_HTTP_RESPONSE && !slot->tts_isnull[COL_ATTRIBUTES]))
			trace->is_odd |= tex_event_is_error(kind, kind == TEX_ERROR ? NULL : DatumGetJsonbP(slot->tts_values[COL_ATTRIBUTES]));
		else if (kind == TEX_DATABASE_QUERY && !slot->tts_isnull[COL_NAME] && !is_of_session(slot))
			note_query(s, trace, slot);
		trace->has_release |= kind == TEX_LOCK_RELEASE;
		note_moment(s, trace, slot, kind, extent);
	}
}

/* ------------------------------------------------------------------ waits for locks */

/* For qsort(): the events of a thread one after another, the threads of an instance, its instances of a trace. */
static int
compare_moments(const void *a, const void *b)
{
	const Moment *x = a;
	const Moment *y = b;

	CHECK_FOR_INTERRUPTS();
	if (x->trace != y->trace)
		return x->trace->number < y->trace->number ? -1 : 1;
	if (x->instance != y->instance)
		return x->instance < y->instance ? -1 : 1;
	if (x->thread != y->thread)
		return x->thread < y->thread ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

/* How long the longest part of a trace is that is of one instance; "ended" is its last end. */
static int64
longest_part(const Moment *moments, int32 n, TimestampTz *ended)
{
	TexExtent	part = moments[0].extent;
	int64		longest = 0;

	*ended = part.ended;
	for (int32 i = 0; i < n; i++)
	{
		if (i > 0 && moments[i].instance != moments[i - 1].instance)
			part = moments[i].extent;
		part.started = Min(part.started, moments[i].extent.started);
		part.ended = Max(part.ended, moments[i].extent.ended);
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
latest_limit(const Moment *moments, int32 n, int32 acquire, TimestampTz trace_ended)
{
	const Moment *moment = &moments[acquire];

	if (moment->extent.ended > moment->extent.started)
		return moment->extent.ended;
	for (int32 i = acquire + 1; i < n && moments[i].thread == moment->thread && moments[i].instance == moment->instance; i++)
		if (moments[i].at > moment->at)
			/* An answer begins where it ends, once its request has the time that it took. */
			return moments[i].kind == TEX_HTTP_RESPONSE || moments[i].kind == TEX_DATABASE_RESULT ?
				moments[i].extent.ended : moments[i].extent.started;
	return moment->trace->has_release ? trace_ended : moment->extent.ended;
}

/* Notes the acquires of a trace that can have waited long. */
static void
judge_waits(Search *s, const Moment *moments, int32 n)
{
	TimestampTz ended;
	int64		longest = longest_part(moments, n, &ended);
	/* Rounding must not be against us. */
	int64		least = Max(TEX_SHORTEST_WAIT, Min(longest * TEX_LARGE_WAIT / 100 - 1, TEX_LONG_WAIT));

	for (int32 i = 0; i < n; i++)
	{
		Acquire    *acquire = moments[i].acquire;

		CHECK_FOR_INTERRUPTS();
		if (acquire == NULL)
			continue;
		acquire->trace = moments[i].trace;
		acquire->started = moments[i].extent.started;
		acquire->limit = latest_limit(moments, n, i, ended);
		acquire->least = least;
		if (tex_usecs_between(acquire->started, acquire->limit) < least)
			continue;
		s->waits = with_room(s, s->waits, s->nwaits, &s->waits_room, sizeof(Acquire *));
		s->waits[s->nwaits++] = acquire;
	}
}

/* The same of all traces of the group; most traces take no lock. */
static void
find_waits(Search *s)
{
	int32		kept = 0;

	for (int32 i = 0; i < s->nmoments; i++)
		if (s->moments[i].trace->takes_lock)
			s->moments[kept++] = s->moments[i];
	qsort(s->moments, kept, sizeof(Moment), compare_moments);
	for (int32 from = 0, to; from < kept; from = to)
	{
		for (to = from + 1; to < kept && s->moments[to].trace == s->moments[from].trace; to++)
			CHECK_FOR_INTERRUPTS();
		judge_waits(s, &s->moments[from], to - from);
	}
}

/* ------------------------------------------------------------------ all of it */

/* Reads the events of a group of traces. */
static void
read_group(Search *s, const TexRanges *ranges, const pg_uuid_t *ids, int32 n)
{
	s->traces = make_table(s, "traces", sizeof(pg_uuid_t), sizeof(Looked));
	s->nmoments = 0;
	tex_query_traces(events_query, ranges, ids, n, take_event, s);
	find_waits(s);
}

/* Reads the traces of an array of ids, in groups of neighbours in time. */
static void
read_traces(Search *s, ArrayType *array)
{
	const TexRanges *ranges = tex_ranges_create();
	int			n;
	pg_uuid_t  *ids = tex_traces_by_start(ranges, array, &n);

	s->looked = tex_new_array(sizeof(Looked *), n, 0);
	for (int i = 0; i < n; i += TRACES_OF_A_QUERY)
		read_group(s, ranges, &ids[i], Min(n - i, TRACES_OF_A_QUERY));
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

/* The rows: what is slow, then the traces that are worth a look. */
static void
put_rows(Search *s, TexSink *sink)
{
	bool		isnull;

	for (int32 i = 0; i < s->ncandidates; i++)
	{
		const Candidate *c = &s->candidates[i];
		const TexJudge *judge = c->judge;
		double		actual_ms = c->duration_ns / 1e6;
		int32		texts[3] = {judge->key.service, c->span, judge->key.operation};

		CHECK_FOR_INTERRUPTS();
		if (!tex_is_slow(judge, actual_ms))
			continue;
		tex_sink_datum(sink, UUIDPGetDatum(&c->trace->id));
		tex_sink_datum(sink, UUIDPGetDatum(&c->id));
		tex_sink_datum(sink, TimestampTzGetDatum(c->at));
		tex_sink_text(sink, tex_kind_name(judge->key.kind));
		for (Size t = 0; t < lengthof(texts); t++)
		{
			Datum		text = name_datum(s, texts[t], &isnull);

			if (isnull)
				tex_sink_null(sink);
			else
				tex_sink_datum(sink, text);
		}
		tex_sink_datum(sink, Float8GetDatum(actual_ms));
		tex_sink_datum(sink, Float8GetDatum(judge->p99_ms));
		tex_sink_bigint(sink, judge->calls);
		tex_sink_datum(sink, Float8GetDatum(actual_ms / judge->bound_ms));
		tex_sink_null(sink);
		tex_sink_end_row(sink);
	}
	for (int32 i = 0; i < s->ntraces; i++)
	{
		if (!s->looked[i]->is_odd && !s->looked[i]->may_wait)
			continue;
		tex_sink_datum(sink, UUIDPGetDatum(&s->looked[i]->id));
		for (int c = 0; c < 10; c++)
			tex_sink_null(sink);
		if (s->looked[i]->beside)
			tex_sink_datum(sink, PointerGetDatum(s->looked[i]->beside));
		else
			tex_sink_null(sink);
		tex_sink_end_row(sink);
	}
}

/*
 * look_through(trace_ids uuid[], slow_only boolean): with the rights of the caller.
 */
Datum
tex_look_through(PG_FUNCTION_ARGS)
{
	Search		s = {0};
	TexSink    *sink;

	InitMaterializedSRF(fcinfo, 0);
	sink = tex_sink_to_caller(fcinfo, PG_INT64_MAX);
	SPI_connect();
	s.context = CurrentMemoryContext;
	for (int kind = 0; kind < TEX_KIND_COUNT; kind++)
		s.kinds[kind] = tex_kind_oid(kind);
	s.slow_only = PG_GETARG_BOOL(1);
	s.names = tex_strings_create();
	s.named = make_table(&s, "operations of names", sizeof(struct NamedKey), sizeof(Named));
	s.queries = make_table(&s, "queries", sizeof(struct QueriesKey), sizeof(Queries));
	s.judges = tex_judges_create(s.names);
	read_traces(&s, PG_GETARG_ARRAYTYPE_P(0));
	tex_judges_read(s.judges);
	if (s.nwaits > 0)
		find_releases(&s);
	put_rows(&s, sink);
	SPI_finish();
	return (Datum) 0;
}
