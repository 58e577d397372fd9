/*
 * over_nodes.c
 *		A batch whose events are on nodes: which rows go where, and what is done where
 *		others store the same at this moment.
 *
 * The rows of each partition are inserted by themselves, one partition after the other in the
 * order of epochs and remainders. So all clients take the keys of all nodes in one
 * order, and do not wait for each other in a circle, which no node would see: in one INSERT
 * postgres_fdw would send rows of a node whenever it has enough of them.
 *
 * A transaction of postgres_fdw has one snapshot on a node (REPEATABLE READ). Where
 * another client has committed the same events since, ON CONFLICT DO NOTHING fails there
 * (40001), though what it would do is to leave them out. Then the rows are sent to the node as a call of
 * insert_again(), which leaves out what is there now.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/bucket.h"
#include "common/owner.h"
#include "ingest/over_nodes.h"

PG_FUNCTION_INFO_V1(tex_not_stored);

/* As many rows go into a call. */
#define ROWS_A_CALL 1000

/* An epoch: from when on, and the first of its partitions. */
typedef struct Epoch
{
	TimestampTz starts_at;
	int			first;
	int			count;
} Epoch;

/* The names of the nodes of an epoch, each with an empty store of rows. */
static void
add_partitions(Epoch *epoch, Datum nodes, TexNodeRows **partitions, int *n)
{
	Datum	   *names;

	deconstruct_array(DatumGetArrayTypeP(nodes), TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &epoch->count);
	epoch->first = *n;
	*partitions = *partitions == NULL ? palloc(sizeof(TexNodeRows) * epoch->count) :
		repalloc(*partitions, sizeof(TexNodeRows) * (*n + epoch->count));
	for (int i = 0; i < epoch->count; i++)
		(*partitions)[(*n)++] = (TexNodeRows) {TextDatumGetCString(names[i]), NULL, 0};
}

/* All epochs, the earliest first, and their partitions. */
static Epoch *
read_epochs(TexNodeRows **partitions, int *n, int *epoch_count)
{
	static SPIPlanPtr plan = NULL;
	TexOwnerContext owner;
	Epoch	   *epochs;

	tex_become_owner(&owner);
	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT starts_at, nodes FROM trace_ext_internal.shard_epochs ORDER BY starts_at", 0, NULL);
		if (plan == NULL)
			elog(ERROR, "could not prepare to list the epochs");
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, NULL, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the epochs");
	*epoch_count = (int) SPI_processed;
	*n = 0;
	*partitions = NULL;
	epochs = palloc(sizeof(Epoch) * (*epoch_count + 1));
	for (int i = 0; i < *epoch_count; i++)
	{
		bool		isnull;

		epochs[i].starts_at = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		add_partitions(&epochs[i], SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull), partitions, n);
	}
	tex_become_caller(&owner);
	return epochs;
}

/* The number of the partition that a row is of. */
static int
partition_of(const Epoch *epochs, int n, const pg_uuid_t *trace_id, TimestampTz timestamp)
{
	int			i = n - 1;

	while (i > 0 && epochs[i].starts_at > timestamp)
		i--;
	return epochs[i].first + tex_bucket_of(trace_id, epochs[i].count);
}

/*
 * Splits the rows of a batch, whose columns of these numbers (from 1) say where they go, by
 * partition, each in the order that they have; in the current memory context. Those without rows have no
 * store. n is 0 where there is no node.
 */
TexNodeRows *
tex_rows_of_nodes(TupleDesc desc, Tuplestorestate *all, int trace_id, int timestamp, int *n)
{
	TexNodeRows *partitions;
	int			epoch_count;
	Epoch	   *epochs = read_epochs(&partitions, n, &epoch_count);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	while (epoch_count > 0 && tuplestore_gettupleslot(all, true, false, slot))
	{
		bool		isnull;
		pg_uuid_t  *id = DatumGetUUIDP(slot_getattr(slot, trace_id, &isnull));
		TimestampTz at = DatumGetTimestampTz(slot_getattr(slot, timestamp, &isnull));
		TexNodeRows *part = &partitions[partition_of(epochs, epoch_count, id, at)];

		CHECK_FOR_INTERRUPTS();
		if (part->store == NULL)
			part->store = tuplestore_begin_heap(false, false, work_mem);
		tuplestore_puttupleslot(part->store, slot);
		part->rows++;
	}
	ExecDropSingleTupleTableSlot(slot);
	return partitions;
}

/* The names of the columns, as text[]. */
static Datum
names_of(TupleDesc desc)
{
	Datum	   *names = palloc(sizeof(Datum) * desc->natts);

	for (int i = 0; i < desc->natts; i++)
		names[i] = CStringGetTextDatum(NameStr(TupleDescAttr(desc, i)->attname));
	return PointerGetDatum(construct_array(names, desc->natts, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Inserts the rows of a partition, which are registered by this name, by a call of the node: others
 * stored some of them since this transaction first looked there. Returns how many were not there yet.
 * The caller's rights to insert were judged when it was tried.
 */
uint64
tex_insert_again(const TexNodeRows *rows, TupleDesc desc, const char *name)
{
	char	   *take = psprintf("SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(b))::pg_catalog.text FROM (SELECT * FROM %s OFFSET $1 LIMIT %d) b",
								name, ROWS_A_CALL);
	Oid			types[] = {TEXTOID, TEXTOID, TEXTARRAYOID};
	uint64		inserted = 0;

	for (int64 done = 0; done < rows->rows; done += ROWS_A_CALL)
	{
		Oid			offset_type = INT8OID;
		Datum		offset = Int64GetDatum(done);
		Datum		values[3];
		TexOwnerContext owner;

		CHECK_FOR_INTERRUPTS();
		if (SPI_execute_with_args(take, 1, &offset_type, &offset, NULL, true, 0) != SPI_OK_SELECT || SPI_processed != 1)
			elog(ERROR, "could not read a batch");
		values[0] = CStringGetTextDatum(rows->node);
		values[1] = CStringGetTextDatum(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
		values[2] = names_of(desc);
		tex_become_owner(&owner);
		if (SPI_execute_with_args("SELECT answer FROM trace_ext_internal.ask_each(ARRAY[$1],"
								  " ARRAY[format('SELECT trace_ext_internal.insert_again(%L::jsonb, %L::text[])::text', $2, $3)])",
								  3, types, values, NULL, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
			elog(ERROR, "could not send a batch again");
		inserted += pg_strtoint64(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
		tex_become_caller(&owner);
	}
	return inserted;
}

/*
 * Fails, as a node gave up to wait (lock_timeout of its connection).  No node can see a circle of which it has
 * half, so it may have been one or not: either way the transaction is to be tried again, by the code
 * that clients know that from.
 */
void
tex_waited_too_long(const TexNodeRows *rows)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("another transaction holds what this one stores on node \"%s\"", rows->node),
			 errdetail("It was waited for as long as the node's connection has it. The other one may wait for this one on another node."),
			 errhint("Roll back, and send all batches of the transaction again.")));
}

/*
 * not_stored(rows jsonb) returns jsonb
 *
 * On a node: those of some rows of events that are not there, as of now, whatever the snapshot of
 * the transaction.
 */
Datum
tex_not_stored(PG_FUNCTION_ARGS)
{
	Oid			type = JSONBOID;
	Datum		rows = PG_GETARG_DATUM(0);
	bool		isnull;
	Datum		left;

	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args("SELECT coalesce(pg_catalog.jsonb_agg(r.value), '[]')"
							  " FROM pg_catalog.jsonb_array_elements($1) r WHERE NOT EXISTS (SELECT FROM trace_ext.events e"
							  " WHERE e.trace_id OPERATOR(pg_catalog.=) (r.value OPERATOR(pg_catalog.->>) 'trace_id')::pg_catalog.uuid"
							  " AND e.id OPERATOR(pg_catalog.=) (r.value OPERATOR(pg_catalog.->>) 'id')::pg_catalog.uuid"
							  " AND e.\"timestamp\" OPERATOR(pg_catalog.=) (r.value OPERATOR(pg_catalog.->>) 'timestamp')::pg_catalog.timestamptz)",
							  1, &type, &rows, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for events");
	PopActiveSnapshot();
	left = SPI_datumTransfer(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull), false, -1);
	SPI_finish();
	PG_RETURN_DATUM(left);
}
