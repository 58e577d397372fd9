/*
 * restore.c
 *		Lets a restored dump define again what a partition of events got by being
 *		attached.
 *
 * Partitions are no members of the extension, so pg_dump writes each of them
 * out: CREATE TABLE, ATTACH PARTITION, the rows, then its primary key, its
 * indexes and its triggers.  But events is a member: CREATE EXTENSION has made
 * it, with its primary key and index, so ATTACH PARTITION gives the partition
 * its own at once, and so does our event trigger with the statement triggers,
 * which have to be there before the rows are.  When the dump's own commands
 * come, what they define exists.  This event trigger, fired before them, turns
 * exactly those commands into ones that do nothing:
 *	- ADD CONSTRAINT ... PRIMARY KEY of the name that the partition's has,
 *	- CREATE INDEX of a name that an index of the partition has,
 *	- CREATE TRIGGER of a trigger that adopt_partition() made.
 * It changes the parse tree, which is what will be executed next; nothing else
 * is told of a command before it runs without a hook in every backend.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "event.h"

PG_FUNCTION_INFO_V1(tex_restore_partition);

/*
 * The partition of events that a command is about, or InvalidOid.
 */
static Oid
partition_of_events(RangeVar *relation)
{
	Oid			events = get_relname_relid("events", get_namespace_oid("trace_ext", true));
	Oid			oid = relation == NULL ? InvalidOid :
		RangeVarGetRelid(relation, NoLock, true);

	if (!OidIsValid(oid) || !OidIsValid(events) || !get_rel_relispartition(oid) ||
		get_partition_parent(oid, false) != events)
		return InvalidOid;
	return oid;
}

static bool
is_its_primary_key(Oid part, const char *name)
{
	Relation	rel = table_open(part, AccessShareLock);
	Oid			index;
	char	   *index_name;

	(void) RelationGetIndexList(rel);	/* sets rd_pkindex */
	index = rel->rd_pkindex;
	table_close(rel, NoLock);
	index_name = OidIsValid(index) ? get_rel_name(index) : NULL;
	return index_name != NULL && name != NULL && strcmp(index_name, name) == 0;
}

static void
skip_primary_key(AlterTableStmt *stmt)
{
	Oid			part = partition_of_events(stmt->relation);
	List	   *kept = NIL;
	ListCell   *lc;

	if (!OidIsValid(part))
		return;
	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		Constraint *constraint = (Constraint *) cmd->def;

		if (cmd->subtype != AT_AddConstraint || !IsA(constraint, Constraint) ||
			constraint->contype != CONSTR_PRIMARY ||
			!is_its_primary_key(part, constraint->conname))
			kept = lappend(kept, cmd);
	}
	stmt->cmds = kept;
}

static void
skip_index(IndexStmt *stmt)
{
	Oid			part = partition_of_events(stmt->relation);
	Oid			index = OidIsValid(part) && stmt->idxname != NULL ?
		get_relname_relid(stmt->idxname, get_rel_namespace(part)) : InvalidOid;

	if (OidIsValid(index) && get_rel_relkind(index) == RELKIND_INDEX &&
		get_rel_relispartition(index) && IndexGetRelation(index, true) == part)
		stmt->if_not_exists = true;
}

static void
replace_trigger(CreateTrigStmt *stmt)
{
	if (strncmp(stmt->trigname, "trace_ext_", strlen("trace_ext_")) == 0 &&
		OidIsValid(partition_of_events(stmt->relation)))
		stmt->replace = true;
}

/*
 * restore_partition() returns event_trigger
 */
Datum
tex_restore_partition(PG_FUNCTION_ARGS)
{
	Node	   *command;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"restore_partition\" must be fired by an event trigger")));

	command = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (IsA(command, AlterTableStmt))
		skip_primary_key((AlterTableStmt *) command);
	else if (IsA(command, IndexStmt))
		skip_index((IndexStmt *) command);
	else if (IsA(command, CreateTrigStmt))
		replace_trigger((CreateTrigStmt *) command);
	PG_RETURN_NULL();
}
