/*
 * waterfall.c
 *		A trace as lines of text, its bars one below the other: waterfall().
 *
 * A line is service, tree and name, bar, how long, notes.  Which lines there are is
 * decided first (waterfall_rows.c), then how wide the columns are (lay_out()), then they
 * are drawn.  Notes that find no room beside their bar
 * stand below it.
 *
 * Widths are those of a terminal, and no line is wider than the width given less 2:
 * so it fits with the frame that psql draws around it.  Glyphs are those of UTF-8 where
 * both server and client have it, else of ASCII.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "analysis/sink.h"
#include "analysis/words.h"
#include "races/arrays.h"
#include "render/text.h"
#include "render/waterfall.h"

#define LEAST_WIDTH		40
#define MOST_WIDTH		1000
#define USUAL_WIDTH		100
#define FRAME			2		/* columns that psql takes beside the text */

#define MOST_STEPS		8		/* of the critical path */

PG_FUNCTION_INFO_V1(tex_waterfall);

/* How wide the words of a row are. */
static int
words_width_of(const TexWaterfallRow *row)
{
	return (row->verb ? tex_width(row->verb) : 0) + tex_width(row->label) + (row->value ? tex_width(row->value) : 0);
}

/* How wide a row's tree and label are. */
static int
label_width_of(const TexWaterfallRow *row)
{
	return tex_width(row->branches) + words_width_of(row);
}

/* How wide its notes are, in one line. */
static int
notes_width_of(const TexWaterfallRow *row)
{
	int			width = 0;
	ListCell   *cell;

	foreach(cell, row->notes)
		width += tex_width(lfirst(cell)) + (width > 0 ? 2 : 0);
	return width;
}

/* What the columns of text need. */
static void
measure(TexWaterfall *w)
{
	for (int32 i = 0; i < w->nrows; i++)
	{
		const TexWaterfallRow *row = &w->rows[i];
		const char *service = tex_span_service(w->spans, row->span);
		int			label = label_width_of(row);

		if (service)
			w->service_width = Max(w->service_width, tex_width(tex_clean_label(service)));
		w->label_width = Max(w->label_width, row->is_bar ? Min(label, w->width * 45 / 100) : label);
		if (row->took)
			w->took_width = Max(w->took_width, tex_width(row->took));
		/* Points say theirs where there is room. */
		if (row->is_bar)
			w->notes_width = Max(w->notes_width, notes_width_of(row));
	}
	w->service_width = Min(w->service_width, w->width / 6);
	w->label_width = Min(w->label_width, w->width / 2);
	w->notes_width = Min(w->notes_width, w->width / 4);
}

/*
 * How wide each column is.  Bars get a fifth at least; labels what they need, up to half,
 * and less than a third where notes need room, up to a quarter; where that is not enough
 * notes stand below.
 */
static void
lay_out(TexWaterfall *w)
{
	int			least_bar = w->width / 5;
	int			least_label = w->width * 3 / 10;
	int			room;

	measure(w);
	/* One column before the bar and before the time, two between others. */
	room = w->width - 1 - (w->service_width > 0 ? w->service_width + 2 : 0) - (w->took_width > 0 ? w->took_width + 1 : 0);
	if (w->notes_width > 0 && room - w->notes_width - 2 - least_bar >= Min(least_label, w->label_width))
		room -= w->notes_width + 2;
	else
		w->notes_width = 0;
	w->label_width = Min(w->label_width, room - least_bar);
	w->bar_width = room - w->label_width;
}

/* When a bar goes on beyond what it is part of: from there on it is drawn light. */
static int64
inside_until(const TexSpans *spans, const TexSpan *span)
{
	if (span->flags & TEX_SPAN_ASYNC)
		return span->start;
	if (!(span->flags & TEX_SPAN_OUTLIVES))
		return span->end;
	return Max(span->start, spans->spans[span->parent].end);
}

/* A note, in the ink that suits it. */
static void
put_note(TexWaterfall *w, const char *note, int width)
{
	tex_cells_put(&w->cells, note[0] == '!' ? TEX_INK_ALARM : TEX_INK_FAINT, note, width);
}

/*
 * The notes of a row: beside the bar as many as find room, the others each in a line
 * below.  Those of a point may begin anywhere after it.
 */
static void
draw_notes(TexWaterfall *w, const TexWaterfallRow *row, int column)
{
	ListCell   *cell;
	List	   *below = NIL;

	foreach(cell, row->notes)
	{
		char	   *note = lfirst(cell);
		int			columns = tex_width(note);

		if (row->mark && below == NIL && cell == list_head(row->notes))
			column = Max(w->cells.column + 2, Min(column, w->width - columns));
		else
			column = Max(w->cells.column + 2, column);
		if (below != NIL || column + columns > w->width)
		{
			below = lappend(below, note);
			continue;
		}
		tex_cells_pad(&w->cells, column);
		put_note(w, note, columns);
	}
	tex_cells_end(&w->cells, w->sink);
	foreach(cell, below)
	{
		tex_cells_pad(&w->cells, w->service_width > 0 ? w->service_width + 2 : 0);
		tex_cells_put(&w->cells, TEX_INK_FAINT, row->below, w->width / 2);
		put_note(w, lfirst(cell), w->width - w->cells.column);
		tex_cells_end(&w->cells, w->sink);
	}
}

/* The first column: the service, where it is not that of the line before. */
static void
draw_service(TexWaterfall *w, const TexWaterfallRow *row)
{
	int32		service = tex_span_event(w->spans, row->span)->service;
	const char *name = tex_text_of(w->spans->one, service);

	if (w->service_width == 0)
		return;
	if (row->is_bar && service != w->last_service && name)
		tex_cells_put(&w->cells, tex_ink_of(name), tex_clean_label(name), w->service_width);
	if (row->is_bar)
		w->last_service = service;
	tex_cells_pad(&w->cells, w->service_width + 2);
}

/* A name of which the last part says most, as that of a variable: cut in its middle. */
static void
put_path(TexWaterfall *w, const char *path, int width)
{
	int			len = strlen(path);
	int			columns = tex_width(path);
	int			head;
	int			taken;
	const char *tail = path;

	if (columns <= width || width < 8)
	{
		tex_cells_put(&w->cells, TEX_INK_NONE, path, width);
		return;
	}
	head = width / 3;
	while (tex_width(tail) > width - head - 1)
		tail += pg_mblen(tail);
	len = tex_clip_width(path, len, head, &taken);
	tex_cells_put(&w->cells, TEX_INK_NONE, pnstrdup(path, len), head);
	tex_cells_put(&w->cells, TEX_INK_NONE, w->cells.glyphs->cut, 1);
	tex_cells_put(&w->cells, TEX_INK_NONE, tail, width - head - 1);
}

/* The label up to a column, and the value, of which at least half is shown. */
static void
draw_label(TexWaterfall *w, const TexWaterfallRow *row, int until)
{
	const TexSpan *span = &w->spans->spans[row->span];
	int			room;
	int			value = 0;

	if (row->verb)
		tex_cells_put(&w->cells, TEX_INK_NONE, row->verb, until - w->cells.column);
	room = until - w->cells.column;
	if (row->value == NULL)
	{
		tex_cells_put(&w->cells, (span->flags & TEX_SPAN_ERROR) && row->is_bar ? TEX_INK_ALARM : TEX_INK_NONE,
					  row->label, room);
		return;
	}
	value = Min(tex_width(row->value), Max(room - tex_width(row->label), room / 2));
	put_path(w, row->label, room - value);
	tex_cells_put(&w->cells, TEX_INK_NONE, row->value, value);
}

/* The bar of a row, if it has one. */
static void
draw_bar(TexWaterfall *w, const TexWaterfallRow *row)
{
	const TexSpan *span = &w->spans->spans[row->span];

	if (row->is_bar)
		tex_cells_bar(&w->cells, w->bar_width, w->spans->duration, span->start, span->end, inside_until(w->spans, span),
					  (span->flags & TEX_SPAN_ERROR) ? TEX_INK_ALARM :
					  (span->flags & TEX_SPAN_CRITICAL) ? TEX_INK_STRONG : TEX_INK_NONE);
}

/*
 * A point: a glyph at its moment, and its words before that, as what happened late leaves room there; where it does not
 * leave enough, after it, if that is much more.
 */
static void
draw_point(TexWaterfall *w, const TexWaterfallRow *row, int until)
{
	int			moment = until + tex_cells_moment(w->bar_width, w->spans->duration, row->mark->at) + 1;
	int			before = moment - 1 - w->cells.column;
	int			after = w->width - (moment + 2);
	bool		turned = before < words_width_of(row) && 3 * after > 4 * before;

	if (!turned)
		draw_label(w, row, moment - 1);
	tex_cells_pad(&w->cells, moment);
	tex_cells_put(&w->cells, TEX_INK_NONE, w->cells.glyphs->moment, 1);
	if (turned)
	{
		tex_cells_pad(&w->cells, moment + 2);
		draw_label(w, row, w->width);
	}
}

/* A line and the notes below it. */
static void
draw_row(TexWaterfall *w, const TexWaterfallRow *row)
{
	int			bar_begins;
	int			until;

	draw_service(w, row);
	until = w->cells.column + w->label_width;
	bar_begins = until + 1;
	tex_cells_put(&w->cells, TEX_INK_FAINT, row->branches, w->label_width - 1);
	if (row->mark)
		draw_point(w, row, until);
	else
	{
		draw_label(w, row, until);
		tex_cells_pad(&w->cells, bar_begins);
		draw_bar(w, row);
	}
	if (row->took)
	{
		tex_cells_pad(&w->cells, bar_begins + w->bar_width + 1 + w->took_width - tex_width(row->took));
		tex_cells_put(&w->cells, TEX_INK_NONE, row->took, w->took_width);
	}
	draw_notes(w, row, bar_begins + w->bar_width + (w->took_width > 0 ? w->took_width + 1 : 0) + 2);
}

/* "1 error", "2 errors". */
static char *
counted(int64 n, const char *what)
{
	return psprintf("%lld %s%s", (long long) n, what, n == 1 ? "" : "s");
}

/* The first line, or two where it is too long: what trace, how long, how much of what. */
static void
draw_head(TexWaterfall *w)
{
	const TexSpans *spans = w->spans;
	char	   *id = tex_short_trace(&spans->one->history->traces[spans->one->trace].id);
	char	   *numbers = psprintf("%s  %s  %s  %s%s%s",
								   tex_usecs_words(spans->duration), counted(spans->n, "span"),
								   counted(spans->nservices, "service"), counted(spans->errors, "error"),
								   spans->nlinks > 0 ? psprintf("  %s", counted(spans->nlinks, "async edge")) : "",
								   spans->all_races > 0 ? psprintf("  %s", counted(spans->all_races, "race")) : "");
	char	   *label = tex_span_label(spans, spans->root);
	int			room;

	tex_cells_put(&w->cells, TEX_INK_STRONG, psprintf("trace %s  ", id), w->width);
	room = w->width - w->cells.column;
	if (tex_width(label) + 2 + tex_width(numbers) <= room || tex_width(numbers) + 22 <= room)
	{
		tex_cells_put(&w->cells, TEX_INK_STRONG, label, room - tex_width(numbers) - 2);
		tex_cells_pad(&w->cells, w->cells.column + 2);
	}
	else
	{
		tex_cells_put(&w->cells, TEX_INK_STRONG, label, room);
		tex_cells_end(&w->cells, w->sink);
	}
	tex_cells_put(&w->cells, TEX_INK_NONE, numbers, w->width - w->cells.column);
	tex_cells_end(&w->cells, w->sink);
}

/* A step of the critical path: neighbours of one bar and activity are one. */
typedef struct Step
{
	int32		event;
	TexActivity activity;
	int64		usecs;
} Step;

/* For qsort_arg(): the longest first, then the earliest. */
static int
compare_lengths(const void *a, const void *b, void *arg)
{
	const Step *steps = arg;
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	CHECK_FOR_INTERRUPTS();
	if (steps[x].usecs != steps[y].usecs)
		return steps[x].usecs > steps[y].usecs ? -1 : 1;
	return x < y ? -1 : x > y;
}

/*
 * The longest steps of the critical path, in the order of time, but for those that would be
 * shown as 0; *rest is how long the others took.
 */
static Step *
longest_steps(const TexWaterfall *w, int *n, int64 *rest)
{
	const TexSpans *spans = w->spans;
	int64		shortest = Max(spans->duration / 1000, tex_cells_least(&w->cells, 1));
	Step	   *steps = tex_new_array(sizeof(Step), spans->ncritical, 0);
	int32	   *by_length;
	int32		nsteps = 0;
	int32		kept = 0;

	*rest = 0;
	for (int32 i = 0; i < spans->ncritical; i++)
	{
		const TexSegment *segment = &spans->critical[i];
		int64		usecs = tex_usecs_between(segment->from, segment->to);
		int32		span = tex_segment_span(spans, segment);
		int32		event = span == TEX_NO_SPAN ? segment->event : spans->spans[span].event;

		if (nsteps > 0 && steps[nsteps - 1].activity == segment->activity &&
			(steps[nsteps - 1].event == event || segment->activity == TEX_WAIT_FOR_LOCK))
			steps[nsteps - 1].usecs += usecs;
		else
			steps[nsteps++] = (Step) {event, segment->activity, usecs};
	}
	by_length = tex_new_array(sizeof(int32), nsteps, 0);
	for (int32 i = 0; i < nsteps; i++)
		by_length[i] = i;
	qsort_arg(by_length, nsteps, sizeof(int32), compare_lengths, steps);
	for (int32 i = MOST_STEPS; i < nsteps; i++)
	{
		*rest += steps[by_length[i]].usecs;
		steps[by_length[i]].usecs = 0;
	}
	for (int32 i = 0; i < nsteps; i++)
	{
		if (steps[i].usecs > shortest)
			steps[kept++] = steps[i];
		else
			*rest += steps[i].usecs;
	}
	*n = kept;
	return steps;
}

/* A step in words. */
static char *
say_step(const TexWaterfall *w, const Step *step)
{
	const char *name = step->event == TEX_NO_EVENT ? "nothing recorded" :
		tex_waterfall_clip(w, tex_event_label(w->spans, step->event), Min(TEX_STEP_WIDTH, w->width / 4));
	const char *where = step->event != TEX_NO_EVENT && !tex_is_home(w->spans->one, step->event) ?
		psprintf(" of %s", tex_waterfall_trace(w, step->event)) : "";
	static const char *const how[] = {
		[TEX_WORK] = "",
		[TEX_WAIT_FOR_LOCK] = " (waited for)",
		[TEX_WAIT_FOR_TASK] = " (wait for task)",
		[TEX_NETWORK] = " (network)",
		[TEX_GAP] = " (gap)",
	};

	return psprintf("%s%s%s %s", name, where, how[step->activity], tex_cells_number(&w->cells, step->usecs, 1));
}

/* Words one after the other, in as many lines as they need. */
static void
draw_critical_path(TexWaterfall *w)
{
	int			n;
	int64		rest;
	Step	   *steps = longest_steps(w, &n, &rest);

	if (w->spans->ncritical == 0)
		return;
	tex_cells_put(&w->cells, TEX_INK_STRONG, psprintf("critical path (self %s): ", w->cells.unit->name), w->width);
	if (n == 0)
		tex_cells_put(&w->cells, TEX_INK_NONE, "many short steps, ", w->width - w->cells.column);
	if (rest <= tex_cells_least(&w->cells, 1))
		rest = 0;
	for (int i = 0; i < n + (rest > 0); i++)
	{
		char	   *step = i == n ? psprintf("%selsewhere %s", n > 0 ? "and " : "", tex_cells_number(&w->cells, rest, 1)) :
			psprintf("%s%s", say_step(w, &steps[i]), i < n - 1 ? " >" : "");
		bool		fits = w->cells.column + tex_width(step) <= w->width;
		if (!fits)
		{
			tex_cells_end(&w->cells, w->sink);
			tex_cells_pad(&w->cells, 2);
		}
		tex_cells_put(&w->cells, TEX_INK_NONE, step, w->width - w->cells.column);
		if (w->cells.column < w->width)
			tex_cells_pad(&w->cells, w->cells.column + 1);
	}
	tex_cells_end(&w->cells, w->sink);
}

/* The last line, where not all is shown. */
static void
draw_left_out(TexWaterfall *w)
{
	int64		bars = 0;
	const char *points = w->accesses ? counted(w->marks_left_out, "point") : NULL;

	for (int32 i = 0; i < w->spans->n; i++)
		bars += !w->shown[i];
	if (bars == 0 && w->marks_left_out == 0)
		return;
	tex_cells_put(&w->cells, TEX_INK_FAINT,
				  psprintf("left out: %s%s%s; trace_tree() has all",
						   bars > 0 ? psprintf("%s, the shortest", counted(bars, "span")) : "",
						   bars > 0 && w->marks_left_out > 0 ? ", and " : "",
						   w->marks_left_out > 0 ? points : ""), w->width);
	tex_cells_end(&w->cells, w->sink);
}

/* All lines. */
static void
draw(TexWaterfall *w)
{
	w->last_service = -2;
	tex_waterfall_rows(w);
	lay_out(w);
	draw_head(w);
	for (int32 i = 0; i < w->nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		draw_row(w, &w->rows[i]);
	}
	draw_critical_path(w);
	draw_left_out(w);
}

/* The width that was asked for. */
static int
width_of(FunctionCallInfo fcinfo, int argument)
{
	int64		width = PG_ARGISNULL(argument) ? USUAL_WIDTH : PG_GETARG_INT64(argument);

	if (width < LEAST_WIDTH || width > MOST_WIDTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a width of %lld columns is not between %d and %d",
						(long long) width, LEAST_WIDTH, MOST_WIDTH)));
	return (int) width - FRAME;
}

/* waterfall(trace_id uuid, width bigint, accesses boolean, color boolean) */
Datum
tex_waterfall(PG_FUNCTION_ARGS)
{
	TexWaterfall	w = {0};

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	w.width = width_of(fcinfo, 1);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	SPI_connect();
	w.spans = tex_spans_load(PG_GETARG_UUID_P(0), TEX_SPANS_RACES);
	if (w.spans)
	{
		w.accesses = PG_ARGISNULL(2) || PG_GETARG_BOOL(2);
		w.sink = tex_sink_to_caller(fcinfo, PG_INT64_MAX);
		tex_cells_begin(&w.cells, w.spans->duration, !PG_ARGISNULL(3) && PG_GETARG_BOOL(3));
		draw(&w);
	}
	SPI_finish();
	return (Datum) 0;
}
