/*
 * keep_out.c
 *		Workers leave a database that somebody wants for himself.
 *
 * DROP DATABASE, CREATE DATABASE ... TEMPLATE, and ALTER DATABASE ... RENAME or SET
 * TABLESPACE fail while anybody is connected, and DROP EXTENSION waits for
 * whoever uses it.  A worker must not be in their way: before such a command its
 * processes are sent away, and none comes back until that transaction ends.
 *
 * The library is preloaded where there are workers, so every session has the hook.
 * The count of those who want a database is in its slot, protected by the lock of
 * worker_slots.c; which slots this transaction has counted in is remembered here.
 *
 * The same hook tells the launcher when there may be a new database to look after.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "tcop/utility.h"

#include "keep_out.h"
#include "worker_slots.h"

/* As a rule they are gone in a few ms; after this PostgreSQL's own wait has to do. */
#define WAIT_MS 2000

/* A command wants one database; a transaction has few such commands. */
#define MOST_KEPT 16

static ProcessUtility_hook_type previous_utility;

static TexDatabaseSlot *kept[MOST_KEPT];
static int	n_kept = 0;

/* What to tell the launcher at the end of this transaction. */
static bool databases_change = false;
static bool extension_changes = false;

/* ----------------------------------------------------------------
 *		Counting in and out
 * ----------------------------------------------------------------
 */
static void
let_in_again(void)
{
	if (n_kept == 0)
		return;
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	while (n_kept > 0)
	{
		TexDatabaseSlot *slot = kept[--n_kept];

		if (slot->kept_out > 0)
			slot->kept_out--;
		/* It may have lost the extension, or have come back from a rollback. */
		if (slot->pid == 0 && slot->state != TEX_WORKER_STARTING)
		{
			slot->state = TEX_WORKER_UNKNOWN;
			slot->wake_at = 0;
		}
	}
	/* Before it starts a worker there: is the database still there? */
	pg_atomic_write_u32(&tex_workers->look_again, 1);
	LWLockRelease(&tex_workers->lock);
	tex_wake_launcher();
}

static void
at_exit(int code, Datum arg)
{
	let_in_again();
}

/* The pids to signal: of the worker and of users' jobs; returns how many. */
static int
processes_in(Oid database, TexDatabaseSlot *slot, int *pids)
{
	int			n = 0;

	if (slot->pid != 0 && slot->pid != MyProcPid)
		pids[n++] = slot->pid;
	for (int i = 0; i < TEX_JOB_PROCESSES; i++)
	{
		TexJobProcess *process = &tex_workers->processes[i];

		if (process->used && process->database == database && process->pid != 0 &&
			process->pid != MyProcPid)
			pids[n++] = process->pid;
	}
	return n;
}

/*
 * Sends away who is in a database; false once nobody is left.
 */
static bool
send_away(Oid database, TexDatabaseSlot *slot)
{
	int			pids[TEX_JOB_PROCESSES + 1];
	int			n;

	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	n = processes_in(database, slot, pids);
	/* Under the lock, as they take themselves off it before they end. */
	for (int i = 0; i < n; i++)
		kill(pids[i], SIGTERM);
	LWLockRelease(&tex_workers->lock);
	return n > 0;
}

static bool
count_in(Oid database)
{
	static bool registered = false;
	TexDatabaseSlot *slot;

	if (!registered)
	{
		before_shmem_exit(at_exit, (Datum) 0);
		registered = true;
	}
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	slot = tex_slot_of(database, true);
	for (int i = 0; i < n_kept; i++)
		if (kept[i] == slot)
			slot = NULL;
	if (slot != NULL)
	{
		slot->kept_out++;
		kept[n_kept++] = slot;
	}
	LWLockRelease(&tex_workers->lock);
	return slot != NULL;
}

static void
keep_out(Oid database)
{
	TexDatabaseSlot *slot;

	if (!OidIsValid(database) || n_kept == MOST_KEPT || !count_in(database))
		return;
	slot = kept[n_kept - 1];
	for (int ms = 0; ms < WAIT_MS && send_away(database, slot); ms += 5)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(5000L);
	}
}

/* ----------------------------------------------------------------
 *		Which commands
 * ----------------------------------------------------------------
 */
static const char *
template_of(CreatedbStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return "template1";
}

static bool
sets_tablespace(AlterDatabaseStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->options)
	{
		if (strcmp(lfirst_node(DefElem, lc)->defname, "tablespace") == 0)
			return true;
	}
	return false;
}

static bool
drops_extension(DropStmt *stmt)
{
	ListCell   *lc;

	if (stmt->removeType != OBJECT_EXTENSION && stmt->removeType != OBJECT_SCHEMA)
		return false;
	foreach(lc, stmt->objects)
	{
		if (strcmp(strVal(lfirst(lc)), "trace_ext") == 0)
			return true;
	}
	return false;
}

/*
 * The database that a command wants without others in it.
 */
static Oid
database_wanted_by(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
			return get_database_oid(((DropdbStmt *) stmt)->dbname, true);
		case T_CreatedbStmt:
			return get_database_oid(template_of((CreatedbStmt *) stmt), true);
		case T_AlterDatabaseStmt:
			if (sets_tablespace((AlterDatabaseStmt *) stmt))
				return get_database_oid(((AlterDatabaseStmt *) stmt)->dbname, true);
			return InvalidOid;
		case T_RenameStmt:
			if (((RenameStmt *) stmt)->renameType == OBJECT_DATABASE)
				return get_database_oid(((RenameStmt *) stmt)->subname, true);
			return InvalidOid;
		case T_DropStmt:
			return drops_extension((DropStmt *) stmt) ? MyDatabaseId : InvalidOid;
		case T_AlterDatabaseSetStmt:
			/* Nobody has to go; but who comes back has the new settings. */
			return get_database_oid(((AlterDatabaseSetStmt *) stmt)->dbname, true);
		case T_AlterExtensionStmt:
			return strcmp(((AlterExtensionStmt *) stmt)->extname, "trace_ext") == 0 ? MyDatabaseId : InvalidOid;
		case T_DropOwnedStmt:
			return MyDatabaseId;
		default:
			return InvalidOid;
	}
}

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
 * What such a transaction wrote, another session has written.
 */
static bool
commits_prepared(Node *stmt)
{
	return IsA(stmt, TransactionStmt) &&
		((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED;
}

static void
utility(PlannedStmt *plan, const char *sql, bool read_only, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		QueryCompletion *completion)
{
	Node	   *stmt = plan->utilityStmt;
	bool		commits = commits_prepared(stmt);
	Oid			wanted = IsTransactionState() && OidIsValid(MyDatabaseId) ?
		database_wanted_by(stmt) : InvalidOid;

	/* Before their rights are checked; whoever lacks them has a worker come back at once. */
	if (OidIsValid(wanted))
		keep_out(wanted);
	note_command(stmt);
	if (previous_utility)
		previous_utility(plan, sql, read_only, context, params, environment, dest, completion);
	else
		standard_ProcessUtility(plan, sql, read_only, context, params, environment, dest, completion);
	if (commits)
		tex_worker_wake(MyDatabaseId);
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
		tex_worker_wake(MyDatabaseId);
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
			let_in_again();
			break;
		default:
			break;
	}
}

void
tex_keep_out_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
	RegisterXactCallback(at_transaction_end, NULL);
}
