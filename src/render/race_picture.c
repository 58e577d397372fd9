/*
 * race_picture.c
 *		Two who raced, drawn as two lanes: race_svg().
 *
 * Time goes down.  A lane is a trace, or where both accesses are of one trace a
 * strand.  Between the lanes is the variable: an arrow to a lane is a read, one from a
 * lane a write, and the pill at its other end is the value.  So it can be followed how
 * a value was read, became out of date, and was written over.
 *
 * Rows are the accesses of the variable in both lanes and what the lanes locked
 * meanwhile, in the order that the race detector has.  Where there are many, those
 * near to the pair are drawn and the rest is counted.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analysis/words.h"
#include "common/reads.h"
#include "compat.h"
#include "races/arrays.h"
#include "races/evidence.h"
#include "races/proof.h"
#include "render/race_picture.h"
#include "render/svg.h"

PG_FUNCTION_INFO_V1(tex_race_svg);

#define WIDTH		960
#define MARGIN		16
#define TIMES		84			/* the column of times */
#define LANE		304			/* width of a lane */
#define MIDDLE		(MARGIN + TIMES + LANE + (WIDTH - 2 * MARGIN - TIMES - 2 * LANE) / 2)
#define PILL		104
#define CARD		56			/* height of a row */
#define ROW			68
#define GAP			26			/* height of a row that only counts */

#define MOST_ROWS	14
#define MOST_ROWS_IN_PAGE 9		/* as the next race, and the trace, follow */
#define LONGEST_VALUE 60

/* What a row is to the story. */
typedef enum Part
{
	BESIDE,						/* neither of the two */
	STALE_READ,					/* read what the other one then changed */
	LOST,						/* wrote what is gone */
	OVERWRITES,					/* wrote over it */
	CHANGES,					/* changed what the other one had read and went by */
	ONE_OF_TWO					/* that nothing orders */
} Part;

typedef struct Row
{
	int32		event;
	int			lane;			/* 0 or 1 */
	Part		part;
	TimestampTz at;				/* when; in its lane never before what came before it */
} Row;

typedef struct Story
{
	const TexHistory *history;
	const TexOrder *order;
	const TexRaceFacts *facts;
	TexSvg	   *svg;
	TimestampTz since;			/* the first of what is drawn */
	bool		by_strand;		/* lanes are strands of one trace */
	bool		about_locks;
	Row		   *rows;
	int			n;
	int			lane_of_first;
	double		y;
} Story;

/* For each kind what it means, for who has never heard of it. */
static const char *const meanings[][2] = {
	{"lost update",
		"Both read the value before either had written. Who wrote last did not know of the other one's write and wrote over it: that is gone, as if it had never been made, and nobody was told."},
	{"write-write",
		"Both write, and nothing says who is last. Which of the two values stays is chance: the next time it can be the other one."},
	{"read-write",
		"One reads while the other one writes, and nothing says who is first. What is read is chance: the next time it can be the other value."},
	{"non-repeatable read",
		"The same value was read twice and was another one the second time: what was decided after the first read may be wrong by the second."},
	{"intermediate read",
		"One wrote a value that it was going to write over again, and the other one read it before: it went on with a value that was never meant to be seen."},
	{"own write overwritten",
		"One wrote a value and read another one afterwards: the other one wrote in between."},
	{"aborted read",
		"One read what the other one had written and then, as it failed, should have taken back: it went on with a value that never came to be."},
	{"check-then-act",
		"One looked at a value and then did something on the strength of it; in between the other one changed the value, so what was done may be wrong."},
	{"write skew",
		"Each looked at what the other one was about to change, and neither saw the change. Either would have been right alone; both together may break what each of them had checked."},
	{"potential race",
		"This time one waited for the other, by chance: they took the same lock one after the other, and the next time it can be the other way round."},
	{"lock order",
		"Each holds a lock that the other one wants next. If both come to that point at once, each waits for the other, for ever."},
};

/* What to do about a kind of finding, as incident() has it. Within SPI. */
static char *
cure_of(const char *kind)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(kind)};

	SPI_execute_with_args("SELECT trace_ext_internal.cure_text($1)", 1, types, values, NULL, true, 1);
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/* What a kind of finding means. */
static const char *
meaning_of(const char *kind)
{
	for (size_t i = 0; i < lengthof(meanings); i++)
		if (strcmp(meanings[i][0], kind) == 0)
			return meanings[i][1];
	return "What comes out depends on who is first, and nothing says who is.";
}

/* The lane of an event, or -1. */
static int
lane_of(const Story *story, const TexEvent *event)
{
	const TexEvent *ends[2] = {&story->history->events[story->facts->first], &story->history->events[story->facts->second]};

	for (int i = 0; i < 2; i++)
		if (story->by_strand ? event->strand == ends[i]->strand : event->trace == ends[i]->trace)
			return i;
	return -1;
}

/* Whether an event is a row: an access of the variable, or of locks. */
static bool
is_told(const Story *story, const TexEvent *event)
{
	const TexEvent *first = &story->history->events[story->facts->first];

	if (event->kind == TEX_LOCK_ACQUIRE || event->kind == TEX_LOCK_RELEASE)
		return true;
	return event->kind == TEX_STATE_CHANGE && first->kind == TEX_STATE_CHANGE && event->data && first->data &&
		event->data->variable == first->data->variable;
}

/* For qsort_arg(): causes first. */
static int
compare_positions(const void *a, const void *b, void *arg)
{
	const Story *story = arg;
	int32		x = tex_order_position(story->order, ((const Row *) a)->event);
	int32		y = tex_order_position(story->order, ((const Row *) b)->event);

	CHECK_FOR_INTERRUPTS();
	return x < y ? -1 : x > y;
}

/* For qsort_arg(): by time, else causes first. */
static int
compare_times(const void *a, const void *b, void *arg)
{
	const Row  *x = a;
	const Row  *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return compare_positions(a, b, arg);
}

/* The row of an event. */
static int
row_of(const Story *story, int32 event)
{
	for (int i = 0; i < story->n; i++)
		if (story->rows[i].event == event)
			return i;
	return -1;
}

/*
 * Puts rows in order: by time, as far as no lane goes backwards in it; and causes
 * first where clocks contradict what the values prove of the pair.
 */
static void
sort_rows(Story *story)
{
	TimestampTz reached[2] = {DT_NOBEGIN, DT_NOBEGIN};

	qsort_arg(story->rows, story->n, sizeof(Row), compare_positions, story);
	for (int i = 0; i < story->n; i++)
	{
		Row		   *row = &story->rows[i];

		row->at = reached[row->lane] = Max(reached[row->lane], story->history->events[row->event].at);
	}
	qsort_arg(story->rows, story->n, sizeof(Row), compare_times, story);
	if (row_of(story, story->facts->first) > row_of(story, story->facts->second))
		qsort_arg(story->rows, story->n, sizeof(Row), compare_positions, story);
}

/* All rows there could be. */
static void
collect_rows(Story *story)
{
	int32		n = 0;

	for (int32 i = 0; i < story->history->nevents; i++)
		n += is_told(story, &story->history->events[i]) && lane_of(story, &story->history->events[i]) >= 0;
	story->rows = tex_new_array(sizeof(Row), Max(n, 1), 0);
	for (int32 i = 0; i < story->history->nevents; i++)
	{
		const TexEvent *event = &story->history->events[i];
		int			lane = lane_of(story, event);

		if (lane >= 0 && is_told(story, event))
			story->rows[story->n++] = (Row) {.event = i,.lane = lane,.part = BESIDE};
	}
	sort_rows(story);
}

/*
 * The nearest access of a lane before (step -1) or after (1) a row, a read or a write, in the order that the
 * detector has, whatever clocks say; -1: there is none.
 */
static int
nearest(const Story *story, int row, int step, int lane, bool write)
{
	int32		from = tex_order_position(story->order, story->rows[row].event);
	int32		best_position = 0;
	int			best = -1;

	for (int i = 0; i < story->n; i++)
	{
		const TexEvent *event = &story->history->events[story->rows[i].event];
		int32		position = tex_order_position(story->order, story->rows[i].event);

		if (story->rows[i].lane != lane || event->kind != TEX_STATE_CHANGE || tex_is_write(event) != write ||
			(position - from) * step <= 0 || (best >= 0 && (position - best_position) * step > 0))
			continue;
		best = i;
		best_position = position;
	}
	return best;
}

/*
 * Who is who.  Of a lost update the pair is the lost write and the one that wrote over
 * it, or the read that it went by and the lost write (races/evidence.c).  Where something
 * was checked, it is the read, and who changed that.
 */
static void
cast_parts(Story *story)
{
	int			first = row_of(story, story->facts->first);
	int			second = row_of(story, story->facts->second);
	int			read = -1;

	if (first < 0 || second < 0)
		return;
	story->rows[first].part = story->rows[second].part = ONE_OF_TWO;
	if (strcmp(story->facts->kind, "check-then-act") == 0 || strcmp(story->facts->kind, "write skew") == 0)
	{
		story->rows[first].part = tex_is_write(&story->history->events[story->facts->first]) ? CHANGES : STALE_READ;
		story->rows[second].part = story->rows[first].part == CHANGES ? STALE_READ : CHANGES;
		return;
	}
	if (strcmp(story->facts->kind, "lost update") != 0)
		return;
	if (!tex_is_write(&story->history->events[story->facts->first]))
	{
		read = first;
		first = second;
		second = nearest(story, first, 1, story->rows[read].lane, true);
	}
	else
		read = nearest(story, second, -1, story->rows[second].lane, false);
	story->rows[first].part = LOST;
	if (second >= 0)
		story->rows[second].part = OVERWRITES;
	if (read >= 0)
		story->rows[read].part = STALE_READ;
}

/* How many rows are between a row and the nearest that has a part. */
static int
distance_of(const Story *story, int row)
{
	for (int d = 0; d < story->n; d++)
		if ((row >= d && story->rows[row - d].part != BESIDE) || (row + d < story->n && story->rows[row + d].part != BESIDE))
			return d;
	return story->n;
}

/* Up to which distance rows are drawn. */
static int
reach_of(const Story *story)
{
	int			most = story->svg->in_page ? MOST_ROWS_IN_PAGE : MOST_ROWS;
	int			reach = 0;

	for (int d = 1; d <= most; d++)
	{
		int			n = 0;

		for (int i = 0; i < story->n && n <= most; i++)
			n += distance_of(story, i) <= d;
		if (n > most)
			break;
		reach = d;
	}
	return reach;
}

/* A value as JSON, cut; or a question mark. */
static char *
value_words(Jsonb *value)
{
	char	   *text;

	if (value == NULL)
		return pstrdup("?");
	text = JsonbToCString(NULL, &value->root, VARSIZE(value));
	if (strlen(text) > LONGEST_VALUE)
		strcpy(text + pg_mbcliplen(text, strlen(text), LONGEST_VALUE), "...");
	return text;
}

/* The end of a path, which is what tells files apart. */
static const char *
last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] != '\0' ? slash + 1 : path;
}

/* Where in the code an event is. */
static char *
place_words(const Story *story, const TexEvent *event)
{
	const TexEvent *function = tex_function_around(story->history, event);
	const char *location = event->data && event->data->location != TEX_NO_NAME ?
		tex_history_text(story->history, event->data->location) : NULL;
	const char *around = function ? tex_history_text(story->history, function->name) : NULL;

	if (location && around)
		return psprintf("%s in %s", last_part(location), around);
	return location ? psprintf("%s", last_part(location)) : around ? psprintf("in %s", around) : pstrdup("");
}

/* What an event did, in words. */
static char *
action_words(const Story *story, const Row *row)
{
	const TexEvent *event = &story->history->events[row->event];

	if (event->kind != TEX_STATE_CHANGE)
		return psprintf("%s %s", event->kind == TEX_LOCK_ACQUIRE ? "takes lock" : "gives back lock",
						event->name == TEX_NO_NAME ? "?" : tex_history_text(story->history, event->name));
	if (!tex_is_write(event))
		return psprintf("reads %s", value_words(tex_value_of(event)));
	if (event->data->old_value)
		return psprintf("writes %s over %s", value_words(tex_value_of(event)), value_words(event->data->old_value));
	return psprintf("writes %s", value_words(tex_value_of(event)));
}

/* What that means for the story, or NULL. */
static const char *
remark(const Story *story, const Row *row)
{
	switch (row->part)
	{
		case STALE_READ:
			return "and goes on with this value";
		case LOST:
			return "this update is lost";
		case OVERWRITES:
			for (int i = 0; i < story->n; i++)
				if (story->rows[i].part == STALE_READ)
					return psprintf("made from the %s that it read", value_words(tex_value_of(&story->history->events[story->rows[i].event])));
			return "over a value that it had not read";
		case CHANGES:
			return "changes what the other one goes by";
		case ONE_OF_TWO:
			return story->about_locks ? "while it holds another lock" : "nothing orders this and the other one";
		default:
			return NULL;
	}
}

/* A horizontal arrow. */
static void
put_arrow(TexSvg *svg, double from, double to, double y, bool bad)
{
	double		back = to > from ? -8 : 8;

	tex_svg_line(svg, from, y, to + back, y, bad ? "badline" : "arrow");
	appendStringInfo(&svg->body, "<path class=\"%s\" d=\"M", bad ? "badfill" : "head");
	tex_put_number(&svg->body, to);
	appendStringInfoChar(&svg->body, ' ');
	tex_put_number(&svg->body, y);
	appendStringInfo(&svg->body, "l%d -4v8z\"/>\n", (int) back);
}

/* The value between the lanes, and the arrow. */
static void
put_value(Story *story, const Row *row, double lane_edge)
{
	const TexEvent *event = &story->history->events[row->event];
	TexSvg	   *svg = story->svg;
	bool		write = tex_is_write(event);
	bool		lost = row->part == LOST;
	double		y = story->y + CARD / 2.0;
	double		pill_edge = row->lane == 0 ? MIDDLE - PILL / 2 : MIDDLE + PILL / 2;
	double		width;

	put_arrow(svg, write ? lane_edge : pill_edge, write ? pill_edge : lane_edge, y, lost);
	tex_svg_rect(svg, MIDDLE - PILL / 2, y - 12, PILL, 24, 12, lost ? "badcard" : write ? "card" : "box");
	width = tex_svg_text(svg, MIDDLE, y + 4, PILL - 16, TEX_TEXT, TEX_MIDDLE, lost ? "bad" : write ? "h" : "dim",
						 value_words(tex_value_of(event)));
	if (lost)
		tex_svg_line(svg, MIDDLE - width / 2 - 4, y, MIDDLE + width / 2 + 4, y, "badline");
}

/* A row: when, what, where, and what it did to the variable. */
static void
put_row(Story *story, const Row *row)
{
	const TexEvent *event = &story->history->events[row->event];
	TexSvg	   *svg = story->svg;
	double		x = row->lane == 0 ? MARGIN + TIMES : WIDTH - MARGIN - LANE;
	const char *says = remark(story, row);
	bool		bad = row->part != BESIDE;
	int64		passed = event->at - story->since;

	tex_svg_text(svg, MARGIN + TIMES - 10, story->y + CARD / 2 + 4, TIMES - 10, TEX_SMALL, TEX_END, "dim",
				 passed == 0 ? "0" : psprintf("+%s", tex_usecs_words(passed)));
	tex_svg_rect(svg, x, story->y, LANE, CARD, 6, bad ? "badcard" : "box");
	tex_svg_text(svg, x + 10, story->y + (says ? 17 : 23), LANE - 20, TEX_TEXT, TEX_START, "h", action_words(story, row));
	tex_svg_text(svg, x + 10, story->y + (says ? 32 : 40), LANE - 20, TEX_SMALL, TEX_START, "dim", place_words(story, event));
	if (says)
		tex_svg_text(svg, x + 10, story->y + 48, LANE - 20, TEX_SMALL, TEX_START, "bad", says);
	if (event->kind == TEX_STATE_CHANGE)
		put_value(story, row, row->lane == 0 ? x + LANE : x);
	story->y += ROW;
}

/* Rows that are not drawn. */
static void
put_gap(Story *story, int n)
{
	if (n == 0)
		return;
	tex_svg_text(story->svg, MIDDLE, story->y + 14, LANE, TEX_SMALL, TEX_MIDDLE, "dim",
				 psprintf("%d more that %s here", n, n == 1 ? "is not shown" : "are not shown"));
	story->y += GAP;
}

/* Who a lane is. */
static void
put_lane_head(Story *story, int lane)
{
	const TexHistory *history = story->history;
	const TexEvent *event = &history->events[lane == 0 ? story->facts->first : story->facts->second];
	const TexTrace *trace = &history->traces[event->trace];
	double		x = lane == 0 ? MARGIN + TIMES : WIDTH - MARGIN - LANE;
	char	   *id = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&trace->id)));
	const char *service = event->service == TEX_NO_NAME ? NULL : tex_history_text(history, event->service);
	const char *name = trace->request == TEX_NO_EVENT || history->events[trace->request].name == TEX_NO_NAME ? NULL :
		tex_history_text(history, history->events[trace->request].name);
	const char *thread = event->task != TEX_NO_NAME ? tex_history_text(history, event->task) :
		event->thread_name != TEX_NO_NAME ? tex_history_text(history, event->thread_name) : NULL;

	if (story->by_strand)
		name = thread ? psprintf("%s %s", event->task != TEX_NO_NAME ? "task" : "thread", thread) : lane == 0 ? "one thread" : "another thread";
	tex_svg_text(story->svg, x, story->y, LANE, 14, TEX_START, "h", name ? name : "a request");
	tex_svg_text(story->svg, x, story->y + 17, LANE, TEX_SMALL, TEX_START, "dim",
				 psprintf("trace %.8s%s%s", id, service ? " of " : "", service ? service : ""));
}

/* The rows that are near enough to the pair, and how many others there are between them. */
static void
put_rows(Story *story)
{
	int			reach = reach_of(story);
	int			hidden = 0;

	story->since = DT_NOEND;
	for (int i = 0; i < story->n; i++)
		if (distance_of(story, i) <= reach)
			story->since = Min(story->since, story->history->events[story->rows[i].event].at);
	for (int i = 0; i < story->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (distance_of(story, i) > reach)
			hidden++;
		else
		{
			put_gap(story, hidden);
			hidden = 0;
			put_row(story, &story->rows[i]);
		}
	}
	put_gap(story, hidden);
}

/* The lanes, and what is between them. */
static void
put_lanes(Story *story)
{
	StringInfoData behind;
	double		top;

	put_lane_head(story, 0);
	put_lane_head(story, 1);
	if (!story->about_locks)
	{
		tex_svg_text(story->svg, MIDDLE, story->y, WIDTH - 2 * (MARGIN + LANE) - TIMES - 10, TEX_TEXT, TEX_MIDDLE, "h", story->facts->variable);
		tex_svg_text(story->svg, MIDDLE, story->y + 17, LANE, TEX_SMALL, TEX_MIDDLE, "dim", "its value");
	}
	story->y += 32;
	top = story->y - 4;
	/* The line of the variable goes behind the rows, and ends where they do. */
	behind = story->svg->body;
	initStringInfo(&story->svg->body);
	put_rows(story);
	{
		StringInfoData rows = story->svg->body;

		story->svg->body = behind;
		if (!story->about_locks)
			tex_svg_line(story->svg, MIDDLE, top, MIDDLE, story->y - (ROW - CARD), "l");
		appendBinaryStringInfo(&story->svg->body, rows.data, rows.len);
		pfree(rows.data);
	}
}

/* What it is, how sure and how often. */
static void
put_head(Story *story)
{
	const TexRaceFacts *facts = story->facts;
	char	   *kind = pstrdup(facts->kind);

	kind[0] = pg_toupper((unsigned char) kind[0]);
	tex_svg_text(story->svg, MARGIN, 30, WIDTH - 2 * MARGIN, TEX_HEADING, TEX_START, "h",
				 psprintf("%s %s %s", kind, strcmp(facts->kind, "lock order") == 0 ? "of locks" : "of", facts->variable));
	tex_svg_text(story->svg, MARGIN, 50, WIDTH - 2 * MARGIN, TEX_TEXT, TEX_START,
				 strcmp(facts->severity, "INFO") == 0 ? "dim" : strcmp(facts->severity, "WARNING") == 0 ? "warn" : "bad",
				 psprintf("%s, %s%s%s", facts->severity,
						  facts->confidence >= 1 ? "the values prove it" : psprintf("confidence %.1f", facts->confidence),
						  facts->seen ? ", " : "", facts->seen ? facts->seen : ""));
	story->y = 82;
}

/* What it means, the sentence, and the cure. */
static void
put_foot(Story *story)
{
	TexSvg	   *svg = story->svg;

	story->y += 14;
	tex_svg_text(svg, MARGIN, story->y, 200, TEX_TEXT, TEX_START, "h", "What that means");
	story->y = tex_svg_wrapped(svg, MARGIN, story->y + 18, WIDTH - 2 * MARGIN, TEX_TEXT, 4, "name", meaning_of(story->facts->kind)) + 8;
	tex_svg_text(svg, MARGIN, story->y, 200, TEX_TEXT, TEX_START, "h", "What happened");
	story->y = tex_svg_wrapped(svg, MARGIN, story->y + 18, WIDTH - 2 * MARGIN, TEX_TEXT, 12, "name",
							   story->facts->evidence ? story->facts->evidence : "");
	story->y += 8;
	tex_svg_text(svg, MARGIN, story->y, 200, TEX_TEXT, TEX_START, "good", "What to do");
	story->y = tex_svg_wrapped(svg, MARGIN, story->y + 18, WIDTH - 2 * MARGIN, TEX_TEXT, 4, "name", cure_of(story->facts->kind));
}

/* Draws a finding whose events are in a history that is prepared and in order; or without them. Within SPI. */
void
tex_race_picture(StringInfo out, const TexHistory *history, const TexOrder *order, const TexRaceFacts *facts, bool in_page)
{
	Story		story = {.history = history,.order = order,.facts = facts,.svg = tex_svg_begin(WIDTH, in_page)};

	story.about_locks = strcmp(facts->kind, "lock order") == 0;
	put_head(&story);
	if (facts->first != TEX_NO_EVENT && facts->second != TEX_NO_EVENT)
	{
		story.by_strand = history->events[facts->first].trace == history->events[facts->second].trace;
		collect_rows(&story);
		cast_parts(&story);
		put_lanes(&story);
	}
	else
	{
		tex_svg_text(story.svg, MARGIN, story.y, WIDTH - 2 * MARGIN, TEX_TEXT, TEX_START, "dim",
					 "Its events are no longer stored: what follows was written down when it was found.");
		story.y += 8;
	}
	put_foot(&story);
	tex_svg_end(story.svg, out, story.y + 4, psprintf("%s of %s", facts->kind, facts->variable),
				facts->evidence ? facts->evidence : facts->kind);
}

/* The event of an id in a trace, or TEX_NO_EVENT. */
static int32
find_event(const TexHistory *history, const pg_uuid_t *trace_id, const pg_uuid_t *id)
{
	for (int32 i = 0; i < history->nevents; i++)
		if (memcmp(&history->events[i].id, id, sizeof(pg_uuid_t)) == 0 &&
			memcmp(&history->traces[history->events[i].trace].id, trace_id, sizeof(pg_uuid_t)) == 0)
			return i;
	return TEX_NO_EVENT;
}

/* A column of the row that SPI has, as text; NULL where there is none. */
static char *
column(int number)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number);
}

/* An id of that row; false where there is none. */
static bool
id_column(int number, pg_uuid_t *id)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, &isnull);

	if (!isnull)
		*id = *DatumGetUUIDP(value);
	return !isnull;
}

/* Reads a finding and its events, and draws it; false: there is none of that id.  Within SPI. */
bool
tex_finding_picture(StringInfo out, const pg_uuid_t *finding_id, bool in_page)
{
	Oid			types[1] = {UUIDOID};
	Datum		values[1] = {UUIDPGetDatum(finding_id)};
	TexRaceFacts facts = {.first = TEX_NO_EVENT,.second = TEX_NO_EVENT};
	TexHistory *history = tex_history_create();
	TexOrder   *order = NULL;
	pg_uuid_t	events[2];
	pg_uuid_t	traces[2];
	bool		known = true;
	int64		times;

	SPI_execute_with_args("SELECT kind, severity, variable, evidence, confidence::text, occurrences::text, last_seen::text, "
						  "event1_trace_id, event2_trace_id, event1_id, event2_id FROM trace_ext.findings WHERE id = $1",
						  1, types, values, NULL, true, 1);
	if (SPI_processed == 0)
		return false;
	facts.kind = column(1);
	facts.severity = column(2);
	facts.variable = column(3);
	facts.evidence = column(4);
	facts.confidence = strtod(column(5), NULL);
	times = strtoll(column(6), NULL, 10);
	facts.seen = times == 0 ? "later events showed that it was none" :
		psprintf("seen %s, last at %s", times == 1 ? "once" : psprintf("%lld times", (long long) times), column(7));
	for (int i = 0; i < 2; i++)
		known &= id_column(8 + i, &traces[i]) && id_column(10 + i, &events[i]);
	if (known)
	{
		tex_history_load(history, traces, memcmp(&traces[0], &traces[1], sizeof(pg_uuid_t)) == 0 ? 1 : 2, TEX_ROLE_HOME);
		tex_history_prepare(history);
		facts.first = find_event(history, &traces[0], &events[0]);
		facts.second = find_event(history, &traces[1], &events[1]);
		order = tex_order_create(history);
		tex_order_run_sequence(order);
	}
	tex_race_picture(out, history, order, &facts, in_page);
	return true;
}

/* race_svg(finding_id uuid); NULL, and a NOTICE, for one that is not known. */
Datum
tex_race_svg(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	bool		known;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	initStringInfo(&out);
	SPI_connect();
	known = tex_finding_picture(&out, PG_GETARG_UUID_P(0), false);
	SPI_finish();
	if (known)
		PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
	tex_notice(psprintf("finding %s is not known", DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(0)))),
			   "The table findings has all that are.");
	PG_RETURN_NULL();
}
