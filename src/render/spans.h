/*
 * spans.h
 *		A trace as a tree of bars: what every picture of it is drawn from.
 *
 * tex_spans_load() reads a trace once and returns its bars in the order in which they
 * are drawn: depth first, children by their start.  Call it, and all else here, within
 * an SPI connection; all of it lives in the memory context that was current.
 *
 * A bar is what took time or holds what happened in it: a call, a request with its
 * response, a query with its result, a task from spawn to await, a lock from acquire
 * to release; of OpenTelemetry a span.  What happened at a moment is a mark of the bar
 * in which it did: an access, an error, a custom event.  A root is always a bar, so a
 * trace of points alone is a list of bars that last no time (start = end), and so a
 * parent may last none.
 *
 *		for (int32 i = 0; i < spans->n; i++)
 *		{
 *			TexSpan *span = &spans->spans[i];		parent, depth, start, end, flags
 *			char *label = tex_span_label(spans, i);	clean: see text.h
 *			tex_foreach_mark(mark, spans, span)		access, error or point, by time
 *			tex_foreach_link(link, spans, span)		messages to and from other traces
 *		}
 *
 * What is below bar i are the bars from i + 1 to span->next - 1.  Times are microseconds
 * since the trace began, and tex_spans_since() gives those of spans->critical.
 * spans->one has the events for all that is not here: one->events[span->event].
 */
#ifndef TEX_SPANS_H
#define TEX_SPANS_H

#include "analysis/critical_path.h"
#include "analysis/one_trace.h"
#include "races/patterns.h"

#define TEX_NO_SPAN (-1)
#define TEX_NO_RACE (-1)

/* Flags of a bar. */
#define TEX_SPAN_ERROR		0x01	/* itself, its response, or an error in it */
#define TEX_SPAN_OUTLIVES	0x02	/* goes on after its parent has ended */
#define TEX_SPAN_ORPHAN		0x04	/* its parent is not stored */
#define TEX_SPAN_CYCLE		0x08	/* its parent link was cut: it closed a cycle */
#define TEX_SPAN_ASYNC		0x10	/* nobody waits for it there: a message that was sent, or a task that nothing awaits */
#define TEX_SPAN_UNANSWERED 0x20	/* a request without a response, a lock without a release */
#define TEX_SPAN_CRITICAL	0x40	/* on the critical path */

typedef struct TexSpan
{
	int32		event;			/* index into one->events */
	int32		answer;			/* what ended it and is folded in, or TEX_NO_EVENT */
	int32		parent;			/* index of a bar, always smaller; TEX_NO_SPAN of a root */
	int32		next;			/* the first bar that is not below it */
	int32		depth;			/* 0 of a root */
	int32		nchildren;
	bool		last;			/* of its parent's children, or of the roots */
	uint8		flags;
	int64		start;
	int64		end;			/* >= start */
	int64		self;			/* how long none of its children went on */
	int64		critical;		/* how long it, or a mark of it, was on the critical path */
	int64		waited;			/* of a lock: how long until it was had; 0: not at all, or unknown */
	int32		first_mark;		/* index into marks */
	int32		nmarks;
	int32		nerrors;		/* errors among them; a response that says so not counted */
	int32		first_link;		/* index into links */
	int32		nlinks;
	int32		race;			/* index into races: the worst of its marks, or TEX_NO_RACE */
} TexSpan;

/* What happened at a moment. Its kind says what: TEX_STATE_CHANGE is an access, TEX_ERROR an error. */
typedef struct TexMark
{
	int32		event;
	int32		span;			/* in which it happened */
	int64		at;
	int32		race;			/* the worst it is in, or TEX_NO_RACE */
} TexMark;

/* A message between this trace and another one. */
typedef struct TexLink
{
	pg_uuid_t	trace_id;		/* the other one */
	const char *span_id;		/* ... its span, as it came; clean it */
	int32		span;
	bool		is_out;			/* from here to there */
} TexLink;

/* A pair of accesses that race, one of them at least of this trace. */
typedef struct TexSpanRace
{
	int32		first;			/* event; of a lost update the one whose value was lost */
	int32		second;			/* the other one, in another trace maybe: tex_is_home() */
	int64		pair;			/* index into found->pairs */
	TexVerdict	verdict;
} TexSpanRace;

typedef struct TexSpans
{
	TexOneTrace *one;
	TexSpan    *spans;
	int32		n;
	int32	   *span_of;		/* of each event: its bar, or that of which it is a mark; TEX_NO_SPAN: of another trace */
	TexMark    *marks;			/* by bar, then by time */
	int32		nmarks;
	TexLink    *links;			/* by bar */
	int32		nlinks;
	TexSegment *critical;		/* the critical path, in the order of time */
	int32		ncritical;
	TexRaces   *found;			/* NULL unless races were asked for and there are accesses */
	TexSpanRace *races;			/* worst first */
	int64		nraces;
	int64		all_races;		/* how many pairs there are: more, where they were too many */
	/* Totals of the trace. */
	int64		duration;
	int64		events;
	int64		errors;			/* as trace_summaries counts them */
	int64		accesses;
	int32		nservices;
	int32		root;			/* the bar after which the trace is called; TEX_NO_SPAN: there is none */
} TexSpans;

/* What is wanted beside bars, marks and links. */
#define TEX_SPANS_RACES		0x01	/* reads what overlapped, if the trace has accesses */

extern TexSpans *tex_spans_load(const pg_uuid_t *trace_id, int wanted);
extern int32 tex_segment_span(const TexSpans *spans, const TexSegment *segment);
extern char *tex_span_label(const TexSpans *spans, int32 span);
extern char *tex_event_label(const TexSpans *spans, int32 event);
extern const char *tex_span_service(const TexSpans *spans, int32 span);
extern const char *tex_span_status(const TexSpans *spans, int32 span);
extern char *tex_race_words(const TexSpans *spans, int32 race);
extern char *tex_short_trace(const pg_uuid_t *id);

/* Microseconds since the trace began. */
static inline int64
tex_spans_since(const TexSpans *spans, TimestampTz at)
{
	return tex_since_start(spans->one, at);
}

static inline const TexEvent *
tex_span_event(const TexSpans *spans, int32 span)
{
	return &spans->one->events[spans->spans[span].event];
}

#define tex_foreach_mark(mark, spans, span) \
	for (const TexMark *mark = &(spans)->marks[(span)->first_mark]; \
		 mark < &(spans)->marks[(span)->first_mark + (span)->nmarks]; mark++)

#define tex_foreach_link(link, spans, span) \
	for (const TexLink *link = &(spans)->links[(span)->first_link]; \
		 link < &(spans)->links[(span)->first_link + (span)->nlinks]; link++)

#endif							/* TEX_SPANS_H */
