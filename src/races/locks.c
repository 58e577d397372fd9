/*
 * locks.c
 *		Who holds which lock, and what a lock hands on.
 *
 * Locks are held by strands: a task that changes threads keeps them, and a lock
 * that a trace leaves open protects nothing later, for strands end with their
 * trace.  A lock held n times is given back by the n-th release.  A release by a
 * strand that does not hold the lock gives back what another strand of its trace
 * holds, as a semaphore does.
 *
 * Clients often record an acquire when they ask for the lock, before they have
 * it.  So an acquire waits while another strand holds the lock in a mode that
 * excludes it, if that strand's own release is still to come.
 *
 * But who accesses something, or releases the lock, before that release was not
 * waiting: two held the lock at once, as when a lease runs out or the lock is a
 * semaphore.  Such a lock excluded nobody while both held it: neither holding
 * protects from then on, and the release orders nothing that the other did.
 *
 * The sets of held locks are interned: equal sets are one number, and whether two
 * sets exclude each other is a merge of two short sorted lists.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "races/arrays.h"
#include "races/locks.h"

/* How a lock of a set is held; of several ways the last one counts. */
#define MODE_SHARED		0
#define MODE_EXCLUSIVE	1
#define MODE_AT_ONCE	2		/* while another one held it who should not have */

/* An entry of a lock set: identity and mode in one number. */
#define SET_ENTRY(lock, mode)		(((lock) << 2) | (mode))
#define ENTRY_LOCK(entry)			((entry) >> 2)
#define ENTRY_MODE(entry)			((entry) & 3)

/* Within one instance a timestamp may be off by less than that. */
#define CLOCK_STEP		INT64CONST(1000)

/* How often a strand holds a lock, in each mode. */
typedef struct Hold
{
	struct Lock *lock;
	int32		strand;
	int32		event;			/* the acquire that began it */
	int32		shared;
	int32		exclusive;
	bool		at_once;		/* with another one that it should exclude */
	struct Hold *next;			/* of the same lock */
	struct Hold *next_held;		/* of the same strand */
} Hold;

typedef struct Lock
{
	int32		identity;		/* hash key */
	Hold	   *holds;
	TexClock	exclusive[TEX_NORDERS];
	TexClock	shared[TEX_NORDERS];
	int32	   *waiting;		/* acquires that wait for a release */
	int32		nwaiting;
	int32		waiting_room;
} Lock;

typedef struct ReleaseKey
{
	int32		strand;
	int32		lock;
} ReleaseKey;

typedef struct ReleaseCount
{
	ReleaseKey	key;
	int32		total;
	int32		to_come;
	int32		slot;			/* of the first in release_at */
} ReleaseCount;

struct TexLocks
{
	MemoryContext context;
	TexHistory *history;
	HTAB	   *locks;
	HTAB	   *releases;		/* by strand and lock: how many are to come */
	TimestampTz *release_at;	/* when, those of one strand and lock together */
	TimestampTz *acts_at;		/* of each acquire: when its strand acts under it */
	Hold	  **held;			/* of each strand */
	int32	   *held_set;		/* of each strand: its set, or -1 */
	TexStrings   *sets;
	Hold	   *free_holds;
};

/* The releases of a lock by a strand, or NULL. */
static ReleaseCount *
releases_of(TexLocks *locks, int32 strand, int32 lock)
{
	ReleaseKey	key = {strand, lock};

	return hash_search(locks->releases, &key, HASH_FIND, NULL);
}

/*
 * How many releases there are of each lock by each strand, and when. They are counted
 * first, so that those of one strand and lock can lie together, in the order of time.
 */
static void
count_releases(TexLocks *locks)
{
	TexHistory *history = locks->history;
	int32		slots = 0;

	for (int32 i = 0; i < history->nevents; i++)
	{
		const TexEvent *event = &history->events[i];
		ReleaseKey	key = {event->strand, event->lock};
		bool		found;
		ReleaseCount *count;

		CHECK_FOR_INTERRUPTS();
		if (event->kind != TEX_LOCK_RELEASE)
			continue;
		count = hash_search(locks->releases, &key, HASH_ENTER, &found);
		if (!found)
			count->total = count->to_come = 0;
		count->total++;
		slots++;
	}
	locks->release_at = MemoryContextAllocHuge(locks->context, sizeof(TimestampTz) * (Size) Max(slots, 1));

	slots = 0;
	for (int32 i = 0; i < history->nevents; i++)
	{
		const TexEvent *event = &history->events[i];
		ReleaseCount *count;

		CHECK_FOR_INTERRUPTS();
		if (event->kind != TEX_LOCK_RELEASE)
			continue;
		count = releases_of(locks, event->strand, event->lock);
		if (count->to_come == 0)
		{
			count->slot = slots;
			slots += count->total;
		}
		locks->release_at[count->slot + count->to_come++] = event->at;
	}
}

/*
 * When a strand acts under each acquire: its first access after it, or the release
 * of that lock, whichever comes first.
 */
static void
find_acts(TexLocks *locks)
{
	TexHistory *history = locks->history;
	Size		nstrands = Max(history->nstrands, 1);
	TimestampTz *access_at = MemoryContextAllocHuge(locks->context, sizeof(TimestampTz) * nstrands);

	for (Size i = 0; i < nstrands; i++)
		access_at[i] = DT_NOEND;
	locks->acts_at = MemoryContextAllocHuge(locks->context,
											sizeof(TimestampTz) * (Size) Max(history->nevents, 1));
	for (int32 i = history->nevents - 1; i >= 0; i--)
	{
		const TexEvent *event = &history->events[i];

		CHECK_FOR_INTERRUPTS();
		if (event->kind == TEX_STATE_CHANGE)
			access_at[event->strand] = event->at;
		locks->acts_at[i] = access_at[event->strand];
	}
	pfree(access_at);
}

/* No lock held yet, in the current memory context; the history has its strands. */
TexLocks *
tex_locks_create(TexHistory *history)
{
	TexLocks   *locks = palloc0(sizeof(TexLocks));
	HASHCTL		ctl = {.keysize = sizeof(int32),.entrysize = sizeof(Lock),
	.hcxt = CurrentMemoryContext};

	locks->context = CurrentMemoryContext;
	locks->history = history;
	locks->locks = hash_create("locks", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(ReleaseKey);
	ctl.entrysize = sizeof(ReleaseCount);
	locks->releases = hash_create("releases to come", 64, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	locks->held = tex_new_array(sizeof(Hold *), history->nstrands, 0);
	locks->held_set = tex_new_array(sizeof(int32), history->nstrands, 0);
	locks->sets = tex_strings_create();
	tex_strings_add(locks->sets, "", 0);	/* the empty set is number 0 */
	if (history->has_locks)
	{
		count_releases(locks);
		find_acts(locks);
	}
	return locks;
}

/* A lock by its identity, made if it is new. */
static Lock *
find_lock(TexLocks *locks, int32 identity)
{
	bool		found;
	Lock	   *lock = hash_search(locks->locks, &identity, HASH_ENTER, &found);

	if (!found)
		memset((char *) lock + sizeof(int32), 0, sizeof(Lock) - sizeof(int32));
	return lock;
}

/* Whether a strand still has to release a lock; else waiting for it would be in vain. */
static bool
will_release(TexLocks *locks, int32 strand, int32 lock)
{
	ReleaseCount *count = releases_of(locks, strand, lock);

	return count && count->to_come > 0;
}

/* When a strand releases a lock for the n-th time from now. */
static TimestampTz
release_to_come(TexLocks *locks, int32 strand, int32 lock, int32 n)
{
	ReleaseCount *count = releases_of(locks, strand, lock);

	if (count == NULL || count->to_come < n)
		return DT_NOEND;
	return locks->release_at[count->slot + count->total - count->to_come + n - 1];
}

/*
 * Whether an acquire was granted while another strand held the lock: what its own
 * strand did under it came before that one's release.
 */
static bool
was_granted(TexLocks *locks, const Hold *hold, int32 e)
{
	const TexEvent *event = &locks->history->events[e];
	TimestampTz released_at = release_to_come(locks, hold->strand, event->lock,
											  hold->shared + hold->exclusive);
	TimestampTz acts_at = Min(locks->acts_at[e],
							  release_to_come(locks, event->strand, event->lock, 1));
	int64		slack = locks->history->events[hold->event].instance == event->instance ?
		CLOCK_STEP : tex_clock_skew_usecs();

	return !TIMESTAMP_NOT_FINITE(acts_at) && !TIMESTAMP_NOT_FINITE(released_at) &&
		released_at - acts_at >= slack;
}

/* Whether a hold keeps another strand out, in the mode that this one wants. */
static bool
excludes(const Hold *hold, int32 strand, bool exclusive)
{
	return hold->strand != strand && (exclusive || hold->exclusive > 0);
}

/* Whether an acquire has to wait, by who holds the lock now. */
static bool
must_wait(TexLocks *locks, const Lock *lock, int32 e, bool exclusive)
{
	int32		strand = locks->history->events[e].strand;

	for (const Hold *hold = lock->holds; hold; hold = hold->next)
		if (excludes(hold, strand, exclusive) && will_release(locks, hold->strand, lock->identity) &&
			!was_granted(locks, hold, e))
			return true;
	return false;
}

/* Who should have waited and did not holds the lock together with those before. */
static void
mark_at_once(TexLocks *locks, Lock *lock, Hold *mine, int32 e, bool exclusive)
{
	for (Hold *hold = lock->holds; hold; hold = hold->next)
		if (excludes(hold, mine->strand, exclusive) &&
			will_release(locks, hold->strand, lock->identity) && was_granted(locks, hold, e))
		{
			hold->at_once = mine->at_once = true;
			locks->held_set[hold->strand] = -1;
		}
}

/* Notes who waits: the next release of the lock lets all of them look again. */
static void
wait_for(TexLocks *locks, Lock *lock, int32 event)
{
	if (lock->nwaiting == lock->waiting_room)
	{
		lock->waiting_room = Max(8, lock->waiting_room * 2);
		lock->waiting = lock->waiting == NULL ?
			MemoryContextAlloc(locks->context, sizeof(int32) * lock->waiting_room) :
			repalloc_huge(lock->waiting, sizeof(int32) * (Size) lock->waiting_room);
	}
	lock->waiting[lock->nwaiting++] = event;
}

/* A strand's hold of a lock, made if there is none; it is not counted yet. */
static Hold *
hold_of(TexLocks *locks, Lock *lock, int32 strand, int32 event)
{
	Hold	   *hold;

	for (hold = lock->holds; hold; hold = hold->next)
		if (hold->strand == strand)
			return hold;

	if (locks->free_holds)
	{
		hold = locks->free_holds;
		locks->free_holds = hold->next;
	}
	else
		hold = MemoryContextAlloc(locks->context, sizeof(Hold));
	*hold = (Hold) {.lock = lock,.strand = strand,.event = event,
		.next = lock->holds,.next_held = locks->held[strand]};
	lock->holds = hold;
	locks->held[strand] = hold;
	return hold;
}

/*
 * Takes a lock for an event's strand, in the mode that the event says. False: another strand
 * holds it and will release it; the event is handed out again then. With force it is taken all
 * the same. *gets points into the lock; its shared half is NULL for a shared acquire.
 */
bool
tex_locks_acquire(TexLocks *locks, int32 e, bool force, TexLockClocks *gets)
{
	const TexEvent *event = &locks->history->events[e];
	bool		exclusive = (event->flags & TEX_EVENT_SHARED_LOCK) == 0;
	Lock	   *lock = find_lock(locks, event->lock);
	Hold	   *hold;

	if (!force && must_wait(locks, lock, e, exclusive))
	{
		wait_for(locks, lock, e);
		return false;
	}
	hold = hold_of(locks, lock, event->strand, e);
	mark_at_once(locks, lock, hold, e, exclusive);
	if (exclusive)
		hold->exclusive++;
	else
		hold->shared++;
	locks->held_set[event->strand] = -1;
	gets->exclusive = lock->exclusive;
	gets->shared = exclusive ? lock->shared : NULL;
	return true;
}

/* Whether a strand holds a lock. */
bool
tex_locks_holds_any(const TexLocks *locks, int32 strand)
{
	return locks->held[strand] != NULL;
}

/*
 * The locks that a strand held when it took the one of an acquire that just succeeded, the latest
 * taken first and as many as there is room for. None if that one was its own already; and none that
 * excludes nobody: counted, or held by two at once.
 */
int
tex_locks_held_under(const TexLocks *locks, int32 e, TexHeldLock *held, int room)
{
	const TexEvent *event = &locks->history->events[e];
	int			n = 0;

	if (event->flags & TEX_EVENT_COUNTED_LOCK)
		return 0;
	for (const Hold *hold = locks->held[event->strand]; hold; hold = hold->next_held)
	{
		if (hold->lock->identity == event->lock)
		{
			if (hold->event != e)
				return 0;
		}
		else if (n < room && !hold->at_once &&
				 (locks->history->events[hold->event].flags & TEX_EVENT_COUNTED_LOCK) == 0)
			held[n++] = (TexHeldLock) {hold->lock->identity, hold->event, hold->exclusive == 0};
	}
	return n;
}

/* Takes a hold that is given back out of both its lists. */
static void
forget_hold(TexLocks *locks, Lock *lock, Hold *hold)
{
	Hold	  **link;

	for (link = &lock->holds; *link != hold; link = &(*link)->next)
		;
	*link = hold->next;
	for (link = &locks->held[hold->strand]; *link != hold; link = &(*link)->next_held)
		;
	*link = hold->next_held;
	hold->next = locks->free_holds;
	locks->free_holds = hold;
}

/* The hold that a release gives back, or NULL if the lock is not held there. */
static Hold *
released_hold(TexLocks *locks, const Lock *lock, const TexEvent *event)
{
	TexHistory *history = locks->history;
	const TexTrace *trace = &history->traces[event->trace];
	Hold	   *other = NULL;

	for (Hold *hold = lock->holds; hold; hold = hold->next)
	{
		if (hold->strand == event->strand)
			return hold;
		if (hold->strand >= trace->first_strand &&
			hold->strand < trace->first_strand + trace->nstrands &&
			!will_release(locks, hold->strand, lock->identity))
			other = hold;
	}
	return other;
}

/* Give back one level of a hold; true if that gives the lock to others. */
static bool
give_back(Hold *hold, const TexEvent *event, bool *shared)
{
	*shared = hold->exclusive == 0 ||
		(hold->shared > 0 && (event->flags & TEX_EVENT_SHARED_LOCK) != 0);
	if (*shared)
		return --hold->shared == 0 && hold->exclusive == 0;
	return --hold->exclusive == 0;
}

/*
 * Gives a lock back and wakes who waits, through the sequence. False: nothing is to be joined into
 * what *gives points to, as an inner release of a lock held more than once gives nothing to others.
 * *shared says which half it goes into.
 */
bool
tex_locks_release(TexLocks *locks, int32 e, TexLockClocks *gives, bool *shared,
				  TexSequence *sequence)
{
	const TexEvent *event = &locks->history->events[e];
	Lock	   *lock = find_lock(locks, event->lock);
	Hold	   *hold = released_hold(locks, lock, event);
	bool		own = hold && hold->strand == event->strand;
	bool		given = true;

	releases_of(locks, event->strand, event->lock)->to_come--;
	*shared = (event->flags & TEX_EVENT_SHARED_LOCK) != 0;
	if (hold)
	{
		given = give_back(hold, event, shared);
		locks->held_set[hold->strand] = -1;
		if (hold->shared == 0 && hold->exclusive == 0)
			forget_hold(locks, lock, hold);
	}
	/* Who releases what he does not hold lets another one go on: that orders the two. */
	if ((event->flags & TEX_EVENT_COUNTED_LOCK) && !own)
	{
		*shared = false;
		given = true;
	}
	gives->exclusive = lock->exclusive;
	gives->shared = lock->shared;
	/* Those who wait look again, each when its turn comes. */
	while (lock->nwaiting > 0)
		tex_sequence_push(sequence, lock->waiting[--lock->nwaiting]);
	return given;
}

/*
 * The earliest acquire that waits for a lock, taken out of its list, or
 * TEX_NO_EVENT: to be forced when nothing else can go on.
 */
int32
tex_locks_waiting(TexLocks *locks)
{
	HASH_SEQ_STATUS scan;
	Lock	   *lock;
	int32	   *earliest = NULL;
	Lock	   *of = NULL;
	int32		event;

	hash_seq_init(&scan, locks->locks);
	while ((lock = hash_seq_search(&scan)) != NULL)
		for (int32 i = 0; i < lock->nwaiting; i++)
			if (earliest == NULL || lock->waiting[i] < *earliest)
			{
				earliest = &lock->waiting[i];
				of = lock;
			}
	if (earliest == NULL)
		return TEX_NO_EVENT;
	event = *earliest;
	*earliest = of->waiting[--of->nwaiting];
	return event;
}

/* For qsort(): entries of a set by lock, then by mode. */
static int
compare_int32(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return x < y ? -1 : x > y;
}

/* A lock the client says was held counts as exclusive, unless it is known as shared. */
static bool
holds_shared(const TexLocks *locks, int32 strand, int32 lock)
{
	for (const Hold *hold = locks->held[strand]; hold; hold = hold->next_held)
		if (hold->lock->identity == lock)
			return hold->exclusive == 0;
	return false;
}

/* The number of the set of locks that a strand holds, with those that the client says were held. */
static int32
make_set(TexLocks *locks, int32 strand, const TexAccessData *data)
{
	int			n = data ? data->nlocks : 0;
	int			kept = 0;
	int32	   *entries;
	int32		set;

	for (const Hold *hold = locks->held[strand]; hold; hold = hold->next_held)
		n++;
	if (n == 0)
		return 0;
	entries = palloc(sizeof(int32) * n);
	n = 0;
	for (const Hold *hold = locks->held[strand]; hold; hold = hold->next_held)
		entries[n++] = SET_ENTRY(hold->lock->identity, hold->at_once ? MODE_AT_ONCE :
								 hold->exclusive > 0 ? MODE_EXCLUSIVE : MODE_SHARED);
	for (int i = 0; data && i < data->nlocks; i++)
		if (!holds_shared(locks, strand, data->locks[i]))
			entries[n++] = SET_ENTRY(data->locks[i], MODE_EXCLUSIVE);

	/* Of a lock in several modes, the last one remains. */
	qsort(entries, n, sizeof(int32), compare_int32);
	for (int i = 0; i < n; i++)
		if (i + 1 == n || ENTRY_LOCK(entries[i]) != ENTRY_LOCK(entries[i + 1]))
			entries[kept++] = entries[i];
	set = tex_strings_add(locks->sets, (const char *) entries, sizeof(int32) * kept);
	pfree(entries);
	return set;
}

/* The set of locks in force at an access, 0 if it is empty. Equal sets have equal numbers. */
int32
tex_locks_held(TexLocks *locks, int32 e)
{
	const TexEvent *event = &locks->history->events[e];

	if (event->data && event->data->nlocks > 0)
		return make_set(locks, event->strand, event->data);
	if (locks->held_set[event->strand] < 0)
		locks->held_set[event->strand] = make_set(locks, event->strand, NULL);
	return locks->held_set[event->strand];
}

/*
 * Whether two sets have a lock in common that at least one holds exclusively, and that was not held
 * by two at once. A merge of two sorted lists.
 */
bool
tex_lock_sets_protect(const TexLocks *locks, int32 a, int32 b)
{
	const int32 *x;
	const int32 *y;
	int			nx;
	int			ny;

	if (a == 0 || b == 0)
		return false;
	x = (const int32 *) tex_strings_text(locks->sets, a);
	y = (const int32 *) tex_strings_text(locks->sets, b);
	nx = tex_strings_len(locks->sets, a) / sizeof(int32);
	ny = tex_strings_len(locks->sets, b) / sizeof(int32);
	for (int i = 0, j = 0; i < nx && j < ny;)
	{
		if (ENTRY_LOCK(x[i]) == ENTRY_LOCK(y[j]))
		{
			if (Max(ENTRY_MODE(x[i]), ENTRY_MODE(y[j])) == MODE_EXCLUSIVE)
				return true;
			i++, j++;
		}
		else if (x[i] < y[j])
			i++;
		else
			j++;
	}
	return false;
}

/*
 * Whether two sets have a lock in common that was held by two at once.
 */
bool
tex_lock_sets_at_once(const TexLocks *locks, int32 a, int32 b)
{
	const int32 *x = (const int32 *) tex_strings_text(locks->sets, a);
	const int32 *y = (const int32 *) tex_strings_text(locks->sets, b);
	int			nx = tex_strings_len(locks->sets, a) / sizeof(int32);
	int			ny = tex_strings_len(locks->sets, b) / sizeof(int32);

	for (int i = 0; i < nx; i++)
		for (int j = 0; j < ny; j++)
			if (ENTRY_LOCK(x[i]) == ENTRY_LOCK(y[j]) &&
				Max(ENTRY_MODE(x[i]), ENTRY_MODE(y[j])) == MODE_AT_ONCE)
				return true;
	return false;
}

/*
 * The names of the locks in a set, as many as there is room for; returns how many
 * there are.
 */
int
tex_lock_set_names(const TexLocks *locks, int32 set, int32 *names, int room)
{
	const int32 *entries = (const int32 *) tex_strings_text(locks->sets, set);
	int			n = tex_strings_len(locks->sets, set) / sizeof(int32);

	for (int i = 0; i < Min(n, room); i++)
		names[i] = tex_history_lock_name(locks->history, ENTRY_LOCK(entries[i]));
	return n;
}
