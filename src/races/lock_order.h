/*
 * lock_order.h
 *		Locks that are taken in opposite orders: deadlocks that have not happened yet.
 */
#ifndef TEX_LOCK_ORDER_H
#define TEX_LOCK_ORDER_H

#include "history/trace_load.h"
#include "races/locks.h"
#include "races/strand_clock.h"

/* More locks than that in one cycle are not looked for. */
#define TEX_LONGEST_CYCLE 4

typedef struct TexLockOrder TexLockOrder;

/* A strand wants a lock while it holds another one. */
typedef struct TexLockWant
{
	int32		held;			/* identities */
	int32		wanted;
	int32		hold_event;		/* where the one was taken */
	int32		event;			/* where the other one was wanted */
	int32		lock_set;		/* all that was held then */
	int32		location;		/* of that event, or TEX_NO_NAME */
	bool		held_shared;
	bool		wanted_shared;
	TexClock	clock;			/* of that event, in the weak order */
	struct TexLockWant *next;	/* of the same two locks */
} TexLockWant;

/* Each wants what the next one holds, and the last one what the first one holds. */
typedef struct TexLockCycle
{
	int			n;
	int32		names;			/* of its locks, as one name of the history */
	const TexLockWant *wants[TEX_LONGEST_CYCLE];
} TexLockCycle;

typedef void (*TexCycleVisitor) (const TexLockCycle *cycle, void *arg);

extern TexLockOrder *tex_lock_order_create(TexHistory *history, const TexLocks *locks, const TexClocks *clocks);
extern void tex_lock_order_note(TexLockOrder *order, int32 event, int32 lock_set, TexClock clock, uint32 exchanges);
extern void tex_lock_cycles(TexLockOrder *order, TexCycleVisitor visitor, void *arg);

#endif							/* TEX_LOCK_ORDER_H */
