/*
 * calls.c
 *		The calls between services within one trace, from its events.
 *
 * There are two ways to see that a service called another one.
 * - A span names the span that called it: one call for each pair of spans of different
 *	 services. A span's service is that of its first event. The call lasts from the first
 *	 start to the last end of the called span, and has failed where an event of that is
 *	 an error. What carried it is told by the event that started the span: of those that
 *	 name the caller and that no other event of the span caused, an HttpRequest, whatever
 *	 its timestamp says, as clocks of clients step backwards; else the first one.
 * - A span of kind CONSUMER of OpenTelemetry is linked to one of kind PRODUCER, mostly of another
 *	 trace: one call for each such pair that the first rule did not find. It is the consumer's
 *	 trace that has it; so who changes a trace changes those that are linked to it as well.
 * - An event has a parent of another service: one call, which is the event, unless the
 *	 event is of a span to which the rules before found a call between the same services.
 *	 Where events of several times have the id of the parent, it is the first one.
 *
 * All of it depends on nothing but the events and links that a snapshot sees, not on their order.
 * A trace takes 100 bytes an event here, and as much for a span.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "common/extent.h"
#include "common/otlp_id.h"
#include "common/reads.h"
#include "store/calls.h"
#include "store/summary.h"
#include "store/trace_range.h"

/* What is NULL, or not there. */
#define NONE (-1)

/* The columns that are read. */
typedef enum Column
{
	COL_ID, COL_PARENT_ID, COL_TIMESTAMP, COL_KIND, COL_SERVICE_NAME, COL_SPAN_ID,
	COL_UPSTREAM_SPAN_ID, COL_DURATION_NS, COL_STAMPED_AT_END, COL_ATTRIBUTES, COL_COUNT
} Column;

static const char *const column_names[COL_COUNT] = {
	"id", "parent_id", "timestamp", "kind", "service_name", "span_id",
	"upstream_span_id", "duration_ns", "stamped_at_end", "attributes"
};

/* What carried a call that an event of the kind started. */
static const uint8 link_of_kind[TEX_KIND_COUNT] = {
	[TEX_FUNCTION_CALL] = TEX_CUSTOM_CALL,
	[TEX_ASYNC_SPAWN] = TEX_MESSAGE_QUEUE,
	[TEX_ASYNC_AWAIT] = TEX_MESSAGE_QUEUE,
	[TEX_STATE_CHANGE] = TEX_CUSTOM_CALL,
	[TEX_LOCK_ACQUIRE] = TEX_CUSTOM_CALL,
	[TEX_LOCK_RELEASE] = TEX_CUSTOM_CALL,
	[TEX_MEMORY_FENCE] = TEX_CUSTOM_CALL,
	[TEX_HTTP_REQUEST] = TEX_HTTP_CALL,
	[TEX_HTTP_RESPONSE] = TEX_HTTP_CALL,
	[TEX_DATABASE_QUERY] = TEX_DATABASE_CALL,
	[TEX_DATABASE_RESULT] = TEX_CUSTOM_CALL,
	[TEX_ERROR] = TEX_CUSTOM_CALL,
	[TEX_CUSTOM] = TEX_CUSTOM_CALL
};

/* How well an event tells what started a span: the least is best, then the first. */
typedef enum Standing
{
	ROOT_REQUEST, OTHER_ROOT, CAUSED
} Standing;

/* A text and its number; an element of a hash. */
typedef struct NameEntry
{
	text	   *name;
	int32		number;
	char		status;
} NameEntry;

/* The hash of a text. */
static inline uint32
hash_name(const text *name)
{
	return hash_bytes((const unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/* Byte by byte. */
static inline bool
same_name(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

#define SH_PREFIX name
#define SH_ELEMENT_TYPE NameEntry
#define SH_KEY_TYPE text *
#define SH_KEY name
#define SH_HASH_KEY(tb, key) hash_name(key)
#define SH_EQUAL(tb, a, b) same_name(a, b)
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* Two numbers and what is known of them; an element of a hash. */
typedef struct PairEntry
{
	uint64		pair;
	int32		number;
	char		status;
} PairEntry;

#define SH_PREFIX pair
#define SH_ELEMENT_TYPE PairEntry
#define SH_KEY_TYPE uint64
#define SH_KEY pair
#define SH_HASH_KEY(tb, key) hash_combine(murmurhash32((uint32) (key >> 32)), murmurhash32((uint32) key))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* Distinct texts, numbered as they come. */
typedef struct Names
{
	name_hash  *hash;
	text	  **texts;
	int			count;
	int			room;
} Names;

/* What calls depend on of an event. */
typedef struct CallEvent
{
	pg_uuid_t	id;
	pg_uuid_t	parent;
	TimestampTz timestamp;
	TexExtent	extent;
	int32		service;		/* numbers, or NONE */
	int32		span;
	int32		upstream;
	int32		first;			/* of an event that an id leads to: the first one with it */
	uint8		kind;
	bool		has_parent;		/* other than itself */
	bool		is_error;
} CallEvent;

/* A span: what its events say together. */
typedef struct Span
{
	int32		service;		/* of its first event, or NONE */
	bool		has_events;		/* else others only name it */
	bool		is_error;
	TimestampTz first_timestamp;
	pg_uuid_t	first_id;
	TexExtent	extent;
} Span;

/* A span that names another one as its caller. */
typedef struct Edge
{
	int32		from;
	int32		to;
	int32		starter;		/* the event that tells what carried the call */
	Standing	standing;		/* of that */
} Edge;

/* A consumer and the service of a producer that it is linked to. */
typedef struct Link
{
	int32		from;			/* service */
	int32		from_span;		/* of the same trace, or NONE */
	int32		to;				/* span */
} Link;

/* A trace in memory. */
typedef struct Trace
{
	MemoryContext context;		/* of all of it */
	Names		services;
	Names		span_names;
	Span	   *spans;			/* by number */
	int			span_room;
	CallEvent  *events;
	int			event_count;
	int			event_room;
	int32	   *slots;			/* a hash of events by id: number of one with it, or NONE */
	uint32		mask;
	pair_hash  *further;		/* that event and the spans of others with its id; or NULL */
	Edge	   *edges;
	int			edge_count;
	int			edge_room;
	pair_hash  *known_edges;
	Link	   *links;
	int			link_count;
	int			link_room;
	bool		has_consumers;	/* spans that may be linked to a producer */
	const TexProducers *elsewhere;	/* what is known of producers that are not here; or NULL */
	pair_hash  *said;			/* span and service that a link between spans says called it */
	TexCalls   *calls;
} Trace;

/* Two numbers as a key. */
static inline uint64
pair_of(int32 a, int32 b)
{
	return ((uint64) (uint32) a << 32) | (uint32) b;
}

/*
 * Makes room for one more element in an array of a trace, which may be huge. "count" is
 * how many it has, "room" for how many there is place.
 */
static void *
with_room(void *array, int count, int *room, Size size, MemoryContext context)
{
	if (count < *room)
		return array;
	*room = *room ? *room * 2 : 16;
	if (array == NULL)
		return MemoryContextAllocHuge(context, size * *room);
	return repalloc_huge(array, size * *room);
}

/* ----------------------------------------------------------------
 *		Reading
 * ----------------------------------------------------------------
 */
/* The number of a text. */
static int32
number_of(Trace *trace, Names *names, Datum value)
{
	text	   *name = DatumGetTextPP(value);
	NameEntry  *entry;
	bool		found;

	/* Neighbours mostly have the same. */
	if (names->count > 0 && same_name(names->texts[names->count - 1], name))
		return names->count - 1;
	if (names->hash == NULL)
		names->hash = name_create(trace->context, 16, NULL);
	entry = name_insert(names->hash, name, &found);
	if (!found)
	{
		entry->name = MemoryContextAlloc(trace->context, VARSIZE_ANY(name));
		memcpy(entry->name, name, VARSIZE_ANY(name));
		entry->number = names->count;
		names->texts = with_room(names->texts, names->count, &names->room, sizeof(text *), trace->context);
		names->texts[names->count++] = entry->name;
	}
	return entry->number;
}

/* The number of a span; a new one has no events. */
static int32
span_number(Trace *trace, Datum value)
{
	int			known = trace->span_names.count;
	int32		number = number_of(trace, &trace->span_names, value);

	if (number == known)
	{
		trace->spans = with_room(trace->spans, known, &trace->span_room, sizeof(Span), trace->context);
		trace->spans[number] = (Span) {.service = NONE};
	}
	return number;
}

/* Is a before b? By time, then by id. */
static inline bool
is_before(TimestampTz a_time, const pg_uuid_t *a, TimestampTz b_time, const pg_uuid_t *b)
{
	return a_time != b_time ? a_time < b_time : memcmp(a, b, UUID_LEN) < 0;
}

/* Adds an event to its span. */
static void
add_to_span(Span *span, const CallEvent *event)
{
	if (!span->has_events)
		span->extent = event->extent;
	span->extent.started = Min(span->extent.started, event->extent.started);
	span->extent.ended = Max(span->extent.ended, event->extent.ended);
	span->is_error |= event->is_error;
	if (!span->has_events ||
		is_before(event->timestamp, &event->id, span->first_timestamp, &span->first_id))
	{
		span->first_timestamp = event->timestamp;
		span->first_id = event->id;
		span->service = event->service;
	}
	span->has_events = true;
}

/* A row of events; for tex_trace_reader_run(). Attributes are detoasted only where they decide. */
static void
add_event(const Datum *values, const bool *isnull, void *arg)
{
	Trace	   *trace = arg;
	CallEvent  *event;

	if (trace->event_count == PG_INT32_MAX / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a trace of more than %d events has too many to tell its calls", trace->event_count)));
	trace->events = with_room(trace->events, trace->event_count, &trace->event_room,
							  sizeof(CallEvent), trace->context);
	event = &trace->events[trace->event_count++];
	event->id = *DatumGetUUIDP(values[COL_ID]);
	event->timestamp = DatumGetTimestampTz(values[COL_TIMESTAMP]);
	event->kind = tex_kind_by_oid(DatumGetObjectId(values[COL_KIND]));
	event->is_error = tex_event_is_error(event->kind,
										 event->kind != TEX_HTTP_RESPONSE || isnull[COL_ATTRIBUTES] ? NULL :
										 DatumGetJsonbP(values[COL_ATTRIBUTES]));
	event->extent = tex_extent_of_columns(event->timestamp, values[COL_DURATION_NS], isnull[COL_DURATION_NS],
										  values[COL_STAMPED_AT_END], isnull[COL_STAMPED_AT_END]);
	event->has_parent = !tex_is_root(&event->id, isnull[COL_PARENT_ID] ? NULL : DatumGetUUIDP(values[COL_PARENT_ID]));
	if (event->has_parent)
		event->parent = *DatumGetUUIDP(values[COL_PARENT_ID]);
	event->service = isnull[COL_SERVICE_NAME] ? NONE :
		number_of(trace, &trace->services, values[COL_SERVICE_NAME]);
	event->span = isnull[COL_SPAN_ID] ? NONE : span_number(trace, values[COL_SPAN_ID]);
	event->upstream = isnull[COL_UPSTREAM_SPAN_ID] ? NONE : span_number(trace, values[COL_UPSTREAM_SPAN_ID]);
	if (event->span != NONE)
		add_to_span(&trace->spans[event->span], event);
	trace->has_consumers |= event->kind == TEX_ASYNC_AWAIT;
}

/* ----------------------------------------------------------------
 *		Parents
 * ----------------------------------------------------------------
 */
/* The place in the hash of an id, or of nothing where it is not there. */
static int32 *
slot_of(const Trace *trace, const pg_uuid_t *id)
{
	uint32		at = hash_bytes(id->data, UUID_LEN) & trace->mask;

	while (trace->slots[at] != NONE &&
		   memcmp(&trace->events[trace->slots[at]].id, id, UUID_LEN) != 0)
		at = (at + 1) & trace->mask;
	return &trace->slots[at];
}

/*
 * An event whose id another one has, "head", which the id leads to. Hostile traces have
 * many, so that nobody may walk through them for each of their children.
 */
static void
add_further(Trace *trace, CallEvent *head, int32 event)
{
	bool		found;

	if (trace->events[event].timestamp < trace->events[head->first].timestamp)
		head->first = event;
	if (trace->further == NULL)
		trace->further = pair_create(trace->context, 16, NULL);
	(void) pair_insert(trace->further, pair_of(head - trace->events, trace->events[event].span), &found);
}

/* Makes the hash of all events by id, which is at most half full. */
static void
index_events(Trace *trace)
{
	Size		size = 16;

	while (size < (Size) trace->event_count * 2)
		size *= 2;
	trace->mask = size - 1;
	trace->slots = MemoryContextAllocHuge(trace->context, sizeof(int32) * size);
	memset(trace->slots, 0xff, sizeof(int32) * size);
	for (int32 i = 0; i < trace->event_count; i++)
	{
		int32	   *slot = slot_of(trace, &trace->events[i].id);

		if (*slot != NONE)
		{
			add_further(trace, &trace->events[*slot], i);
			continue;
		}
		*slot = i;
		trace->events[i].first = i;
	}
}

/* Is the event caused by another one of its span? */
static bool
is_caused_within_span(const Trace *trace, const CallEvent *event)
{
	int32		parent;

	if (!event->has_parent)
		return false;
	parent = *slot_of(trace, &event->parent);
	if (parent == NONE)
		return false;
	return trace->events[parent].span == event->span ||
		(trace->further != NULL && pair_lookup(trace->further, pair_of(parent, event->span)) != NULL);
}

/* The service of the event's parent: of the first one of several times; or NONE. */
static int32
service_of_parent(const Trace *trace, const CallEvent *event)
{
	int32		parent = *slot_of(trace, &event->parent);

	return parent == NONE ? NONE : trace->events[trace->events[parent].first].service;
}

/* ----------------------------------------------------------------
 *		Links
 * ----------------------------------------------------------------
 */
/* The columns of trace_links, from 1. */
enum
{
	LINK_TRACE_ID = 1, LINK_SPAN_ID, LINK_LINKED_TRACE_ID, LINK_LINKED_SPAN_ID
};

/* The start of a span of this trace that is of a kind, or NONE. */
static int32
start_of_span(const Trace *trace, const pg_uuid_t *trace_id, const text *span, TexKind kind)
{
	pg_uuid_t	id;
	int32		event;

	if (!tex_otlp_start_of(&id, trace_id, span))
		return NONE;
	event = *slot_of(trace, &id);
	return event != NONE && trace->events[event].kind == kind && trace->events[event].span != NONE ? event : NONE;
}

/* What is known of producers elsewhere. */
typedef struct ProducerEntry
{
	pg_uuid_t	start;
	text	   *service;
} ProducerEntry;

/* No producers yet, of about n, in the current memory context. */
TexProducers *
tex_producers_create(int n)
{
	HASHCTL		ctl = {.keysize = sizeof(pg_uuid_t),.entrysize = sizeof(ProducerEntry),.hcxt = CurrentMemoryContext};

	return hash_create("producers elsewhere", Max(n, 16), &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Adds one; the text stays the caller's. */
void
tex_producers_add(TexProducers *producers, const pg_uuid_t *start, text *service)
{
	ProducerEntry *entry = hash_search(producers, start, HASH_ENTER, NULL);

	entry->service = service;
}

/* What is looked for in another trace: the service of a producer. */
typedef struct Producer
{
	MemoryContext context;
	text	   *service;		/* or NULL */
} Producer;

/* The start of a span of another trace; for tex_trace_reader_run_event(). */
static void
note_producer(const Datum *values, const bool *isnull, void *arg)
{
	Producer   *producer = arg;
	MemoryContext old = MemoryContextSwitchTo(producer->context);

	if (tex_kind_by_oid(DatumGetObjectId(values[COL_KIND])) == TEX_ASYNC_SPAWN && !isnull[COL_SERVICE_NAME])
		producer->service = DatumGetTextPCopy(values[COL_SERVICE_NAME]);
	MemoryContextSwitchTo(old);
}

/* The service of a producer in another trace, by the id of the start of its span, or NULL; in the current memory context. */
text *
tex_service_of_producer(TexTraceReader *reader, const pg_uuid_t *trace_id, const pg_uuid_t *start)
{
	Producer	producer = {CurrentMemoryContext, NULL};

	tex_trace_reader_run_event(reader, trace_id, start, note_producer, &producer);
	return producer.service;
}

/* The number of the service of a producer in another trace, or NONE. */
static int32
service_of_producer(Trace *trace, TexTraceReader *reader, const pg_uuid_t *trace_id, const text *span)
{
	pg_uuid_t	id;
	text	   *service;

	if (!tex_otlp_start_of(&id, trace_id, span))
		return NONE;
	service = tex_service_of_producer(reader, trace_id, &id);
	if (service == NULL && trace->elsewhere)
	{
		ProducerEntry *entry = hash_search(unconstify(TexProducers *, trace->elsewhere), &id, HASH_FIND, NULL);

		service = entry ? entry->service : NULL;
	}
	return service ? number_of(trace, &trace->services, PointerGetDatum(service)) : NONE;
}

/* A row of trace_links: kept if it leads from a consumer to a producer. */
static void
add_link(Trace *trace, TexTraceReader *reader, const pg_uuid_t *trace_id, const Datum *values)
{
	const text *span = DatumGetTextPP(values[LINK_SPAN_ID - 1]);
	const text *linked_span = DatumGetTextPP(values[LINK_LINKED_SPAN_ID - 1]);
	const pg_uuid_t *linked_trace = DatumGetUUIDP(values[LINK_LINKED_TRACE_ID - 1]);
	int32		consumer = start_of_span(trace, trace_id, span, TEX_ASYNC_AWAIT);
	Link		link = {NONE, NONE, NONE};

	if (consumer == NONE)
		return;
	link.to = trace->events[consumer].span;
	if (memcmp(linked_trace, trace_id, UUID_LEN) == 0)
	{
		int32		producer = start_of_span(trace, trace_id, linked_span, TEX_ASYNC_SPAWN);

		if (producer != NONE)
		{
			link.from_span = trace->events[producer].span;
			link.from = trace->spans[link.from_span].service;
		}
	}
	else
		link.from = service_of_producer(trace, reader, linked_trace, linked_span);
	if (link.from == NONE)
		return;
	trace->links = with_room(trace->links, trace->link_count, &trace->link_room, sizeof(Link), trace->context);
	trace->links[trace->link_count++] = link;
}

/* The same on a router, by a query: each link is on the node of its consumer. */
static void
find_links_on_nodes(Trace *trace, TexTraceReader *reader, const pg_uuid_t *trace_id)
{
	MemoryContext old = CurrentMemoryContext;
	Oid			type = UUIDOID;
	Datum		id = UUIDPGetDatum(trace_id);
	SPITupleTable *links;
	uint64		n;

	SPI_connect();
	if (SPI_execute_with_args("SELECT trace_id, span_id, linked_trace_id, linked_span_id FROM trace_ext.trace_links"
							  " WHERE trace_id OPERATOR(pg_catalog.=) $1", 1, &type, &id, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read links");
	links = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[LINK_LINKED_SPAN_ID];
		bool		isnull[LINK_LINKED_SPAN_ID];

		heap_deform_tuple(links->vals[i], links->tupdesc, values, isnull);
		MemoryContextSwitchTo(old);
		add_link(trace, reader, trace_id, values);
	}
	SPI_finish();
	MemoryContextSwitchTo(old);
}

/* Collects the links of the trace's consumers; its events are indexed. */
static void
find_links(Trace *trace, TexTraceReader *reader, const pg_uuid_t *trace_id)
{
	Relation	rel = table_open(tex_relation_oid("trace_links"), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, LINK_TRACE_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(trace_id));
	tex_note_read(RelationGetRelid(rel));
	scan = systable_beginscan(rel, tex_relation_oid("trace_links_pkey"), true, GetActiveSnapshot(), 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum	   *values = palloc(sizeof(Datum) * RelationGetDescr(rel)->natts);
		bool	   *isnull = palloc(sizeof(bool) * RelationGetDescr(rel)->natts);

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(tuple, RelationGetDescr(rel), values, isnull);
		add_link(trace, reader, trace_id, values);
		pfree(values);
		pfree(isnull);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* ----------------------------------------------------------------
 *		Calls
 * ----------------------------------------------------------------
 */
/* How well an event tells what started its span. */
static Standing
standing_of(const Trace *trace, const CallEvent *event)
{
	if (is_caused_within_span(trace, event))
		return CAUSED;
	return event->kind == TEX_HTTP_REQUEST ? ROOT_REQUEST : OTHER_ROOT;
}

/* Does the event tell better than another one of the edge what started the span? */
static bool
tells_better(const Trace *trace, const Edge *edge, Standing standing, const CallEvent *event)
{
	const CallEvent *other = &trace->events[edge->starter];

	if (standing != edge->standing)
		return standing < edge->standing;
	return is_before(event->timestamp, &event->id, other->timestamp, &other->id);
}

/* The edges between spans, each with the event that tells best what carried it. */
static void
find_edges(Trace *trace)
{
	pair_hash  *known = trace->known_edges = pair_create(trace->context, 16, NULL);

	for (int i = 0; i < trace->event_count; i++)
	{
		const CallEvent *event = &trace->events[i];
		PairEntry  *entry;
		Standing	standing;
		bool		found;

		CHECK_FOR_INTERRUPTS();
		if (event->span == NONE || event->upstream == NONE)
			continue;
		standing = standing_of(trace, event);
		entry = pair_insert(known, pair_of(event->upstream, event->span), &found);
		if (!found)
		{
			entry->number = trace->edge_count;
			trace->edges = with_room(trace->edges, trace->edge_count, &trace->edge_room,
									 sizeof(Edge), trace->context);
			trace->edges[trace->edge_count++] = (Edge) {event->upstream, event->span, i, standing};
		}
		else if (tells_better(trace, &trace->edges[entry->number], standing, event))
		{
			trace->edges[entry->number].starter = i;
			trace->edges[entry->number].standing = standing;
		}
	}
}

/* One more call. */
static void
add_call(Trace *trace, int32 from, int32 to, uint8 kind, bool is_error, TexExtent extent)
{
	TexCalls   *calls = trace->calls;
	int64		duration;

	calls->calls = with_room(calls->calls, calls->count, &calls->room, sizeof(TexCall), trace->context);
	if (pg_sub_s64_overflow(extent.ended, extent.started, &duration) || duration > TEX_LONGEST_CALL)
		duration = TEX_LONGEST_CALL;
	calls->calls[calls->count++] = (TexCall) {
		.hour = tex_hour_of(extent.started) / USECS_PER_HOUR,.duration = duration,
		.from = from,.to = to,.link = link_of_kind[kind],.is_error = is_error
	};
}

/* The calls that spans tell of. */
static void
add_calls_of_spans(Trace *trace)
{
	for (int i = 0; i < trace->edge_count; i++)
	{
		const Edge *edge = &trace->edges[i];
		const Span *caller = &trace->spans[edge->from];
		const Span *called = &trace->spans[edge->to];
		bool		found;

		if (caller->service == NONE || called->service == NONE || caller->service == called->service)
			continue;
		add_call(trace, caller->service, called->service, trace->events[edge->starter].kind,
				 called->is_error, called->extent);
		(void) pair_insert(trace->said, pair_of(edge->to, caller->service), &found);
	}
}

/* The calls that links tell of, and spans did not. */
static void
add_calls_of_links(Trace *trace)
{
	for (int i = 0; i < trace->link_count; i++)
	{
		const Link *link = &trace->links[i];
		const Span *called = &trace->spans[link->to];
		bool		found;

		if (called->service == NONE || called->service == link->from ||
			(link->from_span != NONE && pair_lookup(trace->known_edges, pair_of(link->from_span, link->to)) != NULL))
			continue;
		add_call(trace, link->from, called->service, TEX_ASYNC_AWAIT, called->is_error, called->extent);
		(void) pair_insert(trace->said, pair_of(link->to, link->from), &found);
	}
}

/* Does a link between spans say that the service called the event's span and service? */
static bool
is_said_by_spans(const Trace *trace, int32 from, const CallEvent *event)
{
	return event->span != NONE && trace->spans[event->span].service == event->service &&
		pair_lookup(trace->said, pair_of(event->span, from)) != NULL;
}

/* The calls that only parents tell of. */
static void
add_calls_of_parents(Trace *trace)
{
	for (int i = 0; i < trace->event_count; i++)
	{
		const CallEvent *event = &trace->events[i];
		int32		from;

		CHECK_FOR_INTERRUPTS();
		if (!event->has_parent || event->service == NONE)
			continue;
		from = service_of_parent(trace, event);
		if (from != NONE && from != event->service && !is_said_by_spans(trace, from, event))
			add_call(trace, from, event->service, event->kind, event->is_error, event->extent);
	}
}

/* A reader for tex_calls_of(); see tex_trace_reader_create(). */
TexTraceReader *
tex_calls_reader(void)
{
	return tex_trace_reader_create(column_names, COL_COUNT);
}

/* Who reads these tables by C functions must have the right that a query of service_calls needs. */
void
tex_require_calls(void)
{
	if (pg_class_aclcheck(tex_relation_oid("service_calls"), GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_VIEW, "service_calls");
}

/*
 * The calls of a trace as the reader's snapshot sees it, in the current memory context;
 * NULL where there are none. What is not here of the producers that it is linked to may be known
 * (else NULL). Throws for a trace of more than a thousand million events.
 */
const TexCalls *
tex_calls_of(TexTraceReader *reader, const pg_uuid_t *trace_id, const TexProducers *elsewhere)
{
	Trace	   *trace = palloc0(sizeof(Trace));

	trace->elsewhere = elsewhere;
	trace->context = CurrentMemoryContext;
	tex_trace_reader_run(reader, trace_id, add_event, trace);
	if (trace->has_consumers)
	{
		index_events(trace);
		if (tex_is_router())
			find_links_on_nodes(trace, reader, trace_id);
		else
			find_links(trace, reader, trace_id);
	}
	/* Nobody calls himself. */
	if (trace->services.count < 2)
		return NULL;
	trace->calls = palloc0(sizeof(TexCalls));
	trace->said = pair_create(trace->context, 16, NULL);
	if (!trace->has_consumers)
		index_events(trace);
	find_edges(trace);
	add_calls_of_spans(trace);
	add_calls_of_links(trace);
	add_calls_of_parents(trace);
	trace->calls->services = trace->services.texts;
	trace->calls->service_count = trace->services.count;
	return trace->calls->count > 0 ? trace->calls : NULL;
}
