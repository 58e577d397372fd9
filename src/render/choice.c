/*
 * choice.c
 *		Which bars of a long trace are drawn, and in which colours.
 *
 * What failed or raced comes first, then what the critical path went through, then
 * what lasted longest; each with all that it is below, so that what is drawn is a
 * tree.  What is left out is counted by whoever draws.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "races/arrays.h"
#include "render/choice.h"
#include "render/svg.h"

/* So many bars with too much above them are passed over until no more is tried. */
#define MOST_FAILURES 1000

/* For qsort_arg(): the most important one first. */
static int
compare_importance(const void *a, const void *b, void *arg)
{
	const TexSpans *spans = arg;
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;
	const TexSpan *p = &spans->spans[x];
	const TexSpan *q = &spans->spans[y];
	bool		told_p = p->race != TEX_NO_RACE || (p->flags & TEX_SPAN_ERROR);
	bool		told_q = q->race != TEX_NO_RACE || (q->flags & TEX_SPAN_ERROR);

	CHECK_FOR_INTERRUPTS();
	if (told_p != told_q)
		return told_p ? -1 : 1;
	if (p->critical != q->critical)
		return p->critical > q->critical ? -1 : 1;
	if (p->end - p->start != q->end - q->start)
		return p->end - p->start > q->end - q->start ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* How many bars become drawn with one: itself, and what is above it; more than "room" is too many. */
static int32
needed_for(const TexSpans *spans, const TexChoice *choice, int32 span, int32 room)
{
	int32		n = 0;

	for (; span != TEX_NO_SPAN && !choice->drawn[span] && n <= room; span = spans->spans[span].parent)
		n++;
	return n;
}

/* Chooses as many bars as there is room for. */
TexChoice
tex_choose_bars(const TexSpans *spans, int32 most)
{
	TexChoice	choice = {.drawn = tex_new_array(sizeof(bool), spans->n, 0)};
	int32	   *order = tex_new_array(sizeof(int32), spans->n, 0);
	int			failures = 0;

	if (spans->n <= most)
	{
		memset(choice.drawn, true, sizeof(bool) * spans->n);
		choice.n = spans->n;
		return choice;
	}
	for (int32 i = 0; i < spans->n; i++)
		order[i] = i;
	qsort_arg(order, spans->n, sizeof(int32), compare_importance, unconstify(TexSpans *, spans));
	for (int32 i = 0; i < spans->n && choice.n < most && failures < MOST_FAILURES; i++)
	{
		int32		needed = needed_for(spans, &choice, order[i], most - choice.n);

		CHECK_FOR_INTERRUPTS();
		if (needed > most - choice.n)
		{
			failures++;
			continue;
		}
		for (int32 span = order[i]; span != TEX_NO_SPAN && !choice.drawn[span]; span = spans->spans[span].parent)
			choice.drawn[span] = true;
		choice.n += needed;
	}
	pfree(order);
	return choice;
}

/* Of each service, by the number of its name, a colour: in the order in which they come. */
int *
tex_service_colors(const TexSpans *spans)
{
	int		   *colors = tex_new_array(sizeof(int), tex_strings_count(spans->one->history->names), 0xff);
	int			n = 0;

	for (int32 i = 0; i < spans->n; i++)
	{
		int32		service = tex_span_event(spans, i)->service;

		if (service != TEX_NO_NAME && colors[service] < 0)
			colors[service] = n++ % TEX_COLORS;
	}
	return colors;
}

/* What else is to be said of a bar, the worst of it; as it came, or NULL. */
char *
tex_span_remark(const TexSpans *spans, int32 span)
{
	const TexSpan *bar = &spans->spans[span];
	const char *status = tex_span_status(spans, span);

	if (bar->race != TEX_NO_RACE)
		return pstrdup(tex_pattern_name(spans->races[bar->race].verdict.pattern));
	if (bar->flags & TEX_SPAN_ERROR)
		return status ? psprintf("error %s", status) : pstrdup("error");
	if (bar->flags & TEX_SPAN_CYCLE)
		return pstrdup("cycle, cut here");
	if (bar->flags & TEX_SPAN_ORPHAN)
		return pstrdup("parent missing");
	if (bar->flags & TEX_SPAN_OUTLIVES)
		return pstrdup("outlives its parent");
	if (bar->flags & TEX_SPAN_UNANSWERED)
		return pstrdup(tex_span_event(spans, span)->kind == TEX_LOCK_ACQUIRE ? "not given back" : "no answer");
	if (bar->waited > 0)
		return pstrdup("waited");
	return bar->flags & TEX_SPAN_ASYNC ? pstrdup("not waited for") : NULL;
}
