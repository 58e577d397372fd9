/*
 * cache_relations.c
 *		Relations that cached results depend on, and the commits that wrote them.
 *
 * The question is whether a result that was computed with one snapshot is right
 * for another one.  It is, where both see the same writers of each relation read.
 *
 * A relation that some result depends on is tracked: a slot in shared memory
 * numbers its writers.  A transaction that wrote it is marked there, with its
 * transaction id, right before it commits (cache_writes.c), so that the mark is
 * there before any snapshot sees the transaction.  A result is stored with the
 * number of marks, "writes", only if the snapshot it was computed with sees all
 * of them.  It is right for a snapshot that sees the first "writes" marks and none
 * after them: what is not marked yet is not seen by any snapshot that exists.
 *
 * So a mark that never commits costs a computation and no more, and a prepared
 * transaction needs nothing special: it is marked when it is prepared, and seen
 * when it is committed, by whomever, however long after.
 *
 * "since" answers for those who wrote before tracking began, or were about to commit
 * when it did and did not find the slot: they have transaction ids below it.  A
 * snapshot to which one of these may still be running is never given a result, nor
 * is its own kept.  That includes transactions that were prepared before the server
 * started.  One that is about to commit may have changed definitions as well, and
 * tells other sessions so only a moment after snapshots see it.  Each says that it is
 * about to commit ("committing"), before it looks for slots, and lets that stand; so
 * whoever begins to track a relation finds it there, and marks it in its stead.
 * Whether it is over, its locks tell.
 *
 * Changes that do not go by snapshots (TRUNCATE, DDL, REVOKE) wipe: results with
 * fewer writes are right for nobody any more.
 *
 * The last WRITERS marks are known one by one.  Of those before, only the newest
 * transaction id is: a snapshot that may not see it is not served.
 *
 * Locks: "tracking" (LWLock) for who is in which slot, "mutex" of a slot for its
 * marks.  "writes" and "newest" are also read without it: they only grow, and
 * whoever sees a transaction sees its mark as well, because both snapshots and
 * ends of transactions pass the lock of the process array.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "cache_locks.h"
#include "cache_relations.h"
#include "compat.h"
#include "guc.h"

#define WRITERS 32

/* Slots to look at for one relation: beyond them the table counts as full. */
#define PROBES 64

typedef struct Slot
{
	Oid			database;		/* InvalidOid for what all databases share */
	Oid			relation;		/* InvalidOid in a slot that was never used */
	uint64		incarnation;
	pg_atomic_uint64 writes;	/* number of marks */
	pg_atomic_uint64 newest;	/* highest transaction id of all marks */
	slock_t		mutex;
	uint64		since;			/* transactions below may have gone unmarked */
	uint64		wiped;			/* number of the last mark that wiped */
	uint64		wiper;			/* its transaction id, and when it was made */
	TimestampTz wiped_at;
	uint64		forgotten;		/* highest transaction id of marks not in "writers" */
	uint64		writers[WRITERS];	/* mark n is in (n - 1) % WRITERS */
} Slot;

typedef struct Relations
{
	pg_atomic_uint64 version;	/* changes when a slot gets another relation */
	pg_atomic_uint64 replayed;	/* changes when a standby learns of DDL */
	uint32		n_processes;
	uint32		n;
	Slot		slots[FLEXIBLE_ARRAY_MEMBER];
} Relations;

static Relations *relations;

/* Of each process, the id of the last transaction that was about to commit, or 0. */
static pg_atomic_uint64 *committing;

/* Those of this database as of "known_version". */
static TexTracked *known;
static int	n_known;
static uint64 known_version;

static Size
slots_size(void)
{
	return MAXALIGN(add_size(offsetof(Relations, slots),
							 mul_size(tex_cache_relations, sizeof(Slot))));
}

/* Auxiliary processes have numbers as well. */
static uint32
process_count(void)
{
	return MaxBackends + 64;
}

Size
tex_relations_shmem_size(void)
{
	return add_size(slots_size(), mul_size(process_count(), sizeof(pg_atomic_uint64)));
}

void
tex_relations_shmem_attach(void)
{
	bool		found;

	relations = ShmemInitStruct("trace_ext cache relations", tex_relations_shmem_size(), &found);
	committing = (pg_atomic_uint64 *) ((char *) relations + slots_size());
	if (found)
		return;
	memset(relations, 0, tex_relations_shmem_size());
	relations->n = tex_cache_relations;
	relations->n_processes = process_count();
	for (uint32 i = 0; i < relations->n_processes; i++)
		pg_atomic_init_u64(&committing[i], 0);
	pg_atomic_init_u64(&relations->version, 1);
	pg_atomic_init_u64(&relations->replayed, 1);
	for (uint32 i = 0; i < relations->n; i++)
	{
		SpinLockInit(&relations->slots[i].mutex);
		pg_atomic_init_u64(&relations->slots[i].writes, 0);
		pg_atomic_init_u64(&relations->slots[i].newest, 0);
	}
}

static Oid
database_of(Oid relation)
{
	return relation == TEX_ROLES ? InvalidOid : MyDatabaseId;
}

/* The n'th slot to look at for a relation. */
static uint32
probe(Oid database, Oid relation, uint32 n)
{
	return (hash_combine(murmurhash32(database), murmurhash32(relation)) + n) % relations->n;
}

/*
 * The slot of a relation, or -1.  Where "unused" is not NULL, it gets a slot that
 * the relation could have, or stays as it is.
 */
static int
find_slot(Oid database, Oid relation, uint32 *unused)
{
	for (uint32 n = 0; n < Min(PROBES, relations->n); n++)
	{
		uint32		i = probe(database, relation, n);
		Slot	   *slot = &relations->slots[i];

		if (!OidIsValid(slot->relation))
		{
			if (unused)
				*unused = i;
			return -1;
		}
		if (slot->relation == relation && slot->database == database)
			return i;
	}
	return -1;
}

/*
 * Says that this transaction is about to commit, or to be prepared.
 */
void
tex_relations_committing(void)
{
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionId());

	Assert((uint32) tex_my_proc_number() < relations->n_processes);
	/* Before it looks for slots: an exchange is a barrier, too. */
	pg_atomic_exchange_u64(&committing[tex_my_proc_number()], xid);
}

static void mark(Slot *slot, uint64 xid, bool wipe, TimestampTz at);

/*
 * Puts a relation into a slot, whose earlier one, if any, is tracked no more:
 * results that depend on that are not right for anybody any more.
 */
static void
occupy(Slot *slot, Oid database, Oid relation)
{
	uint64		since;

	SpinLockAcquire(&slot->mutex);
	slot->database = database;
	slot->relation = relation;
	slot->incarnation++;
	pg_atomic_write_u64(&slot->writes, 0);
	pg_atomic_write_u64(&slot->newest, 0);
	slot->wiped = 0;
	slot->wiper = 0;
	slot->wiped_at = 0;
	slot->forgotten = 0;
	slot->since = PG_UINT64_MAX;
	SpinLockRelease(&slot->mutex);
	pg_atomic_fetch_add_u64(&relations->version, 1);

	/* Whoever says that he is about to commit from here on finds the slot. */
	pg_memory_barrier();
	for (uint32 i = 0; i < relations->n_processes; i++)
	{
		uint64		xid = pg_atomic_read_u64(&committing[i]);

		if (xid != 0)
			mark(slot, xid, true, GetCurrentTimestamp());	/* it may be DDL */
	}
	/* Snapshots that are older may not see who committed before, unmarked. */
	since = U64FromFullTransactionId(ReadNextFullTransactionId());
	SpinLockAcquire(&slot->mutex);
	slot->since = since;
	SpinLockRelease(&slot->mutex);
}

static void
fill_dependency(TexDependency *dependency, Oid relation, uint32 slot)
{
	dependency->relation = relation;
	dependency->slot = slot;
	dependency->incarnation = relations->slots[slot].incarnation;
	dependency->writes = 0;
}

/*
 * Tracks a relation from now on, if it is not tracked yet.
 *
 * Where all slots to look at are in use, one of a dropped relation, or of another
 * database perhaps, must give way; any may, as that is seen by its incarnation.
 */
void
tex_relation_track(Oid relation, TexDependency *dependency)
{
	Oid			database = database_of(relation);
	int			found;
	uint32		slot;

	LWLockAcquire(TEX_TRACKING_LOCK, LW_SHARED);
	found = find_slot(database, relation, NULL);
	if (found >= 0)
		fill_dependency(dependency, relation, found);
	LWLockRelease(TEX_TRACKING_LOCK);
	if (found >= 0)
		return;

	LWLockAcquire(TEX_TRACKING_LOCK, LW_EXCLUSIVE);
	slot = probe(database, relation, relation % Min(PROBES, relations->n));
	found = find_slot(database, relation, &slot);
	if (found < 0)
	{
		occupy(&relations->slots[slot], database, relation);
		found = slot;
	}
	fill_dependency(dependency, relation, found);
	LWLockRelease(TEX_TRACKING_LOCK);
}

/* The transaction id with its epoch; it is not later than the next one. */
static uint64
full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint64		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return epoch << 32 | xid;
}

/* Below it all transactions are over and, where they committed, seen. */
static uint64
seen_below(Snapshot snapshot)
{
	static TransactionId last_xmin = InvalidTransactionId;
	static uint64 last_full;

	/* The next transaction id is behind a lock that all share. */
	if (snapshot->xmin != last_xmin || last_full == 0)
	{
		last_full = full_xid(snapshot->xmin);
		last_xmin = snapshot->xmin;
	}
	return last_full;
}

/* A consistent copy of what may change in a slot; false if it has another relation now. */
static bool
copy_slot(const TexDependency *dependency, Slot *copy)
{
	Slot	   *slot = &relations->slots[dependency->slot];

	SpinLockAcquire(&slot->mutex);
	memcpy(copy, slot, sizeof(Slot));
	SpinLockRelease(&slot->mutex);
	return copy->incarnation == dependency->incarnation &&
		copy->relation == dependency->relation;
}

/* The first mark whose writer is still known. */
static uint64
first_known(uint64 marks)
{
	return marks > WRITERS ? marks - WRITERS + 1 : 1;
}

static bool
is_seen(Slot *slot, uint64 n, Snapshot snapshot, uint64 seen)
{
	uint64		writer = slot->writers[(n - 1) % WRITERS];

	return writer < seen || !XidInMVCCSnapshot((TransactionId) writer, snapshot);
}

/*
 * Does the snapshot see the first "writes" writers and none after them?
 */
static bool
sees_exactly(Slot *slot, uint64 writes, Snapshot snapshot)
{
	uint64		seen = seen_below(snapshot);
	uint64		marks = pg_atomic_read_u64(&slot->writes);

	if (slot->since > seen || slot->forgotten >= seen ||
		slot->wiped > writes || writes + 1 < first_known(marks))
		return false;
	for (uint64 n = first_known(marks); n <= marks; n++)
	{
		if (is_seen(slot, n, snapshot, seen) != (n <= writes))
			return false;
	}
	return true;
}

/* How many of the writers, from the first one on, the snapshot sees for certain. */
static uint64
seen_from_first(Slot *slot, Snapshot snapshot)
{
	uint64		seen = seen_below(snapshot);
	uint64		marks = pg_atomic_read_u64(&slot->writes);
	uint64		n = first_known(marks);

	if (slot->since > seen || slot->forgotten >= seen)
		return 0;
	while (n <= marks && is_seen(slot, n, snapshot, seen))
		n++;
	return n - 1;
}

/*
 * Does the snapshot see all writers so far?  The dependency gets the number of those
 * that it sees.
 */
bool
tex_relation_all_seen(TexDependency *dependency, Snapshot snapshot)
{
	Slot		copy;
	uint64		marks;

	if (!copy_slot(dependency, &copy))
		return false;
	marks = pg_atomic_read_u64(&copy.writes);
	dependency->writes = seen_from_first(&copy, snapshot);
	return dependency->writes == marks && sees_exactly(&copy, marks, snapshot);
}

/*
 * Does the snapshot see the same writers as that of the result?
 */
bool
tex_relation_same(const TexDependency *dependency, Snapshot snapshot)
{
	Slot	   *slot = &relations->slots[dependency->slot];
	Slot		copy;

	/*
	 * Mostly nothing was written since and all writers are long gone.  Whoever
	 * kept the result saw that "since" is below the snapshots he served.
	 */
	if (slot->incarnation == dependency->incarnation &&
		pg_atomic_read_u64(&slot->writes) == dependency->writes)
	{
		uint64		seen = seen_below(snapshot);

		if (pg_atomic_read_u64(&slot->newest) < seen && slot->since <= seen &&
			slot->incarnation == dependency->incarnation)
			return true;
	}
	return copy_slot(dependency, &copy) && sees_exactly(&copy, dependency->writes, snapshot);
}

/*
 * Was the relation changed in a way that concerns all snapshots, since the result
 * was stored?  A right to read it may have been revoked.
 */
bool
tex_relation_wiped(const TexDependency *dependency)
{
	Slot		copy;

	return !copy_slot(dependency, &copy) || copy.wiped > dependency->writes;
}

/*
 * After so long a transaction that was about to commit has told others of its
 * changes.  Of one that was prepared nobody knows when it commits.
 */
#define LONG_AGO (10 * USECS_PER_MINUTE)

/*
 * The last transaction that wiped, if it may still be on its way to tell others what
 * it changed, which it does a moment after snapshots see it.
 */
TransactionId
tex_relation_recent_wiper(const TexDependency *dependency, TimestampTz now)
{
	Slot		copy;

	if (!copy_slot(dependency, &copy) || copy.wiped == 0 || copy.wiped_at < now - LONG_AGO)
		return InvalidTransactionId;
	return (TransactionId) copy.wiper;
}

/*
 * On a standby no transaction is marked, but sessions learn of DDL when it is
 * replayed.  Each that does says so; a number that stays the same means that no
 * result is concerned.
 */
uint64
tex_relations_replayed(void)
{
	return pg_atomic_read_u64(&relations->replayed);
}

void
tex_relations_note_replayed(void)
{
	pg_atomic_fetch_add_u64(&relations->replayed, 1);
}

/*
 * The relations of this database that are tracked, and what all databases share.
 * The array is the callee's.
 */
int
tex_relations_tracked(TexTracked **tracked)
{
	uint64		version = pg_atomic_read_u64(&relations->version);

	if (version != known_version)
	{
		if (known == NULL)
			known = MemoryContextAlloc(TopMemoryContext, sizeof(TexTracked) * relations->n);
		LWLockAcquire(TEX_TRACKING_LOCK, LW_SHARED);
		n_known = 0;
		for (uint32 i = 0; i < relations->n; i++)
		{
			Slot	   *slot = &relations->slots[i];

			if (OidIsValid(slot->relation) && slot->database == database_of(slot->relation))
				known[n_known++] = (TexTracked) {slot->relation, i};
		}
		known_version = pg_atomic_read_u64(&relations->version);
		LWLockRelease(TEX_TRACKING_LOCK);
	}
	*tracked = known;
	return n_known;
}

/* Marks a transaction as a writer of a relation. */
static void
mark(Slot *slot, uint64 xid, bool wipe, TimestampTz at)
{
	uint64		n;
	uint64	   *place;

	SpinLockAcquire(&slot->mutex);
	n = pg_atomic_read_u64(&slot->writes) + 1;
	place = &slot->writers[(n - 1) % WRITERS];
	if (n > WRITERS)
		slot->forgotten = Max(slot->forgotten, *place);
	*place = xid;
	if (wipe)
	{
		slot->wiped = n;
		slot->wiper = xid;
		slot->wiped_at = at;
	}
	if (xid > pg_atomic_read_u64(&slot->newest))
		pg_atomic_write_u64(&slot->newest, xid);
	pg_atomic_write_u64(&slot->writes, n);
	SpinLockRelease(&slot->mutex);
}

/*
 * Marks this transaction as a writer of a relation, at the time that it commits, or
 * DT_NOEND where that is to come.  A slot that has another relation by now is marked
 * in vain.
 */
void
tex_relation_mark(const TexTracked *tracked, bool wipe, TimestampTz at)
{
	mark(&relations->slots[tracked->slot], U64FromFullTransactionId(GetTopFullTransactionId()),
		 wipe, at);
}

int
tex_relations_in_use(void)
{
	int			n = 0;

	LWLockAcquire(TEX_TRACKING_LOCK, LW_SHARED);
	for (uint32 i = 0; i < relations->n; i++)
		n += OidIsValid(relations->slots[i].relation);
	LWLockRelease(TEX_TRACKING_LOCK);
	return n;
}
