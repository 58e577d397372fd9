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
 *	- ADD CONSTRAINT ... PRIMARY KEY,
 *	- CREATE INDEX of a name that an index of the partition has,
 *	- CREATE TRIGGER of a trigger that adopt_partition() made.
 * It changes the parse tree, which is what will be executed next; nothing else
 * is told of a command before it runs without a hook in every backend.
 *
 * A partition that was renamed, or made and attached by its user, has names of
 * key and index that ATTACH PARTITION does not choose.  The key takes the name
 * of the dump.  An index of another name cannot be told from one of the user's
 * own before ALTER INDEX ... ATTACH PARTITION; then the one that is attached
 * takes its place.
 *
 * Partitions that maintain_partitions() made give way to those that arrive: where a
 * command attaches or creates one whose range or name they have, they are dropped, or
 * take another name, before it runs.  So a dump with partitions of other lengths
 * finds its ranges free, whatever a worker made of them meanwhile.  Rows of the
 * default partition come back into the default partition: before the first of them,
 * empty partitions that maintain_partitions() made are dropped (restore_default()).
 *
 * A session that restores is known by two settings that every dump begins with: an
 * empty search_path, and check_function_bodies off.  While there is one, and for a
 * minute after the last, workers make no partitions, look for no races and let no
 * data leave in that database (restoring()).  Only sessions with the rights of the
 * owner of events count: nobody else can have workers wait.
 *
 * What only changes the parse tree needs no check of rights: the command that follows
 * makes it, and its failure undoes what was done before.  Whoever makes others give
 * way is checked first.
 *
 * Known limit: where two partitions exchanged their names, the restore of the
 * first finds the name of its key taken, and fails as it would without this.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "parser/parse_node.h"
#include "parser/parse_utilcmd.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "common/owner.h"
#include "common/worker_slots.h"
#include "compat.h"
#include "store/restore.h"

/* A parallel restore ends all its sessions between its sections. */
#define SETTLE_MS 60000

PG_FUNCTION_INFO_V1(tex_restore_partition);
PG_FUNCTION_INFO_V1(tex_restoring);
PG_FUNCTION_INFO_V1(tex_restore_default);

/* InvalidOid while the extension is made. */
static Oid
events_oid(void)
{
	return get_relname_relid("events", get_namespace_oid("trace_ext", true));
}

/*
 * Only one that the caller owns: this comes before the command checks his rights, and
 * nothing may be locked or changed for who has none.
 */
static bool
is_partition_of_events(Oid oid)
{
	Oid			events = events_oid();

	return OidIsValid(events) && get_rel_relispartition(oid) &&
		get_partition_parent(oid, false) == events && tex_owns_relation(oid);
}

/*
 * The partition of events that a command is about, or InvalidOid.
 */
static Oid
partition_of_events(RangeVar *relation)
{
	Oid			oid = relation == NULL ? InvalidOid :
		RangeVarGetRelid(relation, NoLock, true);

	return OidIsValid(oid) && is_partition_of_events(oid) ? oid : InvalidOid;
}

/* The index of a table's primary key, or InvalidOid. */
static Oid
primary_key_of(Oid part)
{
	Relation	rel = table_open(part, AccessShareLock);
	Oid			index;

	(void) RelationGetIndexList(rel);	/* sets rd_pkindex */
	index = rel->rd_pkindex;
	table_close(rel, NoLock);
	return index;
}

/*
 * The caller owns the table; a name that is taken fails, as the dump's own command
 * would.
 */
static void
rename_index(Oid index, const char *name)
{
	if (strcmp(get_rel_name(index), name) == 0)
		return;
	RenameRelationInternal(index, name, false, true);
	CommandCounterIncrement();
}

/*
 * Is this the definition of the key that a partition has already?
 */
static bool
is_key_of_events(Constraint *constraint, Oid part, Oid key)
{
	Relation	index;
	ListCell   *lc;
	int			n = 0;
	bool		same;

	if (constraint->contype != CONSTR_PRIMARY || constraint->conname == NULL ||
		!OidIsValid(key) || !get_rel_relispartition(key))
		return false;
	index = index_open(key, AccessShareLock);
	same = list_length(constraint->keys) == IndexRelationGetNumberOfKeyAttributes(index);
	foreach(lc, constraint->keys)
	{
		same = same &&
			get_attnum(part, strVal(lfirst(lc))) == index->rd_index->indkey.values[n];
		n++;
	}
	index_close(index, AccessShareLock);
	return same;
}

/*
 * ALTER TABLE ...  ADD PRIMARY KEY that the partition has by its parent: the
 * command is left without it.
 */
static void
skip_primary_key(AlterTableStmt *stmt)
{
	Oid			part = partition_of_events(stmt->relation);
	Oid			key = OidIsValid(part) ? primary_key_of(part) : InvalidOid;
	ListCell   *lc;

	if (!OidIsValid(key))
		return;
	/* In place: what is allocated here is gone when the command runs. */
	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		Constraint *constraint = (Constraint *) cmd->def;

		if (cmd->subtype == AT_AddConstraint && IsA(constraint, Constraint) &&
			is_key_of_events(constraint, part, key))
		{
			rename_index(key, constraint->conname);
			stmt->cmds = foreach_delete_current(stmt->cmds, lc);
		}
	}
}

/*
 * The index of a partition that is attached to an index of events, or InvalidOid.
 */
static Oid
attached_index(Oid part, Oid parent_index)
{
	Relation	rel = table_open(part, AccessShareLock);
	List	   *indexes = RelationGetIndexList(rel);
	Oid			found = InvalidOid;
	ListCell   *lc;

	table_close(rel, NoLock);
	foreach(lc, indexes)
	{
		Oid			index = lfirst_oid(lc);

		if (get_rel_relispartition(index) && get_partition_parent(index, false) == parent_index)
			found = index;
	}
	return found;
}

/*
 * ALTER INDEX ... ATTACH PARTITION of an index whose place another one has: the
 * latter takes its name, and the command then finds it attached.
 */
static void
exchange_index(AlterTableStmt *stmt)
{
	AlterTableCmd *cmd = linitial_node(AlterTableCmd, stmt->cmds);
	Oid			parent = RangeVarGetRelid(stmt->relation, NoLock, true);
	Oid			index;
	Oid			part;
	Oid			attached;
	ObjectAddress address;
	char	   *name;

	if (cmd->subtype != AT_AttachPartition || !OidIsValid(parent) ||
		get_rel_relkind(parent) != RELKIND_PARTITIONED_INDEX ||
		IndexGetRelation(parent, true) != events_oid())
		return;
	index = RangeVarGetRelid(((PartitionCmd *) cmd->def)->name, NoLock, true);
	if (!OidIsValid(index) || get_rel_relkind(index) != RELKIND_INDEX ||
		get_rel_relispartition(index))
		return;
	part = IndexGetRelation(index, true);
	if (!OidIsValid(part) || !is_partition_of_events(part))
		return;
	attached = attached_index(part, parent);
	if (!OidIsValid(attached))
		return;

	name = get_rel_name(index);
	ObjectAddressSet(address, RelationRelationId, index);
	performDeletion(&address, DROP_RESTRICT, 0);
	rename_index(attached, name);
}

/*
 * CREATE INDEX of a name that an index of the partition's parent has given it: IF
 * NOT EXISTS.
 */
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

/* CREATE TRIGGER of one of ours: OR REPLACE. */
static void
replace_trigger(CreateTrigStmt *stmt)
{
	if (strncmp(stmt->trigname, "trace_ext_", strlen("trace_ext_")) == 0 &&
		OidIsValid(partition_of_events(stmt->relation)))
		stmt->replace = true;
}

/* ----------------------------------------------------------------
 *		Sessions that restore
 * ----------------------------------------------------------------
 */
/* May the caller act for the owner of events?  False while there is no extension. */
static bool
owns_events(void)
{
	Oid			events = events_oid();

	return OidIsValid(events) && tex_owns_relation(events);
}

/* By settings that pg_dump writes at the head of every dump, and by rights. */
static bool
is_restore_session(void)
{
	/* set_config() leaves nothing of '', SET quotes it. */
	return !check_function_bodies && !creating_extension &&
		(namespace_search_path[0] == '\0' || strcmp(namespace_search_path, "\"\"") == 0) &&
		owns_events();
}

/* At the end of the session, however it ends: the time to settle begins. */
static void
restorer_ends(int code, Datum arg)
{
	TexDatabaseSlot *slot;

	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	slot = tex_slot_of(MyDatabaseId, false);
	if (slot != NULL && slot->restorers > 0)
	{
		slot->restorers--;
		slot->restored_at = GetCurrentTimestamp();
	}
	LWLockRelease(&tex_workers->lock);
}

/*
 * Called when this session changed events or a partition of it: notes for the
 * workers that it restores a dump, until it ends.
 */
void
tex_note_restorer(void)
{
	static bool noted = false;
	TexDatabaseSlot *slot;

	if (noted || check_function_bodies || tex_workers == NULL || !is_restore_session())
		return;
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	slot = tex_slot_of(MyDatabaseId, true);
	if (slot != NULL)
		slot->restorers++;
	LWLockRelease(&tex_workers->lock);
	noted = slot != NULL;
	if (noted)
		before_shmem_exit(restorer_ends, (Datum) 0);
}

/*
 * restoring() returns boolean
 */
Datum
tex_restoring(PG_FUNCTION_ARGS)
{
	TexDatabaseSlot *slot = tex_my_slot();
	bool		restoring = false;

	if (slot != NULL)
	{
		LWLockAcquire(&tex_workers->lock, LW_SHARED);
		restoring = slot->database == MyDatabaseId &&
			(slot->restorers > 0 ||
			 (slot->restored_at != 0 &&
			  !TimestampDifferenceExceeds(slot->restored_at, GetCurrentTimestamp(), SETTLE_MS)));
		LWLockRelease(&tex_workers->lock);
	}
	PG_RETURN_BOOL(restoring);
}

/* ----------------------------------------------------------------
 *		Partitions that give way
 * ----------------------------------------------------------------
 */
/* Calls one of our functions with the owner's rights.  The caller's own were checked. */
static void
call_as_owner(const char *sql, int n_args, Oid *types, Datum *values, const char *nulls)
{
	TexOwnerContext owner;

	tex_become_owner(&owner);
	SPI_connect();
	if (SPI_execute_with_args(sql, n_args, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not run \"%s\"", sql);
	SPI_finish();
	tex_become_caller(&owner);
}

/* One end of a range, which may be MINVALUE or MAXVALUE. */
static TimestampTz
bound_of(List *datums)
{
	PartitionRangeDatum *datum = linitial_node(PartitionRangeDatum, datums);

	if (datum->kind == PARTITION_RANGE_DATUM_MINVALUE)
		return DT_NOBEGIN;
	if (datum->kind == PARTITION_RANGE_DATUM_MAXVALUE)
		return DT_NOEND;
	return DatumGetTimestampTz(castNode(Const, datum->value)->constvalue);
}

/*
 * A partition arrives, as a table that is attached or (InvalidOid) is yet to be made.
 * Fails as the command would where its range is none.
 */
static void
make_room_for(Oid part, PartitionBoundSpec *spec)
{
	Relation	events;
	PartitionBoundSpec *bound;
	Oid			types[] = {OIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID};
	Datum		values[4];

	if (spec == NULL || spec->is_default || !owns_events() ||
		(OidIsValid(part) && !tex_owns_relation(part)))
		return;
	events = table_open(events_oid(), AccessShareLock);
	bound = transformPartitionBound(make_parsestate(NULL), events, spec);
	table_close(events, NoLock);
	values[0] = ObjectIdGetDatum(part);
	values[1] = TimestampTzGetDatum(bound_of(bound->lowerdatums));
	values[2] = TimestampTzGetDatum(bound_of(bound->upperdatums));
	values[3] = BoolGetDatum(OidIsValid(part) && is_restore_session());
	call_as_owner("SELECT trace_ext_internal.make_room($1, $2, $3, $4)", 4, types, values, NULL);
}

/* ALTER TABLE events ATTACH PARTITION: its range is to be free. */
static void
attach_arriving(AlterTableStmt *stmt)
{
	AlterTableCmd *cmd = linitial_node(AlterTableCmd, stmt->cmds);
	PartitionCmd *partition = (PartitionCmd *) cmd->def;

	if (cmd->subtype != AT_AttachPartition || partition->bound == NULL ||
		RangeVarGetRelid(stmt->relation, NoLock, true) != events_oid())
		return;
	make_room_for(RangeVarGetRelid(partition->name, NoLock, true), partition->bound);
}

/* A new table of a name that one of ours has, or that is a partition from its start. */
static void
create_arriving(CreateStmt *stmt)
{
	Oid			namespace = get_namespace_oid("trace_ext", true);
	Oid			types[] = {NAMEOID};
	Datum		values[1];

	/* A temporary table is in no schema of ours, and no partition of events. */
	if (stmt->if_not_exists || stmt->relation->relpersistence == RELPERSISTENCE_TEMP ||
		!OidIsValid(namespace))
		return;
	if (RangeVarGetCreationNamespace(stmt->relation) == namespace &&
		OidIsValid(get_relname_relid(stmt->relation->relname, namespace)) && owns_events())
	{
		values[0] = DirectFunctionCall1(namein, CStringGetDatum(stmt->relation->relname));
		call_as_owner("SELECT trace_ext_internal.give_up_name($1)", 1, types, values, NULL);
	}
	if (stmt->partbound != NULL && list_length(stmt->inhRelations) == 1 &&
		RangeVarGetRelid(linitial_node(RangeVar, stmt->inhRelations), NoLock, true) == events_oid())
		make_room_for(InvalidOid, stmt->partbound);
}

/*
 * restore_default() returns trigger
 *
 * Before a statement that writes events_default by name, as a dump does, and nobody
 * else has to.  A row whose time belongs to a partition would be refused, and its
 * COPY with it.  Once a session is enough: workers make no partition meanwhile.
 */
Datum
tex_restore_default(PG_FUNCTION_ARGS)
{
	static Oid	made_room_in = InvalidOid;
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Oid			types[] = {OIDOID};
	Datum		values[1];

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"restore_default\" must be fired for a statement")));
	if (!is_restore_session() || made_room_in == RelationGetRelid(trigger->tg_relation) ||
		!is_partition_of_events(RelationGetRelid(trigger->tg_relation)))
		return PointerGetDatum(NULL);
	tex_note_restorer();
	made_room_in = RelationGetRelid(trigger->tg_relation);
	values[0] = ObjectIdGetDatum(made_room_in);
	call_as_owner("SELECT trace_ext_internal.make_room($1, '-infinity', 'infinity', false)", 1, types, values, NULL);
	return PointerGetDatum(NULL);
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

	tex_note_restorer();
	command = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (IsA(command, AlterTableStmt) && ((AlterTableStmt *) command)->objtype == OBJECT_INDEX)
		exchange_index((AlterTableStmt *) command);
	else if (IsA(command, AlterTableStmt))
	{
		attach_arriving((AlterTableStmt *) command);
		skip_primary_key((AlterTableStmt *) command);
	}
	else if (IsA(command, CreateStmt))
		create_arriving((CreateStmt *) command);
	else if (IsA(command, IndexStmt))
		skip_index((IndexStmt *) command);
	else if (IsA(command, CreateTrigStmt))
		replace_trigger((CreateTrigStmt *) command);
	PG_RETURN_NULL();
}
