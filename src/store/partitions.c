/*
 * partitions.c
 *		What noticing and making partitions of events needs beside SQL.
 *
 * Every command on tables and every DROP of the database fires partitions_changed().
 * It returns at once unless the command attached or detached a partition of whatever
 * table, or dropped one of events: only then SQL compares the catalog with what is
 * counted.
 *
 * maintain_partitions() is in C because a procedure in PL/pgSQL that pins its
 * search_path cannot commit, and one that may be called inside of a transaction
 * as well cannot find out whether it may.  It runs with the rights of its caller;
 * what a step does, partition_step() does as the owner.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

#include "common/owner.h"

/* Partitions for rows that wait, in one call. */
#define MOST_FOR_ROWS 32

/* Attempts in a row, and the pause after each, with the 50 ms of an attempt: a minute in all. */
#define MOST_ATTEMPTS 400
#define PAUSE_MS 100

/* Columns of partitions and of pg_event_trigger_dropped_objects(). */
#define PARTITIONS_PART 1
#define DROPPED_CLASSID 1
#define DROPPED_OBJID 2
#define DROPPED_OBJSUBID 3
#define DROPPED_IS_TEMPORARY 6

PG_FUNCTION_INFO_V1(tex_partitions_changed);
PG_FUNCTION_INFO_V1(tex_maintain_partitions);
PG_FUNCTION_INFO_V1(tex_trust_check);
PG_FUNCTION_INFO_V1(tex_dump_rows);

/* What partition_step() answers. */
typedef enum StepResult
{
	STEP_DONE,					/* nothing is left to do */
	STEP_MADE,					/* a partition ahead */
	STEP_MADE_FOR_ROWS,			/* one for rows that wait in the default partition */
	STEP_BUSY					/* events could not be locked in time */
} StepResult;

/* ----------------------------------------------------------------
 *		Noticing
 * ----------------------------------------------------------------
 */
/*
 * Did a command make, attach or detach a partition?  Of which table is not asked: after
 * the command its names may mean others.
 */
static bool
moves_partition(Node *command)
{
	ListCell   *lc;

	if (IsA(command, CreateStmt))
		return ((CreateStmt *) command)->partbound != NULL;
	/* Its tables fire no event trigger of their own. */
	if (IsA(command, CreateSchemaStmt))
		return ((CreateSchemaStmt *) command)->schemaElts != NIL;
	if (!IsA(command, AlterTableStmt))
		return false;
	foreach(lc, ((AlterTableStmt *) command)->cmds)
	{
		AlterTableType subtype = lfirst_node(AlterTableCmd, lc)->subtype;

		if (subtype == AT_AttachPartition || subtype == AT_DetachPartition ||
			subtype == AT_DetachPartitionFinalize)
			return true;
	}
	return false;
}

/*
 * The rows of pg_event_trigger_dropped_objects(), in "result".  Called without the
 * executor, which would cost more than the rows.
 */
static void
list_dropped(ReturnSetInfo *result)
{
	LOCAL_FCINFO(call, 0);
	FmgrInfo	function;

	memset(result, 0, sizeof(ReturnSetInfo));
	result->type = T_ReturnSetInfo;
	result->econtext = CreateStandaloneExprContext();
	result->allowedModes = SFRM_Materialize;
	fmgr_info(F_PG_EVENT_TRIGGER_DROPPED_OBJECTS, &function);
	InitFunctionCallInfoData(*call, &function, 0, InvalidOid, NULL, (Node *) result);
	(void) FunctionCallInvoke(call);
}

/*
 * The relations that the command which fired sql_drop has dropped.  Temporary ones are
 * left out: none can have been a partition of events.
 */
static List *
dropped_relations(void)
{
	ReturnSetInfo dropped;
	TupleTableSlot *object;
	List	   *relations = NIL;

	list_dropped(&dropped);
	object = MakeSingleTupleTableSlot(dropped.setDesc, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(dropped.setResult, true, false, object))
	{
		bool		isnull;

		if (DatumGetObjectId(slot_getattr(object, DROPPED_CLASSID, &isnull)) == RelationRelationId &&
			DatumGetInt32(slot_getattr(object, DROPPED_OBJSUBID, &isnull)) == 0 &&
			!DatumGetBool(slot_getattr(object, DROPPED_IS_TEMPORARY, &isnull)))
			relations = lappend_oid(relations,
									DatumGetObjectId(slot_getattr(object, DROPPED_OBJID, &isnull)));
	}
	ExecDropSingleTupleTableSlot(object);
	tuplestore_end(dropped.setResult);
	return relations;
}

/*
 * Is one of them in the table partitions?  Probed by its key, in C: what was dropped is
 * nearly always somebody else's.
 */
static bool
any_was_partition(List *relations)
{
	Oid			schema = get_namespace_oid("trace_ext", true);
	Oid			known = get_relname_relid("partitions", schema);
	Oid			key = get_relname_relid("partitions_pkey", schema);
	Relation	partitions;
	Snapshot	snapshot;
	bool		found = false;
	ListCell   *lc;

	if (relations == NIL || !OidIsValid(known))
		return false;
	partitions = table_open(known, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	foreach(lc, relations)
	{
		ScanKeyData part;
		SysScanDesc scan;

		ScanKeyInit(&part, PARTITIONS_PART, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(lfirst_oid(lc)));
		scan = systable_beginscan(partitions, key, OidIsValid(key), snapshot, 1, &part);
		found = found || HeapTupleIsValid(systable_getnext(scan));
		systable_endscan(scan);
	}
	UnregisterSnapshot(snapshot);
	table_close(partitions, AccessShareLock);
	return found;
}

/*
 * partitions_changed() returns event_trigger
 *
 * Fired by ddl_command_end and by sql_drop.  Nothing is locked for commands that have
 * to do with no partition and drop temporary tables only.
 */
Datum
tex_partitions_changed(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger = (EventTriggerData *) fcinfo->context;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"partitions_changed\" must be fired by an event trigger")));
	if (strcmp(trigger->event, "sql_drop") == 0 ? any_was_partition(dropped_relations()) :
		moves_partition(trigger->parsetree))
		tex_run_as_owner("SELECT trace_ext_internal.reconcile_partitions()");
	PG_RETURN_NULL();
}

/* ----------------------------------------------------------------
 *		Making
 * ----------------------------------------------------------------
 */
/*
 * One step of partition_step(), in this transaction. "busy" is an answer, not an
 * error.
 */
static StepResult
step(bool for_rows)
{
	char	   *result;

	if (SPI_execute(for_rows ? "SELECT trace_ext_internal.partition_step(true, false)" :
					"SELECT trace_ext_internal.partition_step(false, false)", false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not call trace_ext_internal.partition_step()");
	result = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	SPI_freetuptable(SPI_tuptable);
	if (strcmp(result, "busy") == 0)
		return STEP_BUSY;
	if (strcmp(result, "made") == 0)
		return STEP_MADE;
	return strcmp(result, "done") == 0 ? STEP_DONE : STEP_MADE_FOR_ROWS;
}

/*
 * maintain_partitions()
 *
 * Commits after each step, where it may.  Called in a transaction, it keeps the
 * locks of its steps until that ends, as any DDL does.
 */
Datum
tex_maintain_partitions(PG_FUNCTION_ARGS)
{
	bool		atomic = fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		((CallContext *) fcinfo->context)->atomic;
	int			for_rows = 0;
	int			attempts = 0;
	StepResult	result;

	SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
	do
	{
		result = step(for_rows < MOST_FOR_ROWS);
		if (!atomic)
			SPI_commit();
		for_rows += result == STEP_MADE_FOR_ROWS;
		attempts = result == STEP_BUSY ? attempts + 1 : 0;
		if (attempts >= MOST_ATTEMPTS)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("could not lock trace_ext.events to make a partition"),
					 errdetail("Others had it in use for as long as this tried."),
					 errhint("Call maintain_partitions() again when long queries and transactions have ended.")));
		if (result == STEP_BUSY)
		{
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, PAUSE_MS,
							 PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
		}
		CHECK_FOR_INTERRUPTS();
	} while (result != STEP_DONE);
	SPI_finish();
	PG_RETURN_NULL();
}

/*
 * trust_check(part regclass, name name)
 *
 * As VALIDATE CONSTRAINT, but the rows are not looked at.  The caller has the table
 * locked in ACCESS EXCLUSIVE mode since before he looked himself.
 */
Datum
tex_trust_check(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *name = NameStr(*PG_GETARG_NAME(1));
	Relation	constraints;
	HeapTuple	tuple;
	Form_pg_constraint form;

	if (!CheckRelationOidLockedByMe(relid, AccessExclusiveLock, false))
		elog(ERROR, "relation %u is not locked", relid);
	constraints = table_open(ConstraintRelationId, RowExclusiveLock);
	tuple = SearchSysCacheCopy1(CONSTROID,
								ObjectIdGetDatum(get_relation_constraint_oid(relid, name, false)));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for constraint \"%s\"", name);
	form = (Form_pg_constraint) GETSTRUCT(tuple);
	if (form->contype != CONSTRAINT_CHECK)
		elog(ERROR, "constraint \"%s\" is no CHECK constraint", name);
	form->convalidated = true;
	CatalogTupleUpdate(constraints, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	table_close(constraints, RowExclusiveLock);
	CacheInvalidateRelcacheByRelid(relid);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/*
 * dump_rows(part regclass)
 *
 * pg_extension_config_dump() wants to be called by CREATE EXTENSION, so that nobody
 * calls it by accident: for this call, it is.
 */
Datum
tex_dump_rows(PG_FUNCTION_ARGS)
{
	Datum		part = PG_GETARG_DATUM(0);

	creating_extension = true;
	CurrentExtensionObject = get_extension_oid("trace_ext", false);
	PG_TRY();
	{
		DirectFunctionCall2(pg_extension_config_dump, part, CStringGetTextDatum(""));
	}
	PG_FINALLY();
	{
		creating_extension = false;
		CurrentExtensionObject = InvalidOid;
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}
