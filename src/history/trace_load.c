/*
 * trace_load.c
 *		Reads the events of some traces into a history, by queries of neighbours in time.
 *
 * What becomes of a row is in trace_rows.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "history/packed_rows.h"
#include "history/row_query.h"
#include "history/trace_load.h"

#define TRACES_OF_A_CALL 1000	/* of a router, which waits for each */

static const char links_query[] =
	"SELECT trace_id, span_id, linked_trace_id, linked_span_id FROM trace_ext.trace_links "
	"WHERE trace_id OPERATOR(pg_catalog.=) ANY ($1)";

/*
 * What summaries say of when traces ran, read once: a history is of one snapshot. Call within an
 * SPI connection.
 */
const TexRanges *
tex_history_ranges(TexHistory *history)
{
	if (history->ranges == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(history->context);

		history->ranges = tex_ranges_create();
		MemoryContextSwitchTo(old);
	}
	return history->ranges;
}

/* The links of the spans of some traces; the query plan is the caller's to choose. */
static void
load_links(TexHistory *history, Datum ids)
{
	Oid			types[1] = {UUIDARRAYOID};

	SPI_execute_with_args(links_query, 1, types, &ids, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		values[4];
		bool		isnull[4];

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, isnull);
		tex_history_take_link(history, values, isnull);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Where the rows of a query go. */
typedef struct Destination
{
	TexHistory *history;
	TexRole		role;
} Destination;

/* Takes a row; for tex_query_traces(). */
static void
take_row(TupleTableSlot *slot, void *arg)
{
	const Destination *to = arg;

	tex_history_take(to->history, slot->tts_values, slot->tts_isnull, to->role);
}

/* The same for tex_query_nodes(). */
static void
take_packed(const Datum *values, const bool *isnull, void *arg)
{
	const Destination *to = arg;

	tex_history_take(to->history, values, isnull, to->role);
}

/* Adds the events of some traces, and the links of those that have consumers. */
static void
load_rows(TexHistory *history, const pg_uuid_t *ids, int n, bool packed, TexRole role)
{
	bool		had_consumers = history->has_consumers;
	Destination to = {history, role};

	history->has_consumers = false;
	if (packed)
		tex_query_nodes(ids, n, take_packed, &to);
	else
		tex_query_traces(tex_load_query, tex_history_ranges(history), ids, n, take_row, &to);
	if (history->has_consumers)
	{
		int			nesting = tex_no_jit();

		load_links(history, tex_uuid_array(ids, n));
		AtEOXact_GUC(false, nesting);
	}
	history->has_consumers |= had_consumers;
}

/* What is needed beside the events of a trace that were given to tex_history_take(). Within an SPI connection. */
void
tex_history_complete(TexHistory *history, const pg_uuid_t *id)
{
	if (history->has_consumers)
		load_links(history, tex_uuid_array(id, 1));
}

/*
 * Adds the events of some traces, any number of them, not loaded before. Call within an SPI
 * connection, before tex_history_prepare(); needs the caller's right to read events. Traces without
 * a stored event are not added.
 *
 * Those that a query takes are neighbours in time, so that it looks into as few partitions as may
 * be.
 */
void
tex_history_load(TexHistory *history, const pg_uuid_t *ids, int n, TexRole role)
{
	bool		packed = tex_rows_come_packed();
	int			at_once = packed ? TRACES_OF_A_CALL : TEX_TRACES_OF_A_QUERY;
	pg_uuid_t  *sorted = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t) * (Size) Max(n, 1));

	memcpy(sorted, ids, sizeof(pg_uuid_t) * (Size) n);
	if (!packed)				/* nodes sort them by themselves */
	{
		tex_ranges_learn(tex_history_ranges(history), ids, n);
		tex_sort_by_start(tex_history_ranges(history), sorted, n);
	}
	for (int i = 0; i < n; i += at_once)
		load_rows(history, &sorted[i], Min(n - i, at_once), packed, role);
	pfree(sorted);
}
