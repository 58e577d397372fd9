/*
 * links.c
 *		Order by links between spans of OpenTelemetry: rule 6 across traces.
 *
 * A message takes no trace along that the consumer goes on with: he begins a trace of
 * his own, and links his span to the producer's.  So the start of a span of kind
 * PRODUCER, an AsyncSpawn, comes before that of a CONSUMER that is linked to it, an
 * AsyncAwait.  Other links say that two have to do with each other, not which
 * was first.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"

#include "common/otlp_id.h"
#include "races/links.h"

typedef struct SpanKey
{
	int32		trace;
	int32		name;
} SpanKey;

typedef struct Start
{
	SpanKey		key;
	int32		event;
} Start;

/* Whether an event is the start of a span that sends or receives messages. */
static bool
is_end_of_message(const TexEvent *event)
{
	return (event->flags & TEX_EVENT_OTLP) && (event->kind == TEX_ASYNC_SPAWN || event->kind == TEX_ASYNC_AWAIT) &&
		!tex_otlp_is_log(&event->id) && tex_otlp_ordinal(&event->id) == 0;
}

/* The starts of spans that send or receive messages, the earliest of each span. */
static HTAB *
collect_starts(const TexHistory *history)
{
	HASHCTL		ctl = {.keysize = sizeof(SpanKey),.entrysize = sizeof(Start),.hcxt = CurrentMemoryContext};
	HTAB	   *starts = hash_create("ends of messages", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	for (int32 i = 0; i < history->nevents; i++)
	{
		SpanKey		key = {history->events[i].trace, history->events[i].span};
		bool		found;
		Start	   *start;

		CHECK_FOR_INTERRUPTS();
		if (!is_end_of_message(&history->events[i]))
			continue;
		start = hash_search(starts, &key, HASH_ENTER, &found);
		if (!found)
			start->event = i;
	}
	return starts;
}

/* The start of a span, if it is of a kind, or TEX_NO_EVENT. */
static int32
start_of(const TexHistory *history, HTAB *starts, int32 trace, int32 span, TexKind kind)
{
	SpanKey		key = {trace, span};
	Start	   *start = trace < 0 ? NULL : hash_search(starts, &key, HASH_FIND, NULL);

	return start && history->events[start->event].kind == kind ? start->event : TEX_NO_EVENT;
}

/* Orders producers before consumers, where both are loaded. */
void
tex_add_link_edges(const TexHistory *history, TexEdges *edges)
{
	HTAB	   *starts;

	if (history->nlinks == 0)
		return;
	starts = collect_starts(history);
	for (int32 i = 0; i < history->nlinks; i++)
	{
		const TexSpanLink *link = &history->links[i];
		int32		consumer = start_of(history, starts, link->trace, link->span, TEX_ASYNC_AWAIT);
		int32		producer = start_of(history, starts, tex_history_trace(history, &link->linked_trace),
										link->linked_span, TEX_ASYNC_SPAWN);

		CHECK_FOR_INTERRUPTS();
		if (consumer != TEX_NO_EVENT && producer != TEX_NO_EVENT)
			tex_edges_add(edges, producer, consumer);
	}
	hash_destroy(starts);
}
