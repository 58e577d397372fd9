/*
 * overlaps.c
 *		The traces that may race with a trace, and those that may order them.
 *
 * Which traces overlap?  Those that accessed one of its variables within its time
 * certainly do.  A trace that accessed one outside may run longer than its accesses,
 * so trace_ext.horizon to both sides is searched as well, and its summary says
 * whether it may have run within; more than overlap may be loaded, that is no harm.
 *
 * Which traces order?  A chain of causes from an access to a later one passes only
 * through what happened between the two.  So all that ran while the traces of the
 * two did is enough, whatever it was about.  That is what ordering_traces()
 * (sql/41_races.sql) returns, from the summaries.
 *
 * Known limit: where more than CONTEXT_EVENTS events ran at that time, order is
 * only seen through traces that touch one of the variables.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "races/overlaps.h"
#include "common/reads.h"

/* More are not read only to find what is in order. */
#define CONTEXT_EVENTS	200000

/* In a query of its own, or the planner calls it as well, to know how many there are. */
static const char context_query[] =
	"SELECT id FROM pg_catalog.unnest((SELECT trace_ext_internal.ordering_traces($1, $2, $3))) AS id ORDER BY id";

/*
 * The times are constants each, so that partitions outside are never opened: $2 and
 * $3 are the trace's own, $4 and $5 the horizon around them.
 */
static const char overlapping_query[] =
	"SELECT trace_id,"
	" pg_catalog.bool_or(\"timestamp\" OPERATOR(pg_catalog.>=) $2 AND \"timestamp\" OPERATOR(pg_catalog.<=) $3) AS inside"
	" FROM trace_ext.events WHERE kind OPERATOR(pg_catalog.=) 'StateChange' AND name OPERATOR(pg_catalog.=) ANY ($1)"
	" AND \"timestamp\" OPERATOR(pg_catalog.>=) $4 AND \"timestamp\" OPERATOR(pg_catalog.<=) $5"
	" AND trace_id OPERATOR(pg_catalog.<>) $6"
	" GROUP BY trace_id ORDER BY trace_id";

/* The names of the variables that a history accesses, or of only one, as text[]. */
static Datum
variable_names(const TexHistory *history, const char *only, int *n)
{
	bool	   *seen = palloc0(tex_strings_count(history->names) + 1);
	Datum	   *names = palloc(sizeof(Datum) * (tex_strings_count(history->names) + 1));

	*n = 0;
	for (int32 i = 0; i < history->nevents; i++)
	{
		const TexEvent *event = &history->events[i];

		CHECK_FOR_INTERRUPTS();
		if (event->kind != TEX_STATE_CHANGE || event->name == TEX_NO_NAME || seen[event->name] ||
			(only && strcmp(only, tex_history_text(history, event->name)) != 0))
			continue;
		seen[event->name] = true;
		names[(*n)++] = CStringGetTextDatum(tex_history_text(history, event->name));
	}
	return PointerGetDatum(construct_array(names, *n, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Load the traces that the query before returned, but for those that are loaded.
 * Where it says "inside" of each, those that are not must have run at a time, as
 * far as their summaries tell.
 */
static void
load_result(TexHistory *history, TexRole role, const TexExtent *within)
{
	int			rows = SPI_processed;
	SPITupleTable *table = SPI_tuptable;
	pg_uuid_t  *ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t) * (Size) Max(rows, 1));
	int			n = 0;

	if (within)
	{
		bool		isnull;

		for (int i = 0; i < rows; i++)
			ids[i] = *DatumGetUUIDP(SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull));
		tex_ranges_learn(tex_history_ranges(history), ids, rows);
	}
	for (int i = 0; i < rows; i++)
	{
		bool		isnull;

		ids[n] = *DatumGetUUIDP(SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull));
		if (tex_history_trace(history, &ids[n]) >= 0)
			continue;
		if (within && !DatumGetBool(SPI_getbinval(table->vals[i], table->tupdesc, 2, &isnull)))
		{
			TexExtent	extent = tex_extent_of(tex_history_ranges(history), &ids[n]);

			if (extent.ended < within->started || extent.started > within->ended)
				continue;
		}
		n++;
	}
	SPI_freetuptable(table);
	tex_history_load(history, ids, n, role);
	pfree(ids);
}

/*
 * Loads what may order the traces that are loaded, where there are two at least. Call within an SPI
 * connection, before the history is prepared; then nothing more may race, only order.
 */
void
tex_load_context(TexHistory *history)
{
	if (history->ntraces >= 2)
		tex_load_beside(history);
}

/*
 * Loads what ran while the traces that are loaded did, and can have ordered something then, as by
 * a lock. The same holds as for tex_load_context().
 */
void
tex_load_beside(TexHistory *history)
{
	Oid			types[3] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};
	Datum		args[3];
	TimestampTz from = DT_NOEND;
	TimestampTz to = DT_NOBEGIN;

	tex_history_times(history);
	for (int32 t = 0; t < history->ntraces; t++)
	{
		from = Min(from, history->traces[t].extent.started);
		to = Max(to, history->traces[t].extent.ended);
	}
	args[0] = TimestampTzGetDatum(from);
	args[1] = TimestampTzGetDatum(to);
	args[2] = Int64GetDatum(CONTEXT_EVENTS);
	SPI_execute_with_args(context_query, 3, types, args, NULL, true, 0);
	load_result(history, TEX_ROLE_CONTEXT, NULL);
}

/* Loads as rivals what accessed a variable of a trace, within the horizon. */
static void
load_overlapping(TexHistory *history, const pg_uuid_t *trace_id, const char *variable)
{
	const TexTrace *trace = &history->traces[tex_history_trace(history, trace_id)];
	Oid			types[6] = {TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID};
	int64		horizon = (int64) tex_horizon * USECS_PER_SEC;
	Datum		args[6];
	TexExtent	within;
	int			n;

	args[0] = variable_names(history, variable, &n);
	if (n == 0)
		return;
	within.started = tex_time_plus(trace->extent.started, -tex_clock_skew_usecs());
	within.ended = tex_time_plus(trace->extent.ended, tex_clock_skew_usecs());
	args[1] = TimestampTzGetDatum(within.started);
	args[2] = TimestampTzGetDatum(within.ended);
	args[3] = TimestampTzGetDatum(tex_time_plus(within.started, -horizon));
	args[4] = TimestampTzGetDatum(tex_time_plus(within.ended, horizon));
	args[5] = UUIDPGetDatum(trace_id);
	SPI_execute_with_args(overlapping_query, 6, types, args, NULL, true, 0);
	load_result(history, TEX_ROLE_RIVAL, &within);
}

/*
 * A history of one trace, which is home, of those that overlapped it and accessed its
 * variables, or the variable given, and of what may order them, or with "locks" may have
 * kept it from a lock: prepared, in the current memory context. Empty, and not prepared, if there is no such trace. Call within an SPI
 * connection.
 */
TexHistory *
tex_load_with_overlapping(const pg_uuid_t *trace_id, const char *variable, bool locks)
{
	TexHistory *history = tex_history_create();
	int			nesting;

	tex_history_load(history, trace_id, 1, TEX_ROLE_HOME);
	if (history->nevents == 0)
		return history;
	nesting = tex_no_jit();
	tex_history_times(history);
	load_overlapping(history, trace_id, variable);
	if (locks && history->has_locks)
		tex_load_beside(history);
	else
		tex_load_context(history);
	AtEOXact_GUC(false, nesting);
	tex_history_prepare(history);
	return history;
}

/*
 * No race in a trace is good news, unless there is no such trace.
 */
void
tex_notice_unknown_trace(const pg_uuid_t *trace_id)
{
	char	   *id = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(trace_id)));

	tex_notice(psprintf("no event of trace %s is stored", id), "See list_traces() for those that are.");
}
