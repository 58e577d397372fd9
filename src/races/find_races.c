/*
 * find_races.c
 *		The SQL functions that look for races on demand.
 *
 * find_races() takes one trace and those that overlapped it and touched the same
 * variables.  find_variable_races() takes all traces that accessed a variable, by
 * the time of their first access, in portions of bounded size: each portion is
 * compared within itself and with the earlier traces that overlap it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "races/find_races.h"
#include "races/overlaps.h"
#include "races/race_rows.h"
#include "races/races.h"
#include "common/reads.h"

/* A portion is complete with this many events. */
#define PORTION_EVENTS	150000

PG_FUNCTION_INFO_V1(tex_find_races);
PG_FUNCTION_INFO_V1(tex_find_variable_races);
PG_FUNCTION_INFO_V1(tex_count_races);
PG_FUNCTION_INFO_V1(tex_count_variable_races);

static const char variable_query[] =
	"SELECT trace_id, pg_catalog.min(\"timestamp\") AS first_at, pg_catalog.bool_or(\"timestamp\" OPERATOR(pg_catalog.>=) $2) AS home"
	" FROM trace_ext.events WHERE kind OPERATOR(pg_catalog.=) 'StateChange' AND name OPERATOR(pg_catalog.=) $1"
	" AND \"timestamp\" OPERATOR(pg_catalog.>=) $3 GROUP BY trace_id ORDER BY first_at, trace_id";

/* A trace that accessed the variable asked for. */
typedef struct Candidate
{
	pg_uuid_t	id;
	TexExtent	extent;			/* once loaded */
	bool		home;
} Candidate;

typedef struct Search
{
	int64		max_pairs;
	int64		count;
	TexRaceRows *rows;
} Search;

/* 1000 where it is null. */
static int64
max_pairs_arg(FunctionCallInfo fcinfo, int n)
{
	int64		max_pairs = PG_ARGISNULL(n) ? 1000 : PG_GETARG_INT64(n);

	if (max_pairs < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_pairs must not be negative")));
	return max_pairs;
}

/* Find the races of a prepared history and take over what is to be shown. */
static void
search_history(Search *search, TexHistory *history, const char *variable)
{
	TexRacesOptions options = {.variable = TEX_NO_NAME,.max_pairs = search->max_pairs,
	.potential = tex_potential_races};
	TexRaces   *races;

	if (variable)
		options.variable = tex_strings_add(history->names, variable, strlen(variable));
	races = tex_races_find(history, &options);
	search->count += races->count;
	tex_rows_add(search->rows, races);
}

/* Looks at one trace with those that overlapped it, in a context that is dropped at once. */
static void
search_trace(Search *search, const pg_uuid_t *trace_id)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext history",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TexHistory *history = tex_load_with_overlapping(trace_id, NULL, false);

	if (history->nevents > 0)
		search_history(search, history, NULL);
	else
		tex_notice_unknown_trace(trace_id);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Has when the traces of the query before ran be known all at once. */
static void
learn_ranges(const TexRanges *ranges, int rows)
{
	SPITupleTable *table = SPI_tuptable;
	pg_uuid_t  *ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t) * (Size) Max(rows, 1));

	for (int i = 0; i < rows; i++)
	{
		bool		isnull;

		ids[i] = *DatumGetUUIDP(SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull));
	}
	tex_ranges_learn(ranges, ids, rows);
	pfree(ids);
}

/*
 * The traces that accessed a variable, by the time of their first access.  One that
 * did so at or after "since" is home.  One that did so only before, within
 * trace_ext.horizon, is a rival where it may have run on until then, as its summary
 * says: whether it really overlaps is seen once it is loaded.
 */
static Candidate *
candidates_of(text *variable, TimestampTz since, int *n)
{
	Oid			types[3] = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		args[3];
	Candidate  *candidates;
	TexRanges  *ranges = NULL;
	int			rows;

	/* Constants, so that partitions before them are not even planned for. */
	args[0] = PointerGetDatum(variable);
	args[1] = TimestampTzGetDatum(since);
	args[2] = TimestampTzGetDatum(tex_time_plus(since, -(int64) tex_horizon * USECS_PER_SEC));
	SPI_execute_with_args(variable_query, 3, types, args, NULL, true, 0);
	rows = SPI_processed;
	*n = 0;
	candidates = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Candidate) * Max(rows, 1));
	for (int i = 0; i < rows; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		Candidate  *candidate = &candidates[*n];
		bool		isnull;

		candidate->id = *DatumGetUUIDP(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		candidate->extent = (TexExtent) {DT_NOEND, DT_NOBEGIN};
		candidate->home = DatumGetBool(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull));
		if (!candidate->home)
		{
			if (ranges == NULL)
			{
				ranges = tex_ranges_create();
				learn_ranges(ranges, rows);
			}
			if (tex_extent_of(ranges, &candidate->id).ended < since)
				continue;
		}
		(*n)++;
	}
	SPI_freetuptable(SPI_tuptable);
	return candidates;
}

/* Load candidates from one on until the portion is complete; returns where it ends. */
static int
load_portion(TexHistory *history, const Candidate *candidates, int from, int n)
{
	while (from < n && history->nevents < PORTION_EVENTS)
	{
		pg_uuid_t	ids[2][TEX_TRACES_AT_ONCE];
		int			count[2] = {0, 0};

		for (int i = 0; i < TEX_TRACES_AT_ONCE && from < n; i++, from++)
		{
			bool		home = candidates[from].home;

			ids[home][count[home]++] = candidates[from].id;
		}
		for (int home = 0; home < 2; home++)
			if (count[home] > 0)
				tex_history_load(history, ids[home], count[home],
								 home ? TEX_ROLE_HOME : TEX_ROLE_RIVAL);
	}
	return from;
}

/* Note when the candidates of a portion ran, and load what overlaps from before. */
static void
load_earlier(TexHistory *history, Candidate *candidates, int from, int to)
{
	TimestampTz start = DT_NOEND;
	pg_uuid_t  *ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t) * (Size) Max(from, 1));
	int			n = 0;

	tex_history_times(history);
	for (int i = from; i < to; i++)
	{
		int32		loaded = tex_history_trace(history, &candidates[i].id);

		if (loaded < 0)
			continue;
		candidates[i].extent = history->traces[loaded].extent;
		start = Min(start, candidates[i].extent.started);
	}
	for (int i = 0; i < from; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (tex_time_plus(candidates[i].extent.ended, tex_clock_skew_usecs()) >= start)
			ids[n++] = candidates[i].id;
	}
	tex_history_load(history, ids, n, TEX_ROLE_RIVAL);
	pfree(ids);
}

/* Looks at all traces that accessed a variable, portion by portion, each in a context that is reset. */
static void
search_variable(Search *search, text *variable, TimestampTz since)
{
	int			nesting = tex_no_jit();
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext portion",
												  ALLOCSET_DEFAULT_SIZES);
	const char *name = text_to_cstring(variable);
	int			n;
	Candidate  *candidates = candidates_of(variable, since, &n);

	if (n == 0)
		tex_notice(psprintf("no access of variable \"%s\" is stored%s", name,
							TIMESTAMP_IS_NOBEGIN(since) ? "" : " at or after that time"),
				   "See the view cross_trace_index for those that are.");
	for (int from = 0, to; from < n; from = to)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		TexHistory *history = tex_history_create();

		to = load_portion(history, candidates, from, n);
		load_earlier(history, candidates, from, to);
		tex_load_context(history);
		tex_history_prepare(history);
		search_history(search, history, name);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	AtEOXact_GUC(false, nesting);
}

/* Returns the worst rows; a NOTICE says so if there are more. */
static void
return_rows(Search *search, FunctionCallInfo fcinfo)
{
	tex_rows_sort(search->rows);
	tex_rows_return(search->rows, search->max_pairs, (ReturnSetInfo *) fcinfo->resultinfo);
	if (search->count > search->rows->n || search->rows->n > search->max_pairs)
		tex_notice(psprintf("showing %lld of %lld pairs",
							(long long) Min(search->rows->n, search->max_pairs),
							(long long) search->count),
				   "Raise max_pairs to see more.");
}

/* find_races(trace_id uuid, max_pairs bigint). Reads with the caller's rights. */
Datum
tex_find_races(PG_FUNCTION_ARGS)
{
	Search		search = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	search.max_pairs = max_pairs_arg(fcinfo, 1);
	SPI_connect();
	search.rows = tex_rows_create();
	search_trace(&search, PG_GETARG_UUID_P(0));
	return_rows(&search, fcinfo);
	SPI_finish();
	return (Datum) 0;
}

/*
 * find_variable_races(variable text, since timestamptz, max_pairs bigint). Also called by the room
 * cache, which keeps its results.
 */
Datum
tex_find_variable_races(PG_FUNCTION_ARGS)
{
	Search		search = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	search.max_pairs = max_pairs_arg(fcinfo, 2);
	SPI_connect();
	search.rows = tex_rows_create();
	search_variable(&search, PG_GETARG_TEXT_PP(0),
					PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1));
	return_rows(&search, fcinfo);
	SPI_finish();
	return (Datum) 0;
}

/* count_races(trace_id uuid): no pair is kept, so it costs what the comparisons cost. */
Datum
tex_count_races(PG_FUNCTION_ARGS)
{
	Search		search = {0};

	SPI_connect();
	search.rows = tex_rows_create();
	search_trace(&search, PG_GETARG_UUID_P(0));
	SPI_finish();
	PG_RETURN_INT64(search.count);
}

/* count_variable_races(variable text, since timestamptz), the same for a variable. */
Datum
tex_count_variable_races(PG_FUNCTION_ARGS)
{
	Search		search = {0};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	SPI_connect();
	search.rows = tex_rows_create();
	search_variable(&search, PG_GETARG_TEXT_PP(0),
					PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1));
	SPI_finish();
	PG_RETURN_INT64(search.count);
}
