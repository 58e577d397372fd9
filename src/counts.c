/*
 * counts.c
 *		The exact number of events: the folded total and what is outstanding.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "deltas.h"
#include "event.h"

PG_FUNCTION_INFO_V1(tex_count_events);

/* The only row of totals. */
static int64
folded_events(void)
{
	Relation	rel = table_open(tex_relation_oid("totals"), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	int64		events = 0;
	bool		isnull;

	if (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		events = DatumGetInt64(slot_getattr(slot, 1, &isnull));
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return events;
}

/*
 * count_events() returns bigint
 */
Datum
tex_count_events(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(folded_events() + tex_outstanding_events());
}
