/*
 * variable.c
 *		Which traces accessed a variable.
 *
 * Read partition by partition with their indexes, in the active snapshot: a query
 * over events would be planned for all partitions each time.  What is read is noted
 * (common/reads.h), and its partitions stay locked in AccessShareLock until the
 * transaction ends, as a query would do.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "common/reads.h"
#include "store/variable.h"

/* A partition that is read, and its part of one of the indexes of events. */
typedef struct Part
{
	Relation	rel;
	Relation	index;
	AttrNumber	trace_id;
	AttrNumber	name;
	AttrNumber	timestamp;
} Part;

struct TexVariable
{
	text	   *name;
	bool		is_known;		/* these are all: */
	pg_uuid_t  *traces;			/* ascending */
	int			count;
	MemoryContext context;
};

/*
 * A variable that nothing is known of yet.  Fails for who may not read events: what is
 * here reads them by itself.
 */
TexVariable *
tex_variable_create(text *name)
{
	Oid			events = tex_relation_oid("events");
	TexVariable *v = palloc0(sizeof(TexVariable));

	if (pg_class_aclcheck(events, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, "events");
	v->name = name;
	v->context = CurrentMemoryContext;
	return v;
}

/* False where it was detached and dropped just now. */
static bool
open_part(Part *part, Oid oid, const char *index)
{
	part->rel = try_table_open(oid, AccessShareLock);
	if (part->rel == NULL)
		return false;
	tex_note_read(oid);
	part->index = index_open(index_get_partition(part->rel, tex_relation_oid(index)), AccessShareLock);
	part->trace_id = get_attnum(oid, "trace_id");
	part->name = get_attnum(oid, "name");
	part->timestamp = get_attnum(oid, "timestamp");
	return true;
}

static void
close_part(Part *part)
{
	index_close(part->index, NoLock);
	table_close(part->rel, NoLock);
}

/* The accesses of a variable; only those within a range where one is given. */
static SysScanDesc
begin_accesses(const Part *part, text *variable, const TexRange *range)
{
	ScanKeyData keys[3];

	ScanKeyEntryInitialize(&keys[0], 0, part->name, BTEqualStrategyNumber, InvalidOid,
						   DEFAULT_COLLATION_OID, F_TEXTEQ, PointerGetDatum(variable));
	if (range)
	{
		ScanKeyInit(&keys[1], part->timestamp, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
					TimestampTzGetDatum(range->first));
		ScanKeyInit(&keys[2], part->timestamp, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
					TimestampTzGetDatum(range->last));
	}
	return systable_beginscan_ordered(part->rel, part->index, GetActiveSnapshot(), range ? 3 : 1, keys);
}

/* A column of an event, of those that are never NULL. */
static Datum
column(const Part *part, HeapTuple event, AttrNumber number)
{
	bool		isnull;

	return heap_getattr(event, number, RelationGetDescr(part->rel), &isnull);
}

static bool
is_of_trace(const Part *part, HeapTuple event, const pg_uuid_t *trace_id)
{
	return memcmp(DatumGetUUIDP(column(part, event, part->trace_id))->data, trace_id->data, UUID_LEN) == 0;
}

/* ----------------------------------------------------------------
 *		All its accesses
 * ----------------------------------------------------------------
 */

/* When a variable was first, or last, accessed in a partition; false: never. */
static bool
end_of_part(Oid oid, text *variable, ScanDirection direction, TimestampTz *at)
{
	Part		part;
	SysScanDesc scan;
	HeapTuple	event;

	if (!open_part(&part, oid, "events_variable_idx"))
		return false;
	scan = begin_accesses(&part, variable, NULL);
	event = systable_getnext_ordered(scan, direction);
	if (HeapTupleIsValid(event))
		*at = DatumGetTimestampTz(column(&part, event, part.timestamp));
	systable_endscan_ordered(scan);
	close_part(&part);
	return HeapTupleIsValid(event);
}

/* All partitions, in the order of time; the default one, of any time, is somewhere. */
static List *
all_parts(void)
{
	return tex_partitions_of((TexRange) {DT_NOBEGIN, DT_NOEND});
}

/*
 * When a variable was first (forward) or last (backward) accessed; false where it never
 * was.  Asks the partitions from that end until one knows it, and the default one.
 */
bool
tex_variable_end(const TexVariable *v, ScanDirection direction, TimestampTz *at)
{
	List	   *parts = all_parts();
	int			n = list_length(parts);
	Oid			of_any_time = get_default_partition_oid(tex_relation_oid("events"));
	bool		found = OidIsValid(of_any_time) && end_of_part(of_any_time, v->name, direction, at);

	for (int i = 0; i < n; i++)
	{
		Oid			part = list_nth_oid(parts, ScanDirectionIsForward(direction) ? i : n - 1 - i);
		TimestampTz there;

		if (part == of_any_time || !end_of_part(part, v->name, direction, &there))
			continue;
		if (!found || (ScanDirectionIsForward(direction) ? there < *at : there > *at))
			*at = there;
		return true;
	}
	return found;
}

/* Adds the traces of a partition's accesses; false once there are more than "most". */
static bool
add_traces(Oid oid, text *variable, int64 most, TexSummarySet *traces, int64 *accesses)
{
	Part		part;
	SysScanDesc scan;
	HeapTuple	event;

	if (!open_part(&part, oid, "events_variable_idx"))
		return true;
	scan = begin_accesses(&part, variable, NULL);
	while (*accesses <= most &&
		   HeapTupleIsValid(event = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		(*accesses)++;
		(void) tex_summaries_get(traces, DatumGetUUIDP(column(&part, event, part.trace_id)));
	}
	systable_endscan_ordered(scan);
	close_part(&part);
	return *accesses <= most;
}

/* For qsort() and bsearch(). */
static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

/* Keeps the traces of a set. */
static void
keep_traces(TexVariable *v, TexSummarySet *traces)
{
	TexSummary **found = tex_summaries_all(traces);

	v->count = tex_summaries_count(traces);
	v->traces = MemoryContextAllocHuge(v->context, sizeof(pg_uuid_t) * (Size) Max(v->count, 1));
	for (int i = 0; i < v->count; i++)
		v->traces[i] = found[i]->trace_id;
	qsort(v->traces, v->count, sizeof(pg_uuid_t), compare_ids);
	v->is_known = true;
}

/*
 * Finds all the traces that accessed a variable, if there are no more than "most"
 * accesses; else false.  Once found, they stay known for as long as the snapshot is
 * the same.
 */
bool
tex_variable_is_known(TexVariable *v, int64 most)
{
	MemoryContext context;
	MemoryContext old;
	TexSummarySet *traces;
	List	   *parts;
	bool		all = true;
	int64		accesses = 0;

	if (v->is_known)
		return true;
	context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext accesses", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	traces = tex_summaries_create(context);
	/* The newest first: what is accessed often, is soon found too often. */
	parts = all_parts();
	for (int i = list_length(parts) - 1; all && i >= 0; i--)
		all = add_traces(list_nth_oid(parts, i), v->name, most, traces, &accesses);
	if (all)
		keep_traces(v, traces);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return all;
}

/*
 * The traces that accessed a variable, which are known, as uuid[].
 */
Datum
tex_variable_traces(const TexVariable *v)
{
	Datum	   *ids = palloc_extended(sizeof(Datum) * (Size) Max(v->count, 1), MCXT_ALLOC_HUGE);

	Assert(v->is_known);
	for (int i = 0; i < v->count; i++)
		ids[i] = UUIDPGetDatum(&v->traces[i]);
	return PointerGetDatum(construct_array(ids, v->count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* ----------------------------------------------------------------
 *		One trace
 * ----------------------------------------------------------------
 */
typedef enum Found
{
	FOUND, NOT_FOUND, TOO_MANY
} Found;

/* Looks through the accesses of the variable while the trace ran, some of them. */
static Found
find_by_variable(Oid oid, const TexSummary *s, text *variable, int64 *budget)
{
	TexRange	range = {s->first_timestamp, s->last_timestamp};
	Part		part;
	SysScanDesc scan;
	HeapTuple	event;
	Found		found = NOT_FOUND;

	if (!open_part(&part, oid, "events_variable_idx"))
		return NOT_FOUND;
	scan = begin_accesses(&part, variable, &range);
	while (found == NOT_FOUND &&
		   HeapTupleIsValid(event = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		if (is_of_trace(&part, event, &s->trace_id))
			found = FOUND;
		else if (--*budget < 0)
			found = TOO_MANY;
	}
	systable_endscan_ordered(scan);
	close_part(&part);
	return found;
}

/* Is that event an access of the variable? */
static bool
is_access_of(const Part *part, HeapTuple event, text *variable)
{
	bool		isnull;
	Datum		kind = heap_getattr(event, get_attnum(RelationGetRelid(part->rel), "kind"),
									RelationGetDescr(part->rel), &isnull);
	Datum		name;

	if (tex_kind_by_oid(DatumGetObjectId(kind)) != TEX_STATE_CHANGE)
		return false;
	name = heap_getattr(event, part->name, RelationGetDescr(part->rel), &isnull);
	return !isnull && DatumGetBool(DirectFunctionCall2Coll(texteq, DEFAULT_COLLATION_OID,
														   name, PointerGetDatum(variable)));
}

/* Looks through the events of the trace. */
static bool
find_by_trace(Oid oid, const TexSummary *s, text *variable)
{
	Part		part;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	event;
	bool		found = false;

	if (!open_part(&part, oid, "events_pkey"))
		return false;
	ScanKeyInit(&key, part.trace_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&s->trace_id));
	scan = systable_beginscan_ordered(part.rel, part.index, GetActiveSnapshot(), 1, &key);
	while (!found && HeapTupleIsValid(event = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		found = is_access_of(&part, event, variable);
	}
	systable_endscan_ordered(scan);
	close_part(&part);
	return found;
}

/* Asks the events of one trace. */
static bool
is_accessed(const TexSummary *s, text *variable)
{
	List	   *parts = tex_partitions_of((TexRange) {s->first_timestamp, s->last_timestamp});
	int64		budget = s->event_count;
	ListCell   *lc;

	foreach(lc, parts)
	{
		Found		found = find_by_variable(lfirst_oid(lc), s, variable, &budget);

		if (found == FOUND)
			return true;
		if (found == TOO_MANY)
			break;
	}
	if (budget >= 0)
		return false;
	foreach(lc, parts)
	{
		if (find_by_trace(lfirst_oid(lc), s, variable))
			return true;
	}
	return false;
}

/*
 * Did a trace access the variable?  Its summary is complete, as of the active
 * snapshot.  The current memory context is left with litter.
 *
 * Most variables are accessed by few others while a trace runs.  Where more accesses
 * come than the trace has events, these are looked through.
 */
bool
tex_variable_is_of(const TexVariable *v, const TexSummary *s)
{
	if (v->is_known)
		return bsearch(&s->trace_id, v->traces, v->count, sizeof(pg_uuid_t), compare_ids) != NULL;
	return is_accessed(s, v->name);
}
