/*
 * flight.c
 *		One computation of a result at a time.
 *
 * Who computes holds a heavyweight lock on the key.  So whatever ends him, an error,
 * a cancel, a kill, releases those who wait; and should he come to wait for
 * something that one of them holds, that is found as any deadlock is.  The role is in
 * the lock: nobody waits for another role's computation, whose result he cannot use.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/lock.h"
#include "utils/guc.h"

#include "cache/flight.h"

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
 * False where another session computes the result.
 */
bool
tex_flight_begin(const TexCacheKey *key)
{
	LOCKTAG		tag = tag_of(key);

	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
tex_flight_end(const TexCacheKey *key)
{
	LOCKTAG		tag = tag_of(key);

	LockRelease(&tag, ExclusiveLock, false);
}

/*
 * Locks, however long it takes.  statement_timeout ends that; lock_timeout does not,
 * as it is no lock that anybody asked for.
 */
static void
lock(const TexCacheKey *key, LOCKMODE mode)
{
	LOCKTAG		tag = tag_of(key);
	int			nesting = NewGUCNestLevel();

	/* An error ends the level, too. */
	(void) set_config_option("lock_timeout", "0", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) LockAcquire(&tag, mode, false, false);
	AtEOXact_GUC(false, nesting);
}

/*
 * Waits until nobody computes the result.
 */
void
tex_flight_wait(const TexCacheKey *key)
{
	LOCKTAG		tag = tag_of(key);

	lock(key, ShareLock);
	LockRelease(&tag, ShareLock, false);
}

/*
 * The same, and is the next one.
 */
void
tex_flight_take(const TexCacheKey *key)
{
	lock(key, ExclusiveLock);
}
