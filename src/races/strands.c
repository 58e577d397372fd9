/*
 * strands.c
 *		Strands: the units of program order.
 *
 * What clients call a thread is an OS thread, a request's context, or nothing
 * that runs in sequence at all.  trace_ext.thread_kind says which; under "auto",
 * the data decides, trace by trace:
 *
 *	- A thread id under which an event has two children of that same thread id
 *	  names a context with concurrency inside: its strands follow the parent tree.
 *	  An event continues its parent's strand if the parent is that strand's last
 *	  event, else it starts a new one.
 *	- Any other thread id is one strand, as an OS thread is.
 *	- Work that moves to another thread of its process takes its strand along: the
 *	  parent is the last event of its strand, has no other child, is not a spawn,
 *	  and the thread it leaves goes on only with work that comes from elsewhere.
 *	  So a task keeps its locks when it changes threads.  The order of a thread's
 *	  own events is kept beside that, as edges.
 *
 * Strands belong to one trace.  One OS thread that serves two traces is two
 * strands with an order between them: always under "os"; under "auto" only if the
 * thread served them one after the other, because an event loop that interleaves
 * requests on one thread orders nothing.
 *
 * Events of OpenTelemetry have strands by the intervals of their spans (spans.c).
 *
 * Nothing here recurses: parent chains may be a million long.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "guc.h"
#include "races/arrays.h"
#include "races/client_clocks.h"
#include "races/spans.h"
#include "races/strands.h"

typedef struct Strand
{
	int32		trace;
	int32		local;			/* number within the trace */
	int32		last;			/* latest event so far */
} Strand;

/* A thread id, in one trace. */
typedef struct Thread
{
	bool		branching;		/* an event has two children of this thread */
	int32		strand;			/* of its latest event, or -1 */
	int32		first;
	int32		last;			/* latest event so far, or TEX_NO_EVENT */
} Thread;

typedef struct Assignment
{
	TexHistory *history;
	TexEdges   *edges;
	Thread	   *threads;
	Strand	   *strands;
	int32		strands_room;
	int32	   *children;		/* of each event: number of children */
	int32	   *thread_child;	/* a child of the same thread, or TEX_NO_EVENT */
	int32	   *next_in_thread;
} Assignment;

/*
 * Cut each cycle of parents at its earliest event, which is marked.
 *
 * color: 0 not seen, -1 leads to a root, else the number of the walk that is on it.
 */
static void
cut_cycles(TexHistory *history)
{
	TexEvent   *events = history->events;
	int32	   *color = tex_new_array(sizeof(int32), history->nevents, 0);

	for (int32 start = 0; start < history->nevents; start++)
	{
		int32		at = start;

		CHECK_FOR_INTERRUPTS();
		while (at != TEX_NO_EVENT && color[at] == 0)
		{
			CHECK_FOR_INTERRUPTS();
			color[at] = start + 1;
			at = events[at].parent;
		}
		if (at != TEX_NO_EVENT && color[at] == start + 1)
		{
			int32		earliest = at;

			for (int32 e = events[at].parent; e != at; e = events[e].parent)
			{
				CHECK_FOR_INTERRUPTS();
				earliest = Min(earliest, e);
			}
			events[earliest].parent = TEX_NO_EVENT;
			events[earliest].flags |= TEX_EVENT_IN_CYCLE;
			history->traces[events[earliest].trace].parent_missing = true;
		}
		for (at = start; at != TEX_NO_EVENT && color[at] == start + 1; at = events[at].parent)
		{
			CHECK_FOR_INTERRUPTS();
			color[at] = -1;
		}
	}
	pfree(color);
}

/*
 * The events, by parents and client clocks, else by time.
 */
static int32 *
order_by_parents(TexHistory *history)
{
	TexEdges   *tree = tex_edges_create(history->nevents);
	int32	   *order = tex_new_array(sizeof(int32), history->nevents, 0);
	TexSequence *sequence;

	for (int32 i = 0; i < history->nevents; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (history->events[i].parent != TEX_NO_EVENT)
			tex_edges_add(tree, history->events[i].parent, i);
	}
	tex_add_clock_edges(history, tree);

	sequence = tex_sequence_create(tree->indegree, history->nevents);
	for (int32 i = 0; i < history->nevents; i++)
	{
		CHECK_FOR_INTERRUPTS();
		order[i] = tex_sequence_next(sequence);
		if (order[i] < 0)		/* clocks contradict parents */
			order[i] = tex_sequence_force(sequence);
		tex_foreach_edge(edge, tree, order[i])
			tex_sequence_release(sequence, tree->to[edge]);
	}
	tex_sequence_free(sequence);
	tex_edges_free(tree);
	return order;
}

/* Finds out which threads branch, how many children an event has, and what comes next in its thread. */
static void
look_at_threads(Assignment *a, const int32 *order)
{
	TexEvent   *events = a->history->events;

	for (int32 t = 0; t < a->history->nthreads; t++)
		a->threads[t] = (Thread) {false, -1, TEX_NO_EVENT, TEX_NO_EVENT};

	for (int32 i = 0; i < a->history->nevents; i++)
	{
		int32		e = order[i];
		int32		parent = events[e].parent;
		Thread	   *thread = &a->threads[events[e].thread];

		CHECK_FOR_INTERRUPTS();
		if (events[e].flags & TEX_EVENT_OTLP)
			continue;
		if (thread->first == TEX_NO_EVENT)
			thread->first = e;
		if (thread->last != TEX_NO_EVENT)
			a->next_in_thread[thread->last] = e;
		thread->last = e;
		if (parent == TEX_NO_EVENT)
			continue;
		a->children[parent]++;
		if (events[parent].thread == events[e].thread)
		{
			if (a->thread_child[parent] != TEX_NO_EVENT)
				thread->branching = true;
			else
				a->thread_child[parent] = e;
		}
	}
	for (int32 t = 0; t < a->history->nthreads; t++)
		a->threads[t].last = TEX_NO_EVENT;
}

/* A new strand of a trace, without events. A TexNewStrand. */
static int32
new_strand(void *arg, int32 trace)
{
	Assignment *a = arg;
	TexHistory *history = a->history;

	if (history->nstrands == a->strands_room)
	{
		a->strands_room *= 2;
		a->strands = repalloc_huge(a->strands, sizeof(Strand) * (Size) a->strands_room);
	}
	a->strands[history->nstrands] =
		(Strand) {trace, history->traces[trace].nstrands++, TEX_NO_EVENT};
	return history->nstrands++;
}

/*
 * Whether the work of an event's parent, on another thread, goes on in this event.
 */
static bool
moved_here(Assignment *a, int32 e)
{
	TexEvent   *events = a->history->events;
	int32		parent = events[e].parent;
	int32		next = a->next_in_thread[parent];

	if (events[parent].place != events[e].place || events[parent].kind == TEX_ASYNC_SPAWN ||
		events[parent].task != TEX_NO_NAME || events[e].task != TEX_NO_NAME ||
		a->children[parent] != 1 || a->strands[events[parent].strand].last != parent)
		return false;
	return next == TEX_NO_EVENT ||
		(events[next].parent != TEX_NO_EVENT &&
		 events[events[next].parent].thread != events[next].thread);
}

/* The strand that an event continues, or -1. */
static int32
continued_strand(Assignment *a, int32 e)
{
	TexEvent   *events = a->history->events;
	Thread	   *thread = &a->threads[events[e].thread];
	int32		parent = events[e].parent;
	int32		strand;

	if (tex_thread_kind != TEX_THREAD_AUTO)
		return thread->strand;
	if (parent == TEX_NO_EVENT)
		return thread->branching ? -1 : thread->strand;
	strand = events[parent].strand;
	if (events[parent].thread != events[e].thread || (events[parent].flags & TEX_EVENT_OTLP))
	{
		if (!(events[parent].flags & TEX_EVENT_OTLP) && moved_here(a, e))
			return strand;
		return thread->branching ? -1 : thread->strand;
	}
	if (a->strands[strand].last == parent)
		return strand;
	return thread->branching ? -1 : thread->strand;
}

/*
 * Gives an event its strand, and adds the edges to it: from its parent, from the event before it in
 * the strand, and from the one before it in the thread if that went on in another strand.
 */
static void
assign(Assignment *a, int32 e)
{
	TexEvent   *event = &a->history->events[e];
	Thread	   *thread = &a->threads[event->thread];
	int32		strand = continued_strand(a, e);
	int32		before;

	if (strand < 0)
		strand = new_strand(a, event->trace);
	event->strand = strand;
	before = a->strands[strand].last;
	if (event->parent != TEX_NO_EVENT)
		tex_edges_add(a->edges, event->parent, e);
	if (before != TEX_NO_EVENT && before != event->parent)
		tex_edges_add(a->edges, before, e);
	if (thread->last != TEX_NO_EVENT && !thread->branching && thread->strand != strand &&
		thread->last != event->parent)
		tex_edges_add(a->edges, thread->last, e);
	thread->strand = strand;
	thread->last = e;
	a->strands[strand].last = e;
}

/* Number the strands so that those of a trace follow each other. */
static void
renumber(Assignment *a)
{
	TexHistory *history = a->history;
	int32		next = 0;

	for (int32 t = 0; t < history->ntraces; t++)
	{
		history->traces[t].first_strand = next;
		next += history->traces[t].nstrands;
	}
	for (int32 i = 0; i < history->nevents; i++)
	{
		const Strand *strand = &a->strands[history->events[i].strand];

		CHECK_FOR_INTERRUPTS();
		history->events[i].strand = history->traces[strand->trace].first_strand + strand->local;
	}
}

/* A thread's part in one trace, for the order across traces. */
typedef struct Stay
{
	int32		place;
	int32		thread_name;
	int32		thread;
	int32		first;
	int32		last;
} Stay;

/* For qsort(): stays of one thread together, in the order of time. */
static int
compare_stays(const void *a, const void *b)
{
	const Stay *x = a;
	const Stay *y = b;

	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	if (x->thread_name != y->thread_name)
		return x->thread_name < y->thread_name ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

/*
 * Under "auto": order the traces that a thread served, where it did so in turn.
 * A stay that another one overlaps is an event loop's.  That is seen from the stays
 * around it alone: it must not depend on what else is loaded.  Event numbers are
 * places in time.
 */
static void
order_stays(Assignment *a, const Stay *stays, int32 n)
{
	int32		busy_until = -1;
	bool		before_alone = false;

	for (int32 i = 0; i < n; i++)
	{
		bool		alone = busy_until < stays[i].first &&
			(i + 1 == n || stays[i].last < stays[i + 1].first);

		if (alone && before_alone)
			tex_edges_add(a->edges, stays[i - 1].last, stays[i].first);
		before_alone = alone;
		busy_until = Max(busy_until, stays[i].last);
	}
}

/*
 * Under "os": order all that a thread did, whichever traces it served.
 */
static void
order_thread(Assignment *a, const int32 *order, const int32 *group, int32 ngroups)
{
	TexEvent   *events = a->history->events;
	int32	   *last = tex_new_array(sizeof(int32), ngroups, 0xff);

	for (int32 i = 0; i < a->history->nevents; i++)
	{
		int32		e = order[i];
		int32		g = group[events[e].thread];

		CHECK_FOR_INTERRUPTS();
		if (g < 0 || (events[e].flags & TEX_EVENT_OTLP))
			continue;
		if (last[g] != TEX_NO_EVENT && events[last[g]].trace != events[e].trace)
			tex_edges_add(a->edges, last[g], e);
		last[g] = e;
	}
	pfree(last);
}

/*
 * The order between the traces that one thread served.
 */
static void
order_across_traces(Assignment *a, const int32 *order)
{
	int32		nthreads = a->history->nthreads;
	Stay	   *stays;
	int32	   *group;
	int32		n = 0;
	int32		ngroups = 0;

	if (tex_thread_kind == TEX_THREAD_TASK || a->history->ntraces < 2)
		return;
	stays = tex_new_array(sizeof(Stay), nthreads, 0);
	group = tex_new_array(sizeof(int32), nthreads, 0xff);
	for (int32 t = 0; t < nthreads; t++)
	{
		const Thread *thread = &a->threads[t];
		const TexEvent *first = &a->history->events[Max(thread->first, 0)];

		if (thread->first != TEX_NO_EVENT && first->thread_name != TEX_NO_NAME && first->task == TEX_NO_NAME &&
			!(thread->branching && tex_thread_kind == TEX_THREAD_AUTO))
			stays[n++] = (Stay) {first->place, first->thread_name, t, thread->first, thread->last};
	}
	qsort(stays, n, sizeof(Stay), compare_stays);
	for (int32 from = 0, to; from < n; from = to, ngroups++)
	{
		for (to = from; to < n && stays[to].place == stays[from].place &&
			 stays[to].thread_name == stays[from].thread_name; to++)
			group[stays[to].thread] = ngroups;
		if (tex_thread_kind == TEX_THREAD_AUTO)
			order_stays(a, &stays[from], to - from);
	}
	if (tex_thread_kind == TEX_THREAD_OS)
		order_thread(a, order, group, ngroups);
	pfree(stays);
	pfree(group);
}

/*
 * The history is prepared; its events get their strand, its traces the numbers of theirs.
 * Cycles of parents are cut. The edges are those of rules 1 and 2; the order returned is in
 * the current memory context.
 */
int32 *
tex_strands_assign(TexHistory *history, TexEdges *edges)
{
	Assignment	a = {.history = history,.edges = edges,.strands_room = 64};
	int32	   *order;

	cut_cycles(history);
	order = order_by_parents(history);
	a.threads = tex_new_array(sizeof(Thread), history->nthreads, 0);
	a.strands = tex_new_array(sizeof(Strand), a.strands_room, 0);
	a.children = tex_new_array(sizeof(int32), history->nevents, 0);
	a.thread_child = tex_new_array(sizeof(int32), history->nevents, 0xff);
	a.next_in_thread = tex_new_array(sizeof(int32), history->nevents, 0xff);
	look_at_threads(&a, order);
	tex_spans_assign(history, edges, new_strand, &a);
	for (int32 i = 0; i < history->nevents; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!(history->events[order[i]].flags & TEX_EVENT_OTLP))
			assign(&a, order[i]);
	}
	order_across_traces(&a, order);
	renumber(&a);
	pfree(a.threads);
	pfree(a.strands);
	pfree(a.children);
	pfree(a.thread_child);
	pfree(a.next_in_thread);
	return order;
}
