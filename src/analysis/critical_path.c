/*
 * critical_path.c
 *		The chain that decided how long a trace took: critical_path().
 *
 * After CRISP (Zhang et al., USENIX ATC '22): walked back from the end of the trace,
 * always by what finished last.  Each microsecond of the trace's extent is given to
 * one event, so contributions add up to the extent exactly.
 *
 * Definition
 * ----------
 * An event e lasts from s(e) to f(e) (answers.c); a point has s = f.  But where they have no
 * duration of their own a lock acquire lasts only as long as it waited, and a spawn is a
 * point: to hold a lock, or to have a task run, is not to do something.  The causes of an event are
 * those of causal_order(), all earlier in the sequence.  It is enclosed by the
 * nearest ancestor that took time and did not end before it (enclosing.c), else by
 * the trace, which lasts from the first start to the last end of its events; those it
 * encloses are its parts.
 *
 * The walk is in an event e at a time t, which never grows.  It begins in the trace,
 * at its end.  "The last" is the one with the latest f; of these the one with the
 * latest s; of these the latest in the sequence.
 *
 *	1. Inside.  If there are parts x of e that the walk was not in before, with
 *	   s(e) <= f(x) <= t, it takes the last: the time from f(x) to t is e's own, and
 *	   the walk is in x at f(x).  So with what an await waited for, its causes in other
 *	   strands but for its parent and the spawn; and with the release that let a lock
 *	   acquire go on (handovers.c).  In the trace as a whole, a part that was still going
 *	   on at t counts as one that ended at t.
 *	2. The begin.  Else the time from s(e) to t is e's own, t becomes s(e) if that is
 *	   earlier, and the walk never comes back into e.
 *	3. Before.  Next is the cause c of e that arrives last.  One with f(c) <= t, in
 *	   which the walk was not, arrives at f(c): the time from there to t lies between c and
 *	   e, and the walk is in c at f(c).  Any other one that the walk can come back into was
 *	   going on at t: it arrives when the last of its parts did that step 1 would take,
 *	   or it began; the walk is in it at t.  Of several that arrive at once, a finished one
 *	   is taken before one that goes on, then the latest s, then the latest in the sequence.
 *	   In OpenTelemetry c is the outermost span around it that ended before t.
 *	   Where there is no cause left, the walk is in what encloses e, or in the trace, at t.
 *
 * Locks.  The release that let an acquire e go on is one of the causes of step 3 as well,
 * where it came a little before e; other releases of that lock by other threads are none.
 * From it the walk goes through what the holder did, in another trace too, back to
 * the moment at which the wait began: s(e), or in step 3 when the last of the other
 * causes arrives, or the trace began.  All that time is "wait for lock", and from there the walk goes
 * on before e.
 *
 * Who gets the time?  Time between two things goes to the point after which it passed, where that
 * is in the same strand: clients that record points say what was done until the next one.
 * Between events that took time it is work of what encloses both.
 *
 * Costs a sort and what the edges cost: the parts of each event are in the order of
 * their ends, and as t never grows, what was passed over once is never looked at
 * again.
 */
#include "postgres.h"

#include <math.h>

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analysis/clock_offsets.h"
#include "analysis/critical_path.h"
#include "analysis/enclosing.h"
#include "analysis/handovers.h"
#include "analysis/linked.h"
#include "analysis/trace_tree.h"
#include "races/arrays.h"

PG_FUNCTION_INFO_V1(tex_critical_path_of);

/* An event may be entered, and left for good. */
#define WAS_IN	0x01
#define LEFT	0x02

typedef struct Walk
{
	const TexOneTrace *one;
	const int32 *parent;
	int32	   *enclosing;		/* event, or TEX_NO_EVENT: the trace */
	int32	   *handovers;		/* of each acquire: what ended its wait, or TEX_NO_EVENT */
	TexLists	parts;			/* of each event, and after them of each trace; the last first */
	int32	   *next_part;		/* of each: the first that was not passed over */
	uint8	   *marks;
	bool	   *has_local_child;	/* in its own instance */
	int32		event;			/* where the walk is; from n on: in a trace */
	int32		came_from;		/* the event that it came back from, if that is where it is */
	TimestampTz at;
	bool		at_begin;		/* ... of that event, which it has left: step 3 is next */
	int32		acquire;		/* that waits for the holder it is in, or TEX_NO_EVENT */
	TimestampTz waited_since;
	TexSegment *segments;		/* latest first */
	int32		nsegments;
	int32		room;
} Walk;

/* For qsort_arg(): the last one first. */
static int
compare_ends(const void *a, const void *b, void *arg)
{
	CHECK_FOR_INTERRUPTS();
	return tex_compare_ends(arg, *(const int32 *) a, *(const int32 *) b);
}

/* The parts of each event and of each trace. */
static void
collect_parts(Walk *walk)
{
	const TexOneTrace *one = walk->one;
	int32		owners = one->n + one->history->ntraces;
	int32	   *owner = tex_new_array(sizeof(int32), one->n, 0);
	int32	   *by_end = tex_new_array(sizeof(int32), one->n, 0);
	bool		sorted = true;

	for (int32 i = 0; i < one->n; i++)
	{
		owner[i] = walk->enclosing[i] != TEX_NO_EVENT ? walk->enclosing[i] : one->n + one->events[i].trace;
		by_end[i] = one->n - 1 - i;
		sorted &= i == 0 || tex_compare_ends(one, by_end[i - 1], by_end[i]) < 0;
	}
	if (!sorted)
		qsort_arg(by_end, one->n, sizeof(int32), compare_ends, (void *) one);
	walk->parts = tex_lists_of(owner, owners, by_end, one->n);
	walk->next_part = tex_new_array(sizeof(int32), owners, 0);
	memcpy(walk->next_part, walk->parts.first, sizeof(int32) * (Size) owners);
	pfree(owner);
	pfree(by_end);
}

static inline bool
in_trace(const Walk *walk)
{
	return walk->event >= walk->one->n;
}

/* Whether an event took no time. */
static inline bool
is_point(const TexOneTrace *one, int32 event)
{
	return tex_lasted(one, event) == 0;
}

/*
 * The last part of an event that had ended at the walk's time, or TEX_NO_EVENT.  What
 * is passed over is so for good: it was entered, or ended later than the walk's time.
 */
static int32
last_part(Walk *walk, int32 event)
{
	const TexOneTrace *one = walk->one;
	int32		end = walk->parts.first[event + 1];
	int32	   *at = &walk->next_part[event];

	for (; *at < end; ++*at)
	{
		int32		x = walk->parts.members[*at];

		CHECK_FOR_INTERRUPTS();
		if ((walk->marks[x] & WAS_IN) || one->extents[x].ended > walk->at)
			continue;
		if (one->extents[x].ended < one->extents[event].started)
			return TEX_NO_EVENT;	/* and so all that follow */
		return x;
	}
	return TEX_NO_EVENT;
}

/* The same of a trace, where a part that was going on counts. */
static int32
last_part_of_trace(Walk *walk, int32 owner)
{
	const TexOneTrace *one = walk->one;
	int32		end = walk->parts.first[owner + 1];
	int32	   *at = &walk->next_part[owner];

	for (; *at < end; ++*at)
	{
		int32		x = walk->parts.members[*at];

		CHECK_FOR_INTERRUPTS();
		if (!(walk->marks[x] & WAS_IN) &&
			(one->extents[x].ended <= walk->at || one->extents[x].started < walk->at))
			return x;
	}
	return TEX_NO_EVENT;
}

/* Whether a cause of an await is what it waits for: what a task did, and not who began it. */
static bool
is_awaited(const Walk *walk, int32 event, int32 cause)
{
	const TexOneTrace *one = walk->one;

	return one->events[event].kind == TEX_ASYNC_AWAIT &&
		one->events[cause].strand != one->events[event].strand &&
		cause != walk->parent[event] && one->answers[event] != cause;
}

/* Whether "a" is the last of the two, as the head of the file has it. */
static bool
is_later(const TexOneTrace *one, int32 a, int32 b)
{
	return b == TEX_NO_EVENT || tex_compare_ends(one, a, b) < 0;
}

/* Whether step 1 can take an event that is waited for. */
static bool
ended_inside(const Walk *walk, int32 event)
{
	const TexExtent *extent = &walk->one->extents[event];

	return !(walk->marks[event] & WAS_IN) && extent->ended <= walk->at &&
		extent->ended >= walk->one->extents[walk->event].started;
}

/* What step 1 takes, or TEX_NO_EVENT. */
static int32
last_inside(Walk *walk)
{
	const TexOneTrace *one = walk->one;
	int32		e = walk->event;
	int32		best;

	if (in_trace(walk))
		return last_part_of_trace(walk, e);
	best = last_part(walk, e);
	if (walk->handovers[e] != TEX_NO_EVENT && ended_inside(walk, walk->handovers[e]) &&
		is_later(one, walk->handovers[e], best))
		best = walk->handovers[e];
	if (one->events[e].kind == TEX_ASYNC_AWAIT)
		tex_foreach_member(cause, &one->causes, e)
			if (is_awaited(walk, e, *cause) && ended_inside(walk, *cause) && is_later(one, *cause, best))
				best = *cause;
	return best;
}

/* Gives time, up to where the walk is, to an event; what touches what was given before is one. */
static void
give(Walk *walk, TimestampTz from, int32 event, TexActivity activity)
{
	TexSegment *last = walk->nsegments > 0 ? &walk->segments[walk->nsegments - 1] : NULL;

	if (walk->acquire != TEX_NO_EVENT)
	{
		activity = TEX_WAIT_FOR_LOCK;
		from = Max(from, walk->waited_since);
		if (event == TEX_NO_EVENT)
			event = walk->acquire;
	}
	if (from >= walk->at)
		return;
	if (last && last->event == event && last->activity == activity)
		last->from = from;
	else
	{
		if (walk->nsegments == walk->room)
		{
			walk->room *= 2;
			walk->segments = repalloc_huge(walk->segments, sizeof(TexSegment) * (Size) walk->room);
		}
		walk->segments[walk->nsegments++] = (TexSegment) {event, activity, from, walk->at};
	}
	walk->at = from;
}

/* The walk is in an event, at a time that is not later than before; it may have come back from another one. */
static void
enter(Walk *walk, int32 event, TimestampTz at, int32 came_from)
{
	walk->came_from = came_from;
	walk->event = event;
	walk->at_begin = false;
	walk->at = Min(walk->at, at);
	if (event < walk->one->n)
		walk->marks[event] |= WAS_IN;
}

/*
 * Whether a request was sent by what recorded it, and not received: what comes before
 * and after its parts in other instances is then on the way.
 */
static bool
is_sending(const Walk *walk, int32 event)
{
	const TexOneTrace *one = walk->one;
	int32		parent = walk->parent[event];

	return one->events[event].kind == TEX_HTTP_REQUEST &&
		(!walk->has_local_child[event] ||
		 (parent != TEX_NO_EVENT && one->events[parent].instance == one->events[event].instance));
}

static bool
same_instance(const TexOneTrace *one, int32 a, int32 b)
{
	return one->events[a].instance == one->events[b].instance;
}

/* Gives an event's own time, beside another one: a part that ended, or began, or none. */
static void
give_inside(Walk *walk, TimestampTz from, int32 beside, bool after)
{
	const TexOneTrace *one = walk->one;
	int32		e = walk->event;

	if (in_trace(walk))
		give(walk, from, after ? beside : TEX_NO_EVENT, TEX_GAP);
	else if (one->events[e].kind == TEX_ASYNC_AWAIT)
		give(walk, from, e, TEX_WAIT_FOR_TASK);
	else if (beside == TEX_NO_EVENT)
		give(walk, from, e, TEX_WORK);
	else if (!same_instance(one, beside, e) && is_sending(walk, e))
		give(walk, from, e, TEX_NETWORK);
	else if (after && is_point(one, beside) && one->events[beside].strand == one->events[e].strand)
		give(walk, from, beside, TEX_WORK);
	else
		give(walk, from, e, TEX_WORK);
}

/* Whether a task that is awaited left an event that says when it ended. */
static bool
knows_task(const Walk *walk, int32 await)
{
	tex_foreach_member(cause, &walk->one->causes, await)
		if (is_awaited(walk, await, *cause))
			return true;
	return false;
}

/* Gives the time between the end of a cause and the begin of the event that the walk was in. */
static void
give_between(Walk *walk, int32 cause)
{
	const TexOneTrace *one = walk->one;
	int32		e = walk->event;
	int32		around = walk->enclosing[e];
	TimestampTz from = one->extents[cause].ended;

	if (one->events[e].kind == TEX_ASYNC_AWAIT &&
		(one->events[cause].strand != one->events[e].strand || !knows_task(walk, e)))
		give(walk, from, e, TEX_WAIT_FOR_TASK);
	else if (one->events[cause].kind == TEX_ASYNC_SPAWN && one->events[cause].strand != one->events[e].strand)
		give(walk, from, cause, TEX_WAIT_FOR_TASK);
	else if (!same_instance(one, cause, e))
		give(walk, from, cause, TEX_NETWORK);
	else if (is_point(one, cause))
		give(walk, from, cause, walk->enclosing[cause] != TEX_NO_EVENT ? TEX_WORK : TEX_GAP);
	else if (around != TEX_NO_EVENT && one->extents[around].started <= from)
		give(walk, from, around, TEX_WORK);
	else
		give(walk, from, cause, TEX_GAP);
}

/* The causes of an event, the one that arrives last and when the others do: step 3. */
typedef struct Arrival
{
	int32		cause;			/* or TEX_NO_EVENT */
	bool		finished;
	TimestampTz at;
	TimestampTz others;			/* DT_NOBEGIN: there are none */
} Arrival;

/* When a cause arrives; false if the walk cannot come from it. */
static bool
arrives(Walk *walk, int32 cause, bool *finished, TimestampTz *at)
{
	const TexOneTrace *one = walk->one;
	const TexExtent *extent = &one->extents[cause];
	int32		part;

	*finished = extent->ended <= walk->at;
	if (*finished)
	{
		*at = extent->ended;
		return !(walk->marks[cause] & WAS_IN);
	}
	if (walk->marks[cause] & LEFT)
		return false;
	*at = Min(extent->started, walk->at);
	part = last_part(walk, cause);
	if (part != TEX_NO_EVENT)
		*at = Max(*at, one->extents[part].ended);
	return true;
}

/* Whether a cause is no more than who had a lock before: who let an acquire wait is known otherwise. */
static bool
only_had_lock(const TexOneTrace *one, int32 event, int32 cause)
{
	return one->events[event].kind == TEX_LOCK_ACQUIRE && one->events[cause].kind == TEX_LOCK_RELEASE &&
		one->events[cause].lock == one->events[event].lock &&
		one->events[cause].thread != one->events[event].thread;
}

/* Compares a cause with the last one so far. */
static void
note_arrival(Walk *walk, Arrival *best, int32 cause)
{
	const TexOneTrace *one = walk->one;
	Arrival		this = {.cause = cause,.others = best->others};
	bool		better = true;

	if (!arrives(walk, cause, &this.finished, &this.at))
		return;
	if (best->cause != TEX_NO_EVENT)
	{
		if (this.at != best->at)
			better = this.at > best->at;
		else if (this.finished != best->finished)
			better = this.finished;
		else if (one->extents[cause].started != one->extents[best->cause].started)
			better = one->extents[cause].started > one->extents[best->cause].started;
		else
			better = tex_order_position(one->order, cause) > tex_order_position(one->order, best->cause);
		this.others = Max(this.others, better ? best->at : this.at);
	}
	if (better)
		*best = this;
	else
		best->others = this.others;
}

/*
 * In OpenTelemetry what stands before an event is a span that has ended, not the last thing that
 * happened in it: what its parent did from then on is the parent's own.
 */
static int32
span_before(const Walk *walk, int32 cause)
{
	const TexOneTrace *one = walk->one;
	int32		span = cause;

	if (!(one->events[cause].flags & TEX_EVENT_OTLP))
		return cause;
	while (walk->enclosing[span] != TEX_NO_EVENT && one->extents[walk->enclosing[span]].ended < walk->at)
		span = walk->enclosing[span];
	return span;
}

/* The cause that arrives last. */
static Arrival
last_arrival(Walk *walk)
{
	const TexOneTrace *one = walk->one;
	int32		handover = walk->handovers[walk->event];
	Arrival		best = {.cause = TEX_NO_EVENT,.others = DT_NOBEGIN};

	tex_foreach_member(cause, &one->causes, walk->event)
	{
		CHECK_FOR_INTERRUPTS();
		if (!only_had_lock(one, walk->event, *cause))
			note_arrival(walk, &best, span_before(walk, *cause));
	}
	if (handover != TEX_NO_EVENT && one->extents[handover].ended <= walk->at)
		note_arrival(walk, &best, handover);
	return best;
}

/* From here on the walk is in what kept an acquire waiting, until that began to wait. */
static void
begin_wait(Walk *walk, int32 acquire, int32 release, TimestampTz since)
{
	if (walk->acquire == TEX_NO_EVENT && walk->handovers[acquire] == release)
	{
		walk->acquire = acquire;
		walk->waited_since = since;
	}
}

/* Step 3: what came before the event that the walk was in. */
static void
step_before(Walk *walk)
{
	const TexOneTrace *one = walk->one;
	int32		e = walk->event;
	int32		around = walk->enclosing[e];
	Arrival		arrival = last_arrival(walk);

	if (arrival.cause == TEX_NO_EVENT)
	{
		bool		can_go_on = around != TEX_NO_EVENT && !(walk->marks[around] & LEFT);

		enter(walk, can_go_on ? around : one->n + one->events[e].trace, walk->at, e);
	}
	else if (!arrival.finished)
		enter(walk, arrival.cause, walk->at, e);
	else
	{
		/* The wait is the acquire's, and began when it could not go on. */
		begin_wait(walk, e, arrival.cause,
				   Max(arrival.others, one->history->traces[one->events[e].trace].extent.started));
		if (walk->acquire == e)
			give(walk, one->extents[arrival.cause].ended, e, TEX_WAIT_FOR_LOCK);
		else
			give_between(walk, arrival.cause);
		enter(walk, arrival.cause, one->extents[arrival.cause].ended, TEX_NO_EVENT);
	}
}

/* Steps 1 and 2; false at the begin of the trace. */
static bool
step_inside(Walk *walk)
{
	const TexOneTrace *one = walk->one;
	int32		e = walk->event;
	int32		x = last_inside(walk);
	TimestampTz started;

	if (x != TEX_NO_EVENT)
	{
		give_inside(walk, Min(one->extents[x].ended, walk->at), x, true);
		if (!in_trace(walk))
			begin_wait(walk, e, x, one->extents[e].started);
		enter(walk, x, one->extents[x].ended, TEX_NO_EVENT);
		return true;
	}
	started = in_trace(walk) ? one->history->traces[e - one->n].extent.started : one->extents[e].started;
	if (started < walk->at)
		give_inside(walk, started, walk->came_from, false);
	if (in_trace(walk))
		return false;
	walk->marks[e] |= LEFT;
	walk->at_begin = true;
	return true;
}

/* Back to an acquire whose wait was walked through: on before it. */
static void
end_wait(Walk *walk)
{
	/* What the holder did since then does not explain all of it. */
	give(walk, walk->waited_since, walk->acquire, TEX_WAIT_FOR_LOCK);
	walk->at = walk->waited_since;
	walk->event = walk->acquire;
	walk->acquire = TEX_NO_EVENT;
	walk->marks[walk->event] |= WAS_IN | LEFT;
	walk->at_begin = true;
}

/* The extents of all events, but of acquires only up to when they had the lock, and of spawns as they are recorded. */
static TexExtent *
extents_of_work(const TexOneTrace *one, const int32 *handovers)
{
	TexExtent  *extents = tex_new_array(sizeof(TexExtent), one->n, 0);

	memcpy(extents, one->extents, sizeof(TexExtent) * (Size) one->n);
	for (int32 i = 0; i < one->n; i++)
	{
		if ((one->events[i].kind != TEX_LOCK_ACQUIRE && one->events[i].kind != TEX_ASYNC_SPAWN) ||
			one->events[i].extent.ended > one->events[i].extent.started)
			continue;
		extents[i].ended = extents[i].started;
		if (handovers[i] != TEX_NO_EVENT)
			extents[i].ended = Max(extents[i].started, one->extents[handovers[i]].ended);
	}
	return extents;
}

/* What has a child in its own instance. */
static bool *
find_local_children(const TexOneTrace *one, const int32 *parent)
{
	bool	   *has = tex_new_array(sizeof(bool), one->n, 0);

	for (int32 i = 0; i < one->n; i++)
		if (parent[i] != TEX_NO_EVENT && same_instance(one, parent[i], i))
			has[parent[i]] = true;
	return has;
}

/*
 * The critical path of a trace, in the order of time: segments without a hole between,
 * from the begin of its extent to its end.  An event of another trace may be in it, where
 * that held a lock.
 */
TexSegment *
tex_critical_path(const TexOneTrace *all, int32 *n)
{
	TexOneTrace *one = memcpy(palloc(sizeof(TexOneTrace)), all, sizeof(TexOneTrace));
	Walk		walk = {.one = one,.acquire = TEX_NO_EVENT,.came_from = TEX_NO_EVENT,.room = 256};
	bool		more = true;

	walk.parent = tex_parents(one, true);
	walk.handovers = tex_handovers(one);
	one->extents = extents_of_work(all, walk.handovers);
	walk.enclosing = tex_enclosing(one, walk.parent);
	walk.has_local_child = find_local_children(one, walk.parent);
	walk.marks = tex_new_array(sizeof(uint8), one->n, 0);
	walk.segments = palloc(sizeof(TexSegment) * walk.room);
	collect_parts(&walk);
	walk.event = one->n + one->trace;
	walk.at = one->extent.ended;
	while (more)
	{
		CHECK_FOR_INTERRUPTS();
		if (walk.acquire != TEX_NO_EVENT && walk.at <= walk.waited_since)
			end_wait(&walk);
		else if (walk.at_begin)
			step_before(&walk);
		else if (!step_inside(&walk))
		{
			more = walk.acquire != TEX_NO_EVENT;
			if (more)
				end_wait(&walk);
		}
	}
	for (int32 i = 0, j = walk.nsegments - 1; i < j; i++, j--)
	{
		TexSegment	segment = walk.segments[i];

		walk.segments[i] = walk.segments[j];
		walk.segments[j] = segment;
	}
	*n = walk.nsegments;
	return walk.segments;
}

static const char *const activity_words[] = {
	[TEX_WORK] = "work",
	[TEX_WAIT_FOR_LOCK] = "wait for lock",
	[TEX_WAIT_FOR_TASK] = "wait for task",
	[TEX_NETWORK] = "network",
	[TEX_GAP] = "gap",
};

/* For qsort(): the longest first, else in the order of time. */
static int
compare_segments(const void *a, const void *b)
{
	const TexSegment *x = *(TexSegment *const *) a;
	const TexSegment *y = *(TexSegment *const *) b;
	int64		lx = tex_usecs_between(x->from, x->to);
	int64		ly = tex_usecs_between(y->from, y->to);

	CHECK_FOR_INTERRUPTS();
	if (lx != ly)
		return lx > ly ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* Which segments are to be shown: the longest, where they are too many. */
static bool *
choose_segments(TexSegment *segments, int32 n, int64 most)
{
	bool	   *shown = tex_new_array(sizeof(bool), n, most >= n);
	TexSegment **by_length;

	if (most >= n)
		return shown;
	by_length = tex_new_array(sizeof(TexSegment *), n, 0);
	for (int32 i = 0; i < n; i++)
		by_length[i] = &segments[i];
	qsort(by_length, n, sizeof(TexSegment *), compare_segments);
	for (int32 i = 0; i < most; i++)
		shown[by_length[i] - segments] = true;
	return shown;
}

/* One row. */
static void
put_segment(const TexOneTrace *one, const TexSegment *segment, int32 ordinal, TexSink *sink)
{
	int64		all = tex_usecs_between(one->extent.started, one->extent.ended);
	int64		part = tex_usecs_between(segment->from, segment->to);

	tex_sink_int(sink, ordinal);
	if (segment->event == TEX_NO_EVENT)
	{
		for (int i = 0; i < 4; i++)
			tex_sink_null(sink);
	}
	else
	{
		tex_sink_datum(sink, UUIDPGetDatum(&one->events[segment->event].id));
		tex_sink_event(sink, one, segment->event);
	}
	tex_sink_usecs(sink, tex_since_start(one, segment->from));
	tex_sink_usecs(sink, tex_since_start(one, segment->to));
	tex_sink_usecs(sink, part);
	/* To two digits behind the point: it is to be read. */
	tex_sink_number(sink, rint(part * 10000.0 / all) / 100);
	tex_sink_text(sink, activity_words[segment->activity]);
	tex_sink_end_row(sink);
}

/* The rows of critical_path(). */
void
tex_critical_path_rows(const TexOneTrace *one, TexSink *sink)
{
	int32		n;
	TexSegment *segments = tex_critical_path(one, &n);
	bool	   *shown = choose_segments(segments, n, sink->most);

	for (int32 i = 0; i < n; i++)
		if (shown[i])
			put_segment(one, &segments[i], i + 1, sink);
	tex_sink_end(sink, n, "steps, the longest");
}

/* critical_path(trace_id uuid, max_rows bigint, adjust boolean) */
Datum
tex_critical_path_of(PG_FUNCTION_ARGS)
{
	int64		most;
	TexOneTrace *one;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	most = tex_most_rows(fcinfo, 1, 10000);
	SPI_connect();
	one = tex_one_trace_load(PG_GETARG_UUID_P(0), TEX_BESIDE_LOCKS);
	if (one)
	{
		if (!PG_ARGISNULL(2) && PG_GETARG_BOOL(2))
			tex_adjust_clocks(one, tex_parents(one, true));
		tex_critical_path_rows(one, tex_sink_to_caller(fcinfo, most));
	}
	SPI_finish();
	return (Datum) 0;
}
