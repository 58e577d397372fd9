/*
 * trace_reader.c
 *		The events of one trace after another, read by the keys of their partitions.
 *
 * For whoever computes something of many traces, one by one: what is the same for all
 * of them is found out once, which is what is outstanding (trace_range.c), and where in
 * a partition its columns and its key are. Like recompute.c it has the planner look at
 * nothing, so that the number of partitions does not matter.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "common/reads.h"
#include "store/trace_range.h"
#include "store/trace_reader.h"

/*
 * What is remembered of a partition. It stays true: whoever has read the partition has
 * it locked until the transaction ends.
 */
typedef struct Layout
{
	Oid			partition;
	Oid			index;			/* its part of the key of events */
	AttrNumber	trace_id;
	AttrNumber	id;
	AttrNumber *columns;		/* those that were asked for */
} Layout;

struct TexTraceReader
{
	MemoryContext context;		/* of this and all it remembers */
	MemoryContext event_context;	/* of one event */
	TexRanges  *ranges;
	Oid			key;			/* of events */
	bool		of_nodes;		/* events are foreign tables: there is no key, see run_on_nodes() */
	const char *const *names;
	int			count;			/* of names */
	Datum	   *values;			/* of the event at hand, by name */
	bool	   *isnull;
	List	   *layouts;		/* the partition read last comes first */
};

/*
 * A reader for the active snapshot, in the current memory context, good for as long as
 * that snapshot is the one that is read with. "columns" are of events, and stay the
 * caller's, who has checked rights.
 */
TexTraceReader *
tex_trace_reader_create(const char *const *columns, int count)
{
	TexTraceReader *reader = palloc0(sizeof(TexTraceReader));

	reader->context = CurrentMemoryContext;
	reader->event_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext event",
												  ALLOCSET_DEFAULT_SIZES);
	reader->ranges = tex_ranges_create();
	reader->of_nodes = tex_is_router();
	if (!reader->of_nodes)
		reader->key = tex_relation_oid("events_pkey");
	reader->names = columns;
	reader->count = count;
	reader->values = palloc(sizeof(Datum) * count);
	reader->isnull = palloc(sizeof(bool) * count);
	return reader;
}

/* What is to be known of a partition that was not read before. */
static Layout *
learn_layout(TexTraceReader *reader, Relation rel)
{
	MemoryContext old = MemoryContextSwitchTo(reader->context);
	Layout	   *layout = palloc(sizeof(Layout));

	layout->partition = RelationGetRelid(rel);
	layout->index = index_get_partition(rel, reader->key);
	layout->trace_id = get_attnum(layout->partition, "trace_id");
	layout->id = get_attnum(layout->partition, "id");
	layout->columns = palloc(sizeof(AttrNumber) * reader->count);
	for (int i = 0; i < reader->count; i++)
		layout->columns[i] = get_attnum(layout->partition, reader->names[i]);
	reader->layouts = lcons(layout, reader->layouts);
	MemoryContextSwitchTo(old);
	return layout;
}

/* The layout of a partition. Traces that come one after another are in few of them. */
static Layout *
layout_of(TexTraceReader *reader, Relation rel)
{
	ListCell   *lc;

	foreach(lc, reader->layouts)
	{
		Layout	   *layout = lfirst(lc);

		if (layout->partition == RelationGetRelid(rel))
		{
			if (foreach_current_index(lc) > 0)
			{
				reader->layouts = foreach_delete_current(reader->layouts, lc);
				reader->layouts = lcons(layout, reader->layouts);
			}
			return layout;
		}
	}
	return learn_layout(reader, rel);
}

/* Calls back for an event. */
static void
pass_event(TexTraceReader *reader, const Layout *layout, HeapTuple tuple, TupleDesc desc,
		   TexEventCallback each, void *arg)
{
	MemoryContext old = MemoryContextSwitchTo(reader->event_context);
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *isnull = palloc(sizeof(bool) * desc->natts);

	heap_deform_tuple(tuple, desc, values, isnull);
	for (int i = 0; i < reader->count; i++)
	{
		reader->values[i] = values[layout->columns[i] - 1];
		reader->isnull[i] = isnull[layout->columns[i] - 1];
	}
	each(reader->values, reader->isnull, arg);
	MemoryContextSwitchTo(old);
	MemoryContextReset(reader->event_context);
}

/* The events of a trace in one partition, which is locked; or only those of an id. */
static void
read_partition(TexTraceReader *reader, Relation rel, const pg_uuid_t *trace_id, const pg_uuid_t *id,
			   TexEventCallback each, void *arg)
{
	const Layout *layout = layout_of(reader, rel);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], layout->trace_id, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(trace_id));
	if (id)
		ScanKeyInit(&keys[1], layout->id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	tex_note_read(layout->partition);
	scan = systable_beginscan(rel, layout->index, true, GetActiveSnapshot(), id ? 2 : 1, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		pass_event(reader, layout, tuple, RelationGetDescr(rel), each, arg);
	}
	systable_endscan(scan);
}

/* The same on a router, by a query: within the range, so that each node reads few partitions. */
static void
run_on_nodes(TexTraceReader *reader, TexRange range, const pg_uuid_t *trace_id, const pg_uuid_t *id,
			 TexEventCallback each, void *arg)
{
	Oid			types[4] = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID};
	Datum		args[4];
	StringInfoData query;

	initStringInfo(&query);
	for (int i = 0; i < reader->count; i++)
		appendStringInfo(&query, "%s%s", i == 0 ? "SELECT " : ", ", quote_identifier(reader->names[i]));
	appendStringInfoString(&query, " FROM trace_ext.events WHERE trace_id OPERATOR(pg_catalog.=) $1"
						   " AND \"timestamp\" OPERATOR(pg_catalog.>=) $2 AND \"timestamp\" OPERATOR(pg_catalog.<=) $3");
	if (id)
		appendStringInfoString(&query, " AND id OPERATOR(pg_catalog.=) $4");
	args[0] = UUIDPGetDatum(trace_id);
	args[1] = TimestampTzGetDatum(range.first);
	args[2] = TimestampTzGetDatum(range.last);
	args[3] = id ? UUIDPGetDatum(id) : (Datum) 0;
	SPI_connect();
	SPI_execute_with_args(query.data, id ? 4 : 3, types, args, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(reader->event_context);

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, reader->values, reader->isnull);
		each(reader->values, reader->isnull, arg);
		MemoryContextSwitchTo(old);
		MemoryContextReset(reader->event_context);
	}
	SPI_finish();
	pfree(query.data);
}

/* Calls back for each event of a trace, or only for those of an id. */
static void
run(TexTraceReader *reader, const pg_uuid_t *trace_id, const pg_uuid_t *id, TexEventCallback each, void *arg)
{
	TexRange	range = tex_range_of(reader->ranges, trace_id, 1);
	List	   *partitions;
	ListCell   *lc;

	if (tex_range_is_empty(range))
		return;
	if (reader->of_nodes)
	{
		run_on_nodes(reader, range, trace_id, id, each, arg);
		return;
	}
	partitions = tex_partitions_of(range);
	foreach(lc, partitions)
	{
		Relation	rel = try_table_open(lfirst_oid(lc), AccessShareLock);

		if (rel == NULL)
			continue;			/* it was detached and dropped just now */
		read_partition(reader, rel, trace_id, id, each, arg);
		table_close(rel, NoLock);
	}
	list_free(partitions);
}

/*
 * Calls back for each event of a trace, in no order; never where it has none. Locks
 * events and the partitions that may have some in AccessShareLock until the transaction
 * ends.
 */
void
tex_trace_reader_run(TexTraceReader *reader, const pg_uuid_t *trace_id,
					 TexEventCallback each, void *arg)
{
	run(reader, trace_id, NULL, each, arg);
}

/* The same for the events of a trace that have an id, mostly one: a probe of an index. */
void
tex_trace_reader_run_event(TexTraceReader *reader, const pg_uuid_t *trace_id, const pg_uuid_t *id,
						   TexEventCallback each, void *arg)
{
	run(reader, trace_id, id, each, arg);
}
