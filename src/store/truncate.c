/*
 * truncate.c
 *		Keeps counts and summaries exact when events or a partition of it is
 *		truncated.
 *
 * A partition that is truncated by itself is read once more, before its rows
 * go: they are subtracted by deltas, as if they were deleted.  That takes no lock
 * but the one on the partition, so any number of them may be truncated side by
 * side, as a parallel pg_restore does (there they are empty, and nothing happens).
 * When all of events is truncated nothing has to be read: afterwards everything
 * derived is emptied.  PostgreSQL fires the triggers of events before those of
 * its partitions, which then have nothing to do.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

#include "common/distributed.h"
#include "common/event.h"
#include "common/owner.h"
#include "common/xact.h"
#include "store/truncate.h"

PG_FUNCTION_INFO_V1(tex_note_truncate);

/* Set while events as a whole is truncated. */
static bool truncating_all = false;

/* Set when rows of a partition were subtracted. */
static bool subtracted = false;

/*
 * note_truncate() returns trigger
 *
 * BEFORE and AFTER, for each statement, on events and each of its partitions.
 */
Datum
tex_note_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Relation	rel;
	bool		all;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"note_truncate\" must be fired by TRUNCATE")));

	rel = trigger->tg_relation;
	all = RelationGetRelid(rel) == tex_relation_oid("events");
	if (!all && !rel->rd_rel->relispartition)
		return PointerGetDatum(NULL);	/* detached: no part of events any more */
	tex_refuse_distributed();
	if (TRIGGER_FIRED_BEFORE(trigger->tg_event))
	{
		truncating_all = truncating_all || all;
		if (!truncating_all && RelationGetNumberOfBlocks(rel) > 0)
		{
			tex_run_as_owner(psprintf("SELECT trace_ext_internal.count_rows(%u, -1)", RelationGetRelid(rel)));
			subtracted = true;
		}
	}
	else if (all)
	{
		truncating_all = false;
		tex_run_as_owner("SELECT trace_ext_internal.forget_all()");
	}
	else if (subtracted)
	{
		subtracted = false;
		/* The traces of those rows are to be read again: once, not by each reader. */
		tex_run_as_owner("SELECT trace_ext_internal.fold_if_free()");
	}
	return PointerGetDatum(NULL);
}

static void
forget_at_abort(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		truncating_all = subtracted = false;
}

static void
forget_at_subabort(SubXactEvent event, SubTransactionId subid,
				   SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		truncating_all = subtracted = false;
}

void
tex_truncate_init(void)
{
	tex_xact_register(TEX_XACT_TRUNCATE, forget_at_abort, forget_at_subabort);
}
