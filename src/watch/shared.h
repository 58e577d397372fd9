/*
 * shared.h
 *		Shared memory of watched tables: the ring that accesses go through, and counts.
 *
 * The ring is one queue of records for all databases, written by backends whose
 * transaction has committed and read by the worker of each database.  "lock" protects
 * head, tail and every byte of the ring; it is held for one memcpy().  Counts are
 * atomics that need no lock; who is counted where changes under "lock" only.
 */
#ifndef TEX_WATCH_SHARED_H
#define TEX_WATCH_SHARED_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

/* Tables that are counted each by itself, of all databases; more share the last one. */
#define TEX_WATCH_TABLES 1024

/* Databases of which it is known which process stores their records; more share a place. */
#define TEX_WATCH_STORERS 256

/* Of one watched table.  Atomics, without a lock. */
typedef struct TexTableCounts
{
	Oid			database;		/* lock; InvalidOid: free */
	Oid			table;			/* lock */
	pg_atomic_uint64 reads;
	pg_atomic_uint64 writes;
	pg_atomic_uint64 dropped;
} TexTableCounts;

/* Why accesses were not taken, in the order of trace_ext_internal.watch_counts(). */
typedef enum TexWatchCounter
{
	TEX_WATCH_TAKEN,			/* accesses of transactions that committed */
	TEX_WATCH_STORED,			/* ... that are events by now */
	TEX_WATCH_RING_FULL,		/* dropped: the worker does not keep up */
	TEX_WATCH_TOO_MANY_ROWS,	/* statements whose reads were more than the limit */
	TEX_WATCH_TOO_MUCH_MEMORY,	/* dropped: too many of one transaction */
	TEX_WATCH_NOT_COVERED,		/* dropped: parallel plans, prepared transactions, unnamed rows */
	TEX_WATCH_ERRORS,			/* dropped: collecting failed */
	TEX_WATCH_BAD_REQUESTS,		/* statements with a malformed traceparent */
	TEX_WATCH_COUNTERS
} TexWatchCounter;

typedef struct TexWatchShared
{
	LWLock		lock;
	uint64		head;			/* lock; where the next record goes, in bytes since the start */
	uint64		tail;			/* lock; the oldest record that is not done with */
	uint64		size;			/* bytes of the ring; never changes */
	uint8		secret[32];		/* key of hashed values; never changes, and no SQL shows it */
	pg_atomic_uint32 waiting;	/* records that nobody took yet; atomic, a hint */
	pg_atomic_uint32 storers[TEX_WATCH_STORERS];	/* the process that stored records last, by database */
	pg_atomic_uint64 counters[TEX_WATCH_COUNTERS];
	TexTableCounts tables[TEX_WATCH_TABLES];
	char		ring[FLEXIBLE_ARRAY_MEMBER];
} TexWatchShared;

/* NULL where the library is not preloaded. */
extern TexWatchShared *tex_watch_shared;

extern Size tex_watch_shmem_size(void);
extern void tex_watch_shmem_attach(void);

extern void tex_watch_count(TexWatchCounter counter, uint64 by);
extern TexTableCounts *tex_watch_table_counts(Oid table);
extern void tex_watch_forget_table(Oid table);

extern bool tex_ring_put(const char *data, Size size, TimestampTz now);
extern char *tex_ring_take(uint64 *from, Size *size, bool *more);
extern void tex_ring_release(uint64 up_to);
extern bool tex_ring_has_mine(void);

#endif							/* TEX_WATCH_SHARED_H */
