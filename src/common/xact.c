/*
 * xact.c
 *		What the library does at the ends of transactions and subtransactions, in one
 *		written order.
 *
 * PostgreSQL calls callbacks in the reverse order of their registration, so an order
 * that modules make by registering one after the other is one that nobody wrote down.
 * Here is the only registration of the library: one callback of each kind, which
 * calls those of the modules in the order of TexXactSlot.  A slot that nobody took
 * costs a comparison: a module that a session may never use takes its slot when it is
 * first used.
 *
 * Where other libraries' callbacks stand is not in our hands: those of a library that
 * was loaded before trace_ext are called after ours.
 *
 * An error in a callback before commit ends the transaction, and the slots after it
 * hear of the abort only, as with callbacks of PostgreSQL's own list.
 */
#include "postgres.h"

#include "common/xact.h"

typedef struct Slot
{
	XactCallback at_end;
	SubXactCallback at_subtransaction_end;
} Slot;

static Slot slots[TEX_XACT_SLOTS];

static void
call_at_end(XactEvent event, void *arg)
{
	for (int i = 0; i < TEX_XACT_SLOTS; i++)
	{
		if (slots[i].at_end != NULL)
			slots[i].at_end(event, NULL);
	}
}

static void
call_at_subtransaction_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	for (int i = 0; i < TEX_XACT_SLOTS; i++)
	{
		if (slots[i].at_subtransaction_end != NULL)
			slots[i].at_subtransaction_end(event, subid, parent, NULL);
	}
}

/*
 * Takes a slot; either function may be NULL.  May be called again with the same
 * functions, and in the middle of a transaction, whose end they hear of then.
 */
void
tex_xact_register(TexXactSlot slot, XactCallback at_end, SubXactCallback at_subtransaction_end)
{
	Assert(slots[slot].at_end == NULL || slots[slot].at_end == at_end);
	slots[slot].at_end = at_end;
	slots[slot].at_subtransaction_end = at_subtransaction_end;
}

/*
 * Called once, when the library is loaded: by the postmaster, or in the middle of the
 * transaction that first uses it.
 */
void
tex_xact_init(void)
{
	RegisterXactCallback(call_at_end, NULL);
	RegisterSubXactCallback(call_at_subtransaction_end, NULL);
}
