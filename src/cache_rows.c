/*
 * cache_rows.c
 *		Rows of a result, on their way to the caller and into the cache.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "executor/tuptable.h"
#include "miscadmin.h"

#include "cache_rows.h"
#include "compat.h"

/*
 * A copy of a row that refers to nothing outside of it: a value that is stored out
 * of line may be gone when the copy is used.
 */
static MinimalTuple
flatten(TexResult *rows, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	for (int i = 0; i < rows->desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(rows->desc, i);

		rows->values[i] = slot->tts_values[i];
		rows->isnull[i] = slot->tts_isnull[i];
		if (!rows->isnull[i] && attr->attlen == -1 &&
			VARATT_IS_EXTERNAL(DatumGetPointer(rows->values[i])))
			rows->values[i] = PointerGetDatum(detoast_external_attr((struct varlena *)
																	DatumGetPointer(rows->values[i])));
	}
	return tex_form_minimal_tuple(rows->desc, rows->values, rows->isnull);
}

static void
collect(TexResult *rows, MinimalTuple tuple)
{
	Size		size = MAXALIGN(tuple->t_len);

	if (rows->too_large || rows->limit == 0)
		return;
	if (rows->bytes.len + size > rows->limit)
	{
		rows->too_large = true;
		pfree(rows->bytes.data);
		return;
	}
	enlargeStringInfo(&rows->bytes, (int) size);
	memcpy(rows->bytes.data + rows->bytes.len, tuple, tuple->t_len);
	memset(rows->bytes.data + rows->bytes.len + tuple->t_len, 0, size - tuple->t_len);
	rows->bytes.len += (int) size;
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	TexResult    *rows = (TexResult *) self;
	MinimalTuple tuple = flatten(rows, slot);

	collect(rows, tuple);
	rows->n++;
	if (rows->store)
	{
		ExecStoreMinimalTuple(tuple, rows->slot, false);
		tuplestore_puttupleslot(rows->store, rows->slot);
		ExecClearTuple(rows->slot);
	}
	heap_free_minimal_tuple(tuple);
	return true;
}

static void
begin(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
end(DestReceiver *self)
{
}

/*
 * Prepares to receive rows for "store" (NULL: nobody), and to collect those that fit
 * into "limit" bytes.
 */
void
tex_result_init(TexResult *rows, TupleDesc desc, Tuplestorestate *store, Size limit)
{
	memset(rows, 0, sizeof(TexResult));
	rows->dest.receiveSlot = receive;
	rows->dest.rStartup = begin;
	rows->dest.rShutdown = end;
	rows->dest.rDestroy = end;
	rows->dest.mydest = DestNone;
	rows->desc = desc;
	rows->store = store;
	rows->slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	rows->values = palloc(desc->natts * sizeof(Datum));
	rows->isnull = palloc(desc->natts * sizeof(bool));
	rows->limit = limit;
	initStringInfo(&rows->bytes);
}

/*
 * Gives rows that were collected to a caller.
 */
void
tex_result_put(TupleDesc desc, Tuplestorestate *store, const char *bytes, uint32 n)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	for (uint32 i = 0; i < n; i++)
	{
		MinimalTuple tuple = (MinimalTuple) bytes;

		ExecStoreMinimalTuple(tuple, slot, false);
		tuplestore_puttupleslot(store, slot);
		bytes += MAXALIGN(tuple->t_len);
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	ExecDropSingleTupleTableSlot(slot);
}
