/*
 * locks.h
 *		Who holds which lock, and what a lock hands on.
 */
#ifndef TEX_LOCKS_H
#define TEX_LOCKS_H

#include "history/strings.h"
#include "races/causal_sequence.h"
#include "races/strand_clock.h"
#include "history/trace_load.h"

typedef struct TexLocks TexLocks;

/* What an acquire gets or a release gives. */
typedef struct TexLockClocks
{
	TexClock   *exclusive;		/* joined by all later acquires */
	TexClock   *shared;			/* joined by later exclusive acquires only */
} TexLockClocks;

/* A lock that a strand held when it wanted another one. */
typedef struct TexHeldLock
{
	int32		lock;			/* identity */
	int32		event;			/* the acquire that began it */
	bool		shared;
} TexHeldLock;

extern TexLocks *tex_locks_create(TexHistory *history);

/* False: another strand holds it and will release it; try again then. */
extern bool tex_locks_acquire(TexLocks *locks, int32 event, bool force, TexLockClocks *gets);

/* False: an inner release of a lock held more than once gives nothing. */
extern bool tex_locks_release(TexLocks *locks, int32 event, TexLockClocks *gives, bool *shared,
							  TexSequence *sequence);
extern int32 tex_locks_waiting(TexLocks *locks);

/* The set of locks in force at an access, as a number; 0 is the empty one. */
extern int32 tex_locks_held(TexLocks *locks, int32 event);
extern bool tex_locks_holds_any(const TexLocks *locks, int32 strand);
extern int	tex_locks_held_under(const TexLocks *locks, int32 event, TexHeldLock *held, int room);
extern int	tex_lock_set_names(const TexLocks *locks, int32 set, int32 *names, int room);
extern bool tex_lock_sets_at_once(const TexLocks *locks, int32 a, int32 b);
extern bool tex_lock_sets_protect(const TexLocks *locks, int32 a, int32 b);

#endif							/* TEX_LOCKS_H */
