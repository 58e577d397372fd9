/*
 * trace_range.c
 *		Where in time the events of a trace may lie, so that a query need not look
 *		into every partition.
 *
 * The planner prunes partitions by constants alone, and what it does not prune it
 * opens, locks and plans: 50 microseconds a partition.  So queries about a trace
 * are given its first and last time as constants.
 *
 * Why no event is missed.  In the active snapshot S a row of a trace is visible.
 * - If S sees the transaction that wrote it, or it is our own and its statement
 *	 has ended, then S sees what that transaction wrote beside it: a delta with the
 *	 row's time, or what a fold made of that delta, in the base.  Both are rows, so
 *	 one snapshot sees either the delta or the base row, never neither.  A delta
 *	 with "recompute" carries the times of the rows that its statement added as
 *	 well, and so do those of a partition that was attached.  What is read again by
 *	 a fold was read in its snapshot, which saw all rows of the deltas it took.
 *	 Ranges only shrink by that, when rows have gone from every later snapshot.
 * - If it is our own and its statement has not ended, its delta is still to be
 *	 appended: a function called by the statement, or another trigger, may see the
 *	 row.  A transaction holds RowExclusiveLock on the partitions it writes, until
 *	 its end, so the ranges of these are added.
 * - If its partition was attached by a transaction that S does not see, the row
 *	 is visible but not counted.  S does not see that partition's row in the table
 *	 "partitions" either, so the ranges of such partitions are added.
 * - If it was moved into such a partition, S sees it only where it was: in the
 *	 default partition, which no query for a time that another one takes looks into.
 *	 So the answer is all of time then, for which each partition is looked into.
 * For this events stays locked from here until the transaction ends: no step moves
 * rows between the answer and the query that it is for.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "common/reads.h"
#include "compat.h"
#include "store/outstanding.h"
#include "store/summary.h"
#include "store/trace_range.h"

/* Columns of summary_base and summary_deltas, from 1. */
#define COL_TRACE_ID 1
#define COL_ERRORS 3
#define COL_FIRST 5
#define COL_LAST 6
#define COL_STARTED 7
#define COL_ENDED 8

/* A fold asks for any number of traces, each once. */
#define MOST_STORED 10000

PG_FUNCTION_INFO_V1(tex_duration_ms);
PG_FUNCTION_INFO_V1(tex_shifted);

/* When the events of a trace are stamped, and from when to when they lasted. */
typedef struct Times
{
	TexRange	range;
	TexRange	extent;
} Times;

/* What the outstanding deltas, or the base, say of a trace; an element of a hash. */
typedef struct TimesEntry
{
	pg_uuid_t	id;
	Times		times;
	bool		has_errors;		/* by the base; without a promise */
} TimesEntry;

/* Relations; for bsearch() once they are sorted. */
typedef struct OidSet
{
	Oid		   *oids;
	int			count;
	int			room;
} OidSet;

struct TexRanges
{
	HTAB	   *outstanding;	/* by trace, of the deltas; of a router all that nodes said */
	HTAB	   *stored;			/* by trace, what the base said: who reads many traces asks for each several times */
	TexRange   *uncounted;		/* of partitions that may have rows no delta tells of; of those that nodes named */
	bool		of_nodes;		/* the summaries are on nodes, see tex_ranges_learn() */
};

/* ----------------------------------------------------------------
 *		Times
 * ----------------------------------------------------------------
 */

/*
 * A time moved by microseconds.  Stops at infinity instead of wrapping around or
 * being no timestamp; infinity stays where it is.
 */
TimestampTz
tex_time_plus(TimestampTz at, int64 usecs)
{
	TimestampTz moved;

	if (TIMESTAMP_NOT_FINITE(at))
		return at;
	if (pg_add_s64_overflow(at, usecs, &moved) || !IS_VALID_TIMESTAMP(moved))
		return usecs < 0 ? DT_NOBEGIN : DT_NOEND;
	return moved;
}

/*
 * Milliseconds from one time to a later one.  The difference of two times may be
 * more microseconds than 64 bits hold.
 */
double
tex_milliseconds(TimestampTz first, TimestampTz last)
{
	int64		usecs;

	if (pg_sub_s64_overflow(last, first, &usecs))
		return ((double) last - (double) first) / 1000.0;
	return usecs / 1000.0;
}

/*
 * duration_ms(timestamptz, timestamptz) returns double precision
 */
Datum
tex_duration_ms(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(tex_milliseconds(PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_TIMESTAMPTZ(1)));
}

/*
 * shifted(timestamptz, interval) returns timestamptz
 *
 * As the operator +: months by the calendar, then days, then the rest.  But all of it
 * in UTC, where each day has 24 hours, and without an error: see tex_time_plus().
 */
Datum
tex_shifted(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(0);
	const Interval *by = PG_GETARG_INTERVAL_P(1);
	int64		usecs;

	if (TIMESTAMP_NOT_FINITE(at))
		PG_RETURN_TIMESTAMPTZ(at);
	if (by->month != 0)
	{
		struct pg_tm tm;
		fsec_t		fsec;
		int64		month;

		if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
			elog(ERROR, "timestamp out of range");
		month = (int64) tm.tm_year * MONTHS_PER_YEAR + tm.tm_mon - 1 + by->month;
		tm.tm_mon = (int) (((month % MONTHS_PER_YEAR) + MONTHS_PER_YEAR) % MONTHS_PER_YEAR) + 1;
		tm.tm_year = (int) ((month - (tm.tm_mon - 1)) / MONTHS_PER_YEAR);
		/* A month after the last of January is the last of February. */
		tm.tm_mday = Min(tm.tm_mday, day_tab[isleap(tm.tm_year)][tm.tm_mon - 1]);
		if (tm2timestamp(&tm, fsec, NULL, &at) != 0)
			PG_RETURN_TIMESTAMPTZ(by->month < 0 ? DT_NOBEGIN : DT_NOEND);
	}
	if (pg_mul_s64_overflow(by->day, USECS_PER_DAY, &usecs) ||
		pg_add_s64_overflow(usecs, by->time, &usecs))
		PG_RETURN_TIMESTAMPTZ(by->day < 0 ? DT_NOBEGIN : DT_NOEND);
	PG_RETURN_TIMESTAMPTZ(tex_time_plus(at, usecs));
}

/* ----------------------------------------------------------------
 *		What deltas do not tell
 * ----------------------------------------------------------------
 */
/* For qsort() and bsearch(). */
static int
compare_oids(const void *a, const void *b)
{
	Oid			x = *(const Oid *) a;
	Oid			y = *(const Oid *) b;

	return x < y ? -1 : x > y;
}

/* Of a row of the table "partitions", whose first column is the partition. */
static void
add_oid(TupleTableSlot *slot, void *arg)
{
	OidSet	   *set = arg;
	bool		isnull;

	if (set->count == set->room)
	{
		set->room *= 2;
		set->oids = repalloc(set->oids, sizeof(Oid) * set->room);
	}
	set->oids[set->count++] = DatumGetObjectId(slot_getattr(slot, 1, &isnull));
}

/* The partitions whose rows are counted, as the active snapshot sees it. */
static OidSet
counted_partitions(void)
{
	OidSet		set = {.room = 512};

	set.oids = palloc(sizeof(Oid) * set.room);
	tex_scan_own("partitions", add_oid, &set);
	qsort(set.oids, set.count, sizeof(Oid), compare_oids);
	return set;
}

/*
 * Has this transaction written a partition?  Writing takes RowExclusiveLock until
 * its end.
 */
static bool
is_written_by_me(Oid partition)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, partition);
	return tex_lock_held_by_me(&tag, RowExclusiveLock);
}

/* The time at one end of a partition: the n'th bound of all, or beyond them. */
static TimestampTz
bound_time(PartitionBoundInfo bounds, int n, TimestampTz beyond)
{
	if (n < 0 || n >= bounds->ndatums)
		return beyond;
	switch (bounds->kind[n][0])
	{
		case PARTITION_RANGE_DATUM_MINVALUE:
			return DT_NOBEGIN;
		case PARTITION_RANGE_DATUM_MAXVALUE:
			return DT_NOEND;
		default:
			return DatumGetTimestampTz(bounds->datums[n][0]);
	}
}

/* The times that a partition takes. */
static TexRange
partition_range(PartitionBoundInfo bounds, int p)
{
	TexRange	range = TEX_NO_RANGE;

	if (p == bounds->default_index)
		return (TexRange) {DT_NOBEGIN, DT_NOEND};	/* it may hold any time */
	for (int n = 0; n <= bounds->ndatums; n++)
		if (bounds->indexes[n] == p)
			range = tex_range_union(range, (TexRange) {
				bound_time(bounds, n - 1, DT_NOBEGIN),
				bound_time(bounds, n, DT_NOEND)
			});
	return range;
}

/* Whether the snapshot sees a row of a range of time in a table, by its index on "timestamp". */
static bool
has_rows(Oid table, Oid index, TexRange range)
{
	Relation	rel = table_open(table, AccessShareLock);
	AttrNumber	column = get_attnum(table, "timestamp");
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&keys[0], column, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE, TimestampTzGetDatum(range.first));
	ScanKeyInit(&keys[1], column, BTLessStrategyNumber, F_TIMESTAMPTZ_LT, TimestampTzGetDatum(range.last));
	scan = systable_beginscan(rel, index, true, GetActiveSnapshot(), 2, keys);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * Of a partition that S does not know: whether rows that S sees may have moved into it.
 * They left versions that S sees in the default partition.  One that S does not know
 * has what moved out of the one before it.
 */
static bool
rows_moved_into(PartitionDesc desc, int p)
{
	PartitionBoundInfo bounds = desc->boundinfo;
	Oid			waits;
	Oid			index;

	if (p == bounds->default_index)
		return true;
	if (bounds->default_index < 0)
		return false;
	waits = desc->oids[bounds->default_index];
	index = get_relname_relid("events_default_timestamp_idx", get_rel_namespace(waits));
	if (!OidIsValid(index) || IndexGetRelation(index, true) != waits)
		return true;
	return has_rows(waits, index, partition_range(bounds, p));
}

/* Is a partition none that S knows? */
static bool
is_unknown(const OidSet *known, Oid partition)
{
	return bsearch(&partition, known->oids, known->count, sizeof(Oid), compare_oids) == NULL;
}

/*
 * The range of the partitions that may have visible rows of which no visible delta
 * tells: those written by this transaction, and those that S does not know as
 * partitions (see above).
 */
static TexRange
uncounted_range(void)
{
	Relation	events = table_open(tex_relation_oid("events"), AccessShareLock);
	PartitionDesc desc = RelationGetPartitionDesc(events, true);
	OidSet		counted = counted_partitions();
	bool		i_wrote = TransactionIdIsValid(GetTopTransactionIdIfAny());
	TexRange	range = TEX_NO_RANGE;

	for (int p = 0; p < desc->nparts; p++)
	{
		if (!is_unknown(&counted, desc->oids[p]))
		{
			if (i_wrote && is_written_by_me(desc->oids[p]))
				range = tex_range_union(range, partition_range(desc->boundinfo, p));
		}
		else if (rows_moved_into(desc, p))
			range = (TexRange) {DT_NOBEGIN, DT_NOEND};
		else
			range = tex_range_union(range, partition_range(desc->boundinfo, p));
	}
	pfree(counted.oids);
	table_close(events, NoLock);
	return range;
}

/*
 * For queries of events by time that are not ours, as those of a router: an error where
 * the active snapshot is older than a partition into which rows that it sees have moved,
 * as these would be missing from the answer.  Keeps events locked, so that none moves
 * while the transaction goes on.
 */
void
tex_require_rows_in_place(void)
{
	Relation	events = table_open(tex_relation_oid("events"), AccessShareLock);
	PartitionDesc desc = RelationGetPartitionDesc(events, true);
	OidSet		counted = counted_partitions();

	for (int p = 0; p < desc->nparts; p++)
		if (is_unknown(&counted, desc->oids[p]) && rows_moved_into(desc, p))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("events moved to another partition after the transaction began to read"),
					 errhint("Try again.")));
	pfree(counted.oids);
	table_close(events, NoLock);
}

/*
 * The partitions that may have events of a range of time, as oids.  Locks events
 * until the transaction ends, so that they stay its partitions.
 */
List *
tex_partitions_of(TexRange range)
{
	Relation	events = table_open(tex_relation_oid("events"), AccessShareLock);
	PartitionDesc desc = RelationGetPartitionDesc(events, true);
	PartitionBoundInfo bounds = desc->boundinfo;
	List	   *oids = NIL;

	for (int n = 0; n <= bounds->ndatums; n++)
	{
		int			p = bounds->indexes[n];

		if (bound_time(bounds, n - 1, DT_NOBEGIN) > range.last)
			break;
		if (bound_time(bounds, n, DT_NOEND) < range.first)
			continue;
		/* What no partition takes, the default one does. */
		if (p < 0)
			p = bounds->default_index;
		if (p >= 0)
			oids = list_append_unique_oid(oids, desc->oids[p]);
	}
	table_close(events, NoLock);
	return oids;
}

/* ----------------------------------------------------------------
 *		What summaries tell
 * ----------------------------------------------------------------
 */
static const Times no_times = {{DT_NOEND, DT_NOBEGIN}, {DT_NOEND, DT_NOBEGIN}};

/* Each of the two widened. */
static Times
times_union(Times a, Times b)
{
	return (Times) {tex_range_union(a.range, b.range), tex_range_union(a.extent, b.extent)};
}

/* Widens the times of the trace that a delta is of. */
static void
add_delta(TupleTableSlot *slot, void *arg)
{
	TexRanges  *ranges = arg;
	TimesEntry *entry;
	Times		times;
	bool		found;
	bool		isnull;

	times.range.last = DatumGetTimestampTz(slot_getattr(slot, COL_LAST, &isnull));
	if (isnull)
		return;					/* it only took rows away */
	times.range.first = DatumGetTimestampTz(slot_getattr(slot, COL_FIRST, &isnull));
	times.extent.first = DatumGetTimestampTz(slot_getattr(slot, COL_STARTED, &isnull));
	times.extent.last = DatumGetTimestampTz(slot_getattr(slot, COL_ENDED, &isnull));
	entry = hash_search(ranges->outstanding,
						DatumGetUUIDP(slot_getattr(slot, COL_TRACE_ID, &isnull)),
						HASH_ENTER, &found);
	entry->times = times_union(found ? entry->times : no_times, times);
}

/*
 * Reads what is outstanding with the active snapshot, into the current memory
 * context; good for as long as that snapshot is the one that is read with.
 */
TexRanges *
tex_ranges_create(void)
{
	TexRanges  *ranges = palloc0(sizeof(TexRanges));
	HASHCTL		ctl = {.keysize = sizeof(pg_uuid_t),.entrysize = sizeof(TimesEntry),
	.hcxt = CurrentMemoryContext};

	ranges->outstanding = hash_create("ranges of deltas", 64, &ctl,
									  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ranges->stored = hash_create("ranges of the base", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ranges->of_nodes = tex_is_router();
	ranges->uncounted = palloc(sizeof(TexRange));
	*ranges->uncounted = TEX_NO_RANGE;
	if (!ranges->of_nodes)
	{
		tex_scan_own("summary_deltas", add_delta, ranges);
		*ranges->uncounted = uncounted_range();
	}
	return ranges;
}

/* Keeps the times of a trace that the nodes said: a row of times_query. Without a trace: of what none of a node's deltas tells. */
static void
add_answer(const TexRanges *ranges, HeapTuple row, TupleDesc desc)
{
	TimesEntry *entry;
	TimestampTz at[4];
	Datum		id;
	bool		of_all;
	bool		isnull;
	bool		found;

	id = SPI_getbinval(row, desc, 1, &of_all);
	for (int i = 0; i < 4; i++)
		at[i] = DatumGetTimestampTz(SPI_getbinval(row, desc, i + 2, &isnull));
	if (of_all)
	{
		*ranges->uncounted = tex_range_union(*ranges->uncounted, (TexRange) {at[0], at[1]});
		return;
	}
	entry = hash_search(ranges->outstanding, DatumGetUUIDP(id), HASH_ENTER, &found);
	entry->times = times_union(found ? entry->times : no_times, (Times) {
		{at[0], at[1]}, {at[2], at[3]}
	});
}

/*
 * Has the nodes of a router say, in one round, when some traces ran, so that what is asked
 * of each of them later is known.  Of a store there is nothing to do.
 */
void
tex_ranges_learn(const TexRanges *ranges, const pg_uuid_t *ids, int n)
{
	static const char times_query[] = "SELECT * FROM trace_ext_internal.ranges_of_traces($1)";
	Oid			types[1] = {UUIDARRAYOID};
	Datum	   *unknown;
	Datum		arg;
	int			count = 0;

	if (!ranges->of_nodes || n == 0)
		return;
	unknown = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * (Size) n);
	for (int i = 0; i < n; i++)
	{
		bool		found;
		TimesEntry *entry = hash_search(ranges->outstanding, &ids[i], HASH_ENTER, &found);

		if (found)
			continue;
		entry->times = no_times;
		unknown[count++] = UUIDPGetDatum(&ids[i]);
	}
	if (count > 0)
	{
		SPI_connect();
		arg = PointerGetDatum(construct_array(unknown, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
		SPI_execute_with_args(times_query, 1, types, &arg, NULL, true, 0);
		for (uint64 i = 0; i < SPI_processed; i++)
			add_answer(ranges, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		SPI_finish();
	}
	pfree(unknown);
}

/* A column of a row of the base, where none is NULL. */
static TimestampTz
time_column(HeapTuple tuple, int column, TupleDesc desc)
{
	bool		isnull;

	return DatumGetTimestampTz(heap_getattr(tuple, column, desc, &isnull));
}

/* What the base says of a trace, in the active snapshot. */
static TimesEntry
read_base(Relation base, Oid index, const pg_uuid_t *id)
{
	TupleDesc	desc = RelationGetDescr(base);
	TimesEntry	said = {*id, no_times, false};
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	ScanKeyInit(&key, COL_TRACE_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	scan = systable_beginscan(base, index, true, GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		said.times = (Times) {
			{time_column(tuple, COL_FIRST, desc), time_column(tuple, COL_LAST, desc)},
			{time_column(tuple, COL_STARTED, desc), time_column(tuple, COL_ENDED, desc)}
		};
		said.has_errors = DatumGetInt64(heap_getattr(tuple, COL_ERRORS, desc, &isnull)) > 0;
	}
	systable_endscan(scan);
	return said;
}

/* The same, of the first MOST_STORED traces read once. */
static TimesEntry
stored_times(const TexRanges *ranges, Relation base, Oid index, const pg_uuid_t *id)
{
	TimesEntry *entry = hash_search(ranges->stored, id, HASH_FIND, NULL);
	TimesEntry	said;

	if (entry)
		return *entry;
	said = read_base(base, index, id);
	if (hash_get_num_entries(ranges->stored) < MOST_STORED)
		*(TimesEntry *) hash_search(ranges->stored, id, HASH_ENTER, NULL) = said;
	return said;
}

/* The times of some traces. */
static Times
times_of(const TexRanges *ranges, const pg_uuid_t *ids, int n)
{
	Relation	base;
	Oid			index;
	Times		times = no_times;

	if (ranges->of_nodes)
	{
		tex_ranges_learn(ranges, ids, n);
		for (int i = 0; i < n; i++)
			times = times_union(times, ((TimesEntry *) hash_search(ranges->outstanding, &ids[i], HASH_FIND, NULL))->times);
		return times;
	}
	base = table_open(tex_relation_oid("summary_base"), AccessShareLock);
	index = tex_relation_oid("summary_base_pkey");
	tex_note_read(RelationGetRelid(base));
	for (int i = 0; i < n; i++)
	{
		const TimesEntry *entry = hash_search(ranges->outstanding, &ids[i], HASH_FIND, NULL);

		CHECK_FOR_INTERRUPTS();
		if (entry)
			times = times_union(times, entry->times);
		times = times_union(times, stored_times(ranges, base, index, &ids[i]).times);
	}
	table_close(base, AccessShareLock);
	return times;
}

/*
 * Whether the base counts errors in a trace, whose range has been asked for; of a router, never. A
 * hint: what is outstanding may bring some, and take them.
 */
bool
tex_has_errors(const TexRanges *ranges, const pg_uuid_t *id)
{
	const TimesEntry *entry = hash_search(ranges->stored, id, HASH_FIND, NULL);

	return entry && entry->has_errors;
}

/*
 * A range of time that has all events of some traces, empty where there are none.
 * "ranges" are of the active snapshot, and so is the answer.  The caller has
 * checked rights.
 */
TexRange
tex_range_of(const TexRanges *ranges, const pg_uuid_t *ids, int n)
{
	return tex_range_union(*ranges->uncounted, times_of(ranges, ids, n).range);
}

/* What tex_range_of() adds whatever the traces are. */
TexRange
tex_range_uncounted(const TexRanges *ranges)
{
	return *ranges->uncounted;
}

/* What summaries tell of a trace, without what they do not count: its range, and from when to when it lasted. */
TexRange
tex_counted_range(const TexRanges *ranges, const pg_uuid_t *id, TexExtent *extent)
{
	Times		times = times_of(ranges, id, 1);

	*extent = (TexExtent) {times.extent.first, times.extent.last};
	return times.range;
}

/*
 * From when to when a trace lasted, as far as its deltas and the base tell: not what
 * is of a statement that has not ended, or of a partition that was attached just now.
 */
TexExtent
tex_extent_of(const TexRanges *ranges, const pg_uuid_t *id)
{
	TexRange	extent = times_of(ranges, id, 1).extent;

	return (TexExtent) {extent.first, extent.last};
}

/*
 * From here to AtEOXact_GUC(false, what is returned) nothing is compiled: plans over
 * many partitions look expensive, and the compiler takes seconds for them.
 */
int
tex_no_jit(void)
{
	int			nesting = NewGUCNestLevel();

	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return nesting;
}

/* A trace and when it may begin. */
typedef struct Start
{
	TimestampTz first;
	pg_uuid_t	id;
} Start;

/* For qsort(): by when traces may begin, then by id. */
static int
compare_starts(const void *a, const void *b)
{
	const Start *x = a;
	const Start *y = b;

	CHECK_FOR_INTERRUPTS();
	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return memcmp(&x->id, &y->id, sizeof(pg_uuid_t));
}

/*
 * Sorts traces by when they may begin, equal ones beside each other: who reads some at once takes
 * neighbours in time, so that few partitions are looked into.
 */
void
tex_sort_by_start(const TexRanges *ranges, pg_uuid_t *ids, int n)
{
	Start	   *starts = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Start) * (Size) Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		starts[i] = (Start) {tex_range_of(ranges, &ids[i], 1).first, ids[i]};
	}
	qsort(starts, n, sizeof(Start), compare_starts);
	for (int i = 0; i < n; i++)
		ids[i] = starts[i].id;
	pfree(starts);
}

/* The traces of an array of ids that may have events, each once, sorted so. */
pg_uuid_t *
tex_traces_by_start(const TexRanges *ranges, ArrayType *ids, int *n)
{
	Datum	   *elements;
	bool	   *isnull;
	int			all;
	pg_uuid_t  *sorted;
	int			known = 0;

	deconstruct_array(ids, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &elements, &isnull, &all);
	sorted = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t) * (Size) Max(all, 1));
	for (int i = 0; i < all; i++)
		if (!isnull[i])
			sorted[known++] = *DatumGetUUIDP(elements[i]);
	tex_ranges_learn(ranges, sorted, known);
	all = known;
	known = 0;
	for (int i = 0; i < all; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!tex_range_is_empty(tex_range_of(ranges, &sorted[i], 1)))
			sorted[known++] = sorted[i];
	}
	tex_sort_by_start(ranges, sorted, known);
	*n = 0;
	for (int i = 0; i < known; i++)
		if (i == 0 || memcmp(&sorted[i], &sorted[*n - 1], sizeof(pg_uuid_t)) != 0)
			sorted[(*n)++] = sorted[i];
	return sorted;
}
