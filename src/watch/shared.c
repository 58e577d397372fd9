/*
 * shared.c
 *		The ring that accesses go through, and what is counted about them.
 *
 * A record is written whole, under the lock, by a backend whose transaction has
 * committed, so a backend that is killed leaves no half of one.  The worker of a
 * database copies records of its own, stores them, and gives them up when that has
 * committed: what it fails to store it finds again.  Events have their ids already,
 * so storing one twice stores it once.
 *
 * Records of other databases are passed over.  A database that has no worker would
 * fill the ring for all: a writer who finds no room gives up records at the tail that
 * are older than STALE.  Else it is his own record that is dropped.  A shared memory
 * that is made anew, as after a crash, is empty.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "watch/shared.h"

/* Nobody is expected to take what has been there for so long. */
#define STALE (60 * USECS_PER_SEC)

/* How much of the ring is copied at a time. */
#define TAKE_AT_ONCE (1024 * 1024)

/* Records begin at multiples of this, so what is left at the end has room for a head. */
#define HEAD 32

typedef struct Record
{
	uint32		size;			/* of all, with this */
	uint32		data_size;
	Oid			database;		/* InvalidOid: done with, or a filler before the end of the ring */
	TimestampTz put_at;
} Record;

StaticAssertDecl(sizeof(Record) <= HEAD, "the head of a record fits");

TexWatchShared *tex_watch_shared = NULL;

/* Bytes of the ring: some are needed for any record at all. */
static Size
ring_size(void)
{
	return TYPEALIGN(HEAD, (Size) tex_watch_buffer * 1024);
}

/* Bytes of shared memory. */
Size
tex_watch_shmem_size(void)
{
	return add_size(offsetof(TexWatchShared, ring), ring_size());
}

/* Attaches to it, with AddinShmemInitLock held; the first process sets it up. */
void
tex_watch_shmem_attach(void)
{
	bool		found;

	tex_watch_shared = ShmemInitStruct("trace_ext watch", tex_watch_shmem_size(), &found);
	if (!found)
	{
		memset(tex_watch_shared, 0, offsetof(TexWatchShared, ring));
		LWLockInitialize(&tex_watch_shared->lock, LWLockNewTrancheId());
		tex_watch_shared->size = ring_size();
		if (!pg_strong_random(tex_watch_shared->secret, sizeof(tex_watch_shared->secret)))
			ereport(FATAL, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random key")));
		pg_atomic_init_u32(&tex_watch_shared->waiting, 0);
		for (int i = 0; i < TEX_WATCH_STORERS; i++)
			pg_atomic_init_u32(&tex_watch_shared->storers[i], 0);
		for (int i = 0; i < TEX_WATCH_COUNTERS; i++)
			pg_atomic_init_u64(&tex_watch_shared->counters[i], 0);
		for (int i = 0; i < TEX_WATCH_TABLES; i++)
		{
			pg_atomic_init_u64(&tex_watch_shared->tables[i].reads, 0);
			pg_atomic_init_u64(&tex_watch_shared->tables[i].writes, 0);
			pg_atomic_init_u64(&tex_watch_shared->tables[i].dropped, 0);
		}
	}
	LWLockRegisterTranche(tex_watch_shared->lock.tranche, "trace_ext watch");
}

/* Counts; without a lock, and never fails. */
void
tex_watch_count(TexWatchCounter counter, uint64 by)
{
	if (tex_watch_shared && by > 0)
		pg_atomic_fetch_add_u64(&tex_watch_shared->counters[counter], by);
}

/*
 * Where a table of this database is counted.  The last place is for all that found
 * none of their own.
 */
TexTableCounts *
tex_watch_table_counts(Oid table)
{
	TexWatchShared *shared = tex_watch_shared;
	TexTableCounts *found = &shared->tables[TEX_WATCH_TABLES - 1];
	TexTableCounts *unused = NULL;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TEX_WATCH_TABLES - 1; i++)
	{
		TexTableCounts *counts = &shared->tables[i];

		if (counts->database == MyDatabaseId && counts->table == table)
		{
			found = counts;
			unused = NULL;
			break;
		}
		if (!OidIsValid(counts->database) && unused == NULL)
			unused = counts;
	}
	if (unused)
	{
		unused->database = MyDatabaseId;
		unused->table = table;
		pg_atomic_write_u64(&unused->reads, 0);
		pg_atomic_write_u64(&unused->writes, 0);
		pg_atomic_write_u64(&unused->dropped, 0);
		found = unused;
	}
	LWLockRelease(&shared->lock);
	return found;
}

/* The table is no longer watched: its place is free for another one. */
void
tex_watch_forget_table(Oid table)
{
	TexWatchShared *shared = tex_watch_shared;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TEX_WATCH_TABLES - 1; i++)
	{
		TexTableCounts *counts = &shared->tables[i];

		if (counts->database == MyDatabaseId && counts->table == table)
			counts->database = counts->table = InvalidOid;
	}
	LWLockRelease(&shared->lock);
}

/* ----------------------------------------------------------------
 *		The ring
 * ----------------------------------------------------------------
 */
static inline Record *
record_at(uint64 position)
{
	return (Record *) (tex_watch_shared->ring + position % tex_watch_shared->size);
}

/* Gives up what is done with at the tail, and what is stale too if asked for.  The lock is held. */
static void
advance_tail(TexWatchShared *shared, TimestampTz stale_before)
{
	while (shared->tail < shared->head)
	{
		Record	   *record = record_at(shared->tail);

		if (OidIsValid(record->database))
		{
			if (record->put_at >= stale_before)
				break;
			pg_atomic_fetch_add_u64(&shared->counters[TEX_WATCH_RING_FULL], 1);
			pg_atomic_fetch_sub_u32(&shared->waiting, 1);
		}
		shared->tail += record->size;
	}
}

/*
 * Finds room for so many bytes in one piece, behind a filler where they would go beyond
 * the end of the ring.  The lock is held.  Every record, and the end of the ring, is
 * aligned, so whatever is left there has room for the head of a filler, or nothing is left.
 */
static bool
make_room(TexWatchShared *shared, Size size)
{
	uint64		to_end = shared->size - shared->head % shared->size;
	uint64		filler = to_end < size ? to_end : 0;

	if (shared->head + filler + size - shared->tail > shared->size)
		return false;
	if (filler > 0)
	{
		Record	   *record = record_at(shared->head);

		record->size = (uint32) filler;
		record->data_size = 0;
		record->database = InvalidOid;
		record->put_at = 0;
		shared->head += filler;
	}
	return true;
}

/*
 * Puts a record of this database into the ring; false where there is no room.  Throws
 * nothing: it is called when the transaction has committed.
 */
bool
tex_ring_put(const char *data, Size data_size, TimestampTz now)
{
	TexWatchShared *shared = tex_watch_shared;
	Size		size = TYPEALIGN(HEAD, HEAD + data_size);
	bool		fits = false;

	if (size <= shared->size / 2)
	{
		LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
		fits = make_room(shared, size);
		if (!fits)
		{
			advance_tail(shared, now - STALE);
			fits = make_room(shared, size);
		}
		if (fits)
		{
			Record	   *record = record_at(shared->head);

			record->size = (uint32) size;
			record->data_size = (uint32) data_size;
			record->database = MyDatabaseId;
			record->put_at = now;
			memcpy((char *) record + HEAD, data, data_size);
			shared->head += size;
			pg_atomic_fetch_add_u32(&shared->waiting, 1);
		}
		LWLockRelease(&shared->lock);
	}
	return fits;
}

/*
 * A copy of the records of this database from *from on, each behind its size (8 bytes),
 * as many as are copied at once; *from moves behind what was looked at, and *more says whether that is not
 * all.  NULL: there are none up to the head.
 */
char *
tex_ring_take(uint64 *from, Size *size, bool *more)
{
	TexWatchShared *shared = tex_watch_shared;
	char	   *copy = palloc(TAKE_AT_ONCE);
	Size		room = TAKE_AT_ONCE;

	*size = 0;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	*from = Max(*from, shared->tail);
	while (*from < shared->head)
	{
		Record	   *record = record_at(*from);
		Size		needed = sizeof(uint64) + MAXALIGN(record->data_size);

		if (record->database == MyDatabaseId)
		{
			if (*size + needed > room)
			{
				/* One that is larger than all that is usual gets a buffer of its own. */
				if (*size > 0)
					break;
				LWLockRelease(&shared->lock);
				pfree(copy);
				room = shared->size;
				copy = MemoryContextAllocHuge(CurrentMemoryContext, room);
				LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
				*from = Max(*from, shared->tail);
				continue;
			}
			*(uint64 *) (copy + *size) = record->data_size;
			memcpy(copy + *size + sizeof(uint64), (char *) record + HEAD, record->data_size);
			*size += needed;
		}
		*from += record->size;
		if (*size > TAKE_AT_ONCE)
			break;
	}
	*more = *from < shared->head;
	LWLockRelease(&shared->lock);
	if (*size == 0)
	{
		pfree(copy);
		return NULL;
	}
	return copy;
}

/* Gives up the records of this database before a position.  Throws nothing. */
void
tex_ring_release(uint64 up_to)
{
	TexWatchShared *shared = tex_watch_shared;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (uint64 at = shared->tail; at < Min(up_to, shared->head);)
	{
		Record	   *record = record_at(at);

		if (record->database == MyDatabaseId)
		{
			record->database = InvalidOid;
			pg_atomic_fetch_sub_u32(&shared->waiting, 1);
		}
		at += record->size;
	}
	advance_tail(shared, DT_NOBEGIN);
	LWLockRelease(&shared->lock);
}

/* Whether a record of this database waits. */
bool
tex_ring_has_mine(void)
{
	TexWatchShared *shared = tex_watch_shared;
	bool		has = false;

	if (shared == NULL || pg_atomic_read_u32(&shared->waiting) == 0)
		return false;
	LWLockAcquire(&shared->lock, LW_SHARED);
	for (uint64 at = shared->tail; at < shared->head && !has; at += record_at(at)->size)
		has = record_at(at)->database == MyDatabaseId;
	LWLockRelease(&shared->lock);
	return has;
}
