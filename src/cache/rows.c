/*
 * rows.c
 *		Rows of a result, on their way to the caller and into the cache.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "cache/rows.h"
#include "compat.h"

static bool
is_elsewhere(const TexResult *rows, const TupleTableSlot *slot, int i)
{
	return !slot->tts_isnull[i] && TupleDescAttr(rows->desc, i)->attlen == -1 &&
		VARATT_IS_EXTERNAL(DatumGetPointer(slot->tts_values[i]));
}

/*
 * Do the values of a row that are stored out of line fit into what is left?  That is
 * known before any of them is fetched.
 */
static bool
fits(const TexResult *rows, const TupleTableSlot *slot)
{
	Size		size = rows->bytes.len;

	for (int i = 0; i < rows->desc->natts && size <= rows->limit; i++)
	{
		if (is_elsewhere(rows, slot, i))
			size += toast_datum_size(slot->tts_values[i]);
	}
	return size <= rows->limit;
}

/*
 * A copy of a row that refers to nothing outside of it: a value that is stored out
 * of line may be gone when the copy is used.
 */
static MinimalTuple
flatten(TexResult *rows, TupleTableSlot *slot)
{
	for (int i = 0; i < rows->desc->natts; i++)
	{
		rows->values[i] = slot->tts_values[i];
		rows->isnull[i] = slot->tts_isnull[i];
		if (is_elsewhere(rows, slot, i))
			rows->values[i] = PointerGetDatum(detoast_external_attr((struct varlena *)
																	DatumGetPointer(rows->values[i])));
	}
	return tex_form_minimal_tuple(rows->desc, rows->values, rows->isnull);
}

static void
append(TexResult *rows, MinimalTuple tuple)
{
	Size		size = MAXALIGN(tuple->t_len);

	enlargeStringInfo(&rows->bytes, (int) size);
	memcpy(rows->bytes.data + rows->bytes.len, tuple, tuple->t_len);
	memset(rows->bytes.data + rows->bytes.len + tuple->t_len, 0, size - tuple->t_len);
	rows->bytes.len += (int) size;
}

/* From here on rows go to the caller only; the cache has no use for what there is. */
static void
stop_collecting(TexResult *rows)
{
	rows->too_large = true;
	pfree(rows->bytes.data);
	rows->bytes.data = NULL;
	rows->bytes.len = 0;
}

/* Adds a row to what is collected; its memory is given back before the next one. */
static void
collect(TexResult *rows, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(rows->row);
	MinimalTuple tuple = NULL;

	slot_getallattrs(slot);
	if (fits(rows, slot))
		tuple = flatten(rows, slot);
	MemoryContextSwitchTo(old);
	if (tuple && rows->bytes.len + MAXALIGN(tuple->t_len) <= rows->limit)
		append(rows, tuple);
	else
		stop_collecting(rows);
	MemoryContextReset(rows->row);
}

/*
 * The caller's row is the one of the query: what is stored out of line stays there,
 * as with any other function, for the snapshot of the caller is that of the query.
 */
static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	TexResult    *rows = (TexResult *) self;

	if (rows->limit > 0 && !rows->too_large)
		collect(rows, slot);
	rows->n++;
	if (rows->store)
		tuplestore_puttupleslot(rows->store, slot);
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
	rows->row = AllocSetContextCreate(CurrentMemoryContext, "trace_ext row of a cached result",
									  ALLOCSET_DEFAULT_SIZES);
	rows->values = palloc(desc->natts * sizeof(Datum));
	rows->isnull = palloc(desc->natts * sizeof(bool));
	rows->limit = limit;
	initStringInfo(&rows->bytes);
}

/*
 * Gives back what was collected.
 */
void
tex_result_end(TexResult *rows)
{
	MemoryContextDelete(rows->row);
	if (rows->bytes.data)
		pfree(rows->bytes.data);
	pfree(rows->values);
	pfree(rows->isnull);
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
