/*
 * dependencies.c
 *		Which service called which in a trace: service_dependencies().
 *
 * A call is a span of one service that names a span of another one as its caller,
 * as in the view service_calls; or a span CONSUMER that is linked to a span PRODUCER, in
 * whatever trace.  Where there are no spans, it is an event whose
 * parent is of another service; but not an answer, nor the caller's own work going
 * on: the event before it in its strand is then above its parent.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "analysis/dependencies.h"
#include "analysis/trace_tree.h"
#include "common/reads.h"
#include "races/arrays.h"

/* What started a span may be stamped a little after what it caused: a request wins that much. */
#define REQUEST_WINS	INT64CONST(1000)

PG_FUNCTION_INFO_V1(tex_service_dependencies);

typedef struct Span
{
	int32		name;			/* hash key */
	int32		first;			/* earliest event */
	int32		start;			/* the event that started it: one that no other one of it caused */
	TimestampTz start_at;
	TexExtent	extent;
	bool		failed;
} Span;

typedef struct CallKey
{
	int32		from;			/* services */
	int32		to;
	int32		link;
} CallKey;

typedef struct Dependency
{
	CallKey		key;
	int64		calls;
	int64		errors;
	int64		usecs;
} Dependency;

/* As the SQL type link_type has them. */
static const char *const link_words[] = {"HttpCall", "DatabaseQuery", "MessageQueue", "Custom"};

/* How a service was called, by the event that the call began with: as in distributed_edges. */
static int32
link_of(const TexOneTrace *one, int32 event)
{
	switch (one->events[event].kind)
	{
		case TEX_HTTP_REQUEST:
		case TEX_HTTP_RESPONSE:
			return 0;
		case TEX_DATABASE_QUERY:
			return 1;
		case TEX_ASYNC_SPAWN:
		case TEX_ASYNC_AWAIT:
			return 2;
		default:
			return 3;
	}
}

/* Adds an event to its span; events come by time. */
static void
note_span(const TexOneTrace *one, HTAB *spans, int32 e)
{
	const TexEvent *event = &one->events[e];
	bool		starts = event->parent == TEX_NO_EVENT || one->events[event->parent].span != event->span;
	TimestampTz at = event->at - (event->kind == TEX_HTTP_REQUEST ? REQUEST_WINS : 0);
	bool		found;
	Span	   *span = hash_search(spans, &event->span, HASH_ENTER, &found);

	if (!found)
	{
		span->first = e;
		span->start = TEX_NO_EVENT;
		span->extent = (TexExtent) {DT_NOEND, DT_NOBEGIN};
		span->failed = false;
	}
	if (starts && (span->start == TEX_NO_EVENT || at < span->start_at))
	{
		span->start = e;
		span->start_at = at;
	}
	span->extent.started = Min(span->extent.started, one->extents[e].started);
	span->extent.ended = Max(span->extent.ended, one->extents[e].ended);
	span->failed |= (event->flags & TEX_EVENT_IS_ERROR) != 0;
}

/* All spans of the trace, by name. */
static HTAB *
collect_spans(const TexOneTrace *one)
{
	HASHCTL		ctl = {.keysize = sizeof(int32),.entrysize = sizeof(Span),
	.hcxt = CurrentMemoryContext};
	HTAB	   *spans = hash_create("spans of a trace", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	for (int32 i = 0; i < one->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (tex_is_home(one, i) && one->events[i].span != TEX_NO_NAME)
			note_span(one, spans, i);
	}
	return spans;
}

/* Counts a call. */
static void
note_call(HTAB *calls, int32 from, int32 to, int32 link, bool failed, int64 usecs)
{
	CallKey		key = {from, to, link};
	bool		found;
	Dependency *call;

	if (from == TEX_NO_NAME || to == TEX_NO_NAME || from == to)
		return;
	call = hash_search(calls, &key, HASH_ENTER, &found);
	if (!found)
		call->calls = call->errors = call->usecs = 0;
	call->calls++;
	call->errors += failed;
	call->usecs = tex_usecs_plus(call->usecs, usecs);
}

typedef struct EdgeKey
{
	int32		from;			/* spans */
	int32		to;
} EdgeKey;

/* Calls from span to span, each pair once; returns the pairs. */
static HTAB *
note_span_calls(const TexOneTrace *one, HTAB *spans, HTAB *calls)
{
	HASHCTL		ctl = {.keysize = sizeof(EdgeKey),.entrysize = sizeof(EdgeKey),
	.hcxt = CurrentMemoryContext};
	HTAB	   *edges = hash_create("calls of spans", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	for (int32 i = 0; i < one->n; i++)
	{
		const TexEvent *event = &one->events[i];
		EdgeKey		key = {event->upstream, event->span};
		Span	   *caller;
		Span	   *callee;
		bool		found;

		CHECK_FOR_INTERRUPTS();
		if (!tex_is_home(one, i) || event->span == TEX_NO_NAME || event->upstream == TEX_NO_NAME)
			continue;
		hash_search(edges, &key, HASH_ENTER, &found);
		caller = hash_search(spans, &event->upstream, HASH_FIND, NULL);
		if (found || caller == NULL)
			continue;
		callee = hash_search(spans, &event->span, HASH_FIND, NULL);
		note_call(calls, one->events[caller->first].service, one->events[callee->first].service,
				  link_of(one, callee->start != TEX_NO_EVENT ? callee->start : callee->first),
				  callee->failed, tex_usecs_between(callee->extent.started, callee->extent.ended));
	}
	return edges;
}

/* Producers that spans of a trace are linked to: their spans, and their services. */
static const char producers_query[] =
	"SELECT l.span_id, l.linked_span_id, l.linked_trace_id OPERATOR(pg_catalog.=) l.trace_id, e.service_name FROM trace_ext.trace_links l "
	"JOIN trace_ext.events e ON e.trace_id OPERATOR(pg_catalog.=) l.linked_trace_id "
	"AND e.id OPERATOR(pg_catalog.=) trace_ext_internal.otlp_start_id(l.linked_trace_id, l.linked_span_id) "
	"WHERE l.trace_id OPERATOR(pg_catalog.=) $1 AND e.kind OPERATOR(pg_catalog.=) 'AsyncSpawn' AND e.service_name IS NOT NULL";

/* The number of a text in a row of a query. */
static int32
name_in_row(const TexOneTrace *one, uint64 row, int column)
{
	char	   *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return tex_strings_add(one->history->names, text, strlen(text));
}

/* Calls of consumers by the producers that they are linked to, but for those that spans tell of. */
static void
note_link_calls(const TexOneTrace *one, HTAB *spans, HTAB *edges, HTAB *calls)
{
	Oid			types[1] = {UUIDOID};
	Datum		args[1] = {UUIDPGetDatum(&one->history->traces[one->trace].id)};
	int			nesting;

	if (one->history->nlinks == 0)
		return;
	nesting = tex_no_jit();
	SPI_execute_with_args(producers_query, 1, types, args, NULL, true, 0);
	AtEOXact_GUC(false, nesting);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int32		name = name_in_row(one, i, 1);
		EdgeKey		key = {name_in_row(one, i, 2), name};
		Span	   *callee = hash_search(spans, &name, HASH_FIND, NULL);
		bool		isnull;
		bool		same_trace = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (callee == NULL || callee->start == TEX_NO_EVENT || one->events[callee->start].kind != TEX_ASYNC_AWAIT ||
			(same_trace && hash_search(edges, &key, HASH_FIND, NULL) != NULL))
			continue;
		note_call(calls, name_in_row(one, i, 4), one->events[callee->first].service, link_of(one, callee->start),
				  callee->failed, tex_usecs_between(callee->extent.started, callee->extent.ended));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Whether a call is known by its spans, and so was counted. */
static bool
is_span_call(const TexOneTrace *one, HTAB *spans, const TexEvent *event)
{
	return event->span != TEX_NO_NAME && event->upstream != TEX_NO_NAME &&
		one->events[event->parent].span != event->span &&
		hash_search(spans, &event->upstream, HASH_FIND, NULL) != NULL;
}

/* Events numbered depth first: what is below an event has numbers from enter to leave. */
typedef struct Nesting
{
	int32	   *enter;
	int32	   *leave;
} Nesting;

/* Walks the tree of parents, without recursion: an event is seen twice, above and below its children. */
static Nesting
number_events(const TexOneTrace *one)
{
	Nesting		nesting = {tex_new_array(sizeof(int32), one->n, 0xff), tex_new_array(sizeof(int32), one->n, 0xff)};
	int32	   *parent = tex_new_array(sizeof(int32), one->n, 0);
	int32	   *stack = tex_new_array(sizeof(int32), one->n, 0);
	TexLists	children;
	int32		number = 0;

	for (int32 i = 0; i < one->n; i++)
		parent[i] = one->events[i].parent;
	children = tex_lists_of(parent, one->n, one->sequence, one->n);
	for (int32 i = 0; i < one->n; i++)
	{
		int32		height = 0;

		if (parent[i] == TEX_NO_EVENT)
			stack[height++] = i;
		while (height > 0)
		{
			int32		e = stack[height - 1];

			CHECK_FOR_INTERRUPTS();
			if (nesting.enter[e] >= 0)
			{
				nesting.leave[e] = number;
				height--;
				continue;
			}
			nesting.enter[e] = number++;
			tex_foreach_member(child, &children, e)
				stack[height++] = *child;
		}
	}
	return nesting;
}

/* Whether each event is an error, or has one below in its own service. */
static bool *
find_failed(const TexOneTrace *one)
{
	bool	   *failed = tex_new_array(sizeof(bool), one->n, 0);

	for (int32 i = one->n - 1; i >= 0; i--)
	{
		int32		e = one->sequence[i];
		int32		p = one->events[e].parent;

		failed[e] |= (one->events[e].flags & TEX_EVENT_IS_ERROR) != 0;
		if (failed[e] && p != TEX_NO_EVENT && one->events[p].service == one->events[e].service)
			failed[p] = true;
	}
	return failed;
}

/* Calls that only parents tell of. */
static void
note_parent_calls(const TexOneTrace *one, HTAB *spans, HTAB *calls)
{
	Nesting		nesting = number_events(one);
	bool	   *failed = find_failed(one);
	int32	   *last = tex_new_array(sizeof(int32), one->history->nstrands, 0xff);

	for (int32 i = 0; i < one->n; i++)
	{
		int32		e = one->sequence[i];
		const TexEvent *event = &one->events[e];
		int32		before = last[event->strand];
		bool		goes_on;

		CHECK_FOR_INTERRUPTS();
		last[event->strand] = e;
		if (!tex_is_home(one, e) || event->parent == TEX_NO_EVENT ||
			one->events[event->parent].service == event->service ||
			event->kind == TEX_HTTP_RESPONSE || event->kind == TEX_DATABASE_RESULT ||
			event->kind == TEX_ASYNC_AWAIT || event->kind == TEX_LOCK_RELEASE ||
			is_span_call(one, spans, event))
			continue;
		/* A span of OpenTelemetry is work of its own, though its caller waits. */
		goes_on = event->kind != TEX_HTTP_REQUEST && !(event->flags & TEX_EVENT_OTLP) && before != TEX_NO_EVENT &&
			nesting.enter[before] <= nesting.enter[event->parent] &&
			nesting.enter[event->parent] < nesting.leave[before];
		if (!goes_on)
			note_call(calls, one->events[event->parent].service, event->service, link_of(one, e),
					  failed[e] || (one->answer[e] != TEX_NO_EVENT &&
									(one->events[one->answer[e]].flags & TEX_EVENT_IS_ERROR) != 0),
					  tex_lasted(one, e));
	}
}

/* For qsort_arg(): what took longest first, then by name. */
static int
compare_dependencies(const void *a, const void *b, void *arg)
{
	const TexOneTrace *one = arg;
	const Dependency *x = *(Dependency *const *) a;
	const Dependency *y = *(Dependency *const *) b;
	int			order;

	CHECK_FOR_INTERRUPTS();
	if (x->usecs != y->usecs)
		return x->usecs > y->usecs ? -1 : 1;
	order = strcmp(tex_text_of(one, x->key.from), tex_text_of(one, y->key.from));
	if (order == 0)
		order = strcmp(tex_text_of(one, x->key.to), tex_text_of(one, y->key.to));
	return order != 0 ? order : x->key.link - y->key.link;
}

/* The rows of service_dependencies(). */
void
tex_dependency_rows(const TexOneTrace *one, TexSink *sink)
{
	HASHCTL		ctl = {.keysize = sizeof(CallKey),.entrysize = sizeof(Dependency),
	.hcxt = CurrentMemoryContext};
	HTAB	   *calls = hash_create("calls of services", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	HTAB	   *spans = collect_spans(one);
	HASH_SEQ_STATUS scan;
	Dependency *call;
	Dependency **sorted;
	int32		n = 0;

	note_link_calls(one, spans, note_span_calls(one, spans, calls), calls);
	note_parent_calls(one, spans, calls);
	sorted = palloc(sizeof(Dependency *) * (hash_get_num_entries(calls) + 1));
	hash_seq_init(&scan, calls);
	while ((call = hash_seq_search(&scan)) != NULL)
		sorted[n++] = call;
	qsort_arg(sorted, n, sizeof(Dependency *), compare_dependencies, (void *) one);
	for (int32 i = 0; i < n && !tex_sink_is_full(sink); i++)
	{
		tex_sink_text(sink, tex_text_of(one, sorted[i]->key.from));
		tex_sink_text(sink, tex_text_of(one, sorted[i]->key.to));
		tex_sink_enum(sink, link_words[sorted[i]->key.link]);
		tex_sink_bigint(sink, sorted[i]->calls);
		tex_sink_bigint(sink, sorted[i]->errors);
		tex_sink_usecs(sink, sorted[i]->usecs);
		tex_sink_end_row(sink);
	}
	tex_sink_end(sink, n, "calls of services");
}

/* service_dependencies(trace_id uuid, max_rows bigint) */
Datum
tex_service_dependencies(PG_FUNCTION_ARGS)
{
	int64		most;
	TexOneTrace *one;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	most = tex_most_rows(fcinfo, 1, 1000);
	SPI_connect();
	one = tex_one_trace_load(PG_GETARG_UUID_P(0), TEX_BESIDE_NOTHING);
	if (one)
		tex_dependency_rows(one, tex_sink_to_caller(fcinfo, most));
	SPI_finish();
	return (Datum) 0;
}
