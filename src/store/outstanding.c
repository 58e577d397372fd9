/*
 * outstanding.c
 *		The deltas that are not folded yet, for readers.
 *
 * All is read with the active snapshot, so what is said fits what the calling
 * query sees, its transaction's own writes included.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "common/event.h"
#include "common/reads.h"
#include "store/outstanding.h"

/* Columns of their tables, counted from 1. */
#define TOTALS_EVENT_COUNT 1
#define COUNT_DELTAS_EVENT_COUNT 5

PG_FUNCTION_INFO_V1(tex_count_events);
PG_FUNCTION_INFO_V1(tex_count_traces);

/* What sum_of() adds up. */
typedef struct Sum
{
	AttrNumber	column;
	int64		total;
} Sum;

/*
 * Calls back for each row of one of the extension's tables, in a memory context
 * that lasts for the row.  Reads with the active snapshot, with no check of the
 * caller's rights; the table is locked in AccessShareLock meanwhile, and noted as
 * read.
 */
void
tex_scan_own(const char *name, TexSlotCallback each, void *arg)
{
	Relation	rel = table_open(tex_relation_oid(name), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext row",
													  ALLOCSET_SMALL_SIZES);

	tex_note_read(RelationGetRelid(rel));
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(row_context);

		CHECK_FOR_INTERRUPTS();
		each(slot, arg);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_context);
	}
	MemoryContextDelete(row_context);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
}

/* The first columns are those of a summary, the last one is "recompute". */
static void
merge_delta(TupleTableSlot *slot, void *arg)
{
	TexSummarySet *set = arg;
	TexSummary *s;

	slot_getallattrs(slot);
	s = tex_summaries_get(set, DatumGetUUIDP(slot->tts_values[0]));
	if (DatumGetBool(slot->tts_values[TEX_SUMMARY_COLUMNS]))
		s->recompute = true;
	if (!s->recompute)
		tex_summary_add_row(set, slot->tts_values, slot->tts_isnull);
}

/*
 * The outstanding deltas, merged by trace; they live in "context".  Of a trace
 * that says "recompute" nothing else holds but its id.
 */
TexSummarySet *
tex_outstanding_summaries(MemoryContext context)
{
	TexSummarySet *set = tex_summaries_create(context);

	tex_scan_own("summary_deltas", merge_delta, set);
	return set;
}

/* Adds the column's value; the tables here have no NULL there. */
static void
add_column(TupleTableSlot *slot, void *arg)
{
	Sum		   *sum = arg;
	bool		isnull;

	sum->total += DatumGetInt64(slot_getattr(slot, sum->column, &isnull));
}

/*
 * The sum of a bigint column of one of our tables, for a number of rows that is
 * bounded by folding.
 */
static int64
sum_of(const char *table, AttrNumber column)
{
	Sum			sum = {.column = column};

	tex_scan_own(table, add_column, &sum);
	return sum.total;
}

/*
 * count_events() returns bigint
 *
 * The folded total, which is one row, and by how much deltas change it.
 */
Datum
tex_count_events(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(sum_of("totals", TOTALS_EVENT_COUNT) +
					sum_of("count_deltas", COUNT_DELTAS_EVENT_COUNT));
}

/*
 * count_traces() returns bigint
 *
 * The folded total, and by how much deltas change it: a trace with deltas that was not
 * known comes to it, unless all it had is gone.  A query with a plan of the session; in
 * PL/pgSQL the first call of a session would load that language for it.
 */
Datum
tex_count_traces(PG_FUNCTION_ARGS)
{
	static const char query[] =
		"SELECT (SELECT trace_count FROM trace_ext.totals)"
		"     + (SELECT coalesce(sum(CASE"
		"                   WHEN NOT d.recompute THEN 1 - d.known"
		"                   ELSE (EXISTS (SELECT FROM trace_ext_internal.recompute_summary(d.trace_id)))::int - d.known END), 0)"
		"          FROM (SELECT trace_id, bool_or(recompute) AS recompute,"
		"                       (EXISTS (SELECT FROM trace_ext.summary_base b WHERE b.trace_id = s.trace_id))::int AS known"
		"                  FROM trace_ext.summary_deltas s GROUP BY trace_id) AS d)";
	static SPIPlanPtr plan = NULL;
	int64		count;
	bool		isnull;

	SPI_connect();
	if (plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare_cursor(query, 0, NULL, CURSOR_OPT_GENERIC_PLAN);

		if (made == NULL || SPI_keepplan(made) != 0)
			elog(ERROR, "could not prepare the query of traces");
		plan = made;
	}
	if (SPI_execute_plan(plan, NULL, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not count traces");
	count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	PG_RETURN_INT64(count);
}
