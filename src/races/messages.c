/*
 * messages.c
 *		Order by messages between spans: the caller's sending event before what the
 *		callee does, the callee's last event before the caller's receiving event.
 *
 * A callee is a span that names its caller in upstream_span_id, in its own trace
 * or, if the caller is not there, in another loaded one.  Which event of the caller
 * sent?  The parent of the callee's first event if that is in the caller's span;
 * else by position: a request not yet taken, whose name ends like the callee's
 * if one does, at or before the callee's start; else what the caller did last
 * before that.  Which event received?  The caller's first response after the
 * sending, in its strand, not before the callee's end and not yet taken.  The
 * response with which the caller answers its own caller is no candidate.
 *
 * Clocks of two hosts differ: times are compared with trace_ext.clock_skew to
 * spare.  A message that fits nothing adds no order: a false alarm is better than
 * a hidden race.
 *
 * Between two spans of OpenTelemetry their intervals decide (spans.c), and links.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "guc.h"
#include "races/arrays.h"
#include "races/messages.h"

typedef struct SpanKey
{
	int32		trace;
	int32		name;
} SpanKey;

typedef struct Span
{
	SpanKey		key;
	int32		upstream;
	int32		first_slot;		/* its events, in order, are members[first_slot ...]; or -1 */
	int32		nevents;
	int32		last_response;	/* or TEX_NO_EVENT */
	int32		sendings;		/* lists, in order, of what no call took yet */
	int32		responses;
	bool		sends_first;	/* its first event is what called another span */
} Span;

/* A call: a span and the span that called it. */
typedef struct Call
{
	Span	   *caller;
	Span	   *callee;
	int32		sending;		/* or TEX_NO_EVENT */
	int32		callee_first;
	int32		callee_last;
} Call;

typedef struct Messages
{
	TexHistory *history;
	TexEdges   *edges;
	HTAB	   *spans;
	HTAB	   *anywhere;		/* name of a span to a trace it occurs in */
	int32	   *members;
	int32	   *next;			/* of each event: the next in its list */
	bool	   *taken;			/* of each event: is the end of a message */
	Call	   *calls;
	int32		ncalls;
} Messages;

typedef struct Anywhere
{
	int32		name;
	int32		trace;
} Anywhere;

/* A span of a trace; with HASH_ENTER made if it is new, with HASH_FIND NULL. */
static Span *
find_span(Messages *m, int32 trace, int32 name, HASHACTION action)
{
	SpanKey		key = {trace, name};
	bool		found;
	Span	   *span = hash_search(m->spans, &key, action, &found);

	if (span && !found)
	{
		span->upstream = TEX_NO_NAME;
		span->first_slot = -1;
		span->nevents = 0;
		span->last_response = span->sendings = span->responses = TEX_NO_EVENT;
		span->sends_first = false;
	}
	return span;
}

/* Collects the spans and their events, which lie together, in order, in members. */
static void
collect_spans(Messages *m, const int32 *order)
{
	TexHistory *history = m->history;
	int32		slot = 0;

	for (int32 i = 0; i < history->nevents; i++)
	{
		const TexEvent *event = &history->events[order[i]];
		Span	   *span;

		CHECK_FOR_INTERRUPTS();
		if (event->span == TEX_NO_NAME)
			continue;
		span = find_span(m, event->trace, event->span, HASH_ENTER);
		span->nevents++;
		if (span->upstream == TEX_NO_NAME && event->upstream != event->span)
			span->upstream = event->upstream;
		if (event->kind == TEX_HTTP_RESPONSE)
			span->last_response = order[i];
	}

	/* Lay the spans' events out one span after the other. */
	for (int32 i = 0; i < history->nevents; i++)
	{
		const TexEvent *event = &history->events[order[i]];
		Span	   *span;

		CHECK_FOR_INTERRUPTS();
		if (event->span == TEX_NO_NAME)
			continue;
		span = find_span(m, event->trace, event->span, HASH_FIND);
		if (span->first_slot < 0)
		{
			/* From here on nevents says how many of them are laid out. */
			Anywhere   *anywhere = hash_search(m->anywhere, &event->span, HASH_ENTER, NULL);

			anywhere->trace = event->trace;
			span->first_slot = slot;
			slot += span->nevents;
			span->nevents = 0;
		}
		m->members[span->first_slot + span->nevents++] = order[i];
	}
}

/* The i-th event of a span. */
static inline int32
member(const Messages *m, const Span *span, int32 i)
{
	return m->members[span->first_slot + i];
}

/* The event with which a callee ends: its last response, else its last event. */
static int32
last_event(const Messages *m, const Span *span)
{
	return span->last_response != TEX_NO_EVENT ? span->last_response :
		member(m, span, span->nevents - 1);
}

/* Whether a span came by way of OpenTelemetry. */
static bool
is_otlp(const Messages *m, const Span *span)
{
	return m->history->events[member(m, span, 0)].flags & TEX_EVENT_OTLP;
}

/* Pairs each span with its caller, in its own trace if it is there, else in another loaded one. */
static void
collect_calls(Messages *m)
{
	HASH_SEQ_STATUS scan;
	Span	   *span;

	m->calls = MemoryContextAllocHuge(CurrentMemoryContext,
									  sizeof(Call) * (Size) Max(1, hash_get_num_entries(m->spans)));
	hash_seq_init(&scan, m->spans);
	while ((span = hash_seq_search(&scan)) != NULL)
	{
		Span	   *caller;

		if (span->upstream == TEX_NO_NAME)
			continue;
		caller = find_span(m, span->key.trace, span->upstream, HASH_FIND);
		if (caller == NULL)
		{
			Anywhere   *anywhere = hash_search(m->anywhere, &span->upstream, HASH_FIND, NULL);

			if (anywhere == NULL)
				continue;
			caller = find_span(m, anywhere->trace, span->upstream, HASH_FIND);
		}
		if (is_otlp(m, span) && is_otlp(m, caller))
			continue;
		m->calls[m->ncalls++] = (Call) {caller, span, TEX_NO_EVENT, member(m, span, 0),
		last_event(m, span)};
	}
}

/* For qsort(): calls by when the callee begins, the order in which requests are taken. */
static int
by_first(const void *a, const void *b)
{
	const Call *x = a;
	const Call *y = b;

	return x->callee_first < y->callee_first ? -1 : x->callee_first > y->callee_first;
}

/* For qsort(): calls by when the callee ends, the order in which responses are taken. */
static int
by_last(const void *a, const void *b)
{
	const Call *x = a;
	const Call *y = b;

	return x->callee_last < y->callee_last ? -1 : x->callee_last > y->callee_last;
}

/* Whether "POST http://stock/reserve" can be what arrived as "POST /reserve". */
static bool
same_request(const TexHistory *history, int32 sent, int32 received)
{
	const char *a = tex_history_text(history, sent);
	const char *b = tex_history_text(history, received);
	const char *path;
	size_t		verb;
	size_t		len;

	if (a == NULL || b == NULL || (path = strchr(b, '/')) == NULL)
		return false;
	verb = strcspn(b, " ");
	len = strlen(path);
	return strncmp(a, b, verb + 1) == 0 && strlen(a) >= len &&
		strcmp(a + strlen(a) - len, path) == 0;
}

/* Whether an event can have called another span. */
static bool
is_sending(const TexEvent *event)
{
	return event->kind == TEX_HTTP_REQUEST || event->kind == TEX_ASYNC_SPAWN ||
		event->kind == TEX_DATABASE_QUERY;
}

/* List what can send and what can receive; the lists are built back to front. */
static void
list_ends(Messages *m, const int32 *order)
{
	const TexEvent *events = m->history->events;

	for (int32 i = m->history->nevents - 1; i >= 0; i--)
	{
		int32		e = order[i];
		Span	   *span;
		int32	   *list;

		CHECK_FOR_INTERRUPTS();
		if (events[e].span == TEX_NO_NAME ||
			!(is_sending(&events[e]) || events[e].kind == TEX_HTTP_RESPONSE))
			continue;
		span = find_span(m, events[e].trace, events[e].span, HASH_FIND);
		if (e == member(m, span, 0))
			continue;
		list = is_sending(&events[e]) ? &span->sendings : &span->responses;
		m->next[e] = *list;
		*list = e;
	}
}

/* Step over, and forget, what was taken since the list was last walked. */
static int32
untaken(Messages *m, int32 *link)
{
	while (*link != TEX_NO_EVENT && m->taken[*link])
		*link = m->next[*link];
	return *link;
}

/* What a span did last at or before a time; its first event if nothing. */
static int32
last_before(const Messages *m, const Span *span, TimestampTz at)
{
	int32		low = 0;
	int32		high = span->nevents;

	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (m->history->events[member(m, span, middle)].at <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return member(m, span, Max(low - 1, 0));
}

/*
 * The event of the caller that sent what started the callee.
 */
static int32
sending_event(Messages *m, const Call *call)
{
	const TexEvent *events = m->history->events;
	const TexEvent *first = &events[call->callee_first];
	TimestampTz latest = first->at + tex_clock_skew_usecs();
	int32		free_one = TEX_NO_EVENT;
	int32		e;

	if (first->parent != TEX_NO_EVENT && events[first->parent].span == call->callee->upstream)
		return first->parent;
	for (int32 *link = &call->caller->sendings; (e = untaken(m, link)) != TEX_NO_EVENT;
		 link = &m->next[e])
	{
		CHECK_FOR_INTERRUPTS();
		if (events[e].at > latest)
			break;
		if (events[e].kind == TEX_HTTP_REQUEST && first->kind == TEX_HTTP_REQUEST &&
			same_request(m->history, events[e].name, first->name))
			return e;
		if (free_one == TEX_NO_EVENT)
			free_one = e;
	}
	return free_one != TEX_NO_EVENT ? free_one : last_before(m, call->caller, first->at);
}

/* Orders the sending event of a call before what the callee does. */
static void
add_sending(Messages *m, Call *call)
{
	const TexEvent *events = m->history->events;

	call->sending = sending_event(m, call);
	m->taken[call->sending] = true;
	if (call->sending == member(m, call->caller, 0))
		call->caller->sends_first = true;
	for (int32 i = 0; i < call->callee->nevents; i++)
	{
		int32		e = member(m, call->callee, i);

		/* What hangs under nothing was started by the call as well. */
		if (i == 0 || events[e].parent == TEX_NO_EVENT)
			tex_edges_add(m->edges, call->sending, e);
	}
}

/*
 * Whether a response answers the span's own caller and so received nothing: the last one, of a span
 * that began with a request.
 */
static bool
is_own_answer(const Messages *m, const Span *span, int32 e)
{
	return e == span->last_response && !span->sends_first &&
		m->history->events[member(m, span, 0)].kind == TEX_HTTP_REQUEST;
}

/* Orders the callee's last event before the caller's receiving one, if there is one that fits. */
static void
add_receiving(Messages *m, const Call *call)
{
	const TexEvent *events = m->history->events;
	TimestampTz end = events[call->callee_last].at - tex_clock_skew_usecs();
	int32		e;

	for (int32 *link = &call->caller->responses; (e = untaken(m, link)) != TEX_NO_EVENT;
		 link = &m->next[e])
	{
		CHECK_FOR_INTERRUPTS();
		if (e > call->sending && events[e].strand == events[call->sending].strand &&
			events[e].at >= end && !is_own_answer(m, call->caller, e))
		{
			m->taken[e] = true;
			tex_edges_add(m->edges, call->callee_last, e);
			return;
		}
	}
}

/*
 * Rule 6. The history has its strands, and order is what tex_strands_assign() returned. Costs
 * a pass over the events where no span names a caller.
 */
void
tex_add_message_edges(TexHistory *history, const int32 *order, TexEdges *edges)
{
	Messages	m = {.history = history,.edges = edges};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext messages",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	HASHCTL		ctl = {.keysize = sizeof(SpanKey),.entrysize = sizeof(Span),.hcxt = context};
	bool		any = false;

	for (int32 i = 0; i < history->nevents && !any; i++)
	{
		CHECK_FOR_INTERRUPTS();
		any = history->events[i].upstream != TEX_NO_NAME;
	}
	if (any)
	{
		m.spans = hash_create("spans", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		ctl.keysize = sizeof(int32);
		ctl.entrysize = sizeof(Anywhere);
		m.anywhere = hash_create("span names", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		m.members = MemoryContextAllocHuge(context, sizeof(int32) * (Size) history->nevents);
		m.taken = tex_new_array(sizeof(bool), history->nevents, 0);
		collect_spans(&m, order);
		collect_calls(&m);
		m.next = MemoryContextAllocHuge(context, sizeof(int32) * (Size) history->nevents);
		list_ends(&m, order);
		/* The edges are the caller's: they stay in his context. */
		MemoryContextSwitchTo(old);
		qsort(m.calls, m.ncalls, sizeof(Call), by_first);
		for (int32 i = 0; i < m.ncalls; i++)
		{
			CHECK_FOR_INTERRUPTS();
			add_sending(&m, &m.calls[i]);
		}
		qsort(m.calls, m.ncalls, sizeof(Call), by_last);
		for (int32 i = 0; i < m.ncalls; i++)
		{
			CHECK_FOR_INTERRUPTS();
			add_receiving(&m, &m.calls[i]);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
