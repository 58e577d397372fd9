/*
 * list_traces.c
 *		list_traces(): a page of traces, newest first, at the same cost at every
 *		size.
 *
 * Two streams, both descending by (last_timestamp, trace_id), are merged:
 *	- base: the base rows, walked by their index from the newest;
 *	- touched: the traces that deltas are outstanding for, few and in memory.
 * A trace that is in both comes from the one that has its newest event; the
 * other one passes it over.  Which one that is can be told from the delta and
 * the base row at hand, so base is never read further than the page.
 * A trace that lost events is computed anew from its events and belongs to
 * touched alone.
 */
#include "postgres.h"

#include "access/htup_details.h"
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

#include "store/outstanding.h"
#include "store/recompute.h"
#include "store/summary.h"

#define MAX_PAGE_SIZE 10000
/* Rows of base that are fetched at once: a page as most ask for it, and not many more. */
#define FETCH_ROWS 32
#define OUTPUT_COLUMNS 13

#define SUMMARY_COLUMNS \
	"trace_id, event_count, error_count, access_count, first_timestamp, " \
	"last_timestamp, started_at, ended_at, services, root_timestamp, root_id, root_name, root_service"

PG_FUNCTION_INFO_V1(tex_list_traces);

/* What the caller wants to be listed. */
typedef struct Filter
{
	int64		min_events;
	text	   *service;		/* or NULL */
	bool		has_search;
	pg_uuid_t	lowest;			/* the ids that start with "search", or all */
	pg_uuid_t	highest;
	bool		has_before;
	TimestampTz before;
	pg_uuid_t	before_id;
} Filter;

/* A list that is being made; in memory of the call. */
typedef struct Lister
{
	Filter		filter;
	TexSummarySet *outstanding; /* all deltas, by trace */
	TexSummary **touched;		/* those of outstanding that have events */
	int			touched_count;
	int			touched_next;
	Portal		base;			/* NULL once it is read to its end */
	TexSummarySet *fetched;		/* the last rows read from base */
	TexSummary **base_rows;
	int			base_count;
	int			base_next;
	MemoryContext context;		/* of the call */
	MemoryContext fetch_context;	/* of "fetched", reset by the next fetch */
} Lister;

/* ----------------------------------------------------------------
 *		Arguments
 * ----------------------------------------------------------------
 */
/* The value of a digit; -1 for what is none. */
static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = pg_ascii_tolower((unsigned char) c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * The lowest and the highest trace id that start with the digits of "search".
 */
static void
parse_search(const char *search, Filter *filter)
{
	int			digits = 0;

	memset(filter->lowest.data, 0x00, UUID_LEN);
	memset(filter->highest.data, 0xff, UUID_LEN);
	for (const char *c = search; *c != '\0'; c++)
	{
		int			digit = hex_digit(*c);
		int			shift = digits % 2 == 0 ? 4 : 0;

		if (*c == '-')
			continue;
		if (digit < 0 || digits >= UUID_LEN * 2)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("search \"%s\" is not the beginning of a trace id", search),
					 errhint("Give up to 32 hexadecimal digits, with or without hyphens.")));
		filter->lowest.data[digits / 2] |= digit << shift;
		filter->highest.data[digits / 2] &= ~((0xf ^ digit) << shift);
		digits++;
	}
}

/* Throws; all that list_traces() refuses is refused alike. */
static void
invalid_argument(const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message)));
}

/*
 * Reads the arguments of list_traces(): the filter, and how many traces that
 * pass it to skip and to return.
 */
static void
read_arguments(FunctionCallInfo fcinfo, Filter *filter, int64 *skip, int64 *limit)
{
	int64		page_size = PG_ARGISNULL(0) ? 20 : PG_GETARG_INT64(0);
	int64		page = PG_ARGISNULL(1) ? 1 : PG_GETARG_INT64(1);

	if (page_size < 1 || page_size > MAX_PAGE_SIZE)
		invalid_argument("page_size must be between 1 and 10000");
	if (page < 1)
		invalid_argument("page must be 1 or more");

	filter->min_events = PG_ARGISNULL(2) ? 1 : PG_GETARG_INT64(2);
	filter->service = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	filter->has_search = !PG_ARGISNULL(4);
	parse_search(filter->has_search ? text_to_cstring(PG_GETARG_TEXT_PP(4)) : "", filter);
	filter->has_before = !PG_ARGISNULL(5);
	if (filter->has_before)
	{
		filter->before = PG_GETARG_TIMESTAMPTZ(5);
		/* Without an id: strictly older, for no id comes before the lowest. */
		if (PG_ARGISNULL(6))
			memset(filter->before_id.data, 0, UUID_LEN);
		else
			filter->before_id = *PG_GETARG_UUID_P(6);
		if (page != 1)
			invalid_argument("page and before exclude each other");
	}
	else if (!PG_ARGISNULL(6))
		invalid_argument("before_id needs before");

	*limit = page_size;
	*skip = page > PG_INT64_MAX / page_size ? PG_INT64_MAX : page_size * (page - 1);
}

/* ----------------------------------------------------------------
 *		Reading summaries
 * ----------------------------------------------------------------
 */

/*
 * Copies the n'th row of SPI_tuptable, which has SUMMARY_COLUMNS, into a set.
 */
static TexSummary *
read_summary(TexSummarySet *set, int n)
{
	Datum		values[TEX_SUMMARY_COLUMNS];
	bool		isnull[TEX_SUMMARY_COLUMNS];

	heap_deform_tuple(SPI_tuptable->vals[n], SPI_tuptable->tupdesc, values, isnull);
	return tex_summary_add_row(set, values, isnull);
}

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

		plan = SPI_prepare("SELECT " SUMMARY_COLUMNS " FROM trace_ext.summary_base"
						   " WHERE trace_id OPERATOR(pg_catalog.=) $1", 1, &type);
		if (plan == NULL)
			elog(ERROR, "could not prepare the search of summary_base");
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, &argument, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not search summary_base");
	return SPI_processed > 0;
}

/* ----------------------------------------------------------------
 *		The two streams
 * ----------------------------------------------------------------
 */
/*
 * The order of the list, ascending: by time, then by id, as the index of
 * summary_base has it.
 */
static int
compare_keys(TimestampTz a, const pg_uuid_t *a_id, TimestampTz b, const pg_uuid_t *b_id)
{
	if (a != b)
		return a < b ? -1 : 1;
	return memcmp(a_id->data, b_id->data, UUID_LEN);
}

/* Newest first. */
static int
compare_touched(const void *a, const void *b)
{
	const TexSummary *x = *(TexSummary *const *) a;
	const TexSummary *y = *(TexSummary *const *) b;

	return compare_keys(y->last_timestamp, &y->trace_id, x->last_timestamp, &x->trace_id);
}

/*
 * Is a trace within the page's bound and the search?  Asked of deltas; the query
 * of base asks it in SQL.
 */
static bool
may_be_listed(const Filter *filter, const TexSummary *s)
{
	return (!filter->has_before ||
			compare_keys(s->last_timestamp, &s->trace_id, filter->before, &filter->before_id) < 0) &&
		memcmp(s->trace_id.data, filter->lowest.data, UUID_LEN) >= 0 &&
		memcmp(s->trace_id.data, filter->highest.data, UUID_LEN) <= 0;
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
	MemoryContext old = MemoryContextSwitchTo(lister->fetch_context);
	TexSummary *computed = tex_recompute(ranges, &s->trace_id);
	pg_uuid_t	trace_id = s->trace_id;

	MemoryContextSwitchTo(old);
	memset(s, 0, sizeof(TexSummary));
	s->trace_id = trace_id;
	s->recompute = true;
	if (computed != NULL)
		merge_into(lister->outstanding, s, computed);
	MemoryContextReset(lister->fetch_context);
}

/*
 * Reads all outstanding deltas, and puts the traces that may be listed in the
 * order of the list.
 */
static void
open_touched(Lister *lister)
{
	TexSummary **all;
	TexRanges  *ranges = NULL;
	int			n;

	lister->outstanding = tex_outstanding_summaries(lister->context);
	all = tex_summaries_all(lister->outstanding);
	n = tex_summaries_count(lister->outstanding);
	lister->touched = all;
	for (int i = 0; i < n; i++)
	{
		TexSummary *s = all[i];

		CHECK_FOR_INTERRUPTS();
		if (s->recompute)
		{
			if (ranges == NULL)
				ranges = tex_ranges_create();
			recompute_touched(lister, ranges, s);
			if (s->event_count == 0)
				continue;
		}
		if (may_be_listed(&lister->filter, s))
			lister->touched[lister->touched_count++] = s;
	}
	qsort(lister->touched, lister->touched_count, sizeof(TexSummary *), compare_touched);
}

#define SELECT_BASE \
	"SELECT " SUMMARY_COLUMNS " FROM trace_ext.summary_base" \
	" WHERE (last_timestamp, trace_id) OPERATOR(pg_catalog.<) ($1, $2)"
#define NEWEST_FIRST " ORDER BY last_timestamp DESC, trace_id DESC"

/*
 * With a search the planner is to see its digits, to choose between walking the
 * newest and probing the ids; without one there is one way, planned once.
 */
static void
open_base(Lister *lister)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {TIMESTAMPTZOID, UUIDOID, UUIDOID, UUIDOID};
	Datum		values[4];
	const Filter *f = &lister->filter;

	values[0] = TimestampTzGetDatum(f->has_before ? f->before : DT_NOEND);
	values[1] = UUIDPGetDatum(f->has_before ? &f->before_id : &f->highest);
	values[2] = UUIDPGetDatum(&f->lowest);
	values[3] = UUIDPGetDatum(&f->highest);
	if (f->has_search)
	{
		lister->base = SPI_cursor_open_with_args(NULL,
												 SELECT_BASE " AND trace_id OPERATOR(pg_catalog.>=) $3"
												 " AND trace_id OPERATOR(pg_catalog.<=) $4" NEWEST_FIRST,
												 4, types, values, NULL, true, CURSOR_OPT_FAST_PLAN);
		return;
	}
	if (plan == NULL)
	{
		plan = SPI_prepare_cursor(SELECT_BASE NEWEST_FIRST, 2, types,
								  CURSOR_OPT_FAST_PLAN | CURSOR_OPT_GENERIC_PLAN);
		if (plan == NULL)
			elog(ERROR, "could not prepare the walk of summary_base");
		SPI_keepplan(plan);
	}
	lister->base = SPI_cursor_open(NULL, plan, values, NULL, true);
}

/*
 * The next row of base, or NULL; stays there until base_next moves on.
 */
static TexSummary *
peek_base(Lister *lister)
{
	MemoryContext old;

	if (lister->base_next < lister->base_count)
		return lister->base_rows[lister->base_next];
	if (lister->base == NULL)
		return NULL;

	SPI_cursor_fetch(lister->base, true, FETCH_ROWS);
	lister->base_count = (int) SPI_processed;
	lister->base_next = 0;
	if (lister->base_count == 0)
	{
		SPI_cursor_close(lister->base);
		lister->base = NULL;
		return NULL;
	}
	MemoryContextReset(lister->fetch_context);
	old = MemoryContextSwitchTo(lister->fetch_context);
	lister->fetched = tex_summaries_create(lister->fetch_context);
	lister->base_rows = palloc(sizeof(TexSummary *) * lister->base_count);
	for (int i = 0; i < lister->base_count; i++)
		lister->base_rows[i] = read_summary(lister->fetched, i);
	MemoryContextSwitchTo(old);
	SPI_freetuptable(SPI_tuptable);
	return lister->base_rows[0];
}

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
	if (delta->recompute || delta->last_timestamp >= s->last_timestamp)
		return NULL;
	merge_into(lister->fetched, s, delta);
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

	if (s->recompute || !find_base(&s->trace_id))
		return s;
	base = read_summary(tex_summaries_create(CurrentMemoryContext), 0);
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
		TexSummary *base = peek_base(lister);
		TexSummary *touched = lister->touched_next < lister->touched_count ?
			lister->touched[lister->touched_next] : NULL;
		TexSummary *s;

		CHECK_FOR_INTERRUPTS();
		if (base == NULL && touched == NULL)
			return NULL;
		if (touched == NULL ||
			(base != NULL &&
			 compare_keys(base->last_timestamp, &base->trace_id,
						  touched->last_timestamp, &touched->trace_id) > 0))
		{
			lister->base_next++;
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

/* ----------------------------------------------------------------
 *		The function
 * ----------------------------------------------------------------
 */

/*
 * The plans of this file are kept, maybe from a time when the tables were empty
 * and scanning them was best.  They have to use the indexes whatever they cost.
 */
static void
insist_on_indexes(const Filter *filter)
{
	static const char *const settings[] = {"enable_seqscan", "jit", "enable_sort"};

	for (Size i = 0; i < lengthof(settings); i++)
	{
		/* The few traces that a search finds may well be sorted. */
		if (filter->has_search && strcmp(settings[i], "enable_sort") == 0)
			continue;
		(void) set_config_option(settings[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	}
}

/*
 * What is asked of a complete trace.  One that lost all its events has none to be
 * listed with.
 */
static bool
passes(const Filter *filter, const TexSummary *s)
{
	if (s->event_count < filter->min_events || s->event_count <= 0)
		return false;
	return filter->service == NULL || tex_text_set_has(&s->services, filter->service);
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

/*
 * list_traces(...) returns setof trace_summaries
 */
Datum
tex_list_traces(PG_FUNCTION_ARGS)
{
	Lister	   *lister = palloc0(sizeof(Lister));
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		skip;
	int64		limit;
	TexSummary *s;
	int			guc_nesting;

	read_arguments(fcinfo, &lister->filter, &skip, &limit);
	InitMaterializedSRF(fcinfo, 0);

	guc_nesting = NewGUCNestLevel();
	insist_on_indexes(&lister->filter);
	SPI_connect();
	lister->context = CurrentMemoryContext;
	lister->fetch_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext list fetch",
												  ALLOCSET_DEFAULT_SIZES);
	open_touched(lister);
	open_base(lister);
	while (limit > 0 && (s = next_trace(lister)) != NULL)
	{
		if (!passes(&lister->filter, s))
			continue;
		if (skip > 0)
		{
			skip--;
			continue;
		}
		put_row(result, s);
		limit--;
	}
	if (lister->base != NULL)
		SPI_cursor_close(lister->base);
	SPI_finish();
	AtEOXact_GUC(false, guc_nesting);
	return (Datum) 0;
}
