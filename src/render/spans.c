/*
 * spans.c
 *		A trace as a tree of bars.
 *
 * Which bar an event hangs under?  Where clients nest, under the bar of its parent.
 * Clients that chain make each event the child of the one before it: there it hangs
 * under the bar that the chain is part of.  So the search begins at the parent's bar
 * and goes up while that is of the same strand and was over before the event began, or is a
 * point that the chain only passed through, as trace_tree() draws it.
 *
 * The rest is passes over arrays: nothing recurses, whatever the depth.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analysis/handovers.h"
#include "analysis/linked.h"
#include "analysis/trace_tree.h"
#include "analysis/words.h"
#include "guc.h"
#include "races/arrays.h"
#include "races/evidence.h"
#include "races/overlaps.h"
#include "render/span_notes.h"
#include "render/spans.h"
#include "render/text.h"

/* So many bars are looked at on the way up: chains need two or three. */
#define MOST_STEPS_UP	64

/* So many racing pairs are kept. */
#define MOST_PAIRS		1000

/* A child that goes on for less than that is in its parent: clients round their clocks. */
#define ROUNDED			INT64CONST(1000)

typedef struct Build
{
	TexSpans   *spans;
	TexOneTrace *one;
	int32	   *parent;			/* of each event */
	TexLists	children;		/* of each event, by start */
	int32	   *handovers;		/* of each acquire; NULL: there are no locks */
} Build;

/* Whether an event is the end of another one's bar and nothing of its own. */
static bool
is_folded(const TexOneTrace *one, int32 event)
{
	return one->answers[event] != TEX_NO_EVENT && tex_is_home(one, one->answers[event]) &&
		tex_lasted(one, event) == 0;
}

/* Whether an event that is no root is a bar. */
static bool
is_bar(const TexOneTrace *one, int32 event)
{
	switch (one->events[event].kind)
	{
		case TEX_FUNCTION_CALL:
		case TEX_ASYNC_SPAWN:
		case TEX_HTTP_REQUEST:
		case TEX_DATABASE_QUERY:
			return true;
		case TEX_STATE_CHANGE:
		case TEX_ERROR:
		case TEX_LOCK_RELEASE:
		case TEX_MEMORY_FENCE:
			return false;
		default:
			return !is_folded(one, event) && tex_lasted(one, event) > 0;
	}
}

static int64
start_of(const Build *build, int32 event)
{
	return tex_since_start(build->one, build->one->extents[event].started);
}

/* Whether a bar was over, or a point, when an event began that its strand recorded later. */
static bool
is_left_behind(const Build *build, const TexSpan *bar, int32 event, bool in_chain, bool becomes_bar)
{
	const TexOneTrace *one = build->one;
	int64		start = start_of(build, event);

	if (one->events[bar->event].strand != one->events[event].strand)
		return false;
	if (bar->end > bar->start)
		return becomes_bar ? bar->end <= start : bar->end < start;
	return becomes_bar && in_chain;
}

/* The bar under which an event hangs, or TEX_NO_SPAN. */
static int32
find_bar(const Build *build, int32 event, bool becomes_bar)
{
	const TexSpans *spans = build->spans;
	int32		parent = build->parent[event];
	int32		at;
	bool		in_chain;

	if (parent == TEX_NO_EVENT)
		return TEX_NO_SPAN;
	at = spans->span_of[parent];
	in_chain = spans->spans[at].event != parent ||
		build->children.first[parent + 1] - build->children.first[parent] == 1;
	for (int steps = 0; steps < MOST_STEPS_UP && spans->spans[at].parent != TEX_NO_SPAN; steps++)
	{
		if (!is_left_behind(build, &spans->spans[at], event, in_chain, becomes_bar))
			break;
		at = spans->spans[at].parent;
		in_chain = true;
	}
	return at;
}

/* A bar for an event; its answer is folded in. */
static void
add_bar(Build *build, int32 event, int32 parent)
{
	TexSpans   *spans = build->spans;
	const TexOneTrace *one = build->one;
	TexSpan    *span = &spans->spans[spans->n];
	int32		answer = one->answer[event];

	spans->span_of[event] = spans->n++;
	span->event = event;
	span->answer = answer != TEX_NO_EVENT && tex_is_home(one, answer) && is_folded(one, answer) ? answer : TEX_NO_EVENT;
	span->parent = parent;
	span->race = TEX_NO_RACE;
	span->start = start_of(build, event);
	span->end = Max(span->start, tex_since_start(one, one->extents[event].ended));
	if (span->answer != TEX_NO_EVENT)
		span->end = Max(span->end, tex_since_start(one, one->extents[answer].ended));
	if (build->handovers && build->handovers[event] != TEX_NO_EVENT)
		span->waited = Min(span->end - span->start,
						   Max(0, tex_since_start(one, one->extents[build->handovers[event]].ended) - span->start));
}

/*
 * Makes bars of events, parents before children, and notes of each other event in which bar it
 * is.  They are not yet in the order in which they are drawn: chains come by depth.
 */
static void
collect_bars(Build *build, const int32 *by_start)
{
	TexSpans   *spans = build->spans;
	const TexOneTrace *one = build->one;
	int32	   *stack = tex_new_array(sizeof(int32), one->n, 0);

	for (int32 i = 0; i < one->n; i++)
	{
		int32		height = 0;

		if (!tex_is_home(one, by_start[i]) || build->parent[by_start[i]] != TEX_NO_EVENT)
			continue;
		stack[height++] = by_start[i];
		while (height > 0)
		{
			int32		event = stack[--height];
			bool		bar = build->parent[event] == TEX_NO_EVENT || is_bar(one, event);
			int32		in = find_bar(build, event, bar);

			CHECK_FOR_INTERRUPTS();
			if (bar)
				add_bar(build, event, in);
			else
				spans->span_of[event] = in;
			tex_foreach_member(child, &build->children, event)
				stack[height++] = *child;
		}
	}
	pfree(stack);
}

/* For qsort_arg(): bars by start, else by their events. */
static int
compare_bars(const void *a, const void *b, void *arg)
{
	const TexSpan *spans = arg;
	const TexSpan *x = &spans[*(const int32 *) a];
	const TexSpan *y = &spans[*(const int32 *) b];

	CHECK_FOR_INTERRUPTS();
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->event < y->event ? -1 : x->event > y->event;
}

/* Puts a bar at its place, at the end of those that are drawn. */
static void
place_bar(TexSpans *spans, const TexSpan *bar, const int32 *drawn_at)
{
	TexSpan    *placed = &spans->spans[spans->n];

	*placed = *bar;
	placed->last = false;
	if (bar->parent != TEX_NO_SPAN)
	{
		placed->parent = drawn_at[bar->parent];
		placed->depth = spans->spans[placed->parent].depth + 1;
		spans->spans[placed->parent].nchildren++;
	}
	spans->n++;
}

/* Puts the bars into the order in which they are drawn. */
static void
order_bars(Build *build)
{
	TexSpans   *spans = build->spans;
	int32		n = spans->n;
	TexSpan    *bars = spans->spans;
	int32	   *by_start = tex_new_array(sizeof(int32), n, 0);
	int32	   *parent = tex_new_array(sizeof(int32), n, 0);
	int32	   *drawn_at = tex_new_array(sizeof(int32), n, 0xff);
	int32	   *stack = tex_new_array(sizeof(int32), n, 0);
	int32		height = 0;
	TexLists	children;

	for (int32 i = 0; i < n; i++)
	{
		by_start[i] = i;
		parent[i] = bars[i].parent;
	}
	qsort_arg(by_start, n, sizeof(int32), compare_bars, bars);
	children = tex_lists_of(parent, n, by_start, n);
	spans->spans = tex_new_array(sizeof(TexSpan), n, 0);
	spans->n = 0;
	for (int32 i = n - 1; i >= 0; i--)
		if (parent[by_start[i]] == TEX_NO_SPAN)
			stack[height++] = by_start[i];
	while (height > 0)
	{
		int32		bar = stack[--height];

		CHECK_FOR_INTERRUPTS();
		drawn_at[bar] = spans->n;
		place_bar(spans, &bars[bar], drawn_at);
		for (int32 i = children.first[bar + 1] - 1; i >= children.first[bar]; i--)
			stack[height++] = children.members[i];
	}
	for (int32 e = 0; e < build->one->n; e++)
		if (spans->span_of[e] != TEX_NO_SPAN)
			spans->span_of[e] = drawn_at[spans->span_of[e]];
	pfree(bars);
}

/* Where the part of the tree below each bar ends, and which of siblings is the last. */
static void
find_ends(TexSpans *spans)
{
	int32		last_root = TEX_NO_SPAN;
	int32	   *last = tex_new_array(sizeof(int32), spans->n, 0xff);

	for (int32 i = 0; i < spans->n; i++)
	{
		spans->spans[i].next = i + 1;
		if (spans->spans[i].parent != TEX_NO_SPAN)
			last[spans->spans[i].parent] = i;
		else
			last_root = i;
	}
	/* From the back: what is below a bar is known before the bar. */
	for (int32 i = spans->n - 1; i >= 0; i--)
	{
		int32		parent = spans->spans[i].parent;

		spans->spans[i].last = i == (parent == TEX_NO_SPAN ? last_root : last[parent]);
		if (parent != TEX_NO_SPAN)
			spans->spans[parent].next = Max(spans->spans[parent].next, spans->spans[i].next);
	}
	pfree(last);
}

/* How long each bar lasted with no child of it going on. */
static void
find_self_times(TexSpans *spans)
{
	int64	   *reaches = tex_new_array(sizeof(int64), spans->n, 0);

	for (int32 i = 0; i < spans->n; i++)
	{
		TexSpan    *span = &spans->spans[i];
		TexSpan    *parent;
		int64		from;
		int64		to;

		span->self = span->end - span->start;
		reaches[i] = span->start;
		if (span->parent == TEX_NO_SPAN)
			continue;
		/* Siblings come by start, so it is enough to know how far those before reach. */
		parent = &spans->spans[span->parent];
		from = Max(span->start, reaches[span->parent]);
		to = Min(span->end, parent->end);
		if (to <= from)
			continue;
		parent->self -= Min(parent->self, to - from);
		reaches[span->parent] = to;
	}
	pfree(reaches);
}

/* What a bar's own events say of it. */
static void
find_flags(TexSpans *spans)
{
	const TexOneTrace *one = spans->one;

	for (int32 i = 0; i < spans->n; i++)
	{
		TexSpan    *span = &spans->spans[i];
		const TexEvent *event = &one->events[span->event];
		const TexSpan *parent = span->parent == TEX_NO_SPAN ? NULL : &spans->spans[span->parent];

		if (((event->flags | (span->answer == TEX_NO_EVENT ? 0 : one->events[span->answer].flags)) & TEX_EVENT_IS_ERROR) ||
			span->nerrors > 0)
			span->flags |= TEX_SPAN_ERROR;
		if (event->flags & TEX_EVENT_PARENT_MISSING)
			span->flags |= TEX_SPAN_ORPHAN;
		if (event->flags & TEX_EVENT_IN_CYCLE)
			span->flags |= TEX_SPAN_CYCLE;
		if (span->answer == TEX_NO_EVENT && span->end == span->start &&
			(event->kind == TEX_HTTP_REQUEST || event->kind == TEX_LOCK_ACQUIRE))
			span->flags |= TEX_SPAN_UNANSWERED;
		if (event->kind == TEX_ASYNC_SPAWN && one->answer[span->event] == TEX_NO_EVENT)
			span->flags |= TEX_SPAN_ASYNC;
		if (span->critical > 0)
			span->flags |= TEX_SPAN_CRITICAL;
		if (parent && parent->end > parent->start && span->end > parent->end &&
			span->end - parent->end > Min(ROUNDED, (parent->end - parent->start) / 10))
			span->flags |= TEX_SPAN_OUTLIVES;
	}
}

/* For qsort_arg(): by bar, then by time. */
static int
compare_marks(const void *a, const void *b, void *arg)
{
	const TexMark *x = a;
	const TexMark *y = b;

	CHECK_FOR_INTERRUPTS();
	if (x->span != y->span)
		return x->span < y->span ? -1 : 1;
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->event < y->event ? -1 : x->event > y->event;
}

/* What happened in each bar: all events that are neither bars nor folded into one. */
static void
collect_marks(Build *build)
{
	TexSpans   *spans = build->spans;
	const TexOneTrace *one = build->one;

	spans->marks = tex_new_array(sizeof(TexMark), one->n - spans->n, 0);
	for (int32 e = 0; e < one->n; e++)
	{
		int32		span = spans->span_of[e];

		if (span == TEX_NO_SPAN || spans->spans[span].event == e)
			continue;
		if (is_folded(one, e) && spans->span_of[one->answers[e]] != TEX_NO_SPAN &&
			spans->spans[spans->span_of[one->answers[e]]].answer == e)
		{
			spans->span_of[e] = spans->span_of[one->answers[e]];
			continue;
		}
		spans->marks[spans->nmarks++] = (TexMark) {
			.event = e,.span = span,.at = start_of(build, e),.race = TEX_NO_RACE
		};
	}
	qsort_arg(spans->marks, spans->nmarks, sizeof(TexMark), compare_marks, NULL);
	for (int32 i = spans->nmarks - 1; i >= 0; i--)
	{
		TexSpan    *span = &spans->spans[spans->marks[i].span];

		span->first_mark = i;
		span->nmarks++;
		span->nerrors += one->events[spans->marks[i].event].kind == TEX_ERROR;
	}
}

/*
 * The bar that a part of the critical path belongs to, or TEX_NO_SPAN: that of its event,
 * and after the end of that, as after a lock was given back, the one around it.
 */
int32
tex_segment_span(const TexSpans *spans, const TexSegment *segment)
{
	int64		from = tex_spans_since(spans, segment->from);
	int32		span = segment->event == TEX_NO_EVENT ? TEX_NO_SPAN : spans->span_of[segment->event];

	for (int steps = 0; span != TEX_NO_SPAN && steps < MOST_STEPS_UP; steps++)
	{
		const TexSpan *s = &spans->spans[span];

		if (s->parent == TEX_NO_SPAN || s->end == s->start || s->end > from)
			break;
		span = s->parent;
	}
	return span;
}

/* Gives the time of the critical path to bars. */
static void
note_critical_path(TexSpans *spans)
{
	spans->critical = tex_critical_path(spans->one, &spans->ncritical);
	for (int32 i = 0; i < spans->ncritical; i++)
	{
		const TexSegment *segment = &spans->critical[i];
		int32		span = tex_segment_span(spans, segment);

		if (span != TEX_NO_SPAN)
			spans->spans[span].critical += tex_usecs_between(segment->from, segment->to);
	}
}

/* The numbers of the whole trace. */
static void
count_totals(TexSpans *spans)
{
	const TexOneTrace *one = spans->one;
	bool	   *seen = tex_new_array(sizeof(bool), tex_strings_count(one->history->names), 0);

	spans->duration = tex_spans_since(spans, one->extent.ended);
	for (int32 i = 0; i < one->n; i++)
	{
		const TexEvent *event = &one->events[i];

		if (!tex_is_home(one, i))
			continue;
		spans->events++;
		spans->errors += (event->flags & TEX_EVENT_IS_ERROR) != 0;
		spans->accesses += event->kind == TEX_STATE_CHANGE;
		if (event->service == TEX_NO_NAME || seen[event->service])
			continue;
		seen[event->service] = true;
		spans->nservices++;
	}
	spans->root = spans->n > 0 ? 0 : TEX_NO_SPAN;
	for (int32 i = 0; i < spans->n; i = spans->spans[i].next)
	{
		const TexEvent *event = tex_span_event(spans, i);

		if (memcmp(&event->id, &event->parent_id, sizeof(pg_uuid_t)) != 0)
			continue;
		spans->root = i;
		break;
	}
	pfree(seen);
}

/* The parent of each event of the trace; TEX_NO_EVENT where that is of another one. */
static int32 *
parents_at_home(const TexOneTrace *one)
{
	int32	   *parent = tex_parents(one, true);

	for (int32 i = 0; i < one->n; i++)
		if (!tex_is_home(one, i) || (parent[i] != TEX_NO_EVENT && !tex_is_home(one, parent[i])))
			parent[i] = TEX_NO_EVENT;
	return parent;
}

/* The bars of a trace that is loaded, and all that belongs to them. */
static void
build_spans(TexSpans *spans)
{
	TexOneTrace *one = spans->one;
	Build		build = {.spans = spans,.one = one};
	int32	   *by_start = tex_by_start(one);

	build.parent = parents_at_home(one);
	build.children = tex_lists_of(build.parent, one->n, by_start, one->n);
	if (one->history->has_locks)
		build.handovers = tex_handovers(one);
	spans->spans = tex_new_array(sizeof(TexSpan), one->n, 0);
	spans->span_of = tex_new_array(sizeof(int32), one->n, 0xff);
	collect_bars(&build, by_start);
	order_bars(&build);
	find_ends(spans);
	find_self_times(spans);
	collect_marks(&build);
	note_critical_path(spans);
	find_flags(spans);
	count_totals(spans);
}

/* The trace with what overlapped it, and its races. */
static bool
load_with_races(TexSpans *spans, const pg_uuid_t *trace_id)
{
	TexRacesOptions options = {.variable = TEX_NO_NAME,.max_pairs = MOST_PAIRS,.potential = tex_potential_races};
	TexHistory *history = tex_load_with_overlapping(trace_id, NULL, true);
	bool		has_accesses = false;

	if (history->nevents == 0)
	{
		tex_notice_unknown_trace(trace_id);
		return false;
	}
	for (int32 i = 0; i < history->nevents && !has_accesses; i++)
		has_accesses = history->events[i].kind == TEX_STATE_CHANGE;
	if (has_accesses)
		spans->found = tex_races_find(history, &options);
	spans->one = tex_one_trace_of(history, trace_id, spans->found ? spans->found->order : NULL);
	return true;
}

/*
 * Loads a trace as bars; TEX_SPANS_... say what else is wanted.  NULL, and a NOTICE, where
 * no event of it is stored.  Call within an SPI connection; reads with the caller's rights.
 */
TexSpans *
tex_spans_load(const pg_uuid_t *trace_id, int wanted)
{
	TexSpans   *spans = palloc0(sizeof(TexSpans));

	if (wanted & TEX_SPANS_RACES)
	{
		if (!load_with_races(spans, trace_id))
			return NULL;
	}
	else
	{
		spans->one = tex_one_trace_load(trace_id, TEX_BESIDE_LOCKS);
		if (spans->one == NULL)
			return NULL;
	}
	build_spans(spans);
	if (spans->found)
		tex_spans_note_races(spans);
	tex_spans_load_links(spans);
	return spans;
}

/* What an event is called, clean. */
char *
tex_event_label(const TexSpans *spans, int32 event)
{
	const TexEvent *e = &spans->one->events[event];
	const char *name = tex_text_of(spans->one, e->name);
	const char *verb = tex_event_verb(spans->one, event);
	StringInfoData label;
	char	   *words;

	/* What has a duration of its own is called by its name, as a span is. */
	if (e->kind == TEX_FUNCTION_CALL || e->kind == TEX_HTTP_REQUEST || e->kind == TEX_DATABASE_QUERY ||
		((e->kind == TEX_ASYNC_SPAWN || e->kind == TEX_ASYNC_AWAIT) && e->extent.ended > e->extent.started))
		verb = NULL;
	initStringInfo(&label);
	if (name && name[0] != '\0')
		tex_clean(&label, name, strlen(name), TEX_LONGEST_LABEL);
	if (label.len == 0)
		words = pstrdup(verb ? verb : e->kind == TEX_CUSTOM ? "event" : tex_event_verb(spans->one, event));
	else if (verb)
		words = psprintf("%s %s", verb, label.data);
	else
		return tex_take_string(&label);
	pfree(label.data);
	return words;
}

/* What a bar is called, clean. */
char *
tex_span_label(const TexSpans *spans, int32 span)
{
	return tex_event_label(spans, spans->spans[span].event);
}

/* The service in which a bar ran, as it came; NULL: not said. */
const char *
tex_span_service(const TexSpans *spans, int32 span)
{
	return tex_text_of(spans->one, tex_span_event(spans, span)->service);
}

/* The status of a request's response, as it came, or NULL. */
const char *
tex_span_status(const TexSpans *spans, int32 span)
{
	int32		answer = spans->spans[span].answer;

	if (answer == TEX_NO_EVENT || spans->one->events[answer].kind != TEX_HTTP_RESPONSE)
		return NULL;
	return tex_text_of(spans->one, spans->one->events[answer].name);
}

/* A race in a sentence, as find_races() has it; clean it. */
char *
tex_race_words(const TexSpans *spans, int32 race)
{
	const TexSpanRace *r = &spans->races[race];

	return tex_evidence(spans->found, &spans->found->pairs[r->pair], &r->verdict);
}

/* How a trace is called: by the begin of its id. */
char *
tex_short_trace(const pg_uuid_t *id)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));

	text[8] = '\0';
	return text;
}
