/*
 * recompute.c
 *		The summary of one trace, computed from its events.
 *
 * Readers and fold() do this for traces that lost events.  It reads the partitions
 * that the trace may be in, by their key, and no others (trace_range.c): a query
 * over events would be planned for all of them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "common/reads.h"
#include "store/recompute.h"

PG_FUNCTION_INFO_V1(tex_recompute_summary);
PG_FUNCTION_INFO_V1(tex_trace_range);

/* A row of the table that is read; partitions order columns in ways of their own. */
typedef struct Row
{
	HeapTuple	tuple;
	TupleDesc	desc;
	Oid			relation;
} Row;

/* A column of the row by its name. */
static Datum
column(const Row *row, const char *name, bool *isnull)
{
	return heap_getattr(row->tuple, get_attnum(row->relation, name), row->desc, isnull);
}

/* The same, of type text; NULL for NULL. */
static text *
text_column(const Row *row, const char *name)
{
	bool		isnull;
	Datum		value = column(row, name, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

/* From when to when an event lasted. */
static TexExtent
read_extent(const Row *row, TimestampTz timestamp)
{
	bool		no_duration;
	bool		not_said;
	Datum		duration_ns = column(row, "duration_ns", &no_duration);
	Datum		at_end = column(row, "stamped_at_end", &not_said);

	return tex_extent_of_columns(timestamp, duration_ns, no_duration, at_end, not_said);
}

/* What a summary needs of an event; attributes are detoasted only where they decide. */
static void
read_event(const Row *row, TexSummaryEvent *event)
{
	bool		isnull;
	TexKind		kind = tex_kind_by_oid(DatumGetObjectId(column(row, "kind", &isnull)));
	Jsonb	   *attributes = NULL;
	Datum		parent;

	if (kind == TEX_HTTP_RESPONSE)
	{
		Datum		value = column(row, "attributes", &isnull);

		attributes = isnull ? NULL : DatumGetJsonbP(value);
	}
	event->id = *DatumGetUUIDP(column(row, "id", &isnull));
	event->timestamp = DatumGetTimestampTz(column(row, "timestamp", &isnull));
	event->is_access = kind == TEX_STATE_CHANGE;
	event->is_error = tex_event_is_error(kind, attributes);
	event->extent = read_extent(row, event->timestamp);
	parent = column(row, "parent_id", &isnull);
	event->is_root = tex_is_root(&event->id, isnull ? NULL : DatumGetUUIDP(parent));
	event->name = event->is_root ? text_column(row, "name") : NULL;
	event->service = text_column(row, "service_name");
}

/*
 * Adds the events of a trace that are in one partition, found by its key, in the
 * active snapshot.  What a row needs is freed with it.
 */
static void
add_partition(TexSummarySet *set, TexSummary *s, Relation rel, Oid index)
{
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext row",
													  ALLOCSET_DEFAULT_SIZES);
	Row			row = {.desc = RelationGetDescr(rel),.relation = RelationGetRelid(rel)};
	ScanKeyData key;
	SysScanDesc scan;

	ScanKeyInit(&key, get_attnum(row.relation, "trace_id"), BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(&s->trace_id));
	tex_note_read(row.relation);
	scan = systable_beginscan(rel, index, true, GetActiveSnapshot(), 1, &key);
	while (HeapTupleIsValid(row.tuple = systable_getnext(scan)))
	{
		MemoryContext old = MemoryContextSwitchTo(row_context);
		TexSummaryEvent event;

		CHECK_FOR_INTERRUPTS();
		read_event(&row, &event);
		tex_summary_add_event(set, s, &event);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_context);
	}
	systable_endscan(scan);
	MemoryContextDelete(row_context);
}

/*
 * The summary of a trace as of the active snapshot, in the current memory context;
 * NULL where it has no event. "ranges" are of the same snapshot.  Locks events and
 * the partitions in range in AccessShareLock until the transaction ends.  The
 * caller has checked rights.
 */
TexSummary *
tex_recompute(const TexRanges *ranges, const pg_uuid_t *trace_id)
{
	TexRange	range = tex_range_of(ranges, trace_id, 1);
	TexSummarySet *set = tex_summaries_create(CurrentMemoryContext);
	TexSummary *s = tex_summaries_get(set, trace_id);
	Oid			key = tex_relation_oid("events_pkey");
	ListCell   *lc;

	if (tex_range_is_empty(range))
		return NULL;
	foreach(lc, tex_partitions_of(range))
	{
		Relation	rel = try_table_open(lfirst_oid(lc), AccessShareLock);

		if (rel == NULL)
			continue;			/* it was detached and dropped just now */
		add_partition(set, s, rel, index_get_partition(rel, key));
		table_close(rel, NoLock);
	}
	return s->event_count > 0 ? s : NULL;
}

/* In the order of the columns of summary_base. */
static void
put_summary(ReturnSetInfo *result, const TexSummary *s)
{
	Datum		values[TEX_SUMMARY_COLUMNS];
	bool		isnull[TEX_SUMMARY_COLUMNS] = {false};

	values[0] = UUIDPGetDatum(&s->trace_id);
	values[1] = Int64GetDatum(s->event_count);
	values[2] = Int64GetDatum(s->error_count);
	values[3] = Int64GetDatum(s->access_count);
	values[4] = TimestampTzGetDatum(s->first_timestamp);
	values[5] = TimestampTzGetDatum(s->last_timestamp);
	values[6] = TimestampTzGetDatum(s->extent.started);
	values[7] = TimestampTzGetDatum(s->extent.ended);
	values[8] = tex_summary_services(s);
	isnull[9] = isnull[10] = !s->has_root;
	values[9] = TimestampTzGetDatum(s->root_timestamp);
	values[10] = UUIDPGetDatum(&s->root_id);
	isnull[11] = s->root_name == NULL;
	values[11] = PointerGetDatum(s->root_name);
	isnull[12] = s->root_service == NULL;
	values[12] = PointerGetDatum(s->root_service);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/*
 * What is outstanding, read once for all calls in one query: they share its snapshot.
 */
static const TexRanges *
ranges_of_query(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		fcinfo->flinfo->fn_extra = tex_ranges_create();
		MemoryContextSwitchTo(old);
	}
	return fcinfo->flinfo->fn_extra;
}

/* The functions here read tables by themselves, so they check what a query would. */
static void
require_summaries(void)
{
	if (pg_class_aclcheck(tex_relation_oid("trace_summaries"), GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_VIEW, "trace_summaries");
}

/*
 * recompute_summary(trace_id uuid) returns setof summary_recomputed
 *
 * One row, or none where the trace has no event.  For whoever may read
 * trace_summaries.
 */
Datum
tex_recompute_summary(PG_FUNCTION_ARGS)
{
	TexSummary *s;

	require_summaries();
	InitMaterializedSRF(fcinfo, 0);
	s = tex_recompute(ranges_of_query(fcinfo), PG_GETARG_UUID_P(0));
	if (s != NULL)
		put_summary((ReturnSetInfo *) fcinfo->resultinfo, s);
	return (Datum) 0;
}

/*
 * trace_ext_internal.trace_range(ids uuid[], OUT first_timestamp, OUT last_timestamp)
 *
 * Where the events of these traces are, in the snapshot of the query; 'infinity'
 * to '-infinity' where there are none.  For whoever may read trace_summaries.
 */
Datum
tex_trace_range(PG_FUNCTION_ARGS)
{
	Datum	   *elements;
	bool	   *isnull;
	bool		no_nulls[2] = {false};
	Datum		values[2];
	pg_uuid_t  *ids;
	TexRange	range;
	TupleDesc	desc;
	int			n;
	int			count = 0;

	require_summaries();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR,
					  &elements, &isnull, &n);
	ids = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (!isnull[i])
			ids[count++] = *DatumGetUUIDP(elements[i]);
	range = tex_range_of(ranges_of_query(fcinfo), ids, count);
	values[0] = TimestampTzGetDatum(range.first);
	values[1] = TimestampTzGetDatum(range.last);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, no_nulls));
}
