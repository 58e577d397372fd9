/*
 * failures.c
 *		Queries that keep failing are not tried for a while.
 *
 * A circuit breaker: closed, it lets everyone through.  After so many failures in a
 * row (trace_ext.cache_failure_limit) it opens: callers get the error at once.  After
 * a while (trace_ext.cache_retry_after, doubled by each further failure) it is
 * half-open: the next caller tries, as only one computes at a time, and closes it or
 * opens it anew.
 *
 * There are PLACES of them, in the place that the key says; where two keys have the
 * same place, the later one forgets the earlier.
 *
 * Locks: "mutex" of the place.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "cache/counters.h"
#include "cache/failures.h"
#include "cache/writes.h"
#include "guc.h"

#define PLACES 256
#define MOST_DOUBLINGS 4

typedef struct Place
{
	slock_t		mutex;
	pg_atomic_uint32 successes; /* computations that ended well, of any key of the place */
	TexFailure	failure;		/* in_a_row = 0: nothing failed here */
} Place;

static Place *places;

Size
tex_failures_shmem_size(void)
{
	return sizeof(Place) * PLACES;
}

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
	}
}

static Place *
place_of(const TexCacheKey *key)
{
	return &places[key->hash[1] % PLACES];
}

static void
read_place(Place *place, TexFailure *failure)
{
	SpinLockAcquire(&place->mutex);
	*failure = place->failure;
	SpinLockRelease(&place->mutex);
}

static bool
is_open(const TexFailure *failure)
{
	return tex_cache_failure_limit > 0 && (int) failure->in_a_row >= tex_cache_failure_limit &&
		GetCurrentTimestamp() < failure->retry_at;
}

/*
 * Fails where the query is not to be tried now.
 */
void
tex_failures_check(const TexCacheKey *key)
{
	Place	   *place = place_of(key);
	TexFailure	failure;

	if (place->failure.in_a_row == 0)
		return;
	read_place(place, &failure);
	if (memcmp(&failure.key, key, sizeof(TexCacheKey)) != 0 || !is_open(&failure))
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

static TimestampTz
retry_time(TimestampTz failed_at, uint32 in_a_row)
{
	int			doublings = Max(0, (int) in_a_row - tex_cache_failure_limit);

	return TimestampTzPlusMilliseconds(failed_at,
									   (int64) tex_cache_retry_after * 1000 << Min(doublings, MOST_DOUBLINGS));
}

/*
 * Notes that the computation of a result failed.
 */
void
tex_failures_note(const TexCacheKey *key, const ErrorData *error)
{
	Place	   *place = place_of(key);
	char		message[sizeof(place->failure.message)] = "";
	uint32		in_a_row = 1;
	TimestampTz failed_at = GetCurrentTimestamp();
	TimestampTz retry_at;
	TexFailure	old;

	if (is_passing(error->sqlerrcode))
		return;
	tex_cache_count(TEX_CACHE_FAILURES, 1);
	if (error->message)
		strlcpy(message, error->message,
				pg_mbcliplen(error->message, strlen(error->message), sizeof(message) - 1) + 1);
	read_place(place, &old);
	if (memcmp(&old.key, key, sizeof(TexCacheKey)) == 0)
		in_a_row += old.in_a_row;
	retry_at = retry_time(failed_at, in_a_row);

	SpinLockAcquire(&place->mutex);
	place->failure.key = *key;
	place->failure.in_a_row = in_a_row;
	place->failure.failed_at = failed_at;
	place->failure.retry_at = retry_at;
	memcpy(place->failure.message, message, sizeof(message));
	SpinLockRelease(&place->mutex);
}

static void
clear(Place *place)
{
	SpinLockAcquire(&place->mutex);
	memset(&place->failure, 0, sizeof(TexFailure));
	SpinLockRelease(&place->mutex);
}

/*
 * Notes that the computation of a result succeeded.
 */
void
tex_failures_clear(const TexCacheKey *key)
{
	Place	   *place = place_of(key);

	pg_atomic_fetch_add_u32(&place->successes, 1);
	if (place->failure.in_a_row > 0 && memcmp(&place->failure.key, key, sizeof(TexCacheKey)) == 0)
		clear(place);
}

/*
 * A number that changes when a computation of the result ends well.
 */
uint32
tex_failures_successes(const TexCacheKey *key)
{
	return pg_atomic_read_u32(&place_of(key)->successes);
}

void
tex_failures_reset(void)
{
	for (int i = 0; i < PLACES; i++)
		clear(&places[i]);
}

/*
 * The keys that failed the last time, as a list of TexFailure.
 */
List *
tex_failures_list(void)
{
	List	   *list = NIL;

	for (int i = 0; i < PLACES; i++)
	{
		TexFailure	failure;

		read_place(&places[i], &failure);
		if (failure.in_a_row > 0)
		{
			TexFailure *copy = palloc(sizeof(TexFailure));

			*copy = failure;
			list = lappend(list, copy);
		}
	}
	return list;
}

const char *
tex_failure_state(const TexFailure *failure)
{
	if (tex_cache_failure_limit == 0 || (int) failure->in_a_row < tex_cache_failure_limit)
		return "closed";
	return is_open(failure) ? "open" : "half-open";
}
