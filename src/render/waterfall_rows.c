/*
 * waterfall_rows.c
 *		Which lines a waterfall has, and what they say.
 *
 * A line for each bar that is shown, below it one for each of its points that are,
 * and one that says how many are not.  Of a large trace what has to be seen is chosen
 * first: races and errors, then what took longest, with all that is above it.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "analysis/error_messages.h"
#include "analysis/words.h"
#include "races/arrays.h"
#include "races/proof.h"
#include "render/text.h"
#include "render/waterfall.h"

#define MOST_BARS		1000	/* that are shown */
#define MOST_MARKS		20		/* of a bar */
#define MOST_MARK_ROWS	1000	/* of all bars */
#define MOST_NOTES		4		/* links and errors of a bar, each */
#define MESSAGE_WIDTH	60

/* A text that a client sent, in at most some columns. */
char *
tex_waterfall_clip(const TexWaterfall *w, const char *text, int width)
{
	StringInfoData shown;

	initStringInfo(&shown);
	tex_cells_clip(&w->cells, &shown, text, width);
	return tex_take_string(&shown);
}

/* How a trace is called where it is not the one shown. */
const char *
tex_waterfall_trace(const TexWaterfall *w, int32 event)
{
	const TexOneTrace *one = w->spans->one;

	return tex_is_home(one, event) ? "this trace" :
		psprintf("trace %s", tex_short_trace(&one->history->traces[one->events[event].trace].id));
}

/* For qsort_arg(): what has to be seen, then the longest, then the earliest. */
static int
compare_importance(const void *a, const void *b, void *arg)
{
	const TexSpan *spans = arg;
	const TexSpan *x = &spans[*(const int32 *) a];
	const TexSpan *y = &spans[*(const int32 *) b];
	int			wx = (x->race != TEX_NO_RACE ? 2 : 0) + ((x->flags & TEX_SPAN_ERROR) ? 1 : 0);
	int			wy = (y->race != TEX_NO_RACE ? 2 : 0) + ((y->flags & TEX_SPAN_ERROR) ? 1 : 0);

	CHECK_FOR_INTERRUPTS();
	if (wx != wy)
		return wx > wy ? -1 : 1;
	if (x->end - x->start != y->end - y->start)
		return x->end - x->start > y->end - y->start ? -1 : 1;
	return x < y ? -1 : x > y;
}

/*
 * Which bars are shown: all, or of a large trace those with races and errors and the
 * longest ones, each with all above it.
 */
static void
choose_bars(TexWaterfall *w)
{
	const TexSpans *spans = w->spans;
	int32	   *order;
	int32		room = MOST_BARS;

	w->shown = tex_new_array(sizeof(bool), spans->n, spans->n <= MOST_BARS);
	if (spans->n <= MOST_BARS)
		return;
	order = tex_new_array(sizeof(int32), spans->n, 0);
	for (int32 i = 0; i < spans->n; i++)
		order[i] = i;
	qsort_arg(order, spans->n, sizeof(int32), compare_importance, spans->spans);
	for (int32 i = 0; i < spans->n && room > 0; i++)
	{
		int32		missing = 0;

		for (int32 at = order[i]; at != TEX_NO_SPAN && !w->shown[at] && missing <= room; at = spans->spans[at].parent)
			missing++;
		CHECK_FOR_INTERRUPTS();
		/* What would need more lines than there are is left out with all below it. */
		if (missing > room)
			continue;
		for (int32 at = order[i]; at != TEX_NO_SPAN && !w->shown[at]; at = spans->spans[at].parent)
			w->shown[at] = true;
		room -= missing;
	}
	pfree(order);
}

/* What is not shown, by the bar below which it is missed. */
static void
count_left_out(TexWaterfall *w)
{
	const TexSpans *spans = w->spans;

	w->last_shown = tex_new_array(sizeof(int32), spans->n, 0xff);
	w->left_out = tex_new_array(sizeof(int32), spans->n, 0);
	for (int32 i = spans->n - 1; i >= 0; i--)
	{
		int32		parent = spans->spans[i].parent;

		if (parent == TEX_NO_SPAN)
			continue;
		if (!w->shown[i])
			w->left_out[parent] += w->left_out[i] + 1;
		else if (w->last_shown[parent] == TEX_NO_SPAN)
			w->last_shown[parent] = i;
	}
}

/*
 * The glyphs of the tree before a line at some depth; of a line below that, if "below".  Where it is deeper than
 * is drawn, the outer levels are left out, and the depth is written instead.
 */
static char *
draw_branches(const TexWaterfall *w, int32 depth, bool ends, bool below)
{
	StringInfoData branches;
	int32		from = 1;

	initStringInfo(&branches);
	if (depth > w->most_levels)
	{
		appendStringInfo(&branches, "%s%-2d", w->cells.glyphs->deep, depth);
		from = depth - w->most_levels + 2;
	}
	for (int32 i = from; i < depth; i++)
		appendStringInfoString(&branches, w->more[i] ? w->cells.glyphs->beside : "   ");
	if (depth > 0)
		appendStringInfoString(&branches, below ? (ends ? "   " : w->cells.glyphs->beside) :
							   ends ? w->cells.glyphs->last : w->cells.glyphs->inner);
	return tex_take_string(&branches);
}

/* A new row. */
static TexWaterfallRow *
add_row(TexWaterfall *w, int32 span)
{
	TexWaterfallRow *row;

	if (w->nrows == w->rows_room)
	{
		w->rows_room = Max(256, w->rows_room * 2);
		w->rows = w->rows ? repalloc(w->rows, sizeof(TexWaterfallRow) * w->rows_room) : palloc(sizeof(TexWaterfallRow) * w->rows_room);
	}
	row = &w->rows[w->nrows++];
	memset(row, 0, sizeof(TexWaterfallRow));
	row->span = span;
	return row;
}

/* A note. */
static void
add_note(TexWaterfallRow *row, char *note)
{
	row->notes = lappend(row->notes, note);
}

/* A value as it is shown, or NULL where there is none. */
static char *
say_value(const TexWaterfall *w, Jsonb *value, int width)
{
	char	   *text;
	StringInfoData shown;

	if (value == NULL)
		return NULL;
	text = JsonbToCString(NULL, &value->root, VARSIZE(value));
	initStringInfo(&shown);
	tex_cells_clip(&w->cells, &shown, text, width);
	return tex_take_string(&shown);
}

/* The value of an access: what it found, or what it wrote in which one's place. */
static char *
access_value(const TexWaterfall *w, int32 event)
{
	const TexEvent *e = &w->spans->one->events[event];
	char	   *value = say_value(w, tex_value_of(e), TEX_VALUE_WIDTH);
	char	   *before;

	if (value == NULL)
		return e->data->value_left_out ? pstrdup(" = (long)") : pstrdup("");
	if (!tex_is_write(e) || e->data->old_value == NULL)
		return psprintf(" = %s", value);
	before = say_value(w, e->data->old_value, TEX_VALUE_WIDTH / 2);
	if (tex_compare_values(e->data->old_value, tex_value_of(e)) != TEX_VALUES_DIFFERENT && strcmp(before, value) == 0)
		return psprintf(" = %s", value);
	return psprintf(" %s %s %s", before, w->cells.glyphs->to, value);
}

/* What the other side of a race did. */
static char *
race_note(const TexWaterfall *w, int32 race, int32 mine)
{
	const TexSpanRace *r = &w->spans->races[race];
	int32		other = r->first == mine ? r->second : r->first;
	const TexEvent *e = &w->spans->one->events[other];
	const char *pattern = tex_pattern_name(r->verdict.pattern);
	char	   *value = say_value(w, tex_value_of(e), TEX_VALUE_WIDTH);

	if (r->verdict.pattern == TEX_LOST_UPDATE && r->second == mine)
		return psprintf("! %s: found %s (%s)", pattern, value ? value : "another value", tex_waterfall_trace(w, other));
	if (r->verdict.pattern == TEX_LOST_UPDATE)
		return psprintf("! %s: replaced by %s (%s)", pattern, value ? value : "another value", tex_waterfall_trace(w, other));
	return psprintf("! %s: %s %s %s", pattern, tex_waterfall_trace(w, other), tex_is_write(e) ? "wrote" : "read",
					value ? value : "it");
}

/* A place in the code without its directories, as people say it. */
static char *
say_location(const TexWaterfall *w, const char *location)
{
	const char *slash = strrchr(location, '/');

	return tex_waterfall_clip(w, slash && slash[1] ? slash + 1 : location, TEX_STEP_WIDTH);
}

/* An error by name and message. */
static char *
say_error(const TexWaterfall *w, const TexMark *mark)
{
	const char *name = tex_text_of(w->spans->one, w->spans->one->events[mark->event].name);
	const char *message = tex_error_message(w->spans->one, mark->event);
	bool		named = name && name[0];

	return psprintf("! %s%s%s", named ? tex_waterfall_clip(w, name, MESSAGE_WIDTH / 2) : message ? "" : "error",
					named && message ? ": " : "", message ? tex_waterfall_clip(w, message, MESSAGE_WIDTH) : "");
}

/* The errors of a bar, each once. */
static void
note_errors(TexWaterfall *w, TexWaterfallRow *row)
{
	const TexSpan *span = &w->spans->spans[row->span];
	const TexEvent *own = &w->spans->one->events[span->event];
	int			n = 0;

	tex_foreach_mark(mark, w->spans, span)
	{
		char	   *note;
		bool		again = false;
		ListCell   *cell;

		if (w->spans->one->events[mark->event].kind != TEX_ERROR)
			continue;
		if (n == MOST_NOTES)
		{
			add_note(row, psprintf("! and %d more", span->nerrors - n));
			return;
		}
		note = say_error(w, mark);
		foreach(cell, row->notes)
			again |= strcmp(lfirst(cell), note) == 0;
		n++;
		if (!again)
			add_note(row, note);
	}
	if (n == 0 && (span->flags & TEX_SPAN_ERROR) && own->kind != TEX_ERROR)
	{
		const char *status = tex_span_status(w->spans, row->span);

		add_note(row, psprintf("! %s", status ? tex_waterfall_clip(w, status, TEX_VALUE_WIDTH) : "error"));
	}
}

/* The messages from and to other traces. */
static void
note_links(TexWaterfall *w, TexWaterfallRow *row)
{
	const TexSpan *span = &w->spans->spans[row->span];
	int			n = 0;

	tex_foreach_link(link, w->spans, span)
	{
		if (n++ == MOST_NOTES)
		{
			add_note(row, psprintf("and %d more", span->nlinks - MOST_NOTES));
			break;
		}
		add_note(row, psprintf("%s trace %s", link->is_out ? w->cells.glyphs->to : w->cells.glyphs->from,
							   tex_short_trace(&link->trace_id)));
	}
}

/* The worst race of each request. */
static int32 *
races_of_requests(const TexSpans *spans)
{
	int32	   *worst = tex_new_array(sizeof(int32), spans->n, 0xff);
	int32	   *request = tex_new_array(sizeof(int32), spans->n, 0);

	for (int32 i = 0; i < spans->n; i++)
	{
		const TexSpan *span = &spans->spans[i];
		int32	   *at;

		request[i] = span->parent == TEX_NO_SPAN || tex_span_event(spans, i)->kind == TEX_HTTP_REQUEST ? i :
			request[span->parent];
		at = &worst[request[i]];
		if (span->race != TEX_NO_RACE && (*at == TEX_NO_RACE || span->race < *at))
			*at = span->race;
	}
	pfree(request);
	return worst;
}

/* What there is to say of a bar beside its time. */
static void
note_bar(TexWaterfall *w, TexWaterfallRow *row, int32 race)
{
	const TexSpan *span = &w->spans->spans[row->span];

	note_errors(w, row);
	if (race != TEX_NO_RACE && tex_span_event(w->spans, row->span)->kind != TEX_STATE_CHANGE)
		add_note(row, psprintf("! %s", tex_pattern_name(w->spans->races[race].verdict.pattern)));
	note_links(w, row);
	if (span->waited > 0)
		add_note(row, psprintf("waited %s", tex_usecs_words(span->waited)));
	if (span->flags & TEX_SPAN_OUTLIVES)
		add_note(row, pstrdup("outlives its parent"));
	if (span->flags & TEX_SPAN_ORPHAN)
		add_note(row, pstrdup("parent missing"));
	if (span->flags & TEX_SPAN_CYCLE)
		add_note(row, pstrdup("cycle of parents cut"));
	if (span->flags & TEX_SPAN_UNANSWERED)
		add_note(row, pstrdup("no end recorded"));
}

/* Where in the code an event is, or NULL. */
static const char *
location_of(const TexSpans *spans, int32 event)
{
	const TexAccessData *data = spans->one->events[event].data;

	return data ? tex_text_of(spans->one, data->location) : NULL;
}

/* The row of an access, an error or another point. */
static void
add_mark(TexWaterfall *w, const TexMark *mark, const char *branches)
{
	const TexEvent *e = &w->spans->one->events[mark->event];
	TexWaterfallRow *row = add_row(w, mark->span);
	const char *location = location_of(w->spans, mark->event);

	row->mark = mark;
	row->below = psprintf("%s  ", branches);
	if (e->kind == TEX_STATE_CHANGE)
	{
		row->branches = psprintf("%s%s ", branches, w->cells.glyphs->point);
		row->verb = psprintf("%-5s ", tex_event_verb(w->spans->one, mark->event));
		row->label = tex_clean_label(tex_text_of(w->spans->one, e->name));
		row->value = access_value(w, mark->event);
	}
	else
	{
		row->branches = psprintf("%s%s ", branches, w->cells.glyphs->point);
		row->label = tex_event_label(w->spans, mark->event);
	}
	if (location)
		add_note(row, say_location(w, location));
	if (mark->race != TEX_NO_RACE)
		add_note(row, race_note(w, mark->race, mark->event));
}

/* Whether a mark has a row of its own: errors are noted at their bar,. */
static bool
has_row(const TexWaterfall *w, const TexMark *mark)
{
	return w->spans->one->events[mark->event].kind != TEX_ERROR;
}

/*
 * Which marks of a bar are shown: all, or those that race and then the first ones.
 */
static void
add_marks(TexWaterfall *w, int32 index, const char *branches)
{
	const TexSpan *span = &w->spans->spans[index];
	int32		room = Min(MOST_MARKS, MOST_MARK_ROWS - w->nmarks);
	int32		racing = 0;
	int32		left_out = 0;

	tex_foreach_mark(mark, w->spans, span)
		racing += mark->race != TEX_NO_RACE;
	racing = Min(racing, room);
	tex_foreach_mark(mark, w->spans, span)
	{
		bool		races = mark->race != TEX_NO_RACE;

		CHECK_FOR_INTERRUPTS();
		if (!has_row(w, mark))
			continue;
		/* Room is kept for those that race and are still to come. */
		if (room > (races ? 0 : racing))
		{
			add_mark(w, mark, branches);
			w->nmarks++;
			room--;
			racing -= races && racing > 0;
		}
		else
			left_out++;
	}
	w->marks_left_out += left_out;
	if (left_out > 0)
	{
		TexWaterfallRow *row = add_row(w, index);

		row->branches = psprintf("%s%s ", branches, w->cells.glyphs->point);
		row->below = row->branches;
		row->label = psprintf("%d more", left_out);
	}
}

/* The row of a bar, those of its marks, and of what is left out below it. */
static void
add_bar_rows(TexWaterfall *w, int32 index, int32 race)
{
	const TexSpan *span = &w->spans->spans[index];
	TexWaterfallRow *row = add_row(w, index);
	bool		has_more = w->last_shown[index] != TEX_NO_SPAN || w->left_out[index] > 0;
	bool		ends = span->parent == TEX_NO_SPAN ||
		(index == w->last_shown[span->parent] && w->left_out[span->parent] == 0);
	char	   *inside;

	row->is_bar = true;
	w->more[span->depth] = !ends;
	row->branches = draw_branches(w, span->depth, ends, false);
	/* Below the line, the tree goes on to the children, if there are any. */
	inside = has_more ? draw_branches(w, span->depth + 1, false, true) : draw_branches(w, span->depth, ends, true);
	row->below = inside;
	row->label = tex_span_label(w->spans, index);
	if (tex_span_event(w->spans, index)->kind == TEX_STATE_CHANGE)
		row->value = access_value(w, span->event);
	if (span->end > span->start)
		row->took = tex_cells_usecs(&w->cells, span->end - span->start);
	note_bar(w, row, race);
	if (tex_span_event(w->spans, index)->kind == TEX_STATE_CHANGE)
	{
		const char *location = location_of(w->spans, span->event);

		if (location)
			add_note(row, say_location(w, location));
		if (span->race != TEX_NO_RACE)
			add_note(row, race_note(w, span->race, span->event));
	}
	if (w->accesses)
		add_marks(w, index, inside);
}

/* After the last line below a bar: how many there are that are not shown. */
static void
close_lists(TexWaterfall *w, int32 index)
{
	const TexSpans *spans = w->spans;
	int32		at = index;

	/* The lists that end with this bar, the innermost first. */
	if (w->last_shown[at] != TEX_NO_SPAN)
		return;
	while (at != TEX_NO_SPAN)
	{
		if (w->left_out[at] > 0)
		{
			TexWaterfallRow *row = add_row(w, at);

			row->branches = draw_branches(w, spans->spans[at].depth + 1, true, false);
			row->below = row->branches;
			row->label = psprintf("%d more", w->left_out[at]);
		}
		if (spans->spans[at].parent == TEX_NO_SPAN || w->last_shown[spans->spans[at].parent] != at)
			break;
		at = spans->spans[at].parent;
	}
}

/* All rows. */
static void
collect_rows(TexWaterfall *w)
{
	const TexSpans *spans = w->spans;
	int32	   *races = races_of_requests(spans);
	int32		deepest = 0;

	for (int32 i = 0; i < spans->n; i++)
		deepest = Max(deepest, spans->spans[i].depth);
	w->more = tex_new_array(sizeof(bool), deepest + 2, 0);
	for (int32 i = 0; i < spans->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!w->shown[i])
			continue;
		add_bar_rows(w, i, races[i]);
		close_lists(w, i);
	}
}

/* Decides which lines there are. Call within an SPI connection. */
void
tex_waterfall_rows(TexWaterfall *w)
{
	w->most_levels = Max(2, (w->width - 40) / 8);
	choose_bars(w);
	count_left_out(w);
	collect_rows(w);
}
