/*
 * receiver_shared.h
 *		Shared memory of the receiver: its state, and its numbers.
 *
 * The state is protected by the lock, shared to read, exclusive to write.  The numbers are
 * atomic: only the receiver counts, and each number is right by itself.  They outlive the
 * process; a crash of the server sets them to zero, as it does all shared memory.
 *
 * The receiver is in a library of its own (src/receiver), which finds what it needs of this
 * one by exported names, so it must be built with it: "size" tells it whether it was.
 */
#ifndef TEX_RECEIVER_SHARED_H
#define TEX_RECEIVER_SHARED_H

#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "common/worker_slots.h"

typedef enum TexReceiverState
{
	TEX_RECEIVER_OFF,			/* no process; to be started where an address is set */
	TEX_RECEIVER_STARTING,		/* a process was asked for, or is on its way */
	TEX_RECEIVER_LISTENING,
	TEX_RECEIVER_FAILED			/* no process; another try at wake_at */
} TexReceiverState;

/* What a body came in by. */
typedef enum TexDoor
{
	TEX_DOOR_TRACES,
	TEX_DOOR_LOGS,
	TEX_DOOR_EVENTS,
	TEX_DOORS
} TexDoor;

/* Why a request was refused. */
typedef enum TexRefusal
{
	TEX_REFUSED_UNAUTHORIZED,	/* 401 */
	TEX_REFUSED_WRONG,			/* 404, 405, 415: another door, way or type */
	TEX_REFUSED_MALFORMED,		/* 400 */
	TEX_REFUSED_TOO_LARGE,		/* 413 */
	TEX_REFUSED_SLOW,			/* 408 */
	TEX_REFUSED_QUOTA,			/* 429 */
	TEX_REFUSED_OVERLOAD,		/* 503: bytes, connections, shutdown */
	TEX_REFUSED_DATABASE,		/* 503: the database says that it will pass */
	TEX_REFUSED_FAILED,			/* 500 */
	TEX_REFUSED_BROKEN,			/* no answer: the client went, or sent what is no HTTP */
	TEX_REFUSALS
} TexRefusal;

/*
 * How long bodies took, from their last byte to their answer: bucket n counts those up to
 * 0.1 ms * 2^(n / 4); the last one, 80 s and more, all others.  All counts are halved now and
 * then, so that they are about the last few thousand bodies.
 */
#define TEX_LATENCY_BUCKETS 80

typedef struct TexReceiver
{
	LWLock		lock;
	Size		size;			/* no lock: of this struct; never changes */
	TexReceiverState state;		/* lock; by the launcher, then by the receiver */
	int			pid;			/* lock; 0: none; by the receiver, as all that follows */
	Oid			database;		/* lock; where it is connected to */
	TimestampTz started_at;		/* lock; by the launcher as well */
	TimestampTz wake_at;		/* lock; FAILED or OFF: not before that; by the launcher as well */
	int			failures;		/* lock; in a row; by the launcher as well */
	char		error[TEX_ERROR_LENGTH];	/* lock; why it failed; empty: it did not */
	char		address[TEX_ERROR_LENGTH];	/* lock; where it listens */

	/* Atomic, no lock. */
	pg_atomic_uint64 connections;	/* that are open */
	pg_atomic_uint64 buffered;	/* bytes of bodies in memory */
	pg_atomic_uint64 bodies[TEX_DOORS]; /* that were stored */
	pg_atomic_uint64 records[TEX_DOORS];	/* in these: spans, log records, events */
	pg_atomic_uint64 rejected;	/* of these records */
	pg_atomic_uint64 bytes;		/* of stored bodies, as they came */
	pg_atomic_uint64 batches;	/* transactions */
	pg_atomic_uint64 usecs;		/* that stored bodies took in all */
	pg_atomic_uint64 refused[TEX_REFUSALS];
	pg_atomic_uint32 latency[TEX_LATENCY_BUCKETS];
} TexReceiver;

/* NULL where the library is not preloaded. */
extern PGDLLEXPORT TexReceiver *tex_receiver;

extern Size tex_receiver_size(void);
extern void tex_receiver_attach(void);

extern void tex_receiver_retry(void);
extern PGDLLEXPORT void tex_receiver_note_error(const char *message);

#endif							/* TEX_RECEIVER_SHARED_H */
