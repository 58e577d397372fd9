/*
 * partitions.c
 *		What making partitions of events needs beside SQL.
 *
 * maintain_partitions() is in C because a procedure in PL/pgSQL that pins its
 * search_path cannot commit, and one that may be called inside of a transaction
 * as well cannot find out whether it may.  It runs with the rights of its caller;
 * what a step does, partition_step() does as the owner.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

/* Partitions for rows that wait, in one call. */
#define MOST_FOR_ROWS 32

/* Attempts in a row, and the pause after each: ten seconds in all. */
#define MOST_ATTEMPTS 100
#define PAUSE_MS 100

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

/*
 * One step of partition_step(), in this transaction. "busy" is an answer, not an
 * error.
 */
static StepResult
step(bool for_rows)
{
	char	   *result;

	if (SPI_execute(for_rows ? "SELECT trace_ext_internal.partition_step(true)" :
					"SELECT trace_ext_internal.partition_step(false)", false, 0) != SPI_OK_SELECT ||
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
