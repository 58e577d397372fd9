/*
 * make_way.c
 *		Workers leave a database that somebody wants for himself.
 *
 * DROP DATABASE, CREATE DATABASE ... TEMPLATE, and ALTER DATABASE ... RENAME or SET
 * TABLESPACE fail while anybody is connected, and DROP EXTENSION waits for
 * whoever uses it.  A worker must not be in their way: before such a command its
 * processes are sent away, and none comes back until that transaction ends, or the
 * subtransaction that the command was part of is rolled back.
 *
 * Which commands these are, and whether the caller may run them, is in wanted.c.
 *
 * The library is preloaded where there are workers, so every session has the hook.
 * The count of those who want a database is in its slot, protected by the lock of
 * common/worker_slots.c; which slots this transaction has counted in is remembered here.
 * Nobody is waited for while that lock is held, nor is any lock of the command.
 *
 * The same hook tells the launcher when there may be a new database to look after.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/memutils.h"

#include "workers/make_way.h"
#include "workers/wanted.h"
#include "common/receiver_shared.h"
#include "common/worker_slots.h"
#include "common/xact.h"

/* As a rule they are gone in a few ms; after this PostgreSQL's own wait has to do. */
#define WAIT_MS 2000

static ProcessUtility_hook_type previous_utility;

/* A slot that this transaction has counted in, and the subtransaction that did. */
typedef struct Kept
{
	struct Kept *next;
	TexDatabaseSlot *slot;
	SubTransactionId subid;
} Kept;

static Kept *kept = NULL;

/* What to tell the launcher at the end of this transaction. */
static bool databases_change = false;
static bool extension_changes = false;

/* ----------------------------------------------------------------
 *		Counting in and out, and sending away
 * ----------------------------------------------------------------
 */
/*
 * Undoes what was counted in by a subtransaction, or by any.
 */
static void
let_in_again(SubTransactionId subid)
{
	Kept	  **link = &kept;
	bool		any = false;

	if (kept == NULL)
		return;
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	while (*link != NULL)
	{
		Kept	   *one = *link;

		if (subid != InvalidSubTransactionId && one->subid != subid)
		{
			link = &one->next;
			continue;
		}
		*link = one->next;
		if (one->slot->kept_out > 0)
			one->slot->kept_out--;
		/* It may have lost the extension, or have come back from a rollback. */
		if (one->slot->pid == 0 && one->slot->state != TEX_WORKER_STARTING)
		{
			one->slot->state = TEX_WORKER_UNKNOWN;
			one->slot->wake_at = 0;
		}
		pfree(one);
		any = true;
	}
	/* Before it starts a worker there: is the database still there? */
	if (any)
		pg_atomic_write_u32(&tex_workers->look_again, 1);
	LWLockRelease(&tex_workers->lock);
	if (any)
		tex_wake_launcher();
}

/* before_shmem_exit of a session: a transaction that FATAL cut short counts as well. */
static void
at_exit(int code, Datum arg)
{
	let_in_again(InvalidSubTransactionId);
}

/*
 * Sends away who is in a database; false once nobody is left.
 */
static bool
send_away(Oid database, TexDatabaseSlot *slot)
{
	int			pids[TEX_JOB_PROCESSES + 1];
	int			n = 0;
	bool		receives;

	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	if (slot->pid != 0 && slot->pid != MyProcPid)
		pids[n++] = slot->pid;
	for (int i = 0; i < TEX_JOB_PROCESSES; i++)
	{
		TexJobProcess *process = &tex_workers->processes[i];

		if (process->used && process->database == database && process->pid != 0 &&
			process->pid != MyProcPid)
			pids[n++] = process->pid;
	}
	/* Under the lock, as they take themselves off it before they end. */
	for (int i = 0; i < n; i++)
		kill(pids[i], SIGTERM);
	LWLockRelease(&tex_workers->lock);

	/* The receiver is counted out by the launcher, which goes by kept_out as well. */
	LWLockAcquire(&tex_receiver->lock, LW_SHARED);
	receives = tex_receiver->pid != 0 && tex_receiver->database == database;
	if (receives)
		kill(tex_receiver->pid, SIGTERM);
	LWLockRelease(&tex_receiver->lock);
	return n > 0 || receives;
}

/*
 * Keeps processes out from now on, until this transaction ends or the current
 * subtransaction is rolled back; NULL where this transaction does so already, or
 * there is no slot left for the database.  Called before the command, so no lock
 * of it is held.
 */
static TexDatabaseSlot *
count_in(Oid database)
{
	static bool registered = false;
	Kept	   *one = MemoryContextAlloc(TopMemoryContext, sizeof(Kept));
	TexDatabaseSlot *slot;

	if (!registered)
	{
		before_shmem_exit(at_exit, (Datum) 0);
		registered = true;
	}
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	slot = tex_slot_of(database, true);
	for (Kept *k = kept; k != NULL; k = k->next)
		if (k->slot == slot)
			slot = NULL;
	if (slot != NULL)
	{
		slot->kept_out++;
		one->slot = slot;
		one->subid = GetCurrentSubTransactionId();
		one->next = kept;
		kept = one;
	}
	LWLockRelease(&tex_workers->lock);
	if (slot == NULL)
		pfree(one);
	return slot;
}

/*
 * Keeps processes out of a database, and waits until those in it have gone,
 * WAIT_MS at most: the command may have waited on its own anyhow.
 */
static void
keep_out(Oid database)
{
	TexDatabaseSlot *slot = count_in(database);

	if (slot == NULL)
		return;
	for (int ms = 0; ms < WAIT_MS && send_away(database, slot); ms += 5)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(5000L);
	}
}

/* ----------------------------------------------------------------
 *		The hook, and the ends of transactions
 * ----------------------------------------------------------------
 */
/*
 * What the launcher has to hear of at commit.
 */
static void
note_command(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_RenameStmt:
		case T_AlterDatabaseStmt:
			databases_change = true;
			break;
		case T_CreateExtensionStmt:
			extension_changes = true;
			break;
		default:
			break;
	}
}

/*
 * BEGIN, COMMIT and the like concern nobody here, and are what sessions send most
 * often.  COMMIT PREPARED does: what such a transaction wrote, another session has
 * written.
 */
static inline bool
is_bystander(Node *stmt)
{
	return IsA(stmt, TransactionStmt) && ((TransactionStmt *) stmt)->kind != TRANS_STMT_COMMIT_PREPARED;
}

/* ProcessUtility of every backend. */
static void
utility(PlannedStmt *plan, const char *sql, bool read_only, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		QueryCompletion *completion)
{
	Node	   *stmt = plan->utilityStmt;
	bool		bystander = is_bystander(stmt);
	bool		commits_prepared = !bystander && IsA(stmt, TransactionStmt);
	Oid			wanted = bystander ? InvalidOid : tex_database_wanted_by(stmt, context);
	Oid			new_settings = InvalidOid;

	if (OidIsValid(wanted))
		keep_out(wanted);
	/* Now, as the command may be gone when it ended. */
	if (IsA(stmt, AlterDatabaseSetStmt) && IsTransactionState())
		new_settings = get_database_oid(((AlterDatabaseSetStmt *) stmt)->dbname, true);
	if (!bystander)
		note_command(stmt);
	if (previous_utility)
		previous_utility(plan, sql, read_only, context, params, environment, dest, completion);
	else
		standard_ProcessUtility(plan, sql, read_only, context, params, environment, dest, completion);
	if (commits_prepared)
		tex_worker_wake(MyDatabaseId);
	/*
	 * It has succeeded, so the caller had the right to it.  Nobody has to be gone; but who
	 * comes back has the new settings.
	 */
	if (OidIsValid(new_settings))
	{
		TexDatabaseSlot *slot = count_in(new_settings);

		if (slot != NULL)
			(void) send_away(new_settings, slot);
	}
}

static void
tell_launcher(void)
{
	if (databases_change)
	{
		pg_atomic_write_u32(&tex_workers->look_again, 1);
		tex_wake_launcher();
	}
	if (extension_changes)
	{
		tex_worker_wake(MyDatabaseId);
		tex_receiver_retry();
		tex_wake_launcher();
	}
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			tell_launcher();
			/* FALLTHROUGH */
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			databases_change = extension_changes = false;
			let_in_again(InvalidSubTransactionId);
			break;
		default:
			break;
	}
}

/*
 * What a subtransaction asked for is over with its rollback, and its parent's once it
 * commits.
 */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		let_in_again(subid);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (Kept *one = kept; one != NULL; one = one->next)
			if (one->subid == subid)
				one->subid = parent;
	}
}

void
tex_make_way_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
	tex_xact_register(TEX_XACT_MAKE_WAY, at_transaction_end, at_subtransaction_end);
}
