/*
 * waterfall.c
 *		A trace as lines of text, its bars one below the other: waterfall().
 *
 * A line is service, tree and name, bar, how long, notes.  Which lines there are is
 * decided first (choose_bars(), collect_rows()), then how wide the columns are
 * (lay_out()), then they are drawn.  Notes that find no room beside their bar
 * stand below it.
 *
 * Widths are those of a terminal, and no line is wider than the width given less 2:
 * so it fits with the frame that psql draws around it.  Glyphs are those of UTF-8 where
 * both server and client have it, else of ASCII.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "analysis/sink.h"
#include "analysis/words.h"
#include "races/arrays.h"
#include "races/proof.h"
#include "render/cells.h"
#include "render/spans.h"
#include "render/text.h"
#include "store/trace_range.h"

#define LEAST_WIDTH		40
#define MOST_WIDTH		1000
#define USUAL_WIDTH		100
#define FRAME			2		/* columns that psql takes beside the text */

#define MOST_BARS		1000	/* that are shown */
#define MOST_MARKS		20		/* of a bar */
#define MOST_MARK_ROWS	1000	/* of all bars */
#define MOST_STEPS		8		/* of the critical path */
#define MOST_NOTES		4		/* links and errors of a bar, each */
#define VALUE_WIDTH		24
#define STEP_WIDTH		28
#define MESSAGE_WIDTH	60
#define MOST_MESSAGES	200

PG_FUNCTION_INFO_V1(tex_waterfall);

static const char messages_query[] =
	"SELECT id, pg_catalog.left(attributes OPERATOR(pg_catalog.->>) 'message', 200) FROM trace_ext.events "
	"WHERE trace_id OPERATOR(pg_catalog.=) $1 AND id OPERATOR(pg_catalog.=) ANY ($2) "
	"AND \"timestamp\" OPERATOR(pg_catalog.>=) $3 AND \"timestamp\" OPERATOR(pg_catalog.<=) $4";

/* A line to be, or one and the notes below it. */
typedef struct Row
{
	int32		span;			/* the bar, or the one of which it says something */
	const TexMark *mark;		/* NULL: the bar itself */
	bool		is_bar;			/* neither a mark nor what is left out */
	char	   *branches;		/* before the label */
	char	   *below;			/* ... in the lines below it */
	char	   *label;
	char	   *value;			/* after the label, when that is cut; or NULL */
	char	   *took;			/* how long, or NULL */
	List	   *notes;			/* strings; the first ones beside the bar, if there is room */
} Row;

/* What an error says; the loader leaves such texts in the table. */
typedef struct Message
{
	int32		event;
	const char *text;
} Message;

typedef struct Waterfall
{
	const TexSpans *spans;
	TexCells	cells;			/* glyphs, colour, and the line that is drawn */
	TexSink    *sink;
	bool		accesses;
	int			width;
	int			service_width;
	int			label_width;
	int			bar_width;
	int			took_width;
	int			notes_width;
	int			most_levels;	/* of the tree that are drawn */
	bool	   *shown;			/* of each bar */
	int32	   *last_shown;		/* of each bar: its last child that is shown */
	int32	   *left_out;		/* of each bar: how many bars below it are not, not counted at one that is shown */
	bool	   *more;			/* by depth: comes there another line of the same list? */
	Row		   *rows;
	int32		nrows;
	int32		rows_room;
	int32		nmarks;			/* marks that are shown */
	int64		marks_left_out;
	Message    *messages;
	int			nmessages;
	int32		last_service;	/* that was written in its column; -2: none yet */
} Waterfall;

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
choose_bars(Waterfall *w)
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
count_left_out(Waterfall *w)
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

/* The glyphs of the tree before a line at some depth; of a line below that, if "below". */
static char *
draw_branches(const Waterfall *w, int32 depth, bool ends, bool below)
{
	StringInfoData branches;
	int32		from = 1;

	initStringInfo(&branches);
	if (depth > w->most_levels)
	{
		appendStringInfoString(&branches, w->cells.glyphs->deep);
		from = depth - w->most_levels + 2;
	}
	for (int32 i = from; i < depth; i++)
		appendStringInfoString(&branches, w->more[i] ? w->cells.glyphs->beside : "   ");
	if (depth > 0)
		appendStringInfoString(&branches, below ? (ends ? "   " : w->cells.glyphs->beside) :
							   ends ? w->cells.glyphs->last : w->cells.glyphs->inner);
	return branches.data;
}

/* A new row. */
static Row *
add_row(Waterfall *w, int32 span)
{
	Row		   *row;

	if (w->nrows == w->rows_room)
	{
		w->rows_room = Max(256, w->rows_room * 2);
		w->rows = w->rows ? repalloc(w->rows, sizeof(Row) * w->rows_room) : palloc(sizeof(Row) * w->rows_room);
	}
	row = &w->rows[w->nrows++];
	memset(row, 0, sizeof(Row));
	row->span = span;
	return row;
}

/* A note. */
static void
add_note(Row *row, char *note)
{
	row->notes = lappend(row->notes, note);
}

/* How a trace is called where it is not the one shown. */
static const char *
say_trace(const Waterfall *w, int32 event)
{
	const TexOneTrace *one = w->spans->one;

	return tex_is_home(one, event) ? "this trace" :
		psprintf("trace %s", tex_short_trace(&one->history->traces[one->events[event].trace].id));
}

/* A value as it is shown, or NULL where there is none. */
static char *
say_value(const Waterfall *w, Jsonb *value, int width)
{
	char	   *text;
	StringInfoData shown;

	if (value == NULL)
		return NULL;
	text = JsonbToCString(NULL, &value->root, VARSIZE(value));
	initStringInfo(&shown);
	tex_cells_clip(&w->cells, &shown, text, width);
	return shown.data;
}

/* The value of an access: what it found, or what it wrote in which one's place. */
static char *
access_value(const Waterfall *w, int32 event)
{
	const TexEvent *e = &w->spans->one->events[event];
	char	   *value = say_value(w, tex_value_of(e), VALUE_WIDTH);
	char	   *before;

	if (value == NULL)
		return e->data->value_left_out ? pstrdup(" = (long)") : pstrdup("");
	if (!tex_is_write(e) || e->data->old_value == NULL)
		return psprintf(" = %s", value);
	before = say_value(w, e->data->old_value, VALUE_WIDTH / 2);
	if (tex_compare_values(e->data->old_value, tex_value_of(e)) != TEX_VALUES_DIFFERENT && strcmp(before, value) == 0)
		return psprintf(" = %s", value);
	return psprintf(" %s %s %s", before, w->cells.glyphs->to, value);
}

/* What the other side of a race did. */
static char *
race_note(const Waterfall *w, int32 race, int32 mine)
{
	const TexSpanRace *r = &w->spans->races[race];
	int32		other = r->first == mine ? r->second : r->first;
	const TexEvent *e = &w->spans->one->events[other];
	const char *pattern = tex_pattern_name(r->verdict.pattern);
	char	   *value = say_value(w, tex_value_of(e), VALUE_WIDTH);

	if (r->verdict.pattern == TEX_LOST_UPDATE && r->second == mine)
		return psprintf("! %s: found %s (%s)", pattern, value ? value : "another value", say_trace(w, other));
	if (r->verdict.pattern == TEX_LOST_UPDATE)
		return psprintf("! %s: replaced by %s (%s)", pattern, value ? value : "another value", say_trace(w, other));
	return psprintf("! %s: %s %s %s", pattern, say_trace(w, other), tex_is_write(e) ? "wrote" : "read",
					value ? value : "it");
}

/* A text that a client sent, in at most some columns. */
static char *
clipped(const Waterfall *w, const char *text, int width)
{
	StringInfoData shown;

	initStringInfo(&shown);
	tex_cells_clip(&w->cells, &shown, text, width);
	return shown.data;
}

/* A place in the code without its directories, as people say it. */
static char *
say_location(const Waterfall *w, const char *location)
{
	const char *slash = strrchr(location, '/');

	return clipped(w, slash && slash[1] ? slash + 1 : location, STEP_WIDTH);
}

/* What an error says, or NULL. */
static const char *
message_of(const Waterfall *w, int32 event)
{
	for (int i = 0; i < w->nmessages; i++)
		if (w->messages[i].event == event)
			return w->messages[i].text;
	return NULL;
}

/* An error by name and message. */
static char *
say_error(const Waterfall *w, const TexMark *mark)
{
	const char *name = tex_text_of(w->spans->one, w->spans->one->events[mark->event].name);
	const char *message = message_of(w, mark->event);
	bool		named = name && name[0];

	return psprintf("! %s%s%s", named ? clipped(w, name, MESSAGE_WIDTH / 2) : message ? "" : "error",
					named && message ? ": " : "", message ? clipped(w, message, MESSAGE_WIDTH) : "");
}

/* The errors of a bar, each once. */
static void
note_errors(Waterfall *w, Row *row)
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

		add_note(row, psprintf("! %s", status ? clipped(w, status, VALUE_WIDTH) : "error"));
	}
}

/* The messages from and to other traces. */
static void
note_links(Waterfall *w, Row *row)
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
note_bar(Waterfall *w, Row *row, int32 race)
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
add_mark(Waterfall *w, const TexMark *mark, const char *branches)
{
	const TexEvent *e = &w->spans->one->events[mark->event];
	Row		   *row = add_row(w, mark->span);
	const char *location = location_of(w->spans, mark->event);

	row->mark = mark;
	row->below = psprintf("%s  ", branches);
	if (e->kind == TEX_STATE_CHANGE)
	{
		row->branches = psprintf("%s%s %-5s ", branches, w->cells.glyphs->point, tex_event_verb(w->spans->one, mark->event));
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
has_row(const Waterfall *w, const TexMark *mark)
{
	return w->spans->one->events[mark->event].kind != TEX_ERROR;
}

/*
 * Which marks of a bar are shown: all, or those that race and then the first ones.
 */
static void
add_marks(Waterfall *w, int32 index, const char *branches)
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
		Row		   *row = add_row(w, index);

		row->branches = psprintf("%s%s ", branches, w->cells.glyphs->point);
		row->below = row->branches;
		row->label = psprintf("%d more", left_out);
	}
}

/* The row of a bar, those of its marks, and of what is left out below it. */
static void
add_bar_rows(Waterfall *w, int32 index, int32 race)
{
	const TexSpan *span = &w->spans->spans[index];
	Row		   *row = add_row(w, index);
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
close_lists(Waterfall *w, int32 index)
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
			Row		   *row = add_row(w, at);

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
collect_rows(Waterfall *w)
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

/* How wide a row's tree and label are. */
static int
label_width_of(const Row *row)
{
	return tex_width(row->branches) + tex_width(row->label) + (row->value ? tex_width(row->value) : 0);
}

/* How wide its notes are, in one line. */
static int
notes_width_of(const Row *row)
{
	int			width = 0;
	ListCell   *cell;

	foreach(cell, row->notes)
		width += tex_width(lfirst(cell)) + (width > 0 ? 2 : 0);
	return width;
}

/* What the columns of text need. */
static void
measure(Waterfall *w)
{
	for (int32 i = 0; i < w->nrows; i++)
	{
		const Row  *row = &w->rows[i];
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
lay_out(Waterfall *w)
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
put_note(Waterfall *w, const char *note, int width)
{
	tex_cells_put(&w->cells, note[0] == '!' ? TEX_INK_ALARM : TEX_INK_FAINT, note, width);
}

/*
 * The notes of a row: beside the bar as many as find room, the others each in a line
 * below.  Those of a point may begin anywhere after it.
 */
static void
draw_notes(Waterfall *w, const Row *row, int column)
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
draw_service(Waterfall *w, const Row *row)
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
put_path(Waterfall *w, const char *path, int width)
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
draw_label(Waterfall *w, const Row *row, int until)
{
	const TexSpan *span = &w->spans->spans[row->span];
	int			room = until - w->cells.column;
	int			value = 0;

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
draw_bar(Waterfall *w, const Row *row)
{
	const TexSpan *span = &w->spans->spans[row->span];

	if (row->is_bar)
		tex_cells_bar(&w->cells, w->bar_width, w->spans->duration, span->start, span->end, inside_until(w->spans, span),
					  (span->flags & TEX_SPAN_ERROR) ? TEX_INK_ALARM :
					  (span->flags & TEX_SPAN_CRITICAL) ? TEX_INK_STRONG : TEX_INK_NONE);
}

/* A line and the notes below it. */
static void
draw_row(Waterfall *w, const Row *row)
{
	int			bar_begins;
	int			until;

	draw_service(w, row);
	until = w->cells.column + w->label_width;
	bar_begins = until + 1;
	tex_cells_put(&w->cells, TEX_INK_FAINT, row->branches, w->label_width - 1);
	/* What happened late leaves room before it. */
	if (row->mark)
		until += tex_cells_moment(w->bar_width, w->spans->duration, row->mark->at);
	draw_label(w, row, until);
	if (row->mark)
	{
		tex_cells_pad(&w->cells, until + 1);
		tex_cells_put(&w->cells, TEX_INK_NONE, w->cells.glyphs->moment, 1);
	}
	else
	{
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
draw_head(Waterfall *w)
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

/* The longest steps of the critical path, in the order of time; *rest is how long the others took. */
static Step *
longest_steps(const TexSpans *spans, int *n, int64 *rest)
{
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
		if (steps[i].usecs > spans->duration / 1000)
			steps[kept++] = steps[i];
		else
			*rest += steps[i].usecs;
	}
	*n = kept;
	return steps;
}

/* A step in words. */
static char *
say_step(const Waterfall *w, const Step *step)
{
	const char *name = step->event == TEX_NO_EVENT ? "nothing recorded" :
		clipped(w, tex_event_label(w->spans, step->event), Min(STEP_WIDTH, w->width / 4));
	const char *where = step->event != TEX_NO_EVENT && !tex_is_home(w->spans->one, step->event) ?
		psprintf(" of %s", say_trace(w, step->event)) : "";
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
draw_critical_path(Waterfall *w)
{
	int			n;
	int64		rest;
	Step	   *steps = longest_steps(w->spans, &n, &rest);

	if (w->spans->ncritical == 0)
		return;
	tex_cells_put(&w->cells, TEX_INK_STRONG, psprintf("critical path (self %s): ", w->cells.unit->name), w->width);
	if (n == 0)
		tex_cells_put(&w->cells, TEX_INK_NONE, "many short steps, ", w->width - w->cells.column);
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
draw_left_out(Waterfall *w)
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

/* The message of an error, one of the first n. */
static void
note_message(Waterfall *w, int n, const pg_uuid_t *id, const char *text)
{
	for (int i = 0; i < n; i++)
		if (memcmp(&w->spans->one->events[w->messages[i].event].id, id, sizeof(pg_uuid_t)) == 0)
			w->messages[i].text = text;
}

/* What the errors say that can be shown. */
static void
load_messages(Waterfall *w)
{
	const TexSpans *spans = w->spans;
	Oid			types[4] = {UUIDOID, UUIDARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		args[4];
	TimestampTz from = DT_NOEND;
	TimestampTz to = DT_NOBEGIN;
	pg_uuid_t	ids[MOST_MESSAGES];
	int			n = 0;
	int			nesting;

	w->messages = palloc0(sizeof(Message) * MOST_MESSAGES);
	for (int32 i = 0; i < spans->nmarks && n < MOST_MESSAGES; i++)
	{
		const TexEvent *e = &spans->one->events[spans->marks[i].event];

		if (e->kind != TEX_ERROR || !w->shown[spans->marks[i].span])
			continue;
		w->messages[n].event = spans->marks[i].event;
		ids[n++] = e->id;
		from = Min(from, e->at);
		to = Max(to, e->at);
	}
	if (n == 0)
		return;
	args[0] = UUIDPGetDatum(&spans->one->history->traces[spans->one->trace].id);
	args[1] = tex_uuid_array(ids, n);
	args[2] = TimestampTzGetDatum(from);
	args[3] = TimestampTzGetDatum(to);
	nesting = tex_no_jit();
	SPI_execute_with_args(messages_query, 4, types, args, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		message = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull);

		if (!isnull)
			note_message(w, n, DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)),
						 TextDatumGetCString(message));
	}
	w->nmessages = n;
	AtEOXact_GUC(false, nesting);
}

/* All lines. */
static void
draw(Waterfall *w)
{
	w->most_levels = Max(2, w->width / 12);
	w->last_service = -2;
	choose_bars(w);
	count_left_out(w);
	load_messages(w);
	collect_rows(w);
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
	Waterfall	w = {0};

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
