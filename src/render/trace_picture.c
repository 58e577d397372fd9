/*
 * trace_picture.c
 *		A trace as a picture: trace_svg().
 *
 * A row is a bar of spans.h: its name, indented by its depth, and from when to when it
 * lasted.  Under a bar is a thick line for as long as the critical path was in it; on
 * it are marks for accesses, errors and races.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analysis/words.h"
#include "races/arrays.h"
#include "render/choice.h"
#include "render/svg.h"
#include "render/text.h"
#include "render/trace_picture.h"

PG_FUNCTION_INFO_V1(tex_trace_svg);

#define WIDTH		1000
#define MARGIN		16
#define NAMES		400			/* where the column of names ends */
#define BARS		416			/* ... and that of bars begins */
#define DURATION	84			/* room for how long it took, after the longest bar */
#define BAR_ROOM	(WIDTH - MARGIN - DURATION - BARS)
#define ROW			20
#define BAR			11
#define INDENT		13
#define MOST_LEVELS	12

#define MOST_BARS	300
#define MOST_MARKS	100			/* on a bar */
#define MOST_SERVICES 12		/* in the legend */

typedef struct Picture
{
	TexSvg	   *svg;
	const TexSpans *spans;
	TexChoice	choice;
	int		   *colors;
	double	   *row;			/* of each bar that is drawn: its top; else negative */
	double		y;
	double		height;			/* of all traces before */
} Picture;

/*
 * Loads one trace after the other, of the array that is the first argument, and has
 * something done with each, in a memory context of its own and within SPI.  Returns how many were there.
 */
int
tex_each_trace(FunctionCallInfo fcinfo, int wanted, TexTraceCallback each, void *arg)
{
	ArrayType  *ids = PG_GETARG_ARRAYTYPE_P(0);
	Datum	   *values;
	bool	   *isnull;
	int			n;
	int			found = 0;

	deconstruct_array(ids, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &values, &isnull, &n);
	for (int i = 0; i < n; i++)
	{
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext picture", ALLOCSET_DEFAULT_SIZES);
		MemoryContext old = MemoryContextSwitchTo(context);
		TexSpans   *spans;

		CHECK_FOR_INTERRUPTS();
		SPI_connect();
		MemoryContextSwitchTo(context);
		spans = isnull[i] ? NULL : tex_spans_load(DatumGetUUIDP(values[i]), wanted);
		if (spans)
		{
			each(spans, arg);
			found++;
		}
		SPI_finish();
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
	}
	return found;
}

/* What a trace is called: by its root, as it came. */
char *
tex_trace_title(const TexSpans *spans)
{
	return spans->root == TEX_NO_SPAN ? pstrdup("a trace without a root") : tex_span_label(spans, spans->root);
}

/* "3 services", "1 error". */
static char *
count_words(int64 n, const char *noun)
{
	return psprintf("%lld %s%s", (long long) n, noun, n == 1 ? "" : "s");
}

/* The numbers of a trace on one line. */
char *
tex_trace_facts(const TexSpans *spans)
{
	const TexTrace *trace = &spans->one->history->traces[spans->one->trace];

	return psprintf("trace %s, %s, %s, %s, %s, %s, began %s", tex_short_trace(&trace->id), tex_usecs_words(spans->duration),
					count_words(spans->events, "event"), count_words(spans->nservices, "service"),
					count_words(spans->errors, "error"), count_words(spans->all_races, "race"),
					timestamptz_to_str(spans->one->extent.started));
}

/* Where a time is. */
static double
x_of(const Picture *picture, int64 at)
{
	double		share = picture->spans->duration <= 0 ? 0 : (double) at / picture->spans->duration;

	return BARS + BAR_ROOM * Min(Max(share, 0.0), 1.0);
}

/* Which colour is which service. */
static void
put_services(Picture *picture)
{
	const TexSpans *spans = picture->spans;
	bool	   *seen = tex_new_array(sizeof(bool), tex_strings_count(spans->one->history->names), 0);
	double		x = MARGIN;
	int			n = 0;

	for (int32 i = 0; i < spans->n && n < MOST_SERVICES; i++)
	{
		int32		service = tex_span_event(spans, i)->service;
		char	   *name;
		double		width;

		if (service == TEX_NO_NAME || seen[service])
			continue;
		seen[service] = true;
		name = tex_clean_label(tex_text_of(spans->one, service));
		width = Min(tex_text_width(name, strlen(name), TEX_SMALL) + 4, 200);
		if (x > MARGIN && x + 16 + width > WIDTH - MARGIN)
		{
			x = MARGIN;
			picture->y += 18;
		}
		tex_svg_rect(picture->svg, x, picture->y - 9, 10, 10, 2, psprintf("s%d", picture->colors[service]));
		tex_svg_text(picture->svg, x + 15, picture->y, width, TEX_SMALL, TEX_START, "dim", name);
		x += 15 + width + 14;
		n++;
	}
	if (spans->nservices > n)
		tex_svg_text(picture->svg, x, picture->y, WIDTH - MARGIN - x, TEX_SMALL, TEX_START, "dim",
					 psprintf("and %d more", spans->nservices - n));
}

/* What the marks mean. */
static void
put_legend(Picture *picture)
{
	TexSvg	   *svg = picture->svg;
	double		y = picture->y;

	tex_svg_line(svg, MARGIN, y - 4, MARGIN + 18, y - 4, "k");
	tex_svg_text(svg, MARGIN + 24, y, 100, TEX_SMALL, TEX_START, "dim", "critical path");
	appendStringInfo(&svg->body, "<circle class=\"dot\" cx=\"%d\" cy=\"%d\" r=\"2.5\"/>\n", MARGIN + 124, (int) y - 4);
	tex_svg_text(svg, MARGIN + 132, y, 100, TEX_SMALL, TEX_START, "dim", "access");
	appendStringInfo(&svg->body, "<path class=\"badfill\" d=\"M%d %dl5 5-5 5-5-5z\"/>\n", MARGIN + 196, (int) y - 9);
	tex_svg_text(svg, MARGIN + 206, y, 100, TEX_SMALL, TEX_START, "dim", "access that races");
	appendStringInfo(&svg->body, "<path class=\"badline\" d=\"M%d %dl7 7m0-7l-7 7\"/>\n", MARGIN + 320, (int) y - 8);
	tex_svg_text(svg, MARGIN + 332, y, 100, TEX_SMALL, TEX_START, "dim", "error");
}

/* What happened at moments within a bar. */
static void
put_marks(Picture *picture, int32 span, double y)
{
	const TexSpans *spans = picture->spans;
	StringInfo	body = &picture->svg->body;
	int			n = 0;

	tex_foreach_mark(mark, spans, &spans->spans[span])
	{
		uint8		kind = spans->one->events[mark->event].kind;
		double		x = x_of(picture, mark->at);

		if ((kind != TEX_STATE_CHANGE && kind != TEX_ERROR) || n++ >= MOST_MARKS)
			continue;
		if (kind == TEX_ERROR)
		{
			appendStringInfoString(body, "<path class=\"badline\" d=\"M");
			tex_put_number(body, x - 3.5);
			appendStringInfoChar(body, ' ');
			tex_put_number(body, y - 3.5);
			appendStringInfoString(body, "l7 7m0-7l-7 7\"/>\n");
		}
		else if (mark->race != TEX_NO_RACE)
		{
			appendStringInfoString(body, "<path class=\"badfill\" d=\"M");
			tex_put_number(body, x);
			appendStringInfoChar(body, ' ');
			tex_put_number(body, y - 5);
			appendStringInfoString(body, "l5 5-5 5-5-5z\"/>\n");
		}
		else
		{
			appendStringInfoString(body, "<circle class=\"dot\" cx=\"");
			tex_put_number(body, x);
			appendStringInfoString(body, "\" cy=\"");
			tex_put_number(body, y);
			appendStringInfoString(body, "\" r=\"2.5\"/>\n");
		}
	}
}

/* The name of a bar, and what else is to be said of it. */
static void
put_name(Picture *picture, int32 span)
{
	const TexSpans *spans = picture->spans;
	const TexSpan *bar = &spans->spans[span];
	TexSvg	   *svg = picture->svg;
	bool		bad = (bar->flags & TEX_SPAN_ERROR) || bar->race != TEX_NO_RACE;
	double		x = MARGIN + INDENT * Min(bar->depth, MOST_LEVELS);
	char	   *remark = tex_span_remark(spans, span);
	double		right = NAMES;
	const char *service = tex_span_service(spans, span);

	if (remark)
		right -= tex_svg_text(svg, NAMES, picture->y + 14, 130, TEX_SMALL, TEX_END, bad ? "bad" : "dim", remark) + 16;
	if (bar->parent != TEX_NO_SPAN && tex_span_event(spans, span)->service == tex_span_event(spans, bar->parent)->service)
		service = NULL;
	x += tex_svg_text(svg, x, picture->y + 14, Max(right - x - (service ? 50 : 0), 20), TEX_TEXT, TEX_START, bad ? "bad" : "name",
					  tex_span_label(spans, span)) + 8;
	if (service && right - x > 30)
		tex_svg_text(svg, x, picture->y + 14, right - x, TEX_SMALL, TEX_START, "dim", service);
}

/* How long a bar lasted, after it and after the marks that would be in the way. */
static void
put_duration(Picture *picture, const TexSpan *bar, double x)
{
	char	   *words = tex_usecs_words(bar->end - bar->start);
	double		width = tex_text_width(words, strlen(words), TEX_SMALL);

	tex_foreach_mark(mark, picture->spans, bar)
	{
		double		at = x_of(picture, mark->at);

		if (at > x - 8 && at < x + width + 6)
			x = at + 9;
	}
	tex_svg_text(picture->svg, x, picture->y + 14, WIDTH - x, TEX_SMALL, TEX_START, "dim", words);
}

/* A row. */
static void
put_bar(Picture *picture, int32 span)
{
	const TexSpan *bar = &picture->spans->spans[span];
	TexSvg	   *svg = picture->svg;
	double		x = x_of(picture, bar->start);
	double		width = Max(x_of(picture, bar->end) - x, 1.5);
	bool		bad = (bar->flags & TEX_SPAN_ERROR) != 0;

	put_name(picture, span);
	tex_svg_rect(svg, x, picture->y + 4, width, BAR, 2,
				 psprintf("s%d%s%s", Max(0, tex_color_of(picture->spans, picture->colors, span)), bad ? " err" : "",
						  width > 6 && (bar->flags & (TEX_SPAN_OUTLIVES | TEX_SPAN_ASYNC)) ? " out" : ""));
	put_marks(picture, span, picture->y + 4 + BAR / 2.0);
	if (bar->end > bar->start)
		put_duration(picture, bar, x + width + 8);
	picture->row[span] = picture->y;
	picture->y += ROW;
}

/* For how long the critical path was in which bar. */
static void
put_critical_path(Picture *picture)
{
	const TexSpans *spans = picture->spans;

	for (int32 i = 0; i < spans->ncritical; i++)
	{
		const TexSegment *segment = &spans->critical[i];
		int32		span = segment->event == TEX_NO_EVENT ? TEX_NO_SPAN : spans->span_of[segment->event];
		double		from = x_of(picture, tex_spans_since(spans, segment->from));
		double		to = x_of(picture, tex_spans_since(spans, segment->to));

		CHECK_FOR_INTERRUPTS();
		if (span != TEX_NO_SPAN && picture->row[span] >= 0 && to - from >= 0.2)
			tex_svg_line(picture->svg, from, picture->row[span] + 17, to, picture->row[span] + 17, "k");
	}
}

/* A trace, below those that were drawn before. */
static void
put_trace(const TexSpans *spans, void *arg)
{
	Picture    *picture = arg;
	TexSvg	   *svg = picture->svg;
	double		axis;

	picture->spans = spans;
	picture->choice = tex_choose_bars(spans, MOST_BARS);
	picture->colors = tex_service_colors(spans);
	picture->row = tex_new_array(sizeof(double), spans->n, 0);
	for (int32 i = 0; i < spans->n; i++)
		picture->row[i] = -1;
	picture->y += 30;
	tex_svg_text(svg, MARGIN, picture->y, WIDTH - 2 * MARGIN, TEX_HEADING, TEX_START, "h", tex_trace_title(spans));
	picture->y += 20;
	tex_svg_text(svg, MARGIN, picture->y, WIDTH - 2 * MARGIN, TEX_SMALL, TEX_START, "dim", tex_trace_facts(spans));
	picture->y += 20;
	put_services(picture);
	picture->y += 18;
	put_legend(picture);
	picture->y += 24;
	axis = picture->y;
	picture->y = tex_svg_axis(svg, BARS, BAR_ROOM, axis, axis + 18 + ROW * picture->choice.n, 0, spans->duration);
	for (int32 i = 0; i < spans->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (picture->choice.drawn[i])
			put_bar(picture, i);
	}
	put_critical_path(picture);
	if (picture->choice.n < spans->n)
	{
		picture->y += 14;
		tex_svg_text(svg, MARGIN, picture->y, WIDTH - 2 * MARGIN, TEX_TEXT, TEX_START, "dim",
					 psprintf("%d of %d bars are not drawn, the shortest: trace_tree() has all", spans->n - picture->choice.n, spans->n));
	}
	picture->y += 12;
}

/* trace_svg(trace_ids uuid[]); NULL where none of them is stored. */
Datum
tex_trace_svg(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	Picture		picture = {0};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	initStringInfo(&out);
	picture.svg = tex_svg_begin(WIDTH, false);
	if (tex_each_trace(fcinfo, TEX_SPANS_RACES, put_trace, &picture) == 0)
		PG_RETURN_NULL();
	tex_svg_end(picture.svg, &out, picture.y, "What happened in a request",
				"One row for each thing that took time: its name, indented below what it was a part of, and a bar from when to when it lasted.");
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
