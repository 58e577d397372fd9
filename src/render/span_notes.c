/*
 * span_notes.c
 *		What is noted at the bars of a trace beside what they are: messages from and to
 *		other traces, and races.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/uuid.h"

#include "races/arrays.h"
#include "render/span_notes.h"
#include "store/trace_range.h"

/* So many links are looked up. */
#define MOST_LINKS		"1000"

static const char links_query[] =
	"SELECT false, linked_trace_id, linked_span_id, span_id FROM trace_ext.trace_links "
	"WHERE trace_id OPERATOR(pg_catalog.=) $1 AND linked_trace_id OPERATOR(pg_catalog.<>) $1 "
	"UNION ALL "
	"SELECT true, trace_id, span_id, linked_span_id FROM trace_ext.trace_links "
	"WHERE linked_trace_id OPERATOR(pg_catalog.=) $1 AND trace_id OPERATOR(pg_catalog.<>) $1 "
	"ORDER BY 1, 2, 3, 4 LIMIT " MOST_LINKS;

/* The first bar of each span of the client, by name. */
static int32 *
bars_of_client_spans(const TexSpans *spans, bool *any)
{
	int32	   *bars = tex_new_array(sizeof(int32), tex_strings_count(spans->one->history->names), 0xff);

	*any = false;
	for (int32 i = spans->n - 1; i >= 0; i--)
	{
		int32		name = tex_span_event(spans, i)->span;

		if (name == TEX_NO_NAME)
			continue;
		bars[name] = i;
		*any = true;
	}
	return bars;
}

/* For qsort(): by bar, else as they came. */
static int
compare_links(const void *a, const void *b)
{
	const TexLink *x = a;
	const TexLink *y = b;

	if (x->span != y->span)
		return x->span < y->span ? -1 : 1;
	if (x->is_out != y->is_out)
		return x->is_out ? 1 : -1;
	return memcmp(&x->trace_id, &y->trace_id, sizeof(pg_uuid_t));
}

/* A row of the query of links; those whose bar is not there are left out. */
static void
add_link(TexSpans *spans, const int32 *bars, int32 nnames, HeapTuple row, TupleDesc desc)
{
	bool		isnull;
	char	   *own = TextDatumGetCString(SPI_getbinval(row, desc, 4, &isnull));
	int32		name = tex_strings_add(spans->one->history->names, own, strlen(own));
	TexLink    *link = &spans->links[spans->nlinks];

	if (name >= nnames || bars[name] == TEX_NO_SPAN)
		return;
	link->is_out = DatumGetBool(SPI_getbinval(row, desc, 1, &isnull));
	link->trace_id = *DatumGetUUIDP(SPI_getbinval(row, desc, 2, &isnull));
	link->span_id = TextDatumGetCString(SPI_getbinval(row, desc, 3, &isnull));
	link->span = bars[name];
	spans->nlinks++;
}

/* Messages from and to other traces. Call within an SPI connection. */
void
tex_spans_load_links(TexSpans *spans)
{
	Oid			types[1] = {UUIDOID};
	Datum		args[1] = {UUIDPGetDatum(&spans->one->history->traces[spans->one->trace].id)};
	int32		nnames = tex_strings_count(spans->one->history->names);
	bool		any;
	int32	   *bars = bars_of_client_spans(spans, &any);
	int			nesting;

	if (!any)
		return;
	nesting = tex_no_jit();
	SPI_execute_with_args(links_query, 1, types, args, NULL, true, 0);
	spans->links = tex_new_array(sizeof(TexLink), SPI_processed, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
		add_link(spans, bars, nnames, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	SPI_freetuptable(SPI_tuptable);
	AtEOXact_GUC(false, nesting);
	qsort(spans->links, spans->nlinks, sizeof(TexLink), compare_links);
	for (int32 i = spans->nlinks - 1; i >= 0; i--)
	{
		TexSpan    *span = &spans->spans[spans->links[i].span];

		span->first_link = i;
		span->nlinks++;
	}
}

/* For qsort(): worst first, then surest, then earliest. */
static int
compare_races(const void *a, const void *b)
{
	const TexSpanRace *x = a;
	const TexSpanRace *y = b;
	int			order = tex_pattern_rank(x->verdict.pattern) - tex_pattern_rank(y->verdict.pattern);

	CHECK_FOR_INTERRUPTS();
	if (order == 0)
		order = y->verdict.confidence - x->verdict.confidence;
	if (order == 0)
		order = x->first < y->first ? -1 : x->first > y->first;
	if (order == 0)
		order = x->second < y->second ? -1 : x->second > y->second;
	return order;
}

/* Which race the access of each event is in: the worst. */
static int32 *
races_of_events(const TexSpans *spans)
{
	int32	   *race = tex_new_array(sizeof(int32), spans->one->n, 0xff);

	for (int64 i = spans->nraces - 1; i >= 0; i--)
		race[spans->races[i].first] = race[spans->races[i].second] = i;
	return race;
}

/* Judges the pairs that were found, and notes them at marks and bars. */
void
tex_spans_note_races(TexSpans *spans)
{
	const TexRaces *found = spans->found;
	TexFailures *failures;
	int32	   *race;

	spans->all_races = found->count;
	if (found->npairs == 0)
		return;
	failures = tex_failures_collect(found->history);
	spans->races = palloc0(sizeof(TexSpanRace) * found->npairs);
	for (spans->nraces = 0; spans->nraces < found->npairs; spans->nraces++)
	{
		const TexPair *pair = &found->pairs[spans->nraces];

		CHECK_FOR_INTERRUPTS();
		spans->races[spans->nraces] = (TexSpanRace) {
			.first = found->accesses[pair->first].event,.second = found->accesses[pair->second].event,
				.pair = spans->nraces,.verdict = tex_judge(found, failures, pair)
		};
	}
	qsort(spans->races, spans->nraces, sizeof(TexSpanRace), compare_races);
	race = races_of_events(spans);
	for (int32 i = 0; i < spans->nmarks; i++)
	{
		TexMark    *mark = &spans->marks[i];
		TexSpan    *span = &spans->spans[mark->span];

		mark->race = race[mark->event];
		if (mark->race != TEX_NO_RACE && (span->race == TEX_NO_RACE || mark->race < span->race))
			span->race = mark->race;
	}
	/* A trace of accesses without parents: they are bars themselves. */
	for (int32 i = 0; i < spans->n; i++)
		if (spans->spans[i].race == TEX_NO_RACE)
			spans->spans[i].race = race[spans->spans[i].event];
}
