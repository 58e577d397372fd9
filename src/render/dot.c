/*
 * dot.c
 *		Graphs in the language of Graphviz: service_dot(), trace_dot().
 *
 * Ids are numbers that are made here, so what clients sent stands in labels alone,
 * within quotes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analysis/words.h"
#include "render/choice.h"
#include "render/escape.h"
#include "render/services.h"
#include "render/svg.h"
#include "render/text.h"
#include "render/trace_picture.h"

PG_FUNCTION_INFO_V1(tex_service_dot);
PG_FUNCTION_INFO_V1(tex_trace_dot);

/* What is common to both. Colours are those of the pictures; texts are on white. */
#define GRAPH \
	"    rankdir=LR;\n    bgcolor=\"white\";\n" \
	"    node [shape=box, style=\"rounded,filled\", fillcolor=\"#f3f5f8\", color=\"#5d6673\", fontname=\"Helvetica\", fontsize=11];\n" \
	"    edge [color=\"#5d6673\", fontname=\"Helvetica\", fontsize=10];\n"
#define BAD "#b83200"

#define MOST_NODES	500			/* of a trace */
#define MOST_RACES	50
#define LONGEST_LABEL 80

static const char *const colors[TEX_COLORS] = {"#0072b2", "#d08600", "#009e73", "#b3608f", "#3d9fd8", "#8c6d31", "#707885"};

typedef struct Graph
{
	StringInfoData out;
	int			traces;			/* so far */
	bool		several;
} Graph;

/* A text of a client within a label, cut. */
static void
put_label(StringInfo out, const char *text)
{
	StringInfoData clean;

	initStringInfo(&clean);
	tex_clean(&clean, text, strlen(text), LONGEST_LABEL);
	tex_put_dot(out, clean.data);
	pfree(clean.data);
}

/* A service. */
static void
put_service(StringInfo out, const TexService *service, int number)
{
	bool		ill = service->status && strcmp(service->status, "healthy") != 0;

	appendStringInfo(out, "    s%d [label=\"", number);
	put_label(out, service->name);
	if (service->requests >= 0)
		appendStringInfo(out, "\\n%lld requests, %lld failed", (long long) service->requests, (long long) service->errors);
	if (service->p95_ms >= 0)
		appendStringInfo(out, "\\np95 %s", tex_usecs_words((int64) (service->p95_ms * 1000)));
	if (ill)
		appendStringInfo(out, "\\n%s", service->status);
	appendStringInfoString(out, ill ? "\", color=\"" BAD "\", penwidth=2];\n" : "\"];\n");
}

/* What a service asks of another one. */
static void
put_calls(StringInfo out, const TexCalls *calls)
{
	appendStringInfo(out, "    s%d -> s%d [label=\"%lld calls", calls->from, calls->to, (long long) calls->calls);
	if (calls->errors > 0)
		appendStringInfo(out, "\\n%lld failed", (long long) calls->errors);
	if (calls->ms >= 0)
		appendStringInfo(out, "\\np95 %s", tex_usecs_words((int64) (calls->ms * 1000)));
	if (calls->by)
		appendStringInfo(out, "\\n%s", calls->by);
	appendStringInfo(out, "\"%s%s];\n", calls->errors > 0 ? ", color=\"" BAD "\", fontcolor=\"" BAD "\"" : "",
					 calls->by && strcmp(calls->by, "MessageQueue") == 0 ? ", style=dashed" : "");
}

/* service_dot(within interval) */
Datum
tex_service_dot(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	TexServices *services;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	initStringInfo(&out);
	SPI_connect();
	services = tex_services_within(PG_GETARG_INTERVAL_P(0));
	appendStringInfoString(&out, "digraph services {\n" GRAPH);
	for (int i = 0; i < services->n; i++)
		put_service(&out, &services->services[i], i);
	for (int i = 0; i < services->ncalls; i++)
		put_calls(&out, &services->calls[i]);
	appendStringInfoChar(&out, '}');
	SPI_finish();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* The node of a trace that is not drawn: its id has no character that is special. */
static char *
other_trace(Graph *graph, const pg_uuid_t *id)
{
	char	   *node = psprintf("x_%s", tex_short_trace(id));

	appendStringInfo(&graph->out, "    %s [label=\"trace %s\", style=dashed];\n", node, tex_short_trace(id));
	return node;
}

/* A bar: what, where and how long. */
static void
put_bar(Graph *graph, const TexSpans *spans, const int *service_colors, int32 number)
{
	const TexSpan *bar = &spans->spans[number];
	StringInfo	out = &graph->out;
	const char *service = tex_span_service(spans, number);
	char	   *remark = tex_span_remark(spans, number);
	bool		bad = (bar->flags & TEX_SPAN_ERROR) || bar->race != TEX_NO_RACE;

	appendStringInfo(out, "    t%d_%d [label=\"", graph->traces, number);
	put_label(out, tex_span_label(spans, number));
	if (service)
	{
		appendStringInfoString(out, "\\n");
		put_label(out, service);
	}
	if (bar->end > bar->start)
		appendStringInfo(out, "\\n%s", tex_usecs_words(bar->end - bar->start));
	if (remark)
	{
		appendStringInfoString(out, "\\n");
		put_label(out, remark);
	}
	appendStringInfo(out, "\", color=\"%s\"%s];\n", bad ? BAD : colors[Max(0, tex_color_of(spans, service_colors, number))],
					 bad || (bar->flags & TEX_SPAN_CRITICAL) ? ", penwidth=2.5" : "");
	if (bar->parent != TEX_NO_SPAN)
		appendStringInfo(out, "    t%d_%d -> t%d_%d%s;\n", graph->traces, bar->parent, graph->traces, number,
						 bar->flags & (TEX_SPAN_ASYNC | TEX_SPAN_OUTLIVES) ? " [style=dashed]" :
						 bar->flags & TEX_SPAN_CRITICAL ? " [penwidth=2.5]" : "");
	else if (bar->flags & TEX_SPAN_ORPHAN)
		appendStringInfo(out, "    t%d_p%d [label=\"not stored\", style=dashed];\n    t%d_p%d -> t%d_%d [style=dashed];\n",
						 graph->traces, number, graph->traces, number, graph->traces, number);
	tex_foreach_link(link, spans, bar)
	{
		char	   *other = other_trace(graph, &link->trace_id);

		if (link->is_out)
			appendStringInfo(out, "    t%d_%d -> %s [style=dashed];\n", graph->traces, number, other);
		else
			appendStringInfo(out, "    %s -> t%d_%d [style=dashed];\n", other, graph->traces, number);
	}
}

/* Whether a race comes after one of the same bar, variable and other trace: that one is the worse. */
static bool
was_put(const TexSpans *spans, int64 number)
{
	const TexSpanRace *race = &spans->races[number];
	const TexEvent *events = spans->one->events;

	for (int64 i = 0; i < number; i++)
	{
		const TexSpanRace *before = &spans->races[i];

		if (spans->span_of[before->first] == spans->span_of[race->first] && spans->span_of[before->second] == spans->span_of[race->second] &&
			events[before->first].trace == events[race->first].trace && events[before->second].trace == events[race->second].trace &&
			events[before->first].name == events[race->first].name)
			return true;
	}
	return false;
}

/* The pairs that race, where both or one of them is here. */
static void
put_races(Graph *graph, const TexSpans *spans, const TexChoice *choice)
{
	StringInfo	out = &graph->out;

	for (int64 i = 0; i < spans->nraces && i < MOST_RACES; i++)
	{
		const TexSpanRace *race = &spans->races[i];
		int32		first = spans->span_of[race->first];
		int32		second = spans->span_of[race->second];
		int32		here = first != TEX_NO_SPAN ? first : second;
		bool		both = first != TEX_NO_SPAN && second != TEX_NO_SPAN;
		int32		other = first != TEX_NO_SPAN ? race->second : race->first;

		if (here == TEX_NO_SPAN || !choice->drawn[here] || (both && !choice->drawn[second]) || was_put(spans, i))
			continue;
		if (both)
			appendStringInfo(out, "    t%d_%d -> t%d_%d", graph->traces, first, graph->traces, second);
		else
		{
			char	   *node = other_trace(graph, &spans->one->history->traces[spans->one->events[other].trace].id);

			appendStringInfo(out, "    t%d_%d -> %s", graph->traces, here, node);
		}
		appendStringInfo(out, " [dir=none, color=\"" BAD "\", fontcolor=\"" BAD "\", label=\"%s\\n",
						 tex_pattern_name(race->verdict.pattern));
		put_label(out, spans->one->events[race->first].name == TEX_NO_NAME ? "" :
				  tex_text_of(spans->one, spans->one->events[race->first].name));
		appendStringInfoString(out, "\"];\n");
	}
}

/* A trace. */
static void
put_trace(const TexSpans *spans, void *arg)
{
	Graph	   *graph = arg;
	StringInfo	out = &graph->out;
	TexChoice	choice = tex_choose_bars(spans, MOST_NODES);
	int		   *service_colors = tex_service_colors(spans);

	appendStringInfo(out, "%s    label=\"", graph->several ? psprintf("    subgraph cluster_%d {\n", graph->traces) : "");
	put_label(out, tex_trace_title(spans));
	appendStringInfoString(out, "\\n");
	tex_put_dot(out, tex_trace_facts(spans));
	if (choice.n < spans->n)
		appendStringInfo(out, "\\n%d more are not drawn, the shortest", spans->n - choice.n);
	appendStringInfoString(out, "\";\n    fontname=\"Helvetica\";\n    labelloc=t;\n");
	for (int32 i = 0; i < spans->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (choice.drawn[i])
			put_bar(graph, spans, service_colors, i);
	}
	put_races(graph, spans, &choice);
	if (graph->several)
		appendStringInfoString(out, "    }\n");
	graph->traces++;
}

/* trace_dot(trace_ids uuid[]); NULL where none of them is stored. */
Datum
tex_trace_dot(PG_FUNCTION_ARGS)
{
	Graph		graph = {0};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	graph.several = ArrayGetNItems(ARR_NDIM(PG_GETARG_ARRAYTYPE_P(0)), ARR_DIMS(PG_GETARG_ARRAYTYPE_P(0))) > 1;
	initStringInfo(&graph.out);
	appendStringInfoString(&graph.out, "digraph trace {\n" GRAPH);
	if (tex_each_trace(fcinfo, TEX_SPANS_RACES, put_trace, &graph) == 0)
		PG_RETURN_NULL();
	appendStringInfoChar(&graph.out, '}');
	PG_RETURN_TEXT_P(cstring_to_text_with_len(graph.out.data, graph.out.len));
}
