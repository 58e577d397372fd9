/*
 * row_query.c
 *		A query about many traces: ids go in as an array, rows come out one by one.
 *
 * It is planned with the very ids and times: partitions outside the range of the traces are never
 * opened, and none is where that is empty.  The executor hands over each row as it finds it, which
 * is neither copied nor kept, so that those of a large trace are never in memory all at once.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "history/row_query.h"

const char tex_load_query[] =
	"SELECT trace_id, id, parent_id, \"timestamp\", kind, name, service_name, instance_id, "
	"process_id, thread_id, span_id, upstream_span_id, attributes, tags OPERATOR(pg_catalog.->>) 'task_id', "
	"causality_vector::trace_ext.vclock, lock_set, duration_ns, stamped_at_end "
	"FROM trace_ext.events WHERE trace_id OPERATOR(pg_catalog.=) ANY ($1) "
	"AND \"timestamp\" OPERATOR(pg_catalog.>=) $2 AND \"timestamp\" OPERATOR(pg_catalog.<=) $3";

/* Where the rows go; for the executor. */
typedef struct RowReceiver
{
	DestReceiver dest;			/* first, so that one is the other */
	MemoryContext row_context;	/* of one row */
	TexRowCallback each;
	void	   *arg;
} RowReceiver;

/* Takes a row. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *to = (RowReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(to->row_context);

	CHECK_FOR_INTERRUPTS();
	slot_getallattrs(slot);
	to->each(slot, to->arg);
	MemoryContextSwitchTo(old);
	MemoryContextReset(to->row_context);
	return true;
}

/* Nothing to do before the first row. */
static void
begin_rows(DestReceiver *self, int operation, TupleDesc desc)
{
}

/* Nor after the last one. */
static void
end_rows(DestReceiver *self)
{
}

/*
 * Calls "each" for the rows of a query about some traces: $1 are their ids, $2 and $3 the first and
 * last time of their events.  Within an SPI connection, with the caller's rights.
 */
void
tex_query_traces(const char *query, const TexRanges *ranges, const pg_uuid_t *ids, int n, TexRowCallback each, void *arg)
{
	RowReceiver to = {
		{receive_row, begin_rows, end_rows, end_rows, DestNone},
		AllocSetContextCreate(CurrentMemoryContext, "trace_ext row", ALLOCSET_DEFAULT_SIZES),
		each, arg
	};
	Oid			types[3] = {UUIDARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	TexRange	range = tex_range_of(ranges, ids, n);
	ParamListInfo params = makeParamList(lengthof(types));
	SPIExecuteOptions options = {.params = params,.read_only = true,.dest = &to.dest};
	int			nesting = tex_no_jit();

	params->params[0].value = tex_uuid_array(ids, n);
	params->params[1].value = TimestampTzGetDatum(range.first);
	params->params[2].value = TimestampTzGetDatum(range.last);
	for (Size i = 0; i < lengthof(types); i++)
	{
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = types[i];
	}
	SPI_execute_extended(query, &options);
	AtEOXact_GUC(false, nesting);
	MemoryContextDelete(to.row_context);
}

/* The ids as uuid[], in the current memory context. */
Datum
tex_uuid_array(const pg_uuid_t *ids, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = UUIDPGetDatum(&ids[i]);
	return PointerGetDatum(construct_array(elements, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* Values of a type as an array, in the current memory context; isnull may be NULL: none is. */
Datum
tex_value_array(Datum *values, bool *isnull, int n, Oid type)
{
	int			lower = 1;
	int16		length;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(values, isnull, 1, &n, &lower, type, length, by_value, align));
}
