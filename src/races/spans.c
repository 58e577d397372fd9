/*
 * spans.c
 *		Strands and order of traces of OpenTelemetry, by the intervals of their spans.
 *
 * A span says when it began, when it ended and which span is its parent, but not what waited for
 * what.  That follows from the intervals, whatever the kinds of the spans:
 *
 *	- The events of a span form a chain, its start first.
 *	- A child that overlaps no sibling and ends within its parent stands in line: it comes after the
 *	  events of the parent before its start, and after the children in line before it; what of the
 *	  parent, and of the children in line, follows its end comes after it, and after all that joined
 *	  it.  It continues the strand of its parent, and so holds its locks, unless the parent has
 *	  events while it runs.
 *	- Any other child forks: it begins a strand, after the same.  If it ends within its parent it
 *	  joins it: what of the parent, or of the children in line, follows its end comes after it.
 *	- A child that outlives its parent never joins it.
 *
 * SDKs end a child a little after its parent: TOLERANCE.  What of a span is still to come, and a
 * parent that is not there, is taken to last for ever; so the children of a parent that was not
 * recorded are ordered among themselves.
 *
 * Clocks of milliseconds.  Some SDKs (Node) begin a span at a whole millisecond and measure only from
 * there on, so a span seems to begin and to end up to a millisecond early.  That is seen from the
 * spans of a process in a trace: all begin at whole milliseconds, and not all end at one.  Then a
 * child may have begun up to a millisecond later than it seems where its siblings are concerned, and
 * an event of the parent is before, or after, the child if it may be; in doubt the middle of the
 * child decides.
 *
 * How.  Each span's own events and its children, both by time, are merged, depth first along the
 * tree of spans; what that hands out is in a possible order, so all edges go forward.  Nothing
 * recurses.  It costs a sort, and as many edges as there are events and spans: what joined is handed
 * to the next event in line once.  Only where children that overlap come next after a child in line
 * with children that overlap is each of these ordered before each of those; of such edges no more than
 * MOST_CROSSINGS are made in a trace.
 */
#include "postgres.h"

#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "common/otlp_id.h"
#include "races/arrays.h"
#include "races/spans.h"

/* Children may end so much later than their parents, in microseconds. */
#define TOLERANCE 2000

/* Known limit: see above. */
#define MOST_CROSSINGS 1000000

#define NO_SPAN (-1)

/* A time with nanoseconds, which timestamps lack. */
typedef struct Instant
{
	TimestampTz at;
	int32		ns;				/* 0 to 999 */
} Instant;

typedef struct SpanKey
{
	int32		trace;
	int32		name;
} SpanKey;

typedef struct SpanEntry
{
	SpanKey		key;
	int32		span;
} SpanEntry;

typedef struct Span
{
	int32		trace;
	int32		first;			/* its start, or TEX_NO_EVENT: not there */
	int32		slot;			/* its events, in order, are own[slot ...] */
	int32		nown;
	int32		parent;			/* or NO_SPAN */
	int32		child;			/* its children, in order, are children[child ...] */
	int32		nchildren;
	Instant		start;			/* where siblings are concerned */
	Instant		end;			/* of its last event, if that comes later */
	Instant		said_end;		/* as the span says */
	Instant		before;			/* events of the parent up to then come before it */
	Instant		after;			/* ... from then on after it, if it joins */
	bool		coarse;			/* begins at a whole millisecond, as all of its process */
	bool		joins;			/* ends within its parent */
	bool		in_line;
	bool		done;
} Span;

/* Whether the spans of a process in a trace begin at whole milliseconds. */
typedef struct Clock
{
	SpanKey		key;			/* trace and place */
	bool		starts;			/* all begin at one */
	bool		ends;			/* ... and end */
} Clock;

/* What ended, and did not hand its end on yet. */
typedef struct Sink
{
	int32		event;
	struct Sink *next;
} Sink;

/* The ends of a child that joins: its own last event, and what joined it since. */
typedef struct Join
{
	pairingheap_node node;
	Instant		after;
	Sink	   *first;
	Sink	   *last;
	struct Join *next_in_line;
	struct Join *next_passed;
	bool		taken;
} Join;

/* A span that is being gone through. */
typedef struct Frame
{
	int32		span;
	int32		strand;			/* or -1: none yet */
	int32		last;			/* latest event in line, or TEX_NO_EVENT */
	int32		next_own;
	int32		next_child;
	bool		shares;			/* continues the strand of the frame below */
	pairingheap joins;			/* by end, those that are not taken */
	Join	   *in_line;		/* of these, and of taken ones, what stands in line */
} Frame;

typedef struct Spans
{
	TexHistory *history;
	TexEdges   *edges;
	TexNewStrand new_strand;
	void	   *arg;
	HTAB	   *by_name;
	HTAB	   *clocks;
	Span	   *spans;
	int32		n;
	int32		room;
	int32	   *span_of;		/* of each event */
	int32	   *own;
	Instant    *at;				/* of each slot in own, never less than the one before */
	int32	   *children;
	Frame	   *frames;
	int32		nframes;
	int32		frames_room;
	int32		crossings;		/* in the trace of that number */
	int32		crossing_trace;
} Spans;

/* Less than 0 if a is before b. */
static inline int
compare_instants(Instant a, Instant b)
{
	if (a.at != b.at)
		return a.at < b.at ? -1 : 1;
	return a.ns - b.ns;
}

/* With nanoseconds that may be less than 0 or more than 999. */
static Instant
instant(TimestampTz at, int32 ns)
{
	if (ns < 0)
		return (Instant) {tex_time_plus(at, -1), ns + 1000};
	if (ns >= 1000)
		return (Instant) {tex_time_plus(at, ns / 1000), ns % 1000};
	return (Instant) {at, ns};
}

static Instant
earlier_of(Instant a, Instant b)
{
	return compare_instants(a, b) <= 0 ? a : b;
}

static Instant
later_of(Instant a, Instant b)
{
	return compare_instants(a, b) >= 0 ? a : b;
}

/* When an event began. */
static Instant
begin_of(const TexEvent *event)
{
	return (Instant) {event->at, event->at_ns};
}

static bool
is_whole(Instant i)
{
	return i.ns == 0 && i.at % 1000 == 0;
}

/* ----------------------------------------------------------------
 *		The spans, their events and their children
 * ----------------------------------------------------------------
 */

/* A span of a trace, made if it is new. */
static int32
span_of_name(Spans *s, int32 trace, int32 name)
{
	SpanKey		key = {trace, name};
	bool		found;
	SpanEntry  *entry = hash_search(s->by_name, &key, HASH_ENTER, &found);

	if (found)
		return entry->span;
	if (s->n == s->room)
	{
		s->room *= 2;
		s->spans = repalloc_huge(s->spans, sizeof(Span) * (Size) s->room);
	}
	s->spans[s->n] = (Span) {.trace = trace,.first = TEX_NO_EVENT,.parent = NO_SPAN};
	entry->span = s->n;
	return s->n++;
}

/* Collects the spans, their starts, and how many events they have. */
static void
collect_spans(Spans *s)
{
	const TexEvent *events = s->history->events;

	for (int32 i = 0; i < s->history->nevents; i++)
	{
		Span	   *span;

		CHECK_FOR_INTERRUPTS();
		if (!(events[i].flags & TEX_EVENT_OTLP))
			continue;
		s->span_of[i] = span_of_name(s, events[i].trace, events[i].span);
		span = &s->spans[s->span_of[i]];
		span->nown++;
		if (span->first == TEX_NO_EVENT && !tex_otlp_is_log(&events[i].id) && tex_otlp_ordinal(&events[i].id) == 0)
			span->first = i;
	}
}

/* The parent of each span; one that is not there gets a span without events. */
static void
find_parents(Spans *s)
{
	const TexEvent *events = s->history->events;
	int32		n = s->n;

	for (int32 i = 0; i < n; i++)
	{
		const TexEvent *first;
		char		text[2 * TEX_OTLP_SPAN_ID_LEN + 1];
		int32		parent;

		CHECK_FOR_INTERRUPTS();
		if (s->spans[i].first == TEX_NO_EVENT)
			continue;
		first = &events[s->spans[i].first];
		if ((first->flags & TEX_EVENT_IN_CYCLE) || memcmp(&first->parent_id, &first->id, sizeof(pg_uuid_t)) == 0)
			continue;
		tex_otlp_span_text(&first->parent_id, text);
		if (!tex_otlp_is_id_of(&first->parent_id, &s->history->traces[first->trace].id, text) ||
			tex_otlp_is_log(&first->parent_id) || tex_otlp_ordinal(&first->parent_id) != 0)
			continue;
		parent = span_of_name(s, first->trace, tex_strings_add(s->history->names, text, strlen(text)));
		s->spans[i].parent = parent;
		s->spans[parent].nchildren++;
	}
}

/* For qsort_arg(): by time; at one time what has a place in the span before log records. */
static int
compare_own(const void *a, const void *b, void *arg)
{
	const TexEvent *events = arg;
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;
	int			order = compare_instants(begin_of(&events[x]), begin_of(&events[y]));
	bool		x_is_log = tex_otlp_is_log(&events[x].id);
	bool		y_is_log = tex_otlp_is_log(&events[y].id);

	CHECK_FOR_INTERRUPTS();
	if (order != 0)
		return order;
	if (x_is_log != y_is_log)
		return x_is_log ? 1 : -1;
	return x < y ? -1 : x > y;
}

/* Whether a log record comes before what is next in the chain of its span. */
static bool
comes_before(const TexEvent *log, const TexEvent *next)
{
	int			order = compare_instants(begin_of(log), begin_of(next));

	/* What is at the end of the span is last among equals. */
	return order < 0 || (order == 0 && tex_otlp_ordinal(&next->id) >= TEX_OTLP_AT_END);
}

/*
 * Puts the events of a span, which are in own, in their order: along the chain of parents that
 * ingest_otlp() made, which is by time; log records, and what no longer is in the chain, by time.
 */
static void
order_own(Spans *s, Span *span, const int32 *next, int32 *chain, bool *in_chain)
{
	const TexEvent *events = s->history->events;
	int32	   *own = &s->own[span->slot];
	int32		nchain = 0;
	int32		nloose = 0;
	int32		loose = 0;
	int32		n = 0;

	for (int32 e = span->first; e != TEX_NO_EVENT && !in_chain[e]; e = next[e])
	{
		chain[nchain++] = e;
		in_chain[e] = true;
	}
	for (int32 i = 0; i < span->nown; i++)
		if (!in_chain[own[i]])
			own[nloose++] = own[i];
	qsort_arg(own, nloose, sizeof(int32), compare_own, (void *) events);
	memcpy(&chain[nchain], own, sizeof(int32) * nloose);
	for (int32 i = 0; i < nchain; i++)
	{
		for (; i > 0 && loose < nloose && comes_before(&events[chain[nchain + loose]], &events[chain[i]]); loose++)
			own[n++] = chain[nchain + loose];
		own[n++] = chain[i];
	}
	for (; loose < nloose; loose++)
		own[n++] = chain[nchain + loose];
	for (int32 i = 0; i < n; i++)
	{
		s->at[span->slot + i] = begin_of(&events[own[i]]);
		if (i > 0)
			s->at[span->slot + i] = later_of(s->at[span->slot + i], s->at[span->slot + i - 1]);
	}
}

/* Lays the events of the spans out in their order, one span after the other. */
static void
lay_out_events(Spans *s)
{
	const TexEvent *events = s->history->events;
	int32		nevents = s->history->nevents;
	int32	   *next = tex_new_array(sizeof(int32), nevents, 0xff);
	int32	   *chain = tex_new_array(sizeof(int32), nevents, 0);
	bool	   *in_chain = tex_new_array(sizeof(bool), nevents, 0);
	int32		slot = 0;

	for (int32 i = 0; i < s->n; i++)
	{
		s->spans[i].slot = slot;
		slot += s->spans[i].nown;
		s->spans[i].nown = 0;
	}
	for (int32 i = 0; i < nevents; i++)
	{
		Span	   *span = &s->spans[Max(s->span_of[i], 0)];
		int32		parent = events[i].parent;

		CHECK_FOR_INTERRUPTS();
		if (s->span_of[i] == NO_SPAN)
			continue;
		s->own[span->slot + span->nown++] = i;
		if (i != span->first && parent != TEX_NO_EVENT && s->span_of[parent] == s->span_of[i] &&
			next[parent] == TEX_NO_EVENT && !tex_otlp_is_log(&events[i].id))
			next[parent] = i;
	}
	for (int32 i = 0; i < s->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		order_own(s, &s->spans[i], next, chain, in_chain);
	}
	pfree(next);
	pfree(chain);
	pfree(in_chain);
}

/* Whether the process of a span has a clock of milliseconds. */
static Clock *
clock_of(Spans *s, const Span *span)
{
	SpanKey		key = {span->trace, s->history->events[span->first].place};
	bool		found;
	Clock	   *clock = hash_search(s->clocks, &key, HASH_ENTER, &found);

	if (!found)
		clock->starts = clock->ends = true;
	return clock;
}

/* From when to when each span lasted, and which clock it has. */
static void
find_intervals(Spans *s)
{
	for (int32 i = 0; i < s->n; i++)
	{
		Span	   *span = &s->spans[i];
		const TexEvent *first;
		Clock	   *clock;

		CHECK_FOR_INTERRUPTS();
		if (span->first == TEX_NO_EVENT)
		{
			span->said_end = (Instant) {DT_NOEND, 0};
			continue;
		}
		first = &s->history->events[span->first];
		span->start = begin_of(first);
		span->said_end = later_of(span->start, instant(first->extent.ended, first->ended_ns));
		span->end = later_of(span->said_end, s->at[span->slot + span->nown - 1]);
		clock = clock_of(s, span);
		clock->starts = clock->starts && is_whole(span->start);
		clock->ends = clock->ends && is_whole(span->said_end);
	}
	for (int32 i = 0; i < s->n; i++)
	{
		Span	   *span = &s->spans[i];

		CHECK_FOR_INTERRUPTS();
		if (span->first != TEX_NO_EVENT)
		{
			Clock	   *clock = clock_of(s, span);

			span->coarse = clock->starts && !clock->ends;
		}
	}
}

/* Which events of the parent come before and after a child: see the head of the file. */
static void
find_limits(const Span *parent, Span *child)
{
	Instant		before;
	Instant		after;

	child->before = child->start;
	child->after = child->end;
	if (child->coarse || parent->coarse)
	{
		before = instant(tex_time_plus(child->start.at, 999), child->start.ns + 999);
		after = instant(tex_time_plus(child->end.at, -999), child->end.ns - 999);
		if (compare_instants(before, after) >= 0)
		{
			int64		lasted = child->end.at - child->start.at;

			before = after = instant(tex_time_plus(child->start.at, lasted / 2), (child->start.ns + child->end.ns) / 2);
		}
		child->before = before;
		child->after = after;
	}
	if (child->coarse)
		child->start = earlier_of(instant(tex_time_plus(child->start.at, 999), child->start.ns + 999), child->end);
}

/* For qsort_arg(): by start, else by end. */
static int
compare_children(const void *a, const void *b, void *arg)
{
	const Spans *s = arg;
	const Span *x = &s->spans[*(const int32 *) a];
	const Span *y = &s->spans[*(const int32 *) b];
	int			order = compare_instants(x->start, y->start);

	CHECK_FOR_INTERRUPTS();
	if (order == 0)
		order = compare_instants(x->end, y->end);
	return order != 0 ? order : x->first < y->first ? -1 : x->first > y->first;
}

/* Which children of a span stand in line, and which join it. */
static void
judge_children(Spans *s, const Span *parent)
{
	int32	   *children = &s->children[parent->child];
	Instant		latest = parent->said_end;
	Instant		reached = {DT_NOBEGIN, 0};

	if (parent->first != TEX_NO_EVENT)
		latest.at = tex_time_plus(latest.at, TOLERANCE);
	qsort_arg(children, parent->nchildren, sizeof(int32), compare_children, s);
	for (int32 i = 0; i < parent->nchildren; i++)
	{
		Span	   *child = &s->spans[children[i]];
		bool		overlaps = compare_instants(child->start, reached) < 0;

		CHECK_FOR_INTERRUPTS();
		if (i + 1 < parent->nchildren)
			overlaps = overlaps || compare_instants(s->spans[children[i + 1]].start, child->end) < 0;
		reached = later_of(reached, child->end);
		child->joins = compare_instants(child->end, latest) <= 0;
		child->in_line = child->joins && !overlaps;
	}
}

/* Lays the children out, those of each span by time. */
static void
lay_out_children(Spans *s)
{
	int32		child = 0;

	s->children = tex_new_array(sizeof(int32), s->n, 0);
	for (int32 i = 0; i < s->n; i++)
	{
		s->spans[i].child = child;
		child += s->spans[i].nchildren;
		s->spans[i].nchildren = 0;
	}
	for (int32 i = 0; i < s->n; i++)
	{
		Span	   *parent;

		CHECK_FOR_INTERRUPTS();
		if (s->spans[i].parent == NO_SPAN)
			continue;
		parent = &s->spans[s->spans[i].parent];
		find_limits(parent, &s->spans[i]);
		s->children[parent->child + parent->nchildren++] = i;
	}
	for (int32 i = 0; i < s->n; i++)
		judge_children(s, &s->spans[i]);
}

/* ----------------------------------------------------------------
 *		Along the tree
 * ----------------------------------------------------------------
 */

/* For a pairing heap, whose first is the greatest: what ends first. */
static int
compare_joins(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const Join *x = pairingheap_const_container(Join, node, a);
	const Join *y = pairingheap_const_container(Join, node, b);

	return compare_instants(y->after, x->after);
}

/* Begins a span, in a strand of its own or in that of the frame below. */
static void
push(Spans *s, int32 span, bool shares)
{
	Frame	   *frame;

	if (s->nframes == s->frames_room)
	{
		s->frames_room *= 2;
		s->frames = repalloc_huge(s->frames, sizeof(Frame) * (Size) s->frames_room);
	}
	frame = &s->frames[s->nframes++];
	*frame = (Frame) {.span = span,.strand = -1,.last = TEX_NO_EVENT,.shares = shares};
	if (shares)
	{
		frame->strand = frame[-1].strand;
		frame->last = frame[-1].last;
	}
	frame->joins.ph_compare = compare_joins;
	s->spans[span].done = true;
}

/* Orders what ended in a child before an event. */
static void
add_edges(Spans *s, const Join *join, int32 event)
{
	for (const Sink *sink = join->first; sink; sink = sink->next)
		tex_edges_add(s->edges, sink->event, event);
}

/* Orders what joined a frame before an event in line: all, or what ended up to a time. */
static void
take_joins(Spans *s, Frame *frame, int32 event, const Instant *until)
{
	while (!pairingheap_is_empty(&frame->joins))
	{
		Join	   *join = pairingheap_container(Join, node, pairingheap_first(&frame->joins));

		CHECK_FOR_INTERRUPTS();
		if (until && compare_instants(join->after, *until) > 0)
			return;
		add_edges(s, join, event);
		join->taken = true;
		pairingheap_remove_first(&frame->joins);
	}
	frame->in_line = NULL;
}

/* Orders all that joined a frame before an event beside the line: the next one in line takes it too. */
static void
pass_joins(Spans *s, Frame *frame, int32 event)
{
	Join	   *passed = NULL;

	while (!pairingheap_is_empty(&frame->joins))
	{
		Join	   *join = pairingheap_container(Join, node, pairingheap_remove_first(&frame->joins));

		CHECK_FOR_INTERRUPTS();
		add_edges(s, join, event);
		join->next_passed = passed;
		passed = join;
	}
	for (; passed; passed = passed->next_passed)
		pairingheap_add(&frame->joins, &passed->node);
}

/* Orders what stands in line, and is not taken, before the first event of a child that forks. */
static void
cross(Spans *s, Frame *frame, int32 event)
{
	Join	  **link = &frame->in_line;

	if (s->crossing_trace != s->history->events[event].trace)
	{
		s->crossing_trace = s->history->events[event].trace;
		s->crossings = 0;
	}
	while (*link)
	{
		if ((*link)->taken)
		{
			*link = (*link)->next_in_line;
			continue;
		}
		for (const Sink *sink = (*link)->first; sink && s->crossings < MOST_CROSSINGS; sink = sink->next)
		{
			CHECK_FOR_INTERRUPTS();
			tex_edges_add(s->edges, sink->event, event);
			s->crossings++;
		}
		link = &(*link)->next_in_line;
	}
}

/* The next event of a span itself. */
static void
step_own(Spans *s, Frame *frame)
{
	const Span *span = &s->spans[frame->span];
	int32		slot = span->slot + frame->next_own++;
	int32		e = s->own[slot];
	TexEvent   *event = &s->history->events[e];

	if (frame->strand < 0)
		frame->strand = s->new_strand(s->arg, event->trace);
	event->strand = frame->strand;
	if (event->parent != TEX_NO_EVENT)
		tex_edges_add(s->edges, event->parent, e);
	if (frame->last != TEX_NO_EVENT && frame->last != event->parent)
		tex_edges_add(s->edges, frame->last, e);
	/* What joined before the start is of the frame below, and taken there. */
	take_joins(s, frame, e, &s->at[slot]);
	frame->last = e;
}

/* The next child of a span. */
static void
step_child(Spans *s, Frame *frame)
{
	const Span *span = &s->spans[frame->span];
	int32		c = s->children[span->child + frame->next_child++];
	const Span *child = &s->spans[c];
	bool		interrupted = frame->next_own < span->nown &&
		compare_instants(s->at[span->slot + frame->next_own], child->after) < 0;

	if (child->done)
		return;
	if (child->in_line && !interrupted)
	{
		take_joins(s, frame, child->first, NULL);
		push(s, c, true);
		return;
	}
	if (frame->last != TEX_NO_EVENT)
		tex_edges_add(s->edges, frame->last, child->first);
	if (child->in_line)
		pass_joins(s, frame, child->first);
	else
		cross(s, frame, child->first);
	push(s, c, false);
}

/* Ends a span: what it leaves to its parent. */
static void
pop(Spans *s)
{
	Frame	   *frame = &s->frames[--s->nframes];
	const Span *span = &s->spans[frame->span];
	Frame	   *below = s->nframes > 0 ? frame - 1 : NULL;
	Join	   *left;

	if (below == NULL || !span->joins)
		return;
	left = palloc0(sizeof(Join));
	left->after = span->after;
	if (frame->shares)
	{
		below->strand = frame->strand;
		below->last = frame->last;
	}
	else
	{
		left->first = left->last = palloc(sizeof(Sink));
		*left->first = (Sink) {frame->last, NULL};
	}
	while (!pairingheap_is_empty(&frame->joins))
	{
		Join	   *join = pairingheap_container(Join, node, pairingheap_remove_first(&frame->joins));

		CHECK_FOR_INTERRUPTS();
		if (left->last)
			left->last->next = join->first;
		else
			left->first = join->first;
		left->last = join->last;
	}
	if (left->first == NULL)
		return;
	pairingheap_add(&below->joins, &left->node);
	if (span->in_line)
	{
		left->next_in_line = below->in_line;
		below->in_line = left;
	}
}

/* Goes through a span and all below it. */
static void
walk(Spans *s, int32 root)
{
	push(s, root, false);
	while (s->nframes > 0)
	{
		Frame	   *frame = &s->frames[s->nframes - 1];
		const Span *span = &s->spans[frame->span];
		bool		own_left = frame->next_own < span->nown;
		bool		child_left = frame->next_child < span->nchildren;

		CHECK_FOR_INTERRUPTS();
		if (!own_left && !child_left)
			pop(s);
		else if (!child_left || (own_left && frame->next_own == 0 && span->first != TEX_NO_EVENT) ||
				 (own_left && compare_instants(s->at[span->slot + frame->next_own],
											   s->spans[s->children[span->child + frame->next_child]].before) <= 0))
			step_own(s, frame);
		else
			step_child(s, frame);
	}
}

/*
 * Gives the events of OpenTelemetry their strands, and adds the edges of their order, rules 1 and 2
 * of docs/races.md. The history is prepared and has no cycles of parents. Costs a pass over the
 * events where there is none of OpenTelemetry.
 */
void
tex_spans_assign(TexHistory *history, TexEdges *edges, TexNewStrand new_strand, void *arg)
{
	Spans		s = {.history = history,.edges = edges,.new_strand = new_strand,.arg = arg,.room = 64,
	.frames_room = 64,.crossing_trace = -1};
	MemoryContext context;
	MemoryContext old;
	HASHCTL		ctl = {.keysize = sizeof(SpanKey),.entrysize = sizeof(SpanEntry)};
	bool		any = false;

	for (int32 i = 0; i < history->nevents && !any; i++)
	{
		CHECK_FOR_INTERRUPTS();
		any = history->events[i].flags & TEX_EVENT_OTLP;
	}
	if (!any)
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext spans", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	ctl.hcxt = context;
	s.by_name = hash_create("spans of traces", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.entrysize = sizeof(Clock);
	s.clocks = hash_create("clocks of processes", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	s.spans = palloc(sizeof(Span) * s.room);
	s.span_of = tex_new_array(sizeof(int32), history->nevents, 0xff);
	s.own = tex_new_array(sizeof(int32), history->nevents, 0);
	s.at = tex_new_array(sizeof(Instant), history->nevents, 0);
	collect_spans(&s);
	find_parents(&s);
	lay_out_events(&s);
	find_intervals(&s);
	lay_out_children(&s);
	s.frames = palloc(sizeof(Frame) * s.frames_room);
	for (int32 i = 0; i < s.n; i++)
		if (s.spans[i].parent == NO_SPAN)
			walk(&s, i);
	/* A circle of spans whose parents are cut nowhere, as of ids that occur twice. */
	for (int32 i = 0; i < s.n; i++)
		if (!s.spans[i].done)
			walk(&s, i);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
