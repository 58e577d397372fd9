/*
 * data_version.c
 *		What data_version() is made of: a stamp for each statement that changed what
 *		can be seen.
 *
 * A stamp is a row of version_deltas, written by the transaction that made the change,
 * so rollback, savepoints and snapshots treat both alike.  It is a random number; the
 * version is all of them added up without carry (exclusive or), so a fold can add up
 * some of them in any order, and it changes nothing.
 *
 * Events have their stamps from deltas.c.  note_version(), a row trigger, is for tables
 * that a statement changes few rows of: findings, anomalies, rules and the like.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "store/append.h"
#include "store/data_version.h"

PG_FUNCTION_INFO_V1(tex_append_stamp);
PG_FUNCTION_INFO_V1(tex_note_version);

/*
 * Are two versions of a row the same in all columns but the ignored ones (by number)?
 * As they are stored: what a type's operators call equal may look different.
 */
bool
tex_same_row(TupleTableSlot *a, TupleTableSlot *b, const Bitmapset *ignored)
{
	TupleDesc	desc = a->tts_tupleDescriptor;

	for (int column = 1; column <= desc->natts; column++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, column - 1);
		bool		a_null;
		bool		b_null;
		Datum		x;
		Datum		y;

		if (bms_is_member(column, ignored))
			continue;
		x = slot_getattr(a, column, &a_null);
		y = slot_getattr(b, column, &b_null);
		if (a_null != b_null ||
			(!a_null && !datum_image_eq(x, y, attribute->attbyval, attribute->attlen)))
			return false;
	}
	return true;
}

/*
 * append_stamp() returns void
 */
Datum
tex_append_stamp(PG_FUNCTION_ARGS)
{
	tex_append_version_stamp();
	PG_RETURN_VOID();
}

/*
 * Appends a stamp, but one for all rows of a statement: as long as the command counter
 * stands, whoever sees a change of this subtransaction sees the stamp too.
 */
static void
stamp_once(void)
{
	static FullTransactionId stamped_xact;
	static SubTransactionId stamped_subid;
	static CommandId stamped_command;
	FullTransactionId xact = GetTopFullTransactionId();
	SubTransactionId subid = GetCurrentSubTransactionId();
	CommandId	command = GetCurrentCommandId(true);

	if (FullTransactionIdEquals(stamped_xact, xact) && stamped_subid == subid &&
		stamped_command == command)
		return;
	tex_append_version_stamp();
	stamped_xact = xact;
	stamped_subid = subid;
	stamped_command = command;
}

/*
 * note_version(column, ...) returns trigger
 *
 * For each row that came, went or changed in another column than those; or for TRUNCATE.
 */
Datum
tex_note_version(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Bitmapset  *ignored = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		(!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) && !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"note_version\" must be fired after a row changed, or by TRUNCATE")));

	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		for (int i = 0; i < trigger->tg_trigger->tgnargs; i++)
		{
			AttrNumber	column = get_attnum(RelationGetRelid(trigger->tg_relation), trigger->tg_trigger->tgargs[i]);

			if (column > 0)
				ignored = bms_add_member(ignored, column);
		}
		if (tex_same_row(trigger->tg_trigslot, trigger->tg_newslot, ignored))
			return PointerGetDatum(NULL);
	}
	stamp_once();
	return PointerGetDatum(NULL);
}
