/*
 * attempts.c
 *		Who may compute a result: one session at a time, and nobody while it keeps failing.
 *
 * Who computes holds a heavyweight lock on the key.  So whatever ends him, an error,
 * a cancel, a kill, releases those who wait; and should he come to wait for
 * something that one of them holds, that is found as any deadlock is.  The role is in
 * the lock: nobody waits for another role's computation, whose result he cannot use.
 *
 * Failures are a circuit breaker: closed, it lets everyone through.  After so many in a
 * row (trace_ext.cache_failure_limit) it opens: callers get the error at once.  After
 * a while (trace_ext.cache_retry_after, doubled by each further failure) it is
 * half-open: the next caller tries, as only one computes at a time, and closes it or
 * opens it anew.  There are PLACES of them, in the place that the key says; where two
 * keys have the same place, the later one forgets the earlier.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "cache/attempts.h"
#include "cache/shared.h"
#include "cache/writes.h"
#include "guc.h"

#define PLACES 256
#define MOST_DOUBLINGS 4

typedef struct Place
{
	slock_t		mutex;
	pg_atomic_uint32 successes; /* computations that ended well, of any key of the place */
	pg_atomic_uint32 failed;	/* is anything in "failure"? */
	TexFailure	failure;		/* under "mutex"; in_a_row = 0: nothing failed here */
} Place;

static Place *places;

/* Bytes of shared memory. */
Size
tex_failures_shmem_size(void)
{
	return sizeof(Place) * PLACES;
}

/* Attaches to it, with AddinShmemInitLock held; the first process sets it up. */
void
tex_failures_shmem_attach(void)
{
	bool		found;

	places = ShmemInitStruct("trace_ext cache failures", tex_failures_shmem_size(), &found);
	if (found)
		return;
	memset(places, 0, tex_failures_shmem_size());
	for (int i = 0; i < PLACES; i++)
	{
		SpinLockInit(&places[i].mutex);
		pg_atomic_init_u32(&places[i].successes, 0);
		pg_atomic_init_u32(&places[i].failed, 0);
	}
}

/* ----------------------------------------------------------------
 *		One at a time
 * ----------------------------------------------------------------
 */
/* The lock that stands for the computation of a result. */
static LOCKTAG
tag_of(const TexCacheKey *key)
{
	LOCKTAG		tag = {
		.locktag_field1 = key->database,
		.locktag_field2 = (uint32) key->hash[0],
		.locktag_field3 = (uint32) (key->hash[0] >> 32),
		.locktag_field4 = (uint16) (key->hash[1] ^ hash_bytes_uint32(key->role)),
		.locktag_type = LOCKTAG_USERLOCK,
		.locktag_lockmethodid = DEFAULT_LOCKMETHOD
	};

	return tag;
}

/*
 * True: this session computes the result from here on, until tex_attempt_end() or an
 * error.  False: another one does.
 */
bool
tex_attempt_begin(const TexCacheKey *key)
{
	LOCKTAG		tag = tag_of(key);

	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* Lets the next one compute, after tex_attempt_begin() or tex_attempt_take(). */
void
tex_attempt_end(const TexCacheKey *key)
{
	LOCKTAG		tag = tag_of(key);

	LockRelease(&tag, ExclusiveLock, false);
}

/*
 * Locks, however long it takes.  statement_timeout ends that; lock_timeout does not,
 * as it is no lock that anybody asked for.
 */
static void
lock(const LOCKTAG *tag, LOCKMODE mode)
{
	int			nesting = NewGUCNestLevel();

	/* An error ends the level, too. */
	(void) set_config_option("lock_timeout", "0", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) LockAcquire(tag, mode, false, false);
	AtEOXact_GUC(false, nesting);
}

/* Waits until nobody computes the result: all who wait are released at once. */
void
tex_attempt_wait(const TexCacheKey *key)
{
	LOCKTAG		tag = tag_of(key);

	lock(&tag, ShareLock);
	LockRelease(&tag, ShareLock, false);
}

/* Waits until it is this session that computes it: one after another is released. */
void
tex_attempt_take(const TexCacheKey *key)
{
	LOCKTAG		tag = tag_of(key);

	lock(&tag, ExclusiveLock);
}

/* ----------------------------------------------------------------
 *		Failures
 * ----------------------------------------------------------------
 */
/* Where the failures of a key are noted. */
static Place *
place_of(const TexCacheKey *key)
{
	return &places[key->hash[1] % PLACES];
}

/* A copy of the failure that is noted in a place; false where none is. */
static bool
read_place(Place *place, TexFailure *failure)
{
	if (pg_atomic_read_u32(&place->failed) == 0)
		return false;
	SpinLockAcquire(&place->mutex);
	*failure = place->failure;
	SpinLockRelease(&place->mutex);
	return failure->in_a_row > 0;
}

/* The same, if it is that of this key. */
static bool
read_failure(const TexCacheKey *key, TexFailure *failure)
{
	return read_place(place_of(key), failure) &&
		memcmp(&failure->key, key, sizeof(TexCacheKey)) == 0;
}

/* Replaces what is noted in a place; in_a_row = 0 clears it. */
static void
write_place(Place *place, const TexFailure *failure)
{
	SpinLockAcquire(&place->mutex);
	place->failure = *failure;
	pg_atomic_write_u32(&place->failed, failure->in_a_row > 0);
	SpinLockRelease(&place->mutex);
}

/* "open", "half-open" or "closed": is the query refused, tried by one, or by all? */
const char *
tex_failure_state(const TexFailure *failure)
{
	if (tex_cache_failure_limit == 0 || (int) failure->in_a_row < tex_cache_failure_limit)
		return "closed";
	return GetCurrentTimestamp() < failure->retry_at ? "open" : "half-open";
}

/*
 * Fails where the query is not to be tried now (open), unless this session has written
 * since it failed.  Else, and where half-open, the caller may go on to compute.
 */
void
tex_failures_check(const TexCacheKey *key)
{
	TexFailure	failure;

	if (!read_failure(key, &failure) || strcmp(tex_failure_state(&failure), "open") != 0)
		return;
	/* Who has just mended the data wants to see it. */
	if (tex_last_write() > failure.failed_at)
		return;
	tex_cache_count(TEX_CACHE_REFUSED_OPEN, 1);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the cached query failed %u times in a row and is not tried until %s",
					failure.in_a_row, timestamptz_to_str(failure.retry_at)),
			 errdetail("The last error was: %s", failure.message),
			 errhint("Mend the query, then call trace_ext.cache_reset(), or wait; trace_ext.cache_failure_limit = 0 always tries.")));
}

/* Is it the caller, or others, who were at fault, so that the next may well succeed? */
static bool
is_passing(int sqlerrcode)
{
	switch (sqlerrcode)
	{
		case ERRCODE_QUERY_CANCELED:
		case ERRCODE_ADMIN_SHUTDOWN:
		case ERRCODE_CRASH_SHUTDOWN:
		case ERRCODE_LOCK_NOT_AVAILABLE:
		case ERRCODE_T_R_DEADLOCK_DETECTED:
		case ERRCODE_T_R_SERIALIZATION_FAILURE:
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			return true;
		default:
			return false;
	}
}

/*
 * Notes that the computation of a result failed, unless that says nothing of the next.
 * Throws nothing; the message is cut.
 */
void
tex_failures_note(const TexCacheKey *key, const ErrorData *error)
{
	TexFailure	failure;
	int			doublings;

	if (is_passing(error->sqlerrcode))
		return;
	tex_cache_count(TEX_CACHE_FAILURES, 1);
	if (!read_failure(key, &failure))
		memset(&failure, 0, sizeof(failure));
	failure.key = *key;
	failure.in_a_row++;
	failure.failed_at = GetCurrentTimestamp();
	doublings = Min(Max(0, (int) failure.in_a_row - tex_cache_failure_limit), MOST_DOUBLINGS);
	failure.retry_at = TimestampTzPlusMilliseconds(failure.failed_at,
												   (int64) tex_cache_retry_after * 1000 << doublings);
	failure.message[0] = '\0';
	if (error->message)
		strlcpy(failure.message, error->message,
				pg_mbcliplen(error->message, strlen(error->message), sizeof(failure.message) - 1) + 1);
	write_place(place_of(key), &failure);
}

/* Notes that the computation of a result succeeded: closed again, and who waits may know. */
void
tex_failures_clear(const TexCacheKey *key)
{
	TexFailure	failure;

	pg_atomic_fetch_add_u32(&place_of(key)->successes, 1);
	if (read_failure(key, &failure))
		write_place(place_of(key), &(TexFailure) {0});
}

/* A number that changes when a computation of the result, or seldom of another one, ends well. */
uint32
tex_failures_successes(const TexCacheKey *key)
{
	return pg_atomic_read_u32(&place_of(key)->successes);
}

/* Forgets all failures. */
void
tex_failures_reset(void)
{
	for (int i = 0; i < PLACES; i++)
		write_place(&places[i], &(TexFailure) {0});
}

/* The keys that failed the last time, as a list of TexFailure in the current memory context. */
List *
tex_failures_list(void)
{
	List	   *list = NIL;

	for (int i = 0; i < PLACES; i++)
	{
		TexFailure	failure;

		if (read_place(&places[i], &failure))
			list = lappend(list, memcpy(palloc(sizeof(failure)), &failure, sizeof(failure)));
	}
	return list;
}
