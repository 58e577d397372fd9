/*
 * relations.c
 *		Relations that cached results depend on, and the commits that wrote them.
 *
 * The argument: a result is right for a snapshot that sees the same writers of each
 * relation read as the snapshot that it was computed with.
 *
 * 1. Who wrote.  A relation that some result depends on is tracked: a slot in shared
 *    memory numbers its writers.  Each marks itself there, with its transaction id, right
 *    before it commits or is prepared (writes.c): no snapshot sees a writer without a
 *    mark.  A mark that never commits costs a computation and no more.
 *
 * 2. What is right.  A result is stored with the number of marks, "writes", only if its
 *    snapshot sees all of them.  It is given to snapshots that see these and none after
 *    them.  Changes that do not go by snapshots (TRUNCATE, DDL, REVOKE) wipe: results
 *    with fewer writes are right for nobody any more.
 *
 * 3. Who came too early to find the slot.  A transaction with an id below "since" may have
 *    written without a mark: a snapshot to which one of these may still be running is not
 *    given a result, nor is its own stored.  One that was about to commit may have changed
 *    definitions, too, and tells other sessions only a moment after snapshots see it.  So
 *    each says that it is about to commit ("committing") before it looks for slots, and
 *    whoever begins to track marks it in its stead.  Its locks tell whether it is over.
 *
 * 4. What is forgotten counts as not seen.  Of marks before the last WRITERS only the
 *    newest transaction id is known.  A slot that no entry depends on, or whose relation is
 *    dropped, is released: its incarnation ends before writers cease to find it, and with it
 *    all that depended on it.  What a computation in progress tracks is left alone: it
 *    says since when it runs ("computing_since"), and it touches what it tracks.
 *
 * Locks: "tracking" (LWLock) to change who is in which slot, "mutex" of a slot for its
 * marks.  The atomics in a slot are read without it, and but for "since" and
 * "touched", which "tracking" protects, written under it:
 * whoever sees a transaction sees its mark as well, because both snapshots and ends of
 * transactions pass the lock of the process array; and in which order he sees the
 * changes of one slot is what the barriers are for.
 *
 * Who is about to commit looks for slots by "keys", without a lock, so that whoever
 * wrote nothing tracked pays for a few words he reads, however many relations are
 * tracked.  As long as a relation is tracked, its key stands in one place, and no
 * place that is looked at before that one is NEVER_USED.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lmgr.h"
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
	pg_atomic_uint64 incarnation;	/* changes with the relation, and when it is released */
	pg_atomic_uint64 writes;	/* number of marks */
	pg_atomic_uint64 newest;	/* highest transaction id of all marks */
	pg_atomic_uint64 since;		/* transactions below may have gone unmarked */
	pg_atomic_uint64 touched;	/* when it was last asked for; under "tracking", in any mode */
	pg_atomic_uint32 entries;	/* that depend on it, as of this incarnation */
	slock_t		mutex;
	/* Read and written under "mutex": */
	uint64		wiped;			/* number of the last mark that wiped */
	uint64		wiper;			/* its transaction id, and when it was made */
	TimestampTz wiped_at;
	uint64		forgotten;		/* highest transaction id of marks not in "writers" */
	uint64		writers[WRITERS];	/* mark n is in (n - 1) % WRITERS */
} Slot;

typedef struct Relations
{
	pg_atomic_uint64 replayed;	/* changes when a standby learns of DDL; without a lock */
	pg_atomic_uint32 n_tracked;	/* slots in use; written under "tracking", read without */
	uint32		hand;			/* the slot to look at next for one to release; under "tracking" */
	Slot		slots[FLEXIBLE_ARRAY_MEMBER];
} Relations;

/* What each process says of itself; each is written by that one only, without a lock. */
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

/* Who is in which slot, as key_of(); written under "tracking", read without. */
static pg_atomic_uint64 *keys;
static Process *processes;

/* This process has said since when it computes. */
static bool computing = false;

#define N_SLOTS ((uint32) tex_cache_relations)
#define N_PROCESSES ((uint32) MaxBackends + 64)	/* auxiliary processes have numbers as well */
#define SLOTS_SIZE CACHELINEALIGN(add_size(offsetof(Relations, slots), mul_size(N_SLOTS, sizeof(Slot))))
#define KEYS_SIZE CACHELINEALIGN(mul_size(N_SLOTS, sizeof(pg_atomic_uint64)))

/* Bytes of shared memory. */
Size
tex_relations_shmem_size(void)
{
	return add_size(add_size(SLOTS_SIZE, KEYS_SIZE), mul_size(N_PROCESSES, sizeof(Process)));
}

/* Attaches to it, with AddinShmemInitLock held; the first process sets it up. */
void
tex_relations_shmem_attach(void)
{
	bool		found;

	relations = ShmemInitStruct("trace_ext cache relations", tex_relations_shmem_size(), &found);
	keys = (pg_atomic_uint64 *) ((char *) relations + SLOTS_SIZE);
	processes = (Process *) ((char *) keys + KEYS_SIZE);
	if (found)
		return;
	memset(relations, 0, tex_relations_shmem_size());
	for (uint32 i = 0; i < N_PROCESSES; i++)
	{
		pg_atomic_init_u64(&processes[i].committing, 0);
		pg_atomic_init_u64(&processes[i].computing_since, 0);
	}
	pg_atomic_init_u64(&relations->replayed, 1);
	pg_atomic_init_u32(&relations->n_tracked, 0);
	for (uint32 i = 0; i < N_SLOTS; i++)
	{
		Slot	   *slot = &relations->slots[i];

		pg_atomic_init_u64(&keys[i], NEVER_USED);
		SpinLockInit(&slot->mutex);
		pg_atomic_init_u64(&slot->incarnation, 0);
		pg_atomic_init_u64(&slot->writes, 0);
		pg_atomic_init_u64(&slot->newest, 0);
		pg_atomic_init_u64(&slot->since, 0);
		pg_atomic_init_u64(&slot->touched, 0);
		pg_atomic_init_u32(&slot->entries, 0);
	}
}

/* ----------------------------------------------------------------
 *		Processes
 * ----------------------------------------------------------------
 */
/* Where this process says what it does. */
static Process *
my_process(void)
{
	Assert((uint32) tex_my_proc_number() < N_PROCESSES);
	return &processes[tex_my_proc_number()];
}

/*
 * Says that this transaction, which has an id, is about to commit, or to be prepared.
 * To be called before it looks for what is tracked.
 */
void
tex_relations_committing(void)
{
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionId());

	/* An exchange is a barrier, too; the other side is in occupy(). */
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

/* To be called when a transaction ends, however it does. */
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

	for (uint32 i = 0; i < N_PROCESSES; i++)
	{
		TimestampTz since = (TimestampTz) pg_atomic_read_u64(&processes[i].computing_since);

		if (since != 0 && since < oldest)
			oldest = since;
	}
	return oldest;
}

/* ----------------------------------------------------------------
 *		Which relation is in which slot
 * ----------------------------------------------------------------
 */
/* Database and relation in one word; the database is 0 for what all databases share. */
static uint64
key_of(Oid relation)
{
	return (uint64) (relation == TEX_ROLES ? InvalidOid : MyDatabaseId) << 32 | relation;
}

/* The first slot to look at for a relation; the others come after it. */
static uint32
first_probe(uint64 key)
{
	return hash_combine(murmurhash32((uint32) (key >> 32)), murmurhash32((uint32) key)) % N_SLOTS;
}

/* The slot after that one. */
static uint32
next_slot(uint32 i)
{
	return i + 1 < N_SLOTS ? i + 1 : 0;
}

/*
 * The slot of a relation, or -1.  Where "unused" is not NULL, it gets a slot that
 * the relation could have, or stays as it is.
 */
static int
find_slot(Oid relation, int *unused)
{
	uint64		wanted = key_of(relation);
	uint32		i = first_probe(wanted);

	for (uint32 n = 0; n < Min(PROBES, N_SLOTS); n++)
	{
		uint64		key = pg_atomic_read_u64(&keys[i]);

		if (key == wanted)
			return i;
		if (unused && *unused < 0 && key <= RELEASED)
			*unused = i;
		if (key == NEVER_USED)
			return -1;
		i = next_slot(i);
	}
	return -1;
}

/* Marks a transaction as a writer of a relation; a second mark of it adds nothing. */
static void
mark(Slot *slot, uint64 xid, bool wipe, TimestampTz at)
{
	uint64		n;

	SpinLockAcquire(&slot->mutex);
	n = pg_atomic_read_u64(&slot->writes);
	if (n == 0 || slot->writers[(n - 1) % WRITERS] != xid)
	{
		uint64	   *place = &slot->writers[n % WRITERS];

		if (n >= WRITERS)
			slot->forgotten = Max(slot->forgotten, *place);
		*place = xid;
		n++;
	}
	if (wipe)
	{
		slot->wiped = n;
		slot->wiper = xid;
		slot->wiped_at = at;
	}
	if (xid > pg_atomic_read_u64(&slot->newest))
		pg_atomic_write_u64(&slot->newest, xid);
	pg_write_barrier();			/* pairs with the first one in tex_relation_same() */
	pg_atomic_write_u64(&slot->writes, n);
	SpinLockRelease(&slot->mutex);
}

/* Gives a slot another incarnation: what depended on it is right for nobody any more. */
static void
begin_incarnation(Slot *slot)
{
	SpinLockAcquire(&slot->mutex);
	pg_atomic_write_u64(&slot->incarnation, pg_atomic_read_u64(&slot->incarnation) + 1);
	pg_write_barrier();			/* pairs with the second one in tex_relation_same() */
	pg_atomic_write_u32(&slot->entries, 0);
	pg_atomic_write_u64(&slot->since, PG_UINT64_MAX);
	pg_atomic_write_u64(&slot->newest, 0);
	pg_atomic_write_u64(&slot->writes, 0);
	slot->wiped = 0;
	slot->wiper = 0;
	slot->wiped_at = 0;
	slot->forgotten = 0;
	SpinLockRelease(&slot->mutex);
	/* Before writers find or miss its relation. */
	pg_memory_barrier();
}

/* Tracks the relation of a slot no more.  The lock is held exclusively. */
static void
release(uint32 i)
{
	begin_incarnation(&relations->slots[i]);
	pg_atomic_write_u64(&keys[i], RELEASED);
	pg_atomic_fetch_sub_u32(&relations->n_tracked, 1);
	if (pg_atomic_read_u64(&keys[next_slot(i)]) != NEVER_USED)
		return;
	/* Nobody is looked for beyond it, nor beyond those before it. */
	while (pg_atomic_read_u64(&keys[i]) == RELEASED)
	{
		pg_atomic_write_u64(&keys[i], NEVER_USED);
		i = i > 0 ? i - 1 : N_SLOTS - 1;
	}
}

/*
 * Releases those of the next "n" slots that nobody needs.  The lock is held exclusively.
 * An entry that just comes to depend on one was computed by somebody who is computing.
 */
static void
release_unused(uint32 n)
{
	TimestampTz oldest = oldest_computation();

	while (n-- > 0)
	{
		uint32		i = relations->hand = next_slot(relations->hand);

		if (pg_atomic_read_u64(&keys[i]) > RELEASED &&
			pg_atomic_read_u32(&relations->slots[i].entries) == 0 &&
			(TimestampTz) pg_atomic_read_u64(&relations->slots[i].touched) < oldest)
			release(i);
	}
}

/*
 * Puts a relation into a slot, whose earlier one, if any, is tracked no more.  The
 * lock is held exclusively.
 */
static void
occupy(uint32 i, Oid relation)
{
	Slot	   *slot = &relations->slots[i];

	begin_incarnation(slot);
	if (pg_atomic_read_u64(&keys[i]) <= RELEASED)
		pg_atomic_fetch_add_u32(&relations->n_tracked, 1);
	pg_atomic_write_u64(&keys[i], key_of(relation));

	/* Whoever says that he is about to commit from here on finds the slot. */
	pg_memory_barrier();
	for (uint32 p = 0; p < N_PROCESSES; p++)
	{
		uint64		xid = pg_atomic_read_u64(&processes[p].committing);

		if (xid != 0)
			mark(slot, xid, true, GetCurrentTimestamp());	/* it may be DDL */
	}
	/* Snapshots that are older may not see who committed before, unmarked. */
	pg_atomic_write_u64(&slot->since, U64FromFullTransactionId(ReadNextFullTransactionId()));
}

/*
 * Which relation must give way, where all slots to look at are in use: one that no
 * entry depends on, if there is one.  Any may, as that is seen by its incarnation.
 */
static uint32
choose_slot(Oid relation)
{
	uint32		first = first_probe(key_of(relation));
	uint32		n = Min(PROBES, N_SLOTS);

	for (uint32 probe = 0, i = first; probe < n; probe++, i = next_slot(i))
	{
		if (pg_atomic_read_u32(&relations->slots[i].entries) == 0)
			return i;
	}
	return (first + relation % n) % N_SLOTS;
}

/*
 * Tracks a relation from now on, if it is not tracked yet; the dependency is one on what
 * is written from here on.  It stays tracked at least as long as this transaction
 * computes (tex_relations_computing()), or an entry depends on it.
 */
void
tex_relation_track(Oid relation, TexDependency *dependency)
{
	TimestampTz now = GetCurrentTimestamp();
	int			unused = -1;
	int			i;

	LWLockAcquire(TEX_TRACKING_LOCK, LW_SHARED);
	i = find_slot(relation, NULL);
	if (i < 0)
	{
		LWLockRelease(TEX_TRACKING_LOCK);
		LWLockAcquire(TEX_TRACKING_LOCK, LW_EXCLUSIVE);
		release_unused(RELEASE_AT_ONCE);
		i = find_slot(relation, &unused);
		if (i < 0)
		{
			i = unused >= 0 ? (uint32) unused : choose_slot(relation);
			occupy(i, relation);
		}
	}
	dependency->relation = relation;
	dependency->slot = i;
	dependency->incarnation = pg_atomic_read_u64(&relations->slots[i].incarnation);
	dependency->writes = 0;
	pg_atomic_write_u64(&relations->slots[i].touched, (uint64) now);
	LWLockRelease(TEX_TRACKING_LOCK);
}

/*
 * Says that "entries" more (or fewer) entries depend on these.  Of a slot that has
 * another incarnation by now, nothing has to be said.
 */
void
tex_relations_use(const TexDependency *dependencies, uint32 n, int entries)
{
	for (uint32 i = 0; i < n; i++)
	{
		Slot	   *slot = &relations->slots[dependencies[i].slot];

		SpinLockAcquire(&slot->mutex);
		if (pg_atomic_read_u64(&slot->incarnation) == dependencies[i].incarnation)
			pg_atomic_write_u32(&slot->entries, pg_atomic_read_u32(&slot->entries) + entries);
		SpinLockRelease(&slot->mutex);
	}
}

/* ----------------------------------------------------------------
 *		Results against snapshots
 * ----------------------------------------------------------------
 */
/* Below it all transactions are over and, where they committed, seen; with the epoch. */
static uint64
seen_below(Snapshot snapshot)
{
	static TransactionId last_xmin = InvalidTransactionId;
	static uint64 last_full;

	/* The next transaction id is behind a lock that all share. */
	if (snapshot->xmin != last_xmin || last_full == 0)
	{
		FullTransactionId next = ReadNextFullTransactionId();
		uint64		epoch = EpochFromFullTransactionId(next);

		/* No snapshot's is later than the next one. */
		if (snapshot->xmin > XidFromFullTransactionId(next))
			epoch--;
		last_full = epoch << 32 | snapshot->xmin;
		last_xmin = snapshot->xmin;
	}
	return last_full;
}

/* A consistent copy of what may change in a slot; false if it has another incarnation now. */
static bool
copy_slot(const TexDependency *dependency, Slot *copy)
{
	Slot	   *slot = &relations->slots[dependency->slot];

	SpinLockAcquire(&slot->mutex);
	memcpy(copy, slot, sizeof(Slot));
	SpinLockRelease(&slot->mutex);
	return pg_atomic_read_u64(&copy->incarnation) == dependency->incarnation;
}

/*
 * How many of the marks, from the first one on, the snapshot sees, given the copy of a
 * slot.  False where that is not certain, or it sees one that comes after these.
 */
static bool
count_seen(Slot *slot, Snapshot snapshot, uint64 *n_seen)
{
	uint64		below = seen_below(snapshot);
	uint64		marks = pg_atomic_read_u64(&slot->writes);
	bool		in_order = true;

	*n_seen = 0;
	if (pg_atomic_read_u64(&slot->since) > below || slot->forgotten >= below)
		return false;
	if (marks > WRITERS)
		*n_seen = marks - WRITERS;
	for (uint64 n = *n_seen; n < marks; n++)
	{
		uint64		writer = slot->writers[n % WRITERS];

		if (writer >= below && XidInMVCCSnapshot((TransactionId) writer, snapshot))
			continue;
		if (*n_seen == n)
			*n_seen = n + 1;
		else
			in_order = false;
	}
	return in_order;
}

/*
 * Does the snapshot see all writers so far?  The dependency gets the number of those
 * that it sees.
 */
bool
tex_relation_all_seen(TexDependency *dependency, Snapshot snapshot)
{
	Slot		copy;

	return copy_slot(dependency, &copy) &&
		count_seen(&copy, snapshot, &dependency->writes) &&
		dependency->writes == pg_atomic_read_u64(&copy.writes);
}

/*
 * Does the snapshot see the same writers as that of the result?  Costs no lock as long as
 * nobody writes.  False also where that is not certain.
 */
bool
tex_relation_same(const TexDependency *dependency, Snapshot snapshot)
{
	Slot	   *slot = &relations->slots[dependency->slot];
	Slot		copy;
	uint64		seen;

	/* Mostly nothing was written since, and all writers are long gone. */
	if (pg_atomic_read_u64(&slot->writes) == dependency->writes)
	{
		uint64		below = seen_below(snapshot);

		pg_read_barrier();		/* "newest" is at least of the mark that "writes" counts */
		if (pg_atomic_read_u64(&slot->newest) < below && pg_atomic_read_u64(&slot->since) <= below)
		{
			/* Another incarnation says so before any other change of it is seen. */
			pg_read_barrier();
			if (pg_atomic_read_u64(&slot->incarnation) == dependency->incarnation)
				return true;
		}
	}
	return copy_slot(dependency, &copy) && copy.wiped <= dependency->writes &&
		count_seen(&copy, snapshot, &seen) && seen == dependency->writes;
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
 * Has the last transaction that wiped told others what it changed?  It does so a moment
 * after snapshots see it, before it gives up its locks.  "recently" is set where that was
 * not long ago, so that this session may have yet to listen.
 */
bool
tex_relation_is_told(const TexDependency *dependency, bool *recently)
{
	Slot		copy;

	if (!copy_slot(dependency, &copy) || copy.wiped == 0 ||
		copy.wiped_at < GetCurrentTimestamp() - LONG_AGO)
		return true;
	*recently = true;
	return tex_is_over((TransactionId) copy.wiper);
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

/* Says so, on a standby. */
void
tex_relations_note_replayed(void)
{
	pg_atomic_fetch_add_u64(&relations->replayed, 1);
}

/* ----------------------------------------------------------------
 *		Writers
 * ----------------------------------------------------------------
 */
/* Is anything tracked at all?  To be asked after tex_relations_committing(). */
bool
tex_relations_any(void)
{
	return pg_atomic_read_u32(&relations->n_tracked) > 0;
}

/* Is that relation tracked?  To be asked after tex_relations_committing(). */
bool
tex_relation_is_tracked(Oid relation)
{
	return find_slot(relation, NULL) >= 0;
}

/*
 * Marks this transaction, which has an id, as a writer of a relation, if that is tracked
 * (else false), at the time that it commits, or DT_NOEND where that is to come.  A slot that has another
 * relation by now is marked in vain.
 */
bool
tex_relation_mark(Oid relation, bool wipe, TimestampTz at)
{
	int			slot = find_slot(relation, NULL);

	if (slot < 0)
		return false;
	mark(&relations->slots[slot], U64FromFullTransactionId(GetTopFullTransactionId()), wipe, at);
	return true;
}

/* Marks this transaction as one that may have changed each relation of its database. */
void
tex_relations_wipe_all(TimestampTz at)
{
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionId());

	for (uint32 i = 0; i < N_SLOTS; i++)
	{
		uint64		key = pg_atomic_read_u64(&keys[i]);

		if (key > RELEASED && key == key_of((Oid) key))
			mark(&relations->slots[i], xid, true, at);
	}
}

/* Tracks a relation no more, as it is about to be gone: results over it are wrong at once. */
void
tex_relation_forget(Oid relation)
{
	int			slot;

	if (!tex_relation_is_tracked(relation))
		return;
	LWLockAcquire(TEX_TRACKING_LOCK, LW_EXCLUSIVE);
	slot = find_slot(relation, NULL);
	if (slot >= 0)
		release(slot);
	LWLockRelease(TEX_TRACKING_LOCK);
}

/* How many relations are tracked, after those that nobody needs were released. */
int
tex_relations_in_use(void)
{
	LWLockAcquire(TEX_TRACKING_LOCK, LW_EXCLUSIVE);
	release_unused(N_SLOTS);
	LWLockRelease(TEX_TRACKING_LOCK);
	return (int) pg_atomic_read_u32(&relations->n_tracked);
}
