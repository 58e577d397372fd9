/*
 * writes.c
 *		The row trigger of watched tables: takes what a statement writes.
 *
 * It is called after each row, when all other triggers have had their say about its values,
 * whatever wrote it: a statement, COPY, a cascade, the apply worker of a subscription.  It
 * writes nothing, and returns nothing.
 *
 * Of an insert and a delete each watched column is written, of an update those that the
 * statement sets and those that a trigger changed.  A row whose key is updated is another
 * row: the old one is deleted, the new one inserted.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog/pg_proc.h"
#include "access/htup_details.h"
#include "compat.h"
#include "watch/collect.h"
#include "watch/computed.h"
#include "watch/values.h"
#include "watch/writes.h"

PG_FUNCTION_INFO_V1(tex_watch_row);

/* A row before or after it was written. */
typedef struct Row
{
	TupleTableSlot *slot;		/* NULL: it is not there */
	StringInfoData name;
} Row;

/* Whether a function of the catalog is tex_watch_row(). */
bool
tex_is_watch_function(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		is_ours = false;
	bool		isnull;
	Datum		source;

	if (!HeapTupleIsValid(tuple))
		return false;
	source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
	if (!isnull && strcmp(NameStr(((Form_pg_proc) GETSTRUCT(tuple))->proname), "watch_row") == 0)
	{
		text	   *symbol = DatumGetTextPP(source);

		is_ours = VARSIZE_ANY_EXHDR(symbol) == 13 && memcmp(VARDATA_ANY(symbol), "tex_watch_row", 13) == 0;
	}
	ReleaseSysCache(tuple);
	return is_ours;
}

/* The name of a row; false where it has none. */
static bool
name_row(Row *row, const TexWatch *watch)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	initStringInfo(&row->name);
	for (int i = 0; i < watch->nkeys; i++)
		values[i] = slot_getattr(row->slot, watch->keys[i].attribute, &isnull[i]);
	return tex_watch_row_name(&row->name, watch, values, isnull);
}

/* Whether an update left a column as it was, without fetching what is stored out of line. */
static bool
is_unchanged(const TexWatchColumn *column, TupleTableSlot *before, TupleTableSlot *after)
{
	bool		was_null;
	bool		is_null;
	Datum		was = slot_getattr(before, column->attribute, &was_null);
	Datum		is = slot_getattr(after, column->attribute, &is_null);

	if (was_null || is_null)
		return was_null && is_null;
	return datumIsEqual(was, is, column->by_value, column->length);
}

/* Whether an update left the key as it was, so that the row is called the same: false is not sure. */
static bool
same_key(const TexWatch *watch, const Row *before, const Row *after)
{
	for (int i = 0; i < watch->nkeys; i++)
		if (!is_unchanged(&watch->keys[i], before->slot, after->slot))
			return false;
	return true;
}

/* Takes a write of a column; either row may not be there. */
static void
take_column(TexStatement *statement, const TexWatch *watch, const TexWatchColumn *column,
			Row *before, Row *after, TexTaken what)
{
	StringInfoData variable;
	TexWatchValue old_value = {.kind = TEX_VALUE_NULL};
	TexWatchValue new_value = {.kind = TEX_VALUE_NULL};
	bool		isnull;

	initStringInfo(&variable);
	tex_watch_variable(&variable, before ? &before->name : &after->name, column);
	if (before)
	{
		Datum		value = slot_getattr(before->slot, column->attribute, &isnull);

		tex_watch_value(&old_value, watch, column, variable.data, value, isnull);
	}
	if (after)
	{
		Datum		value = slot_getattr(after->slot, column->attribute, &isnull);

		tex_watch_value(&new_value, watch, column, variable.data, value, isnull);
	}
	tex_watch_take(statement, watch, what, variable.data, variable.len, &old_value, &new_value);
}

/* Takes each watched column of a row that came or went. */
static void
take_row(TexStatement *statement, const TexWatch *watch, Row *before, Row *after)
{
	for (int i = 0; i < watch->ncolumns; i++)
		take_column(statement, watch, &watch->columns[i], before, after, TEX_TAKEN_WRITE);
}

/* Takes what an update set or changed. */
static void
take_update(TexStatement *statement, const TexWatch *watch, Row *before, Row *after, const Bitmapset *set)
{
	for (int i = 0; i < watch->ncolumns; i++)
	{
		const TexWatchColumn *column = &watch->columns[i];
		bool		is_set = bms_is_member(column->attribute - FirstLowInvalidHeapAttributeNumber, set);

		if (!is_set && is_unchanged(column, before->slot, after->slot))
			continue;
		take_column(statement, watch, column, before, after,
					is_set && tex_is_computed(statement->computed, watch->relation, column->attribute, NameStr(column->name)) ? TEX_TAKEN_RMW : TEX_TAKEN_WRITE);
	}
}

/* Takes the row that the trigger is called for. */
static void
take(const TriggerData *trigger)
{
	TexWatch   *watch = tex_watch_of(RelationGetRelid(trigger->tg_relation));
	TexStatement *statement = watch ? tex_watch_current_statement() : NULL;
	bool		is_update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	Row			before = {.slot = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? NULL : trigger->tg_trigslot};
	Row			after = {.slot = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? trigger->tg_trigslot :
	is_update ? trigger->tg_newslot : NULL};

	if (watch == NULL || statement == NULL)
		return;
	if ((before.slot && !name_row(&before, watch)) ||
		(after.slot && !(is_update && same_key(watch, &before, &after)) && !name_row(&after, watch)))
	{
		tex_watch_count(TEX_WATCH_NOT_COVERED, 1);
		return;
	}
	if (!is_update)
		take_row(statement, watch, before.slot ? &before : NULL, after.slot ? &after : NULL);
	else if (after.name.data == NULL || strcmp(before.name.data, after.name.data) == 0)
		take_update(statement, watch, &before, &after, trigger->tg_updatedcols);
	else
	{
		take_row(statement, watch, &before, NULL);
		take_row(statement, watch, NULL, &after);
	}
}

/*
 * watch_row(): AFTER ROW trigger on watched tables.  Never fails.
 */
Datum
tex_watch_row(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TexGuard	guard;
	MemoryContext scratch;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("watch_row() is a row trigger")));
	if (tex_watch_is_off())
	{
		tex_watch_gap();
		return PointerGetDatum(NULL);
	}
	if (tex_watch_is_full())
	{
		tex_watch_count(TEX_WATCH_TOO_MUCH_MEMORY, 1);
		return PointerGetDatum(NULL);
	}
	tex_guard_begin(&guard);
	scratch = tex_guard_scratch(&guard);
	PG_TRY();
	{
		MemoryContextSwitchTo(scratch);
		take(trigger);
		tex_guard_end(&guard);
	}
	PG_CATCH();
	{
		tex_guard_failed(&guard);
	}
	PG_END_TRY();
	return PointerGetDatum(NULL);
}
