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
 * The sets of held locks are interned: equal sets are one number, and whether two
 * sets exclude each other is a merge of two short sorted lists.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "locks.h"

/* An entry of a lock set: identity and mode in one number. */
#define SET_ENTRY(lock, exclusive)	(((lock) << 1) | ((exclusive) ? 1 : 0))
#define ENTRY_LOCK(entry)			((entry) >> 1)
#define ENTRY_EXCLUSIVE(entry)		((entry) & 1)

/* How often a strand holds a lock, in each mode. */
typedef struct Hold
{
	struct Lock *lock;
	int32		strand;
	int32		shared;
	int32		exclusive;
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
	int32		to_come;
} ReleaseCount;

struct TexLocks
{
	MemoryContext context;
	TexHistory *history;
	HTAB	   *locks;
	HTAB	   *releases;		/* by strand and lock: how many are to come */
	Hold	  **held;			/* of each strand */
	int32	   *held_set;		/* of each strand: its set, or -1 */
	TexNames   *sets;
	Hold	   *free_holds;
};

static void
count_releases(TexLocks *locks)
{
	TexHistory *history = locks->history;

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
		count->to_come = found ? count->to_come + 1 : 1;
	}
}

TexLocks *
tex_locks_create(TexHistory *history)
{
	TexLocks   *locks = palloc0(sizeof(TexLocks));
	HASHCTL		ctl = {.keysize = sizeof(int32),.entrysize = sizeof(Lock),
	.hcxt = CurrentMemoryContext};
	Size		nstrands = Max(history->nstrands, 1);

	locks->context = CurrentMemoryContext;
	locks->history = history;
	locks->locks = hash_create("locks", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(ReleaseKey);
	ctl.entrysize = sizeof(ReleaseCount);
	locks->releases = hash_create("releases to come", 64, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	locks->held = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Hold *) * nstrands);
	memset(locks->held, 0, sizeof(Hold *) * nstrands);
	locks->held_set = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int32) * nstrands);
	memset(locks->held_set, 0, sizeof(int32) * nstrands);
	locks->sets = tex_names_create();
	tex_names_add(locks->sets, "", 0);	/* the empty set is number 0 */
	count_releases(locks);
	return locks;
}

static Lock *
find_lock(TexLocks *locks, int32 identity)
{
	bool		found;
	Lock	   *lock = hash_search(locks->locks, &identity, HASH_ENTER, &found);

	if (!found)
		memset((char *) lock + sizeof(int32), 0, sizeof(Lock) - sizeof(int32));
	return lock;
}

static bool
will_release(TexLocks *locks, int32 strand, int32 lock)
{
	ReleaseKey	key = {strand, lock};
	ReleaseCount *count = hash_search(locks->releases, &key, HASH_FIND, NULL);

	return count && count->to_come > 0;
}

static bool
must_wait(TexLocks *locks, const Lock *lock, int32 strand, bool exclusive)
{
	for (const Hold *hold = lock->holds; hold; hold = hold->next)
		if (hold->strand != strand && (exclusive || hold->exclusive > 0) &&
			will_release(locks, hold->strand, lock->identity))
			return true;
	return false;
}

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

static Hold *
hold_of(TexLocks *locks, Lock *lock, int32 strand)
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
	*hold = (Hold) {lock, strand, 0, 0, lock->holds, locks->held[strand]};
	lock->holds = hold;
	locks->held[strand] = hold;
	return hold;
}

bool
tex_locks_acquire(TexLocks *locks, int32 e, bool force, TexLockClocks *gets)
{
	const TexEvent *event = &locks->history->events[e];
	bool		exclusive = (event->flags & TEX_EVENT_SHARED_LOCK) == 0;
	Lock	   *lock = find_lock(locks, event->lock);
	Hold	   *hold;

	if (!force && must_wait(locks, lock, event->strand, exclusive))
	{
		wait_for(locks, lock, e);
		return false;
	}
	hold = hold_of(locks, lock, event->strand);
	if (exclusive)
		hold->exclusive++;
	else
		hold->shared++;
	locks->held_set[event->strand] = -1;
	gets->exclusive = lock->exclusive;
	gets->shared = exclusive ? lock->shared : NULL;
	return true;
}

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

bool
tex_locks_release(TexLocks *locks, int32 e, TexLockClocks *gives, bool *shared,
				  TexSchedule *schedule)
{
	const TexEvent *event = &locks->history->events[e];
	Lock	   *lock = find_lock(locks, event->lock);
	Hold	   *hold = released_hold(locks, lock, event);
	ReleaseKey	key = {event->strand, event->lock};
	ReleaseCount *count = hash_search(locks->releases, &key, HASH_FIND, NULL);
	bool		own = hold && hold->strand == event->strand;
	bool		given = true;

	count->to_come--;
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
		tex_schedule_push(schedule, lock->waiting[--lock->nwaiting]);
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

static int
compare_int32(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return x < y ? -1 : x > y;
}

/* Sort and intern; of a lock in both modes, the exclusive one remains. */
static int32
intern_set(TexLocks *locks, int32 *entries, int n)
{
	int			kept = 0;

	qsort(entries, n, sizeof(int32), compare_int32);
	for (int i = 0; i < n; i++)
		if (i + 1 == n || ENTRY_LOCK(entries[i]) != ENTRY_LOCK(entries[i + 1]))
			entries[kept++] = entries[i];
	return tex_names_add(locks->sets, (const char *) entries, sizeof(int32) * kept);
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

static int32
make_set(TexLocks *locks, int32 strand, const TexAccessData *data)
{
	int			n = data ? data->nlocks : 0;
	int32	   *entries;
	int32		set;

	for (const Hold *hold = locks->held[strand]; hold; hold = hold->next_held)
		n++;
	if (n == 0)
		return 0;
	entries = palloc(sizeof(int32) * n);
	n = 0;
	for (const Hold *hold = locks->held[strand]; hold; hold = hold->next_held)
		entries[n++] = SET_ENTRY(hold->lock->identity, hold->exclusive > 0);
	for (int i = 0; data && i < data->nlocks; i++)
		if (!holds_shared(locks, strand, data->locks[i]))
			entries[n++] = SET_ENTRY(data->locks[i], true);
	set = intern_set(locks, entries, n);
	pfree(entries);
	return set;
}

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
 * Whether two sets have a lock in common that at least one holds exclusively.
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
	x = (const int32 *) tex_names_text(locks->sets, a);
	y = (const int32 *) tex_names_text(locks->sets, b);
	nx = tex_names_len(locks->sets, a) / sizeof(int32);
	ny = tex_names_len(locks->sets, b) / sizeof(int32);
	for (int i = 0, j = 0; i < nx && j < ny;)
	{
		if (ENTRY_LOCK(x[i]) == ENTRY_LOCK(y[j]))
		{
			if (ENTRY_EXCLUSIVE(x[i]) || ENTRY_EXCLUSIVE(y[j]))
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
 * The names of the locks in a set, as many as there is room for; returns how many
 * there are.
 */
int
tex_lock_set_names(const TexLocks *locks, int32 set, int32 *names, int room)
{
	const int32 *entries = (const int32 *) tex_names_text(locks->sets, set);
	int			n = tex_names_len(locks->sets, set) / sizeof(int32);

	for (int i = 0; i < Min(n, room); i++)
		names[i] = tex_history_lock_name(locks->history, ENTRY_LOCK(entries[i]));
	return n;
}
