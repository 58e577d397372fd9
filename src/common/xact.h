/*
 * xact.h
 *		What the library does at the ends of transactions and subtransactions, in one
 *		written order.
 */
#ifndef TEX_XACT_H
#define TEX_XACT_H

#include "access/xact.h"

/*
 * The order in which modules hear of an event, whatever the order in which they were
 * initialised.  A module has one slot, and says here what it must not come before.
 */
typedef enum TexXactSlot
{
	/* store/truncate.c: forgets at an abort.  It depends on nobody, and nobody on it. */
	TEX_XACT_TRUNCATE,

	/* workers/make_way.c: lets workers in again, before anybody wakes one that is kept out. */
	TEX_XACT_MAKE_WAY,

	/* store/deltas.c: writes tables before commit, and wakes the worker after it. */
	TEX_XACT_DELTAS,

	/* workers/worker_rows.c, cache/keep.c: wake the worker after a commit, if this session ever asked for that. */
	TEX_XACT_WAKE,
	TEX_XACT_KEEP,

	/*
	 * cache/writes.c: looks at what this transaction wrote, so it comes after
	 * everything above that writes a table before commit.  What a computation
	 * tracks ends with the transaction, after all else.
	 */
	TEX_XACT_CACHE_WRITES,

	/*
	 * watch/collect.c: takes the time that stands for the commit, so it is the last before
	 * it.  After it, it hands on what was collected, and wakes the worker.
	 */
	TEX_XACT_WATCH,

	TEX_XACT_SLOTS
} TexXactSlot;

extern void tex_xact_init(void);
extern void tex_xact_register(TexXactSlot slot, XactCallback at_end, SubXactCallback at_subtransaction_end);

#endif							/* TEX_XACT_H */
