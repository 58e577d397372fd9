/*
 * job_call.c
 *		Calls the procedure of a job.
 *
 * A job is a procedure that can be called without arguments.  If it has an output
 * column of type boolean and returns true there, it is called again at once, in a
 * new transaction: so work is done in steps that are short each, and a step can be
 * called by hand, by run_job() and by a worker alike.
 *
 * The owner of the job must own the procedure.  That is checked of the call as it
 * was analysed, so that no other procedure of the same name gets in between.
 *
 * A process of its own (tex_job_run) calls as psql would: a procedure of a user may
 * commit.  By hand (call_job) it is part of the caller's transaction, and runs with
 * the rights of its owner in a restricted context: a job of somebody else must not
 * be able to become the caller.
 *
 * Two runs of a job exclude each other by a lock on an object that does not exist:
 * the relation jobs, and the hash of the job's name.  It is held as advisory locks
 * are: until it is given back or the process ends, over transactions and errors.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parser.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"

#include "compat.h"
#include "common/event.h"
#include "workers/job_call.h"

PG_FUNCTION_INFO_V1(tex_call_job);
PG_FUNCTION_INFO_V1(tex_try_job_lock);

/* ----------------------------------------------------------------
 *		Never two runs of a job
 * ----------------------------------------------------------------
 */
/* The lock of a job: an object that does not exist, in the space of advisory locks. */
static LOCKTAG
job_lock_tag(const char *job)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, tex_relation_oid("jobs"),
					   hash_bytes((const unsigned char *) job, strlen(job)), 1);
	tag.locktag_lockmethodid = USER_LOCKMETHOD;
	return tag;
}

/*
 * Takes a job for this process, until tex_job_unlock() or its end; false where
 * somebody runs it.  Never waits.  Call it outside of a transaction: it has its own.
 */
bool
tex_job_lock(const char *job)
{
	LOCKTAG		tag;
	bool		locked;

	StartTransactionCommand();
	tag = job_lock_tag(job);
	locked = LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
	CommitTransactionCommand();
	return locked;
}

/*
 * Gives back what tex_job_lock() took, outside of a transaction as well.
 */
void
tex_job_unlock(const char *job)
{
	LOCKTAG		tag;

	StartTransactionCommand();
	tag = job_lock_tag(job);
	LockRelease(&tag, ExclusiveLock, true);
	CommitTransactionCommand();
}

/*
 * try_job_lock(job name) returns boolean
 *
 * The same lock, until the caller's transaction ends.
 */
Datum
tex_try_job_lock(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag = job_lock_tag(NameStr(*PG_GETARG_NAME(0)));

	PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL);
}

/* ----------------------------------------------------------------
 *		What a call returns
 * ----------------------------------------------------------------
 */
/* A destination of rows; on the stack of the call. */
typedef struct AgainReceiver
{
	DestReceiver pub;
	bool		is_boolean;
	bool		again;
} AgainReceiver;

/* Whether the procedure has the one column that asks for another call. */
static void
again_startup(DestReceiver *self, int operation, TupleDesc columns)
{
	((AgainReceiver *) self)->is_boolean =
		columns->natts == 1 && TupleDescAttr(columns, 0)->atttypid == BOOLOID;
}

/* Takes the answer; a CALL has one row at most. */
static bool
again_receive(TupleTableSlot *slot, DestReceiver *self)
{
	AgainReceiver *receiver = (AgainReceiver *) self;
	bool		isnull;
	Datum		value;

	if (receiver->is_boolean)
	{
		value = slot_getattr(slot, 1, &isnull);
		receiver->again = !isnull && DatumGetBool(value);
	}
	return true;
}

/* There is nothing to give back. */
static void
again_end(DestReceiver *self)
{
}

/*
 * A destination that remembers whether the procedure wants to be called again, and
 * nothing else.
 */
static AgainReceiver
again_receiver(void)
{
	AgainReceiver receiver = {0};

	receiver.pub.receiveSlot = again_receive;
	receiver.pub.rStartup = again_startup;
	receiver.pub.rShutdown = again_end;
	receiver.pub.rDestroy = again_end;
	receiver.pub.mydest = DestNone;
	return receiver;
}

/* ----------------------------------------------------------------
 *		The call itself
 * ----------------------------------------------------------------
 */
/* Fails where the procedure, as it was found for the call, is not the job owner's. */
static void
check_owner(CallStmt *call, const char *procedure, Oid owner)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(call->funcexpr->funcid));
	Oid			real_owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for procedure %s", procedure);
	real_owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	if (real_owner != owner)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("procedure %s is owned by \"%s\", the job by \"%s\"", procedure,
						GetUserNameFromId(real_owner, false), GetUserNameFromId(owner, false)),
				 errhint("Drop the job, and let the owner of the procedure add it anew.")));
}

/*
 * The planned statement, in the current memory context.
 */
static PlannedStmt *
plan_call(const char *sql, const char *procedure, Oid owner)
{
	RawStmt    *raw = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT));
	List	   *queries = pg_analyze_and_rewrite_fixedparams(raw, sql, NULL, 0, NULL);

	check_owner(castNode(CallStmt, linitial_node(Query, queries)->utilityStmt), procedure, owner);
	return linitial_node(PlannedStmt, pg_plan_queries(queries, sql, 0, NULL));
}

/*
 * One call in a transaction of its own, or in as many as the procedure likes.
 * Returns whether it wants to be called again.
 */
static bool
call_at_top(const char *procedure, Oid owner, MemoryContext context)
{
	MemoryContext old;
	AgainReceiver receiver = again_receiver();
	QueryCompletion completion;
	PlannedStmt *plan;
	Portal		portal;
	char	   *sql;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	old = MemoryContextSwitchTo(context);
	sql = psprintf("CALL %s()", procedure);
	PushActiveSnapshot(GetTransactionSnapshot());
	plan = plan_call(sql, procedure, owner);
	PopActiveSnapshot();

	/* A procedure that commits needs a portal to go on in. */
	portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, sql, CMDTAG_CALL, list_make1(plan), NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	(void) tex_portal_run(portal, &receiver.pub, &completion);
	PortalDrop(portal, false);
	MemoryContextSwitchTo(old);
	CommitTransactionCommand();
	return receiver.again;
}

/*
 * What failed, in "context", and the transaction cleaned up, as a backend does it
 * after an error in a command.  Call it in PG_CATCH().
 */
static TexJobResult
failure(MemoryContext context)
{
	TexJobResult result = {.ok = false};
	ErrorData  *error;

	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	result.gave_way = error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
	result.error = pstrdup(error->message ? error->message : "unknown error");
	if (!result.gave_way)
		EmitErrorReport();
	AbortCurrentTransaction();
	PortalErrorCleanup();
	FlushErrorState();
	FreeErrorData(error);
	RESUME_INTERRUPTS();
	return result;
}

/*
 * Runs a job in this process, outside of a transaction, until it wants no more, or
 * may_go_on() says no between two calls. timeout_ms is for all of it, lock waits
 * included; 0: none.  Nothing is thrown but what ends the process: whatever fails
 * is in the result, in the caller's memory context.  The caller holds the job's
 * lock, and is connected as who the job is to run as.
 */
TexJobResult
tex_job_run(const char *procedure, Oid owner, int timeout_ms, bool (*may_go_on) (void))
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "trace_ext job",
												  ALLOCSET_DEFAULT_SIZES);
	volatile TexJobResult result = {.ok = true};

	PG_TRY();
	{
		bool		again;

		/* For the whole run; lock waits end as well. */
		if (timeout_ms > 0)
			enable_timeout_after(STATEMENT_TIMEOUT, timeout_ms);
		do
		{
			again = call_at_top(procedure, owner, context);
			MemoryContextReset(context);
			pgstat_report_stat(false);
			CHECK_FOR_INTERRUPTS();
		} while (again && may_go_on());
		result.more = again;
		disable_timeout(STATEMENT_TIMEOUT, false);
		/* It may have come while the last call ended well. */
		QueryCancelPending = false;
	}
	PG_CATCH();
	{
		TexJobResult failed = failure(caller);

		result.ok = failed.ok;
		result.gave_way = failed.gave_way;
		result.error = failed.error;
	}
	PG_END_TRY();

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	pgstat_report_stat(true);
	return (TexJobResult)
	{
		.ok = result.ok,.more = result.more,.gave_way = result.gave_way,.error = result.error
	};
}

/*
 * call_job(procedure text, owner oid) returns boolean
 *
 * Within the caller's transaction and snapshots; again, while the procedure wants
 * it.  The caller of call_job() is the owner of the extension: whether his own
 * caller may run the job was checked in SQL.
 */
Datum
tex_call_job(PG_FUNCTION_ARGS)
{
	char	   *procedure = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			owner = PG_GETARG_OID(1);
	char	   *sql = psprintf("CALL %s()", procedure);
	AgainReceiver receiver = again_receiver();
	Oid			user;
	int			security;
	int			nesting = NewGUCNestLevel();

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	do
	{
		PlannedStmt *plan;

		CHECK_FOR_INTERRUPTS();
		receiver.again = false;
		plan = plan_call(sql, procedure, owner);
		ProcessUtility(plan, sql, false, PROCESS_UTILITY_QUERY, NULL, NULL, &receiver.pub, NULL);
		CommandCounterIncrement();
	} while (receiver.again);
	AtEOXact_GUC(false, nesting);
	SetUserIdAndSecContext(user, security);
	PG_RETURN_BOOL(true);
}
