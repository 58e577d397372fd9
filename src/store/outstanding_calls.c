/*
 * outstanding_calls.c
 *		The calls of one trace, and of all traces that the rollups do not have yet.
 *
 * Calls of a trace cannot be told from what one statement changed: a parent that
 * arrives last makes calls of events that were there. So a trace that changed is
 * computed anew: in a while by whoever folds (take_calls() in SQL), until then by each
 * reader.
 *
 * Invariant: in every snapshot, the calls of a trace are those that trace_call_rows has of
 * it, which are in the rollups, unless the trace is in calls_queue or in summary_deltas, or is
 * linked to one in summary_deltas.
 * Whoever changes events appends a delta in the same transaction; the fold that takes
 * the delta queues the trace and what is linked to it, in the same statement; what takes a trace from the queue
 * computes its calls and replaces them everywhere, in one statement as well. So a
 * snapshot sees one of the three.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "common/event.h"
#include "common/reads.h"
#include "store/call_sums.h"
#include "store/calls.h"
#include "store/outstanding.h"
#include "store/packed_calls.h"

/* Columns of trace_call_rows, from 1; the first one is that of the other tables too. */
#define COL_TRACE_ID 1
#define COL_CALLS 2

/* Of trace_links. */
#define LINK_LINKED_TRACE_ID 3

PG_FUNCTION_INFO_V1(tex_trace_calls);
PG_FUNCTION_INFO_V1(tex_outstanding_calls);

/* What a trace calls now, packed, in the current memory context; NULL where nothing. */
static struct varlena *
packed_calls_of(TexTraceReader *reader, const pg_uuid_t *trace_id)
{
	const TexCalls *calls = tex_calls_of(reader, trace_id, NULL);

	return calls ? tex_pack_calls(calls) : NULL;
}

/*
 * trace_calls(trace_id uuid) returns bytea
 *
 * The calls of a trace from its events, as trace_call_rows has them; NULL where there are
 * none. For whoever may read service_calls.
 */
Datum
tex_trace_calls(PG_FUNCTION_ARGS)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context;
	struct varlena *packed;
	struct varlena *result = NULL;

	if (fcinfo->flinfo->fn_extra == NULL)
	{
		tex_require_calls();
		/* All calls in one query share its snapshot. */
		MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		fcinfo->flinfo->fn_extra = tex_calls_reader();
	}
	context = AllocSetContextCreate(old, "trace_ext calls of a trace", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	packed = packed_calls_of(fcinfo->flinfo->fn_extra, PG_GETARG_UUID_P(0));
	MemoryContextSwitchTo(old);
	if (packed)
		result = memcpy(palloc(VARSIZE(packed)), packed, VARSIZE(packed));
	MemoryContextDelete(context);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(result);
}

/* Adds the trace that a row is of to a set. */
static void
add_trace(TupleTableSlot *slot, void *arg)
{
	bool		isnull;

	(void) hash_search(arg, DatumGetUUIDP(slot_getattr(slot, COL_TRACE_ID, &isnull)), HASH_ENTER, NULL);
}

/* Adds the traces that are linked to some to a set. */
static void
add_linked(const pg_uuid_t *ids, int n, HTAB *traces)
{
	Relation	rel = table_open(tex_relation_oid("trace_links"), AccessShareLock);
	Oid			index = tex_relation_oid("trace_links_linked_idx");

	tex_note_read(RelationGetRelid(rel));
	for (int i = 0; i < n && RelationGetNumberOfBlocks(rel) > 0; i++)
	{
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple	tuple;

		CHECK_FOR_INTERRUPTS();
		ScanKeyInit(&key, LINK_LINKED_TRACE_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&ids[i]));
		scan = systable_beginscan(rel, index, true, GetActiveSnapshot(), 1, &key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			bool		isnull;

			(void) hash_search(traces, DatumGetUUIDP(heap_getattr(tuple, COL_TRACE_ID, RelationGetDescr(rel), &isnull)),
							   HASH_ENTER, NULL);
		}
		systable_endscan(scan);
	}
	table_close(rel, AccessShareLock);
}

/* The elements of a set of traces. */
static pg_uuid_t *
list_traces(HTAB *traces, int *n)
{
	pg_uuid_t  *ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t) * (hash_get_num_entries(traces) + 1));
	HASH_SEQ_STATUS all;
	pg_uuid_t  *id;

	*n = 0;
	hash_seq_init(&all, traces);
	while ((id = hash_seq_search(&all)) != NULL)
		ids[(*n)++] = *id;
	return ids;
}

/* The traces whose calls the rollups may not have, in the active snapshot. */
static HTAB *
outstanding_traces(void)
{
	pg_uuid_t  *changed;
	int			n;
	HASHCTL		ctl = {.keysize = sizeof(pg_uuid_t),.entrysize = sizeof(pg_uuid_t),
	.hcxt = CurrentMemoryContext};
	HTAB	   *traces = hash_create("traces with outstanding calls", 64, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	tex_scan_own("summary_deltas", add_trace, traces);
	changed = list_traces(traces, &n);
	add_linked(changed, n, traces);
	pfree(changed);
	tex_scan_own("calls_queue", add_trace, traces);
	return traces;
}

/* What the rollups have of a trace, in the current memory context; NULL for nothing. */
static struct varlena *
stored_calls_of(Relation rows, Oid index, const pg_uuid_t *trace_id)
{
	struct varlena *stored = NULL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, COL_TRACE_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(trace_id));
	scan = systable_beginscan(rows, index, true, GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, COL_CALLS, RelationGetDescr(rows), &isnull);

		stored = PG_DETOAST_DATUM_COPY(value);
	}
	systable_endscan(scan);
	return stored;
}

/* Adds by how much what a trace calls now differs from what the rollups have. */
static void
add_difference(TexCallSums *sums, const struct varlena *stored, const struct varlena *packed)
{
	if (stored && packed && VARSIZE(stored) == VARSIZE(packed) &&
		memcmp(stored, packed, VARSIZE(stored)) == 0)
		return;
	if (packed)
		tex_call_sums_add(sums, packed, 1);
	if (stored)
		tex_call_sums_add(sums, stored, -1);
}

/* Adds what all outstanding traces differ by. What a trace needs is freed with it. */
static void
add_differences(TexCallSums *sums, HTAB *traces)
{
	TexTraceReader *reader = tex_calls_reader();
	Relation	rows = table_open(tex_relation_oid("trace_call_rows"), AccessShareLock);
	Oid			index = tex_relation_oid("trace_call_rows_pkey");
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext calls of a trace",
												  ALLOCSET_DEFAULT_SIZES);
	HASH_SEQ_STATUS all;
	pg_uuid_t  *trace_id;

	tex_note_read(RelationGetRelid(rows));
	hash_seq_init(&all, traces);
	while ((trace_id = hash_seq_search(&all)) != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		add_difference(sums, stored_calls_of(rows, index, trace_id), packed_calls_of(reader, trace_id));
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	table_close(rows, AccessShareLock);
}

/*
 * outstanding_calls() returns table (hour, from_service, to_service, link_type, calls,
 * errors, traces, latency)
 *
 * By how much the rollups differ from what the snapshot of the query sees; any of the
 * sums may be negative. Costs what the outstanding traces need. For whoever may read
 * service_calls.
 */
Datum
tex_outstanding_calls(PG_FUNCTION_ARGS)
{
	TexCallSums *sums;
	HTAB	   *traces;

	tex_require_calls();
	InitMaterializedSRF(fcinfo, 0);
	sums = tex_call_sums_create();
	traces = outstanding_traces();
	if (hash_get_num_entries(traces) > 0)
		add_differences(sums, traces);
	hash_destroy(traces);
	tex_call_sums_put(sums, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
