/*
 * one_trace.h
 *		One trace, loaded, with its order and the extents of its events.
 */
#ifndef TEX_ONE_TRACE_H
#define TEX_ONE_TRACE_H

#include "common/int.h"
#include "history/trace_load.h"
#include "races/happens_before.h"

/* A list of events for each event, one after the other. */
typedef struct TexLists
{
	int32	   *first;			/* of each event: where its list begins; one more at the end */
	int32	   *members;
} TexLists;

/* What of other traces is loaded as well. */
typedef enum TexBeside
{
	TEX_BESIDE_NOTHING,
	TEX_BESIDE_LOCKS,			/* what ran at that time and can have held a lock of it */
	TEX_BESIDE_LINKED			/* what spans of it called */
} TexBeside;

typedef struct TexOneTrace
{
	TexHistory *history;
	TexEvent   *events;			/* of the history */
	int32		n;				/* ... how many */
	int32		trace;			/* the one that was asked for */
	TexExtent	extent;			/* of that trace */
	TexOrder   *order;
	TexExtent  *extents;		/* of each event, up to its answer */
	int32	   *answer;			/* of each event: what answers it, or TEX_NO_EVENT */
	int32	   *answers;		/* ... what it answers */
	int32	   *sequence;		/* all events, causes first */
	TexLists	causes;			/* of each event: the direct ones, latest in the sequence first */
	char	  **messages;		/* what errors say, once that was asked for: error_messages.h */
} TexOneTrace;

extern TexOneTrace *tex_one_trace_load(const pg_uuid_t *trace_id, TexBeside beside);
extern TexOneTrace *tex_one_trace_of(TexHistory *history, const pg_uuid_t *trace_id, TexOrder *order);
extern void tex_find_answers(TexOneTrace *one);
extern TexLists tex_lists_of(const int32 *owner, int32 owners, const int32 *order, int32 n);

/* Whether an event is of the trace that was asked for. */
static inline bool
tex_is_home(const TexOneTrace *one, int32 event)
{
	return one->events[event].trace == one->trace;
}

/* From one time to another, in microseconds; all of time does not fit, so that ends at the limits. */
static inline int64
tex_usecs_between(TimestampTz from, TimestampTz to)
{
	int64		usecs;

	if (pg_sub_s64_overflow(to, from, &usecs))
		return to > from ? PG_INT64_MAX : PG_INT64_MIN;
	return usecs;
}

/* A sum of times, neither below 0, that ends at the limit. */
static inline int64
tex_usecs_plus(int64 a, int64 b)
{
	return a > PG_INT64_MAX - b ? PG_INT64_MAX : a + b;
}

/* How long an event lasted, in microseconds. */
static inline int64
tex_lasted(const TexOneTrace *one, int32 event)
{
	return tex_usecs_between(one->extents[event].started, one->extents[event].ended);
}

/* Since the trace began, in microseconds. */
static inline int64
tex_since_start(const TexOneTrace *one, TimestampTz at)
{
	return tex_usecs_between(one->extent.started, at);
}

/* Less than 0 if "a" is the last of the two: by end, by start, by the sequence. */
static inline int
tex_compare_ends(const TexOneTrace *one, int32 a, int32 b)
{
	if (one->extents[a].ended != one->extents[b].ended)
		return one->extents[a].ended > one->extents[b].ended ? -1 : 1;
	if (one->extents[a].started != one->extents[b].started)
		return one->extents[a].started > one->extents[b].started ? -1 : 1;
	return tex_order_position(one->order, b) - tex_order_position(one->order, a);
}

static inline const char *
tex_text_of(const TexOneTrace *one, int32 name)
{
	return tex_history_text(one->history, name);
}

#define tex_foreach_member(member, lists, event) \
	for (const int32 *member = &(lists)->members[(lists)->first[event]]; \
		 member < &(lists)->members[(lists)->first[(event) + 1]]; member++)

#endif							/* TEX_ONE_TRACE_H */
