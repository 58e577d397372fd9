/*
 * list_traces.c
 *		list_traces(): a page of traces, newest first, and list_traces_total(): how many
 *		there are.
 *
 * Two streams, both descending by (last_timestamp, trace_id), are merged:
 *	- base: the base rows that pass the filter (list_base.c);
 *	- touched: the traces that deltas are outstanding for, few and in memory.
 * Without a filter, a trace that is in both comes from the one that has its newest
 * event; the other one passes it over.  Which one that is can be told from the delta
 * and the base row at hand, so base is never read further than the page.  With a
 * filter, the base row of a trace that passes only with its deltas is not in the
 * stream, so all touched traces are completed by their base rows at once, and belong to
 * touched alone.
 * A trace that lost events is computed anew from its events and belongs to touched alone,
 * too.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "store/list_base.h"
#include "store/list_filter.h"
#include "store/outstanding.h"
#include "store/recompute.h"

#define MAX_PAGE_SIZE 10000
/* Base rows of touched traces that are read at once. */
#define COMPLETED_AT_ONCE 1000
#define OUTPUT_COLUMNS 13

PG_FUNCTION_INFO_V1(tex_list_traces);
PG_FUNCTION_INFO_V1(tex_list_traces_total);

/* The arguments of list_traces(), and of list_traces_total(). */
enum
{
	ARG_PAGE_SIZE, ARG_PAGE, ARG_MIN_EVENTS, ARG_SERVICE, ARG_SEARCH, ARG_BEFORE, ARG_BEFORE_ID, ARG_SINCE
};
enum
{
	ARG_TOTAL_MIN_EVENTS, ARG_TOTAL_SERVICE, ARG_TOTAL_SEARCH, ARG_TOTAL_SINCE
};

/* A list that is being made; in memory of the call. */
typedef struct Lister
{
	TexListFilter filter;
	TexVariable *variable;		/* that the filter asks for, or NULL */
	TexSummarySet *outstanding; /* all deltas, by trace */
	TexSummary **touched;		/* those of outstanding that have a place in the list */
	int			touched_count;
	int			touched_next;
	bool		completed;		/* each of touched says all of its trace */
	TexListBase *base;
	MemoryContext trace_context;	/* reset after each trace that needs it */
} Lister;

/* ----------------------------------------------------------------
 *		Arguments
 * ----------------------------------------------------------------
 */

/*
 * Reads the arguments of list_traces(): the filter, and how many traces that
 * pass it to skip and to return.
 */
static void
read_arguments(FunctionCallInfo fcinfo, TexListFilter *filter, int64 *skip, int64 *limit)
{
	int64		page_size = PG_ARGISNULL(ARG_PAGE_SIZE) ? 20 : PG_GETARG_INT64(ARG_PAGE_SIZE);
	int64		page = PG_ARGISNULL(ARG_PAGE) ? 1 : PG_GETARG_INT64(ARG_PAGE);

	if (page_size < 1 || page_size > MAX_PAGE_SIZE)
		tex_list_invalid("page_size must be between 1 and 10000", NULL);
	if (page < 1)
		tex_list_invalid("page must be 1 or more", NULL);
	tex_list_filter_read(filter, fcinfo, (TexListArguments) {ARG_MIN_EVENTS, ARG_SINCE});
	if (!PG_ARGISNULL(ARG_BEFORE))
	{
		filter->before.last_timestamp = PG_GETARG_TIMESTAMPTZ(ARG_BEFORE);
		/* Without an id: strictly older, for no id comes before the lowest. */
		if (!PG_ARGISNULL(ARG_BEFORE_ID))
			filter->before.trace_id = *PG_GETARG_UUID_P(ARG_BEFORE_ID);
		if (page != 1)
			tex_list_invalid("page and before exclude each other", NULL);
	}
	else if (!PG_ARGISNULL(ARG_BEFORE_ID))
		tex_list_invalid("before_id needs before", NULL);

	*limit = page_size;
	*skip = page > PG_INT64_MAX / page_size ? PG_INT64_MAX : page_size * (page - 1);
}

/* ----------------------------------------------------------------
 *		The touched stream
 * ----------------------------------------------------------------
 */

/*
 * Reads the base row of a trace into SPI_tuptable, as the caller's snapshot sees it;
 * false where there is none.
 */
static bool
find_base(const pg_uuid_t *trace_id)
{
	static SPIPlanPtr plan = NULL;
	Datum		argument = UUIDPGetDatum(trace_id);

	if (plan == NULL)
	{
		Oid			type = UUIDOID;

		plan = SPI_prepare("SELECT " TEX_LIST_COLUMNS " FROM trace_ext.summary_base"
						   " WHERE trace_id OPERATOR(pg_catalog.=) $1", 1, &type);
		if (plan == NULL)
			elog(ERROR, "could not prepare the search of summary_base");
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, &argument, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not search summary_base");
	return SPI_processed > 0;
}

/* Newest first. */
static int
compare_touched(const void *a, const void *b)
{
	const TexSummary *x = *(TexSummary *const *) a;
	const TexSummary *y = *(TexSummary *const *) b;

	return tex_list_compare(y->last_timestamp, &y->trace_id, x->last_timestamp, &x->trace_id);
}

/*
 * Adds one part of a trace to another, in the set of the latter.
 */
static void
merge_into(TexSummarySet *set, TexSummary *to, const TexSummary *from)
{
	to->event_count += from->event_count;
	to->error_count += from->error_count;
	to->access_count += from->access_count;
	tex_summary_add_times(to, from->first_timestamp, from->last_timestamp, from->extent);
	for (int i = 0; i < from->services.count; i++)
		tex_summary_add_service(set, to, from->services.texts[i]);
	if (from->has_root)
		tex_summary_add_root(set, to, from->root_timestamp, &from->root_id,
							 from->root_name, from->root_service);
}

/* What deltas came before the one that said "recompute" is void. */
static void
recompute_touched(Lister *lister, const TexRanges *ranges, TexSummary *s)
{
	MemoryContext old = MemoryContextSwitchTo(lister->trace_context);
	TexSummary *computed = tex_recompute(ranges, &s->trace_id);
	pg_uuid_t	trace_id = s->trace_id;

	MemoryContextSwitchTo(old);
	memset(s, 0, sizeof(TexSummary));
	s->trace_id = trace_id;
	s->recompute = true;
	if (computed != NULL)
		merge_into(lister->outstanding, s, computed);
	MemoryContextReset(lister->trace_context);
}

/* The ids of touched traces, from one of them up to another, as uuid[]. */
static Datum
ids_of(TexSummary **traces, int n)
{
	Datum	   *ids = palloc_extended(sizeof(Datum) * (Size) Max(n, 1), MCXT_ALLOC_HUGE);

	for (int i = 0; i < n; i++)
		ids[i] = UUIDPGetDatum(&traces[i]->trace_id);
	return PointerGetDatum(construct_array(ids, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* Adds the base rows of some traces to what their deltas say. */
static void
complete_some(Lister *lister, TexSummary **traces, int n)
{
	MemoryContext old = MemoryContextSwitchTo(lister->trace_context);
	TexSummarySet *rows = tex_summaries_create(lister->trace_context);
	Oid			type = UUIDARRAYOID;
	Datum		ids = ids_of(traces, n);

	if (SPI_execute_with_args("SELECT " TEX_LIST_COLUMNS " FROM trace_ext.summary_base"
							  " WHERE trace_id OPERATOR(pg_catalog.=) ANY ($1)",
							  1, &type, &ids, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not search summary_base");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		TexSummary *row = tex_list_read_row(rows, (int) i);
		TexSummary *s = tex_summaries_find(lister->outstanding, &row->trace_id);

		/* Read anew, it says all already. */
		if (!s->recompute)
			merge_into(lister->outstanding, s, row);
	}
	SPI_freetuptable(SPI_tuptable);
	MemoryContextSwitchTo(old);
	MemoryContextReset(lister->trace_context);
}

/* The touched traces that have a place in the list, once all of them were completed. */
static void
complete_all(Lister *lister)
{
	int			n = lister->touched_count;

	for (int i = 0; i < n; i += COMPLETED_AT_ONCE)
		complete_some(lister, lister->touched + i, Min(COMPLETED_AT_ONCE, n - i));
	lister->completed = true;
	lister->touched_count = 0;
	for (int i = 0; i < n; i++)
	{
		TexSummary *s = lister->touched[i];

		if (tex_list_filter_has_place(&lister->filter, s) && tex_list_filter_passes(&lister->filter, s))
			lister->touched[lister->touched_count++] = s;
	}
}

/*
 * Reads all outstanding deltas, and puts the traces that may be listed in the
 * order of the list.
 */
static void
open_touched(Lister *lister, bool complete)
{
	TexRanges  *ranges = NULL;
	int			n;

	lister->outstanding = tex_outstanding_summaries(CurrentMemoryContext);
	lister->touched = tex_summaries_all(lister->outstanding);
	n = tex_summaries_count(lister->outstanding);
	for (int i = 0; i < n; i++)
	{
		TexSummary *s = lister->touched[i];

		CHECK_FOR_INTERRUPTS();
		if (s->recompute)
		{
			if (ranges == NULL)
				ranges = tex_ranges_create();
			recompute_touched(lister, ranges, s);
			if (s->event_count == 0)
				continue;
		}
		if (tex_list_filter_has_place(&lister->filter, s))
			lister->touched[lister->touched_count++] = s;
	}
	if (complete)
		complete_all(lister);
	/* To know all its traces may be cheaper than to ask each of these. */
	if (lister->variable)
		(void) tex_variable_is_known(lister->variable, lister->touched_count);
	qsort(lister->touched, lister->touched_count, sizeof(TexSummary *), compare_touched);
}

/* ----------------------------------------------------------------
 *		Both streams
 * ----------------------------------------------------------------
 */

/*
 * Completes a trace of the base stream by its deltas; NULL where the touched
 * stream has it.
 */
static TexSummary *
complete_base(Lister *lister, TexSummary *s)
{
	TexSummary *delta = tex_summaries_find(lister->outstanding, &s->trace_id);

	if (delta == NULL)
		return s;
	if (lister->completed || delta->recompute || delta->last_timestamp >= s->last_timestamp)
		return NULL;
	merge_into(tex_list_base_fetched(lister->base), s, delta);
	return s;
}

/*
 * Completes a trace of the touched stream by its base row; NULL where the base
 * stream has it.
 */
static TexSummary *
complete_touched(Lister *lister, TexSummary *s)
{
	TexSummary *base;

	if (lister->completed || s->recompute || !find_base(&s->trace_id))
		return s;
	base = tex_list_read_row(tex_summaries_create(CurrentMemoryContext), 0);
	if (base->last_timestamp > s->last_timestamp)
		return NULL;
	merge_into(lister->outstanding, s, base);
	return s;
}

/*
 * The next trace, complete, in the order of the list; NULL at the end.
 */
static TexSummary *
next_trace(Lister *lister)
{
	for (;;)
	{
		TexSummary *base = tex_list_base_peek(lister->base);
		TexSummary *touched = lister->touched_next < lister->touched_count ?
			lister->touched[lister->touched_next] : NULL;
		TexSummary *s;

		CHECK_FOR_INTERRUPTS();
		if (base == NULL && touched == NULL)
			return NULL;
		if (touched == NULL ||
			(base != NULL &&
			 tex_list_compare(base->last_timestamp, &base->trace_id,
							  touched->last_timestamp, &touched->trace_id) > 0))
		{
			tex_list_base_move_on(lister->base);
			s = complete_base(lister, base);
		}
		else
		{
			lister->touched_next++;
			s = complete_touched(lister, touched);
		}
		if (s != NULL)
			return s;
	}
}

/* Did the trace access the variable that is asked for, if one is? */
static bool
passes_variable(Lister *lister, const TexSummary *s)
{
	MemoryContext old;
	bool		passes;

	if (lister->variable == NULL)
		return true;
	old = MemoryContextSwitchTo(lister->trace_context);
	passes = tex_variable_is_of(lister->variable, s);
	MemoryContextSwitchTo(old);
	MemoryContextReset(lister->trace_context);
	return passes;
}

/* ----------------------------------------------------------------
 *		The functions
 * ----------------------------------------------------------------
 */

/*
 * The plans of a page have to use the indexes whatever they cost: some are kept, maybe
 * from a time when the tables were empty and scanning them was best, and a portal of a
 * walk is read no further than the page.
 */
static void
insist_on_indexes(void)
{
	static const char *const settings[] = {"enable_seqscan", "enable_bitmapscan", "jit", "enable_sort"};

	for (Size i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* In the order of the columns of trace_summaries. */
static void
put_row(ReturnSetInfo *result, const TexSummary *s)
{
	Datum		values[OUTPUT_COLUMNS];
	bool		isnull[OUTPUT_COLUMNS] = {false};

	values[0] = UUIDPGetDatum(&s->trace_id);
	values[1] = Int64GetDatum(s->event_count);
	values[2] = TimestampTzGetDatum(s->first_timestamp);
	values[3] = TimestampTzGetDatum(s->last_timestamp);
	values[4] = Float8GetDatum(tex_milliseconds(s->extent.started, s->extent.ended));
	values[5] = tex_summary_services(s);
	values[6] = Int32GetDatum(s->services.count);
	values[7] = Int64GetDatum(s->error_count);
	values[8] = Int64GetDatum(s->access_count);
	isnull[9] = !s->has_root || s->root_name == NULL;
	values[9] = PointerGetDatum(s->root_name);
	isnull[10] = !s->has_root || s->root_service == NULL;
	values[10] = PointerGetDatum(s->root_service);
	values[11] = TimestampTzGetDatum(s->extent.started);
	values[12] = TimestampTzGetDatum(s->extent.ended);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/* Connects to SPI, for a filter that was read; and fails for who may not read what it needs. */
static void
begin_list(Lister *lister)
{
	SPI_connect();
	if (lister->filter.variable)
		lister->variable = tex_variable_create(lister->filter.variable);
	lister->trace_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext list trace",
												  ALLOCSET_DEFAULT_SIZES);
}

/*
 * list_traces(...) returns setof trace_summaries
 */
Datum
tex_list_traces(PG_FUNCTION_ARGS)
{
	Lister	   *lister = palloc0(sizeof(Lister));
	int64		skip;
	int64		limit;
	TexSummary *s;
	int			guc_nesting;

	read_arguments(fcinfo, &lister->filter, &skip, &limit);
	InitMaterializedSRF(fcinfo, 0);

	guc_nesting = NewGUCNestLevel();
	insist_on_indexes();
	begin_list(lister);
	open_touched(lister, tex_list_filter_narrows(&lister->filter));
	lister->base = tex_list_base_open(&lister->filter, lister->variable);
	while (limit > 0 && (s = next_trace(lister)) != NULL)
	{
		if (!tex_list_filter_passes(&lister->filter, s) || !passes_variable(lister, s))
			continue;
		if (skip > 0)
		{
			skip--;
			continue;
		}
		put_row((ReturnSetInfo *) fcinfo->resultinfo, s);
		limit--;
	}
	tex_list_base_close(lister->base);
	SPI_finish();
	AtEOXact_GUC(false, guc_nesting);
	return (Datum) 0;
}

/* All traces there are: that is known. */
static int64
count_all(void)
{
	bool		isnull;

	if (SPI_execute("SELECT trace_ext.count_traces()", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not count traces");
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/*
 * Those of the base that no delta is outstanding for, and the touched ones.
 */
static int64
count_passing(Lister *lister)
{
	TexSummary **all;
	int64		n = 0;

	open_touched(lister, true);
	all = tex_summaries_all(lister->outstanding);
	for (int i = 0; i < lister->touched_count; i++)
		n += passes_variable(lister, lister->touched[i]);
	return n + tex_list_base_count(&lister->filter, lister->variable,
								   ids_of(all, tex_summaries_count(lister->outstanding)));
}

/*
 * list_traces_total(...) returns bigint
 */
Datum
tex_list_traces_total(PG_FUNCTION_ARGS)
{
	Lister	   *lister = palloc0(sizeof(Lister));
	int64		total;
	int			guc_nesting;

	tex_list_filter_read(&lister->filter, fcinfo, (TexListArguments) {ARG_TOTAL_MIN_EVENTS, ARG_TOTAL_SINCE});
	guc_nesting = tex_no_jit();
	begin_list(lister);
	total = tex_list_filter_narrows(&lister->filter) || lister->filter.has_search ?
		count_passing(lister) : count_all();
	SPI_finish();
	AtEOXact_GUC(false, guc_nesting);
	PG_RETURN_INT64(total);
}
