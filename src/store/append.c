/*
 * append.c
 *		Appends what triggers collected to summary_deltas and count_deltas, and
 *		stamps to version_deltas.
 *
 * Rules
 * - Only inserts into tables without an index: no row lock is taken, so writers
 *	 never wait for each other.  They have no triggers or constraints either but NOT
 *	 NULL, so rows are given to the table access method as they are, many at a time.
 * - The tables are the extension's, and written without a check of rights: the caller
 *	 wrote events, and this follows from it.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "common/pg_prng.h"
#include "executor/executor.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "store/append.h"

/* Rows that are written at once. */
#define WRITER_SLOTS 256

/* Rows on their way into a table, in backend memory. */
typedef struct DeltaWriter
{
	Relation	rel;
	int			used;			/* slots that wait to be written */
	TupleTableSlot *slots[WRITER_SLOTS];	/* made as they are needed */
} DeltaWriter;

/*
 * Writes the rows that wait, all at once, with the command id of now: later
 * commands see them.
 */
static void
writer_flush(DeltaWriter *w)
{
	if (w->used > 0)
		table_multi_insert(w->rel, w->slots, w->used, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < w->used; i++)
		ExecClearTuple(w->slots[i]);
	w->used = 0;
}

/* An empty slot for the next row; all columns are "not null" until said otherwise. */
static TupleTableSlot *
writer_next(DeltaWriter *w)
{
	TupleTableSlot *slot;

	if (w->used == WRITER_SLOTS)
		writer_flush(w);
	if (w->slots[w->used] == NULL)
		w->slots[w->used] = table_slot_create(w->rel, NULL);
	slot = w->slots[w->used];
	memset(slot->tts_isnull, false, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	return slot;
}

/* The slot that writer_next() returned is filled. */
static void
writer_add(DeltaWriter *w)
{
	ExecStoreVirtualTuple(w->slots[w->used++]);
}

/*
 * Writes the rest.  The lock on the table stays until the transaction ends, as an
 * INSERT's does.
 */
static void
writer_close(DeltaWriter *w)
{
	writer_flush(w);
	for (int i = 0; i < WRITER_SLOTS && w->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(w->slots[i]);
	table_close(w->rel, NoLock);
}

/* Sets a column of a virtual tuple. */
static void
set_or_null(TupleTableSlot *slot, int column, bool isnull, Datum value)
{
	slot->tts_values[column] = isnull ? (Datum) 0 : value;
	slot->tts_isnull[column] = isnull;
}

/* In the order of the columns of summary_deltas. */
static void
fill_summary_delta(TupleTableSlot *slot, TexSummary *s)
{
	bool		unknown = s->recompute;

	slot->tts_values[0] = UUIDPGetDatum(&s->trace_id);
	slot->tts_values[1] = Int64GetDatum(unknown ? 0 : s->event_count);
	slot->tts_values[2] = Int64GetDatum(unknown ? 0 : s->error_count);
	slot->tts_values[3] = Int64GetDatum(unknown ? 0 : s->access_count);
	set_or_null(slot, 4, !s->has_times, TimestampTzGetDatum(s->first_timestamp));
	set_or_null(slot, 5, !s->has_times, TimestampTzGetDatum(s->last_timestamp));
	set_or_null(slot, 6, !s->has_times, TimestampTzGetDatum(s->extent.started));
	set_or_null(slot, 7, !s->has_times, TimestampTzGetDatum(s->extent.ended));
	set_or_null(slot, 8, unknown, unknown ? (Datum) 0 : tex_summary_services(s));
	unknown = unknown || !s->has_root;
	set_or_null(slot, 9, unknown, TimestampTzGetDatum(s->root_timestamp));
	set_or_null(slot, 10, unknown, UUIDPGetDatum(&s->root_id));
	set_or_null(slot, 11, unknown || s->root_name == NULL, PointerGetDatum(s->root_name));
	set_or_null(slot, 12, unknown || s->root_service == NULL, PointerGetDatum(s->root_service));
	slot->tts_values[13] = BoolGetDatum(s->recompute);
}

/*
 * Appends a row of summary_deltas for each trace, and returns how many.  Makes
 * garbage in the current memory context.
 */
int
tex_append_summaries(TexSummary **summaries, int n)
{
	DeltaWriter *w = palloc0(sizeof(DeltaWriter));

	w->rel = table_open(tex_relation_oid("summary_deltas"), RowExclusiveLock);
	for (int i = 0; i < n; i++)
	{
		fill_summary_delta(writer_next(w), summaries[i]);
		writer_add(w);
	}
	writer_close(w);
	return n;
}

/* Have the events that a count is of come and gone again? */
static bool
is_nothing(const TexCount *count)
{
	if (count->event_count != 0 || count->error_count != 0 || count->write_count != 0)
		return false;
	if (count->latency == NULL)
		return true;
	for (int i = 0; i < count->latency->n; i++)
	{
		if (count->latency->buckets[i].count != 0)
			return false;
	}
	return count->latency->sum == 0;
}

/*
 * Appends a row of count_deltas for each count, but for those whose events came
 * and went again, and returns how many.  Makes garbage in the current memory context.
 */
int
tex_append_counts(TexCount **counts, int n)
{
	DeltaWriter *w = palloc0(sizeof(DeltaWriter));
	int			written = 0;

	w->rel = table_open(tex_relation_oid("count_deltas"), RowExclusiveLock);
	for (int i = 0; i < n; i++)
	{
		const TexCount *count = counts[i];
		TupleTableSlot *slot;

		if (is_nothing(count))
			continue;
		slot = writer_next(w);
		slot->tts_values[0] = TimestampTzGetDatum(count->key.hour);
		set_or_null(slot, 1, count->key.service == NULL, PointerGetDatum(count->key.service));
		slot->tts_values[2] = ObjectIdGetDatum(count->key.kind);
		set_or_null(slot, 3, count->key.operation == NULL, PointerGetDatum(count->key.operation));
		slot->tts_values[4] = Int64GetDatum(count->event_count);
		slot->tts_values[5] = Int64GetDatum(count->error_count);
		slot->tts_values[6] = Int64GetDatum(count->write_count);
		set_or_null(slot, 7, count->latency == NULL,
					count->latency == NULL ? (Datum) 0 : tex_histogram_datum(count->latency));
		writer_add(w);
		written++;
	}
	writer_close(w);
	return written;
}

/*
 * Appends a row of version_deltas: what the transaction can see is not what it was.
 * A random number, as one that counts would be a row that writers wait for; two of
 * 2^64 that are the same are nobody's worry.
 */
void
tex_append_version_stamp(void)
{
	DeltaWriter *w = palloc0(sizeof(DeltaWriter));

	w->rel = table_open(tex_relation_oid("version_deltas"), RowExclusiveLock);
	writer_next(w)->tts_values[0] = Int64GetDatum((int64) pg_prng_uint64(&pg_global_prng_state));
	writer_add(w);
	writer_close(w);
	pfree(w);
}
