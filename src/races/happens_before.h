/*
 * happens_before.h
 *		The partial order over a history, one event after the other.
 */
#ifndef TEX_HAPPENS_BEFORE_H
#define TEX_HAPPENS_BEFORE_H

#include "races/causal_sequence.h"
#include "races/lock_order.h"
#include "races/strand_clock.h"
#include "history/trace_load.h"

typedef struct TexOrder TexOrder;

/* An access when its turn comes. */
typedef struct TexPoint
{
	int32		event;
	int32		position;		/* in the sequence of all events */
	int32		lock_set;		/* for tex_locks_protect(); 0: none */
	TexClock	clock[TEX_NORDERS]; /* valid during the call; share to keep */
} TexPoint;

typedef void (*TexAccessVisitor) (const TexPoint *point, void *arg);

extern TexOrder *tex_order_create(TexHistory *history);
extern TexLockOrder *tex_order_watch_locks(TexOrder *order);
extern void tex_order_run(TexOrder *order, TexAccessVisitor visitor, void *arg);
extern void tex_order_run_sequence(TexOrder *order);
extern const TexEdges *tex_order_edges(const TexOrder *order);
extern int32 tex_order_handover(const TexOrder *order, int32 event);
extern TexClocks *tex_order_clocks(TexOrder *order);
extern int	tex_order_count(const TexOrder *order);
extern int32 tex_order_position(const TexOrder *order, int32 event);
extern int	tex_locks_names(const TexOrder *order, int32 set, int32 *names, int room);
extern bool tex_locks_at_once(const TexOrder *order, int32 a, int32 b);
extern bool tex_locks_protect(const TexOrder *order, int32 a, int32 b);

#endif							/* TEX_HAPPENS_BEFORE_H */
