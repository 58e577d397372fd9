/*
 * relations.c
 *		Relations that cached results depend on, and the commits that wrote them.
 *
 * The question is whether a result that was computed with one snapshot is right
 * for another one.  It is, where both see the same writers of each relation read.
 *
 * A relation that some result depends on is tracked: a slot in shared memory
 * numbers its writers.  A transaction that wrote it is marked there, with its
 * transaction id, right before it commits (writes.c), so that the mark is
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
 * A slot that no entry depends on is released, and so is that of a dropped relation.
 * What it knew is lost, so its incarnation is no more before writers cease to find
 * it: whoever does not mark it is seen only by snapshots whose owners see that too.
 * Tracking the relation again begins with nothing, as for any other one.  Nobody
 * depends yet on what a computation in progress tracks, so each says since when it
 * runs ("computing_since"), and what was tracked or asked for later is left alone.
 *
 * The last WRITERS marks are known one by one.  Of those before, only the newest
 * transaction id is: a snapshot that may not see it is not served.
 *
 * Locks: "tracking" (LWLock) to change who is in which slot, "mutex" of a slot for its
 * marks.  "writes" and "newest" are also read without it: they only grow, and
 * whoever sees a transaction sees its mark as well, because both snapshots and
 * ends of transactions pass the lock of the process array.
 *
 * Who is about to commit looks for slots by "keys", without a lock, so that whoever
 * wrote nothing tracked pays for a few words he reads, however many relations are
 * tracked.  As long as a relation is tracked, its key stands in one place, and no
 * place that is looked at before that one is NEVER_USED.
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
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "cache/shared.h"
#include "cache/relations.h"
#include "compat.h"
#include "guc.h"

#define WRITERS 32

/* Slots to look at for one relation: beyond them the table counts as full. */
#define PROBES 64

/* Keys of slots that have no relation; chains of probes end at the first kind only. */
#define NEVER_USED 0
#define RELEASED 1

/* Slots to look at for ones to release, whenever a relation comes to be tracked. */
#define RELEASE_AT_ONCE 64

typedef struct Slot
{
	Oid			database;		/* InvalidOid for what all databases share */
	Oid			relation;		/* InvalidOid in a slot that is not in use */
	uint64		incarnation;	/* changes with the relation, and when it is released */
	uint32		entries;		/* that depend on it, as of this incarnation */
	TimestampTz touched;		/* when it was last asked for */
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
	pg_atomic_uint64 replayed;	/* changes when a standby learns of DDL */
	pg_atomic_uint32 n_tracked;	/* slots in use */
	uint32		hand;			/* the slot to look at next for one to release */
	uint32		n_processes;
	uint32		n;
	Slot		slots[FLEXIBLE_ARRAY_MEMBER];
} Relations;

/* What each process says of itself; each is written by that one only. */
typedef union Process
{
	struct
	{
		/* Its last transaction that was about to commit, or 0. */
		pg_atomic_uint64 committing;
		/* When its transaction first had something to compute, or 0. */
		pg_atomic_uint64 computing_since;
	};
	char		line[PG_CACHE_LINE_SIZE];	/* no two processes contend for one */
} Process;

static Relations *relations;

/* Who is in which slot: database and relation in one word. */
static pg_atomic_uint64 *keys;
static Process *processes;

/* This process has said since when it computes. */
static bool computing = false;

static Size
slots_size(void)
{
	return CACHELINEALIGN(add_size(offsetof(Relations, slots),
								   mul_size(tex_cache_relations, sizeof(Slot))));
}

static Size
keys_size(void)
{
	return CACHELINEALIGN(mul_size(tex_cache_relations, sizeof(pg_atomic_uint64)));
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
	return add_size(add_size(slots_size(), keys_size()),
					mul_size(process_count(), sizeof(Process)));
}

void
tex_relations_shmem_attach(void)
{
	bool		found;

	relations = ShmemInitStruct("trace_ext cache relations", tex_relations_shmem_size(), &found);
	keys = (pg_atomic_uint64 *) ((char *) relations + slots_size());
	processes = (Process *) ((char *) keys + keys_size());
	if (found)
		return;
	memset(relations, 0, tex_relations_shmem_size());
	relations->n = tex_cache_relations;
	relations->n_processes = process_count();
	for (uint32 i = 0; i < relations->n_processes; i++)
	{
		pg_atomic_init_u64(&processes[i].committing, 0);
		pg_atomic_init_u64(&processes[i].computing_since, 0);
	}
	pg_atomic_init_u64(&relations->replayed, 1);
	pg_atomic_init_u32(&relations->n_tracked, 0);
	for (uint32 i = 0; i < relations->n; i++)
	{
		pg_atomic_init_u64(&keys[i], NEVER_USED);
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

static uint64
key_of(Oid database, Oid relation)
{
	return (uint64) database << 32 | relation;
}

/* The first slot to look at for a relation; the others come after it. */
static uint32
first_probe(Oid database, Oid relation)
{
	return hash_combine(murmurhash32(database), murmurhash32(relation)) % relations->n;
}

static uint32
next_probe(uint32 i)
{
	return i + 1 < relations->n ? i + 1 : 0;
}

/*
 * The slot of a relation, or -1.  Where "unused" is not NULL, it gets a slot that
 * the relation could have, or stays as it is.
 */
static int
find_slot(Oid database, Oid relation, uint32 *unused)
{
	uint64		wanted = key_of(database, relation);
	uint32		i = first_probe(database, relation);
	bool		has_unused = false;

	for (uint32 n = 0; n < Min(PROBES, relations->n); n++)
	{
		uint64		key = pg_atomic_read_u64(&keys[i]);

		if (key == wanted)
			return i;
		if (unused && !has_unused && key <= RELEASED)
		{
			*unused = i;
			has_unused = true;
		}
		if (key == NEVER_USED)
			return -1;
		i = next_probe(i);
	}
	return -1;
}

static Process *
my_process(void)
{
	Assert((uint32) tex_my_proc_number() < relations->n_processes);
	return &processes[tex_my_proc_number()];
}

/*
 * Says that this transaction is about to commit, or to be prepared.
 */
void
tex_relations_committing(void)
{
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionId());

	/* Before it looks for slots: an exchange is a barrier, too. */
	pg_atomic_exchange_u64(&my_process()->committing, xid);
}

/*
 * Says that this transaction has something to compute: from here on to its end, what
 * it tracks stays tracked, although no entry depends on it yet.
 */
void
tex_relations_computing(void)
{
	if (computing)
		return;
	pg_atomic_exchange_u64(&my_process()->computing_since, (uint64) GetCurrentTimestamp());
	computing = true;
}

/*
 * To be called when a transaction ends.
 */
void
tex_relations_end_computing(void)
{
	if (!computing)
		return;
	pg_atomic_write_u64(&my_process()->computing_since, 0);
	computing = false;
}

/* Nothing that was asked for before is needed by a computation in progress. */
static TimestampTz
oldest_computation(void)
{
	TimestampTz oldest = DT_NOEND;

	for (uint32 i = 0; i < relations->n_processes; i++)
	{
		TimestampTz since = (TimestampTz) pg_atomic_read_u64(&processes[i].computing_since);

		if (since != 0 && since < oldest)
			oldest = since;
	}
	return oldest;
}

static void mark(Slot *slot, uint64 xid, bool wipe, TimestampTz at);

/* Gives a slot another incarnation: what depended on it is right for nobody any more. */
static void
begin_incarnation(Slot *slot, Oid database, Oid relation)
{
	SpinLockAcquire(&slot->mutex);
	slot->database = database;
	slot->relation = relation;
	slot->incarnation++;
	pg_write_barrier();			/* for those who read without the mutex */
	slot->entries = 0;
	pg_atomic_write_u64(&slot->writes, 0);
	pg_atomic_write_u64(&slot->newest, 0);
	slot->wiped = 0;
	slot->wiper = 0;
	slot->wiped_at = 0;
	slot->forgotten = 0;
	slot->since = PG_UINT64_MAX;
	SpinLockRelease(&slot->mutex);
	/* Before writers find or miss its relation. */
	pg_memory_barrier();
}

/*
 * Tracks the relation of a slot no more.  The lock is held exclusively.
 */
static void
release(uint32 i)
{
	begin_incarnation(&relations->slots[i], InvalidOid, InvalidOid);
	pg_atomic_write_u64(&keys[i], RELEASED);
	pg_atomic_fetch_sub_u32(&relations->n_tracked, 1);
	if (pg_atomic_read_u64(&keys[next_probe(i)]) != NEVER_USED)
		return;
	/* Nobody is looked for beyond it, nor beyond those before it. */
	while (pg_atomic_read_u64(&keys[i]) == RELEASED)
	{
		pg_atomic_write_u64(&keys[i], NEVER_USED);
		i = i > 0 ? i - 1 : relations->n - 1;
	}
}

static bool
is_unused(uint32 i, TimestampTz oldest)
{
	return pg_atomic_read_u64(&keys[i]) > RELEASED &&
		relations->slots[i].entries == 0 && relations->slots[i].touched < oldest;
}

/* Releases those of the next "n" slots that nobody needs.  The lock is held exclusively. */
static void
release_unused(uint32 n)
{
	TimestampTz oldest = oldest_computation();

	while (n-- > 0)
	{
		relations->hand = next_probe(relations->hand);
		if (is_unused(relations->hand, oldest))
			release(relations->hand);
	}
}

/*
 * Puts a relation into a slot, whose earlier one, if any, is tracked no more.  The
 * lock is held exclusively.
 */
static void
occupy(uint32 i, Oid database, Oid relation)
{
	Slot	   *slot = &relations->slots[i];
	uint64		since;

	begin_incarnation(slot, database, relation);
	if (pg_atomic_read_u64(&keys[i]) <= RELEASED)
		pg_atomic_fetch_add_u32(&relations->n_tracked, 1);
	pg_atomic_write_u64(&keys[i], key_of(database, relation));

	/* Whoever says that he is about to commit from here on finds the slot. */
	pg_memory_barrier();
	for (uint32 p = 0; p < relations->n_processes; p++)
	{
		uint64		xid = pg_atomic_read_u64(&processes[p].committing);

		if (xid != 0)
			mark(slot, xid, true, GetCurrentTimestamp());	/* it may be DDL */
	}
	/* Snapshots that are older may not see who committed before, unmarked. */
	since = U64FromFullTransactionId(ReadNextFullTransactionId());
	SpinLockAcquire(&slot->mutex);
	slot->since = since;
	SpinLockRelease(&slot->mutex);
}

/* The lock is held, in any mode; so who asked for the same at once asked then, too. */
static void
fill_dependency(TexDependency *dependency, Oid relation, uint32 slot, TimestampTz now)
{
	dependency->relation = relation;
	dependency->slot = slot;
	dependency->incarnation = relations->slots[slot].incarnation;
	dependency->writes = 0;
	relations->slots[slot].touched = now;
}

/*
 * Which relation must give way, where all slots to look at are in use: one that no
 * entry depends on, if there is one.  Any may, as that is seen by its incarnation.
 */
static uint32
choose_slot(Oid database, Oid relation)
{
	uint32		first = first_probe(database, relation);
	uint32		n = Min(PROBES, relations->n);
	uint32		i = first;

	for (uint32 probes = 0; probes < n; probes++)
	{
		if (relations->slots[i].entries == 0)
			return i;
		i = next_probe(i);
	}
	return (first + relation % n) % relations->n;
}

/*
 * Tracks a relation from now on, if it is not tracked yet.
 */
void
tex_relation_track(Oid relation, TexDependency *dependency)
{
	Oid			database = database_of(relation);
	TimestampTz now = GetCurrentTimestamp();
	int			found;
	uint32		slot;

	LWLockAcquire(TEX_TRACKING_LOCK, LW_SHARED);
	found = find_slot(database, relation, NULL);
	if (found >= 0)
		fill_dependency(dependency, relation, found, now);
	LWLockRelease(TEX_TRACKING_LOCK);
	if (found >= 0)
		return;

	LWLockAcquire(TEX_TRACKING_LOCK, LW_EXCLUSIVE);
	release_unused(RELEASE_AT_ONCE);
	slot = relations->n;
	found = find_slot(database, relation, &slot);
	if (found < 0)
	{
		found = slot < relations->n ? slot : choose_slot(database, relation);
		occupy(found, database, relation);
	}
	fill_dependency(dependency, relation, found, now);
	LWLockRelease(TEX_TRACKING_LOCK);
}

/*
 * Says that an entry comes to depend on these, or depends on them no more.  Of a slot
 * that has another incarnation by now, nothing has to be said.
 */
void
tex_relations_use(const TexDependency *dependencies, uint32 n, int entries)
{
	for (uint32 i = 0; i < n; i++)
	{
		Slot	   *slot = &relations->slots[dependencies[i].slot];

		SpinLockAcquire(&slot->mutex);
		if (slot->incarnation == dependencies[i].incarnation)
			slot->entries += entries;
		SpinLockRelease(&slot->mutex);
	}
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
	if (pg_atomic_read_u64(&slot->writes) == dependency->writes)
	{
		uint64		seen = seen_below(snapshot);

		if (pg_atomic_read_u64(&slot->newest) < seen && slot->since <= seen)
		{
			/* Another incarnation says so before any other change of it is seen. */
			pg_read_barrier();
			if (slot->incarnation == dependency->incarnation)
				return true;
		}
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

/* The number of a new mark of a transaction; of its last one, where that is the last of all. */
static uint64
add_mark(Slot *slot, uint64 xid)
{
	uint64		n = pg_atomic_read_u64(&slot->writes);
	uint64	   *place;

	if (n > 0 && slot->writers[(n - 1) % WRITERS] == xid)
		return n;
	n++;
	place = &slot->writers[(n - 1) % WRITERS];
	if (n > WRITERS)
		slot->forgotten = Max(slot->forgotten, *place);
	*place = xid;
	return n;
}

/* Marks a transaction as a writer of a relation; a second mark of it adds nothing. */
static void
mark(Slot *slot, uint64 xid, bool wipe, TimestampTz at)
{
	uint64		n;

	SpinLockAcquire(&slot->mutex);
	n = add_mark(slot, xid);
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
 * Is anything tracked at all?  To be asked after tex_relations_committing().
 */
bool
tex_relations_any(void)
{
	return pg_atomic_read_u32(&relations->n_tracked) > 0;
}

bool
tex_relation_is_tracked(Oid relation)
{
	return find_slot(database_of(relation), relation, NULL) >= 0;
}

/*
 * Marks this transaction as a writer of a relation, if that is tracked, at the time
 * that it commits, or DT_NOEND where that is to come.  A slot that has another
 * relation by now is marked in vain.
 */
bool
tex_relation_mark(Oid relation, bool wipe, TimestampTz at)
{
	int			slot = find_slot(database_of(relation), relation, NULL);

	if (slot < 0)
		return false;
	mark(&relations->slots[slot], U64FromFullTransactionId(GetTopFullTransactionId()), wipe, at);
	return true;
}

/*
 * Marks this transaction as one that may have changed each relation of its database.
 */
void
tex_relations_wipe_all(TimestampTz at)
{
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionId());

	for (uint32 i = 0; i < relations->n; i++)
	{
		uint64		key = pg_atomic_read_u64(&keys[i]);

		if (key > RELEASED && key == key_of(database_of((Oid) key), (Oid) key))
			mark(&relations->slots[i], xid, true, at);
	}
}

/*
 * Tracks a relation no more, as it is about to be gone.
 */
void
tex_relation_forget(Oid relation)
{
	int			slot;

	if (!tex_relation_is_tracked(relation))
		return;
	LWLockAcquire(TEX_TRACKING_LOCK, LW_EXCLUSIVE);
	slot = find_slot(database_of(relation), relation, NULL);
	if (slot >= 0)
		release(slot);
	LWLockRelease(TEX_TRACKING_LOCK);
}

/*
 * How many relations are tracked, after those that nobody needs were released.
 */
int
tex_relations_in_use(void)
{
	LWLockAcquire(TEX_TRACKING_LOCK, LW_EXCLUSIVE);
	release_unused(relations->n);
	LWLockRelease(TEX_TRACKING_LOCK);
	return (int) pg_atomic_read_u32(&relations->n_tracked);
}
