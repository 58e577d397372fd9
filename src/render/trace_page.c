/*
 * trace_page.c
 *		A trace as a page: trace_html().
 *
 * The page has MOST_BYTES at most.  What is drawn comes first, then a line for each
 * event, then as much as there is room for of what events say: of those that failed,
 * raced or were on the critical path before others.  What has no room is counted.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "analysis/anomalies.h"
#include "analysis/error_messages.h"
#include "analysis/words.h"
#include "compat.h"
#include "races/arrays.h"
#include "races/proof.h"
#include "render/choice.h"
#include "render/details.h"
#include "render/escape.h"
#include "render/frames.h"
#include "render/page.h"
#include "render/race_picture.h"
#include "render/services.h"
#include "render/svg.h"
#include "render/text.h"
#include "render/trace_picture.h"

PG_FUNCTION_INFO_V1(tex_trace_html);

#define MOST_BYTES		1000000
#define NOTES			500		/* of these for what is left out */
#define MOST_ROWS		10000
#define SAMP			13		/* the tags around what an event says */
#define MANY_ROWS		4000	/* then only names are there, and shorter */
#define NAME			120
#define SHORT_NAME		24
#define MOST_RACES		4		/* drawn */
#define MOST_STEPS		40		/* of the critical path */
#define MOST_ODD		20

/* Begin and length of a bar are numbers up to this. */
#define WHOLE			100000

/* A line of the waterfall. */
typedef struct Row
{
	int32		event;
	int32		span;
	const TexMark *mark;		/* NULL: it is the bar itself */
	int			end;			/* where in the text of all rows it ends */
	int			details;		/* where in the text of all details its own begin */
	int			details_end;	/* ... and end: at the same place if it has none */
} Row;

typedef struct TracePage
{
	const TexSpans *spans;
	StringInfoData out;			/* the page: what comes before the rows, then all of it */
	StringInfoData rows;
	StringInfoData details;		/* what events say, escaped */
	StringInfoData rest;		/* ... and after the rows */
	Row		   *row;
	int32		nrows;
	int32		left_out;		/* bars and marks */
	int			longest_name;
	int		   *colors;
} TracePage;

/* How much of the trace passed at a time. */
static int
share_of(const TracePage *page, int64 at)
{
	return page->spans->duration <= 0 ? 0 : (int) ((double) Min(Max(at, 0), page->spans->duration) / page->spans->duration * WHOLE + 0.5);
}

/* Whether a bar says already what one of its marks would: an error that is a status and nothing else. */
static bool
is_said(const TexSpans *spans, const TexMark *mark)
{
	const char *name = tex_text_of(spans->one, spans->one->events[mark->event].name);
	const char *status = tex_span_status(spans, mark->span);

	return spans->one->events[mark->event].kind == TEX_ERROR && spans->spans[mark->span].race == TEX_NO_RACE &&
		name && status && strcmp(name, status) == 0 && tex_error_message(spans->one, mark->event) == NULL;
}

/* How many marks have no row, as their bars say it. */
static int32
count_said(const TexSpans *spans)
{
	int32		n = 0;

	for (int32 i = 0; i < spans->nmarks; i++)
		n += is_said(spans, &spans->marks[i]);
	return n;
}

/* All rows, or the most important ones. */
static void
collect_rows(TracePage *page)
{
	const TexSpans *spans = page->spans;
	int32		nmarks = spans->nmarks - count_said(spans);
	bool		all = (int64) spans->n + nmarks <= MOST_ROWS;
	TexChoice	choice = tex_choose_bars(spans, all ? spans->n : Max(MOST_ROWS / 2, MOST_ROWS - nmarks));
	int32		room = MOST_ROWS - choice.n;
	int32		kept = room / 2;

	page->row = tex_new_array(sizeof(Row), Min(MOST_ROWS, spans->n + nmarks) + 1, 0);
	for (int32 i = 0; i < spans->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!choice.drawn[i])
			continue;
		page->row[page->nrows++] = (Row) {.event = spans->spans[i].event,.span = i};
		tex_foreach_mark(mark, spans, &spans->spans[i])
		{
			bool		told = mark->race != TEX_NO_RACE || spans->one->events[mark->event].kind == TEX_ERROR;

			if (is_said(spans, mark))
				continue;
			/* Half of the room is kept for marks that tell something. */
			if (!all && room <= (told ? 0 : kept))
				continue;
			room--;
			page->row[page->nrows++] = (Row) {.event = mark->event,.span = i,.mark = mark};
		}
	}
	page->left_out = spans->n + nmarks - page->nrows;
}

/* A name, cut to the length that there is room for. */
static void
put_name(TracePage *page, const char *name)
{
	StringInfoData clean;

	initStringInfo(&clean);
	tex_clean(&clean, name, strlen(name), page->longest_name);
	tex_put_xml(&page->rows, clean.data);
	pfree(clean.data);
}

/* The classes of a row: its colour, and what is special about it. */
static void
put_classes(TracePage *page, const Row *row)
{
	const TexSpans *spans = page->spans;
	const TexSpan *bar = &spans->spans[row->span];
	char		classes[32];
	int			n = snprintf(classes, sizeof(classes), "s%d", Max(0, tex_color_of(spans, page->colors, row->span)));

	if (row->mark)
		n += snprintf(classes + n, sizeof(classes) - n, " m");
	if (row->mark ? spans->one->events[row->event].kind == TEX_ERROR : (bar->flags & TEX_SPAN_ERROR) != 0)
		n += snprintf(classes + n, sizeof(classes) - n, " e");
	if (row->mark ? row->mark->race != TEX_NO_RACE : bar->race != TEX_NO_RACE)
		n += snprintf(classes + n, sizeof(classes) - n, " x");
	if (row->mark == NULL && (bar->flags & TEX_SPAN_CRITICAL))
		n += snprintf(classes + n, sizeof(classes) - n, " c");
	if (row->mark == NULL && (bar->flags & (TEX_SPAN_OUTLIVES | TEX_SPAN_ASYNC)))
		n += snprintf(classes + n, sizeof(classes) - n, " o");
	appendStringInfo(&page->rows, strchr(classes, ' ') ? "class=\"%s\"" : "class=%s", classes);
}

/* Begins the name of a row; with a remark behind it, it is the name that is cut where there is no room. */
static void
begin_name(TracePage *page, bool remark)
{
	appendStringInfoString(&page->rows, remark ? "<b class=f><s>" : "<b>");
}

/* Ends it, with a remark if it began so; NULL: none. */
static void
end_name(TracePage *page, const char *remark)
{
	if (remark)
	{
		appendStringInfoString(&page->rows, "</s><u>");
		put_name(page, remark);
		appendStringInfoString(&page->rows, "</u>");
	}
	appendStringInfoString(&page->rows, "</b>");
}

/* What stands in the row of a mark: what happened, of an access the value, of an error what it says. */
static void
put_mark(TracePage *page, const Row *row)
{
	const TexEvent *event = &page->spans->one->events[row->event];
	const char *message = event->kind == TEX_ERROR ? tex_error_message(page->spans->one, row->event) : NULL;
	const char *race = row->mark->race == TEX_NO_RACE ? NULL : tex_pattern_name(page->spans->races[row->mark->race].verdict.pattern);

	begin_name(page, race != NULL);
	put_name(page, tex_event_label(page->spans, row->event));
	if (message)
	{
		appendStringInfoString(&page->rows, ": ");
		put_name(page, message);
	}
	if (event->kind == TEX_STATE_CHANGE && tex_value_of(event))
	{
		Jsonb	   *value = tex_value_of(event);

		appendStringInfoString(&page->rows, " = ");
		put_name(page, JsonbToCString(NULL, &value->root, VARSIZE(value)));
	}
	end_name(page, race);
}

/* What stands in the row of a bar: its name, the service if that is another one, and what else is to be said. */
static void
put_bar(TracePage *page, const Row *row)
{
	const TexSpans *spans = page->spans;
	const TexSpan *bar = &spans->spans[row->span];
	const char *service = tex_span_service(spans, row->span);
	bool		many = page->nrows > MANY_ROWS;
	char	   *remark = many ? NULL : tex_span_remark(spans, row->span);
	char	   *label = tex_span_label(spans, row->span);

	begin_name(page, remark != NULL);
	put_name(page, label);
	pfree(label);
	if (!many && service && (bar->parent == TEX_NO_SPAN || tex_span_event(spans, bar->parent)->service != tex_span_event(spans, row->span)->service))
	{
		appendStringInfoString(&page->rows, "<em>");
		put_name(page, service);
		appendStringInfoString(&page->rows, "</em>");
	}
	end_name(page, remark);
}

/* A row, but for what its event says. */
static void
put_row(TracePage *page, Row *row)
{
	const TexSpan *bar = &page->spans->spans[row->span];
	int64		start = row->mark ? row->mark->at : bar->start;
	int64		end = row->mark ? row->mark->at : bar->end;
	int			from = share_of(page, start);
	int			length = share_of(page, end) - from;

	appendStringInfoString(&page->rows, "<p ");
	put_classes(page, row);
	appendStringInfo(&page->rows, " style=--d:%d;--x:%d", Min(bar->depth, 99) + (row->mark ? 1 : 0), from);
	if (length > 0)
		appendStringInfo(&page->rows, ";--w:%d", length);
	appendStringInfoChar(&page->rows, '>');
	if (row->mark)
		put_mark(page, row);
	else
		put_bar(page, row);
	appendStringInfoString(&page->rows, "<i>");
	if (end > start)
		tex_say_usecs(&page->rows, end - start);
	appendStringInfoString(&page->rows, "</i>");
	row->end = page->rows.len;
}

/* All rows, as many as there is room for. */
static void
put_rows(TracePage *page)
{
	page->longest_name = page->nrows > MANY_ROWS ? SHORT_NAME : NAME;
	page->colors = tex_service_colors(page->spans);
	initStringInfo(&page->rows);
	for (int32 i = 0; i < page->nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		put_row(page, &page->row[i]);
		/* Each row gets its end later. */
		if (page->rows.len + 5 * i > MOST_BYTES - NOTES - page->out.len - page->rest.len)
		{
			page->left_out += page->nrows - i;
			page->nrows = i;
			page->rows.len = i == 0 ? 0 : page->row[i - 1].end;
			page->rows.data[page->rows.len] = '\0';
		}
	}
}

/* Whether a row's event has more to say than others. */
static bool
is_told(const TracePage *page, const Row *row)
{
	const TexSpan *bar = &page->spans->spans[row->span];

	if (row->mark)
		return row->mark->race != TEX_NO_RACE || page->spans->one->events[row->event].kind == TEX_ERROR;
	return bar->race != TEX_NO_RACE || (bar->flags & (TEX_SPAN_ERROR | TEX_SPAN_CRITICAL));
}

/*
 * What events say, escaped, for as many rows as there is room for, those that have
 * more to say first.  Returns how many have none.
 */
static int32
choose_details(TracePage *page)
{
	int64		room = MOST_BYTES - NOTES - page->out.len - page->rest.len - page->rows.len - 5 * (int64) page->nrows;
	int32	   *events = tex_new_array(sizeof(int32), page->nrows, 0);
	int32	   *rows = tex_new_array(sizeof(int32), page->nrows, 0);
	int32		n = 0;
	int32		without = 0;
	char	  **details;

	/* So many bytes are the least that an event takes. */
	for (int told = 1; told >= 0; told--)
		for (int32 i = 0; i < page->nrows && n < room / 60; i++)
			if (is_told(page, &page->row[i]) == (bool) told)
			{
				rows[n] = i;
				events[n++] = page->row[i].event;
			}
	details = tex_event_details(page->spans, events, n);
	initStringInfo(&page->details);
	for (int32 i = 0; i < n; i++)
	{
		int			from = page->details.len;
		int			length;

		CHECK_FOR_INTERRUPTS();
		if (details[i] == NULL)
			continue;
		tex_put_xml(&page->details, details[i]);
		length = page->details.len - from + SAMP;
		if (length > room)
		{
			without++;
			page->details.data[page->details.len = from] = '\0';
			continue;
		}
		room -= length;
		page->row[rows[i]].details = from;
		page->row[rows[i]].details_end = page->details.len;
	}
	return without + page->nrows - n;
}

/* A note of ours. */
static void
put_note(StringInfo out, const char *text)
{
	tex_page_text(out, "p class=\"note\"", text);
}

/* The scale, as the script makes it. */
static void
put_axis(TracePage *page)
{
	int64		step = tex_axis_step(Max(page->spans->duration, 1), 6);

	appendStringInfo(&page->out, "<div class=\"wf\" data-us=\"%lld\" aria-label=\"what happened, as a tree of bars\">\n<div class=\"axis\"><div class=\"ax\">",
					 (long long) page->spans->duration);
	for (int64 at = 0; at <= page->spans->duration; at += step)
	{
		appendStringInfo(&page->out, "<span style=\"--x:%d\">%s</span>", share_of(page, at), at == 0 ? "0" : tex_usecs_words(at));
		if (at > page->spans->duration - step)
			break;
	}
	appendStringInfoString(&page->out, "</div></div>\n");
}

/* Which colour is which service. */
static void
put_key(TracePage *page)
{
	const TexSpans *spans = page->spans;
	bool	   *seen = tex_new_array(sizeof(bool), tex_strings_count(spans->one->history->names), 0);
	int		   *colors = tex_service_colors(spans);
	int			n = 0;

	appendStringInfoString(&page->out, "<p class=\"key note\">");
	for (int32 i = 0; i < spans->n && n < 30; i++)
	{
		int32		service = tex_span_event(spans, i)->service;

		if (service == TEX_NO_NAME || seen[service])
			continue;
		seen[service] = true;
		n++;
		appendStringInfo(&page->out, "<span class=\"s%d\"><bdi>", colors[service]);
		tex_put_clean(&page->out, tex_text_of(spans->one, service));
		appendStringInfoString(&page->out, "</bdi></span> ");
	}
	appendStringInfoString(&page->out, "</p>\n");
}

/* The waterfall: its head into what comes before the rows. */
static void
put_waterfall_head(TracePage *page)
{
	tex_page_section(&page->out, "What happened");
	put_key(page);
	appendStringInfoString(&page->out, "<div class=\"tools\" hidden><button data-do=\"in\">zoom in</button><button data-do=\"out\">zoom out</button><button data-do=\"whole\">whole</button>"
						   "<button data-do=\"fold\">fold all</button><button data-do=\"unfold\">unfold all</button><span class=\"note\">"
						   "arrows move and fold, + - 0 zoom, f or a double click fits a bar, shift and arrows go along, point at a row to see its attributes</span></div>\n");
	put_axis(page);
}

/* What the time of a segment of the critical path was spent on. */
static const char *
activity_words(TexActivity activity)
{
	switch (activity)
	{
		case TEX_WAIT_FOR_LOCK:
			return "wait for lock";
		case TEX_WAIT_FOR_TASK:
			return "wait for task";
		case TEX_NETWORK:
			return "network";
		case TEX_GAP:
			return "nothing recorded";
		default:
			return "work";
	}
}

/* A step of the critical path. */
static void
put_step(TracePage *page, const TexSegment *segment)
{
	const TexSpans *spans = page->spans;
	int64		took = tex_usecs_between(segment->from, segment->to);
	double		percent = spans->duration <= 0 ? 0 : 100.0 * took / spans->duration;
	int32		span = segment->event == TEX_NO_EVENT ? TEX_NO_SPAN : spans->span_of[segment->event];
	int			color = span == TEX_NO_SPAN ? 6 : Max(0, tex_color_of(spans, page->colors, span));
	int64		after = tex_spans_since(spans, segment->from);

	appendStringInfo(&page->rest, "<tr><td class=\"n\">%s</td><td class=\"n\">%s</td>", after == 0 ? "0" : tex_usecs_words(after), tex_usecs_words(took));
	appendStringInfo(&page->rest, "<td class=\"n\">%.1f %%</td><td class=\"s%d\"><span class=\"share\" style=\"width:%dpx\"></span></td><td>%s</td>",
					 percent, color, (int) (percent * 1.5), activity_words(segment->activity));
	tex_page_cell(&page->rest, segment->event == TEX_NO_EVENT ? NULL : tex_event_label(spans, segment->event));
	tex_page_cell(&page->rest, segment->event == TEX_NO_EVENT ? NULL : tex_text_of(spans->one, spans->one->events[segment->event].service));
	appendStringInfoString(&page->rest, "</tr>\n");
}

/* For qsort(): the longest first. */
static int
compare_lengths(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x > y ? -1 : x < y;
}

/* A step that is shown takes longer than this: half a percent of the trace, or what leaves not more than can be shown. */
static int64
shortest_step(const TexSpans *spans)
{
	int64	   *lengths = tex_new_array(sizeof(int64), spans->ncritical, 0);

	if (spans->ncritical <= 10)
		return -1;
	for (int32 i = 0; i < spans->ncritical; i++)
		lengths[i] = tex_usecs_between(spans->critical[i].from, spans->critical[i].to);
	qsort(lengths, spans->ncritical, sizeof(int64), compare_lengths);
	return Max(spans->duration / 200, spans->ncritical > MOST_STEPS ? lengths[MOST_STEPS] : 0);
}

/* What made it take so long. */
static void
put_critical_path(TracePage *page)
{
	const TexSpans *spans = page->spans;
	int64		shortest = shortest_step(spans);
	int			shown = 0;

	if (spans->ncritical == 0)
		return;
	tex_page_section(&page->rest, "What made it take so long");
	put_note(&page->rest, "The critical path, from begin to end: the request gets faster only where one of these does.");
	appendStringInfoString(&page->rest, "<div class=\"scroll\"><table>\n<tr><th class=\"n\">after</th><th class=\"n\">took</th><th class=\"n\">of all</th><th></th><th>spent on</th><th>in</th><th>service</th></tr>\n");
	for (int32 i = 0; i < spans->ncritical; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (shown < MOST_STEPS && tex_usecs_between(spans->critical[i].from, spans->critical[i].to) > shortest)
		{
			put_step(page, &spans->critical[i]);
			shown++;
		}
	}
	appendStringInfoString(&page->rest, "</table></div>\n");
	if (shown < spans->ncritical)
		put_note(&page->rest, psprintf("%d shorter steps are left out: critical_path() has them all.", spans->ncritical - shown));
}

/* Whether a race is of a variable of which a worse one comes before it. */
static bool
has_worse(const TexSpans *spans, int64 number)
{
	for (int64 i = 0; i < number; i++)
		if (spans->one->events[spans->races[i].first].name == spans->one->events[spans->races[number].first].name)
			return true;
	return false;
}

/* Who raced: of each variable the worst pair, drawn. */
static void
put_races(TracePage *page)
{
	const TexSpans *spans = page->spans;
	int			drawn = 0;

	if (spans->nraces == 0)
		return;
	tex_page_section(&page->out, "Who raced");
	for (int64 i = 0; i < spans->nraces && drawn < MOST_RACES; i++)
	{
		const TexSpanRace *race = &spans->races[i];
		TexRaceFacts facts = {.kind = tex_pattern_name(race->verdict.pattern),.severity = tex_pattern_severity(race->verdict.pattern),
			.confidence = race->verdict.confidence / 10.0,.first = race->first,.second = race->second};

		CHECK_FOR_INTERRUPTS();
		if (has_worse(spans, i))
			continue;
		facts.variable = tex_text_of(spans->one, spans->one->events[race->first].name);
		facts.evidence = tex_race_words(spans, i);
		tex_race_picture(&page->out, spans->one->history, spans->found->order, &facts, true);
		drawn++;
	}
	if (spans->all_races > drawn)
		put_note(&page->out, psprintf("%lld pairs race in all, most of them the same ones seen from other sides: find_races() has each.", (long long) spans->all_races));
}

/* What is odd; adjusts the clocks of the trace, so nothing can be drawn after it. */
static void
put_anomalies(TracePage *page)
{
	TexSink    *sink = tex_sink_to_store("trace_anomalies", MOST_ODD);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(sink->desc, &TTSOpsMinimalTuple);
	bool		any = false;

	tex_anomaly_rows(page->spans->one, sink);
	while (tuplestore_gettupleslot(sink->store, true, false, slot))
	{
		char	   *severity;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		if (!any)
		{
			tex_page_section(&page->rest, "What is odd");
			appendStringInfoString(&page->rest, "<div class=\"scroll\"><table>\n");
		}
		any = true;
		severity = TextDatumGetCString(slot->tts_values[2]);
		appendStringInfo(&page->rest, "<tr><td class=\"%s\">%s</td><td class=\"k\">", strcmp(severity, "CRITICAL") == 0 ? "bad" : strcmp(severity, "WARNING") == 0 ? "warn" : "", severity);
		tex_put_clean(&page->rest, TextDatumGetCString(slot->tts_values[1]));
		appendStringInfoString(&page->rest, "</td><td><bdi>");
		tex_put_clean(&page->rest, slot->tts_isnull[8] ? "" : TextDatumGetCString(slot->tts_values[8]));
		appendStringInfoString(&page->rest, "</bdi></td></tr>\n");
	}
	if (any)
		appendStringInfoString(&page->rest, "</table></div>\n");
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(sink->store);
}

/* What comes after the waterfall. */
static void
put_rest(TracePage *page)
{
	TexFrames  *frames = tex_frames_create();
	TexServices *services = tex_services_of_trace(page->spans);

	initStringInfo(&page->rest);
	page->colors = tex_service_colors(page->spans);
	put_critical_path(page);
	tex_page_section(&page->rest, "Where the time went");
	tex_frames_add(page->spans, frames);
	tex_flame_picture(&page->rest, frames, true);
	if (services->n > 1)
	{
		tex_page_section(&page->rest, "Which service called which");
		tex_services_picture(&page->rest, services, "Services of this trace", true);
	}
	put_anomalies(page);
	tex_page_end(&page->rest);
}

/* Joins rows and what their events say. */
static void
join_rows(TracePage *page)
{
	int			from = 0;

	for (int32 i = 0; i < page->nrows; i++)
	{
		const Row  *row = &page->row[i];

		CHECK_FOR_INTERRUPTS();
		appendBinaryStringInfo(&page->out, page->rows.data + from, row->end - from);
		if (row->details_end > row->details)
		{
			appendStringInfoString(&page->out, "<samp>");
			appendBinaryStringInfo(&page->out, page->details.data + row->details, row->details_end - row->details);
			appendStringInfoString(&page->out, "</samp>");
		}
		appendStringInfoString(&page->out, page->nrows > MANY_ROWS ? "</p>" : "</p>\n");
		from = row->end;
	}
}

/* The page of a trace, in memory that SPI_finish() may free. */
static text *
page_of(const TexSpans *spans)
{
	TracePage	page = {.spans = spans};
	int32		without;

	initStringInfo(&page.out);
	appendStringInfoSpaces(&page.out, VARHDRSZ);
	tex_page_begin(&page.out, tex_trace_title(spans), tex_trace_facts(spans));
	put_races(&page);
	put_waterfall_head(&page);
	put_rest(&page);
	collect_rows(&page);
	put_rows(&page);
	without = choose_details(&page);
	join_rows(&page);
	appendStringInfoString(&page.out, "</div>\n");
	if (page.left_out > 0)
		put_note(&page.out, psprintf("%d more are left out, those that matter least: trace_tree() has them all.", page.left_out));
	if (without > 0)
		put_note(&page.out, psprintf("Of %d rows the attributes are left out, as the page would be longer than 1 MB: the table events has them all.", without));
	appendBinaryStringInfo(&page.out, page.rest.data, page.rest.len);
	SET_VARSIZE(page.out.data, page.out.len);
	return (text *) page.out.data;
}

/* trace_html(trace_id uuid); NULL, and a NOTICE, for a trace that is not stored. */
Datum
tex_trace_html(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	MemoryContext old;
	TexSpans   *spans;
	text	   *page = NULL;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext page", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	SPI_connect();
	MemoryContextSwitchTo(context);
	spans = tex_spans_load(PG_GETARG_UUID_P(0), TEX_SPANS_RACES);
	if (spans)
	{
		page = page_of(spans);
		/* All of it leaves with SPI. */
		MemoryContextSwitchTo(old);
		page = (text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(page));
	}
	SPI_finish();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (page == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(page);
}
