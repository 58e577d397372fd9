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
 * Nothing is done for a command that will be refused: whoever has no right to it must
 * not be able to stop a worker by trying.  So what the command is going to check is
 * checked here first: where it may run, that its object is there, and the caller's
 * rights on it.  A role can thus send away only whom it could send away by dropping
 * the object itself.
 *
 * The library is preloaded where there are workers, so every session has the hook.
 * The count of those who want a database is in its slot, protected by the lock of
 * common/worker_slots.c; which slots this transaction has counted in is remembered here.
 * Nobody is waited for while that lock is held, nor is any lock of the command.
 *
 * The same hook tells the launcher when there may be a new database to look after.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_tablespace.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "workers/make_way.h"
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
 *		Counting in and out
 * ----------------------------------------------------------------
 */
static void
let_in(TexDatabaseSlot *slot)
{
	if (slot->kept_out > 0)
		slot->kept_out--;
	/* It may have lost the extension, or have come back from a rollback. */
	if (slot->pid == 0 && slot->state != TEX_WORKER_STARTING)
	{
		slot->state = TEX_WORKER_UNKNOWN;
		slot->wake_at = 0;
	}
}

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
		let_in(one->slot);
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

static void
at_exit(int code, Datum arg)
{
	let_in_again(InvalidSubTransactionId);
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

/*
 * Keeps processes out from now on; NULL where this transaction does so already, or
 * nobody looks after the database.
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

/*
 * Nobody has to be gone; but who comes back has the new settings.
 */
static void
send_away_until_the_end(Oid database)
{
	TexDatabaseSlot *slot = count_in(database);

	if (slot != NULL)
		(void) send_away(database, slot);
}

/* ----------------------------------------------------------------
 *		Rights
 * ----------------------------------------------------------------
 */
static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		may;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	may = HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return may;
}

/* False for a database that is not there as well. */
static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		template;

	template = HeapTupleIsValid(tuple) && ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return template;
}

static bool
owns_database(Oid database)
{
	return OidIsValid(database) && tex_owns_database(database);
}

/*
 * May anything be changed here at all?
 */
static bool
may_change(void)
{
	return !XactReadOnly && !RecoveryInProgress() && !IsInParallelMode();
}

/* ----------------------------------------------------------------
 *		Which commands
 * ----------------------------------------------------------------
 */
static const char *
option_of(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

static Oid
wanted_by_drop_database(DropdbStmt *stmt, bool in_block)
{
	Oid			database = get_database_oid(stmt->dbname, true);

	if (in_block || !owns_database(database) || database == MyDatabaseId || is_template(database))
		return InvalidOid;
	return database;
}

static Oid
wanted_by_create_database(CreatedbStmt *stmt, bool in_block)
{
	const char *template = option_of(stmt->options, "template");
	Oid			database;

	if (in_block || !may_create_databases() || OidIsValid(get_database_oid(stmt->dbname, true)))
		return InvalidOid;
	database = get_database_oid(template ? template : "template1", true);
	/* Who may create databases may copy a template, and else what he owns. */
	return is_template(database) || owns_database(database) ? database : InvalidOid;
}

static Oid
wanted_by_move(AlterDatabaseStmt *stmt, bool in_block)
{
	const char *name = option_of(stmt->options, "tablespace");
	Oid			database;
	Oid			tablespace;

	if (name == NULL || in_block)
		return InvalidOid;
	database = get_database_oid(stmt->dbname, true);
	tablespace = get_tablespace_oid(name, true);
	if (!owns_database(database) || database == MyDatabaseId || !OidIsValid(tablespace) ||
		!tex_may_use_tablespace(tablespace))
		return InvalidOid;
	return database;
}

static Oid
wanted_by_rename(RenameStmt *stmt)
{
	Oid			database;

	if (stmt->renameType != OBJECT_DATABASE)
		return InvalidOid;
	database = get_database_oid(stmt->subname, true);
	if (!owns_database(database) || database == MyDatabaseId || !may_create_databases() ||
		OidIsValid(get_database_oid(stmt->newname, true)))
		return InvalidOid;
	return database;
}

/*
 * Is the extension among those that are dropped, and may all of them be?  One that
 * may not fails the command before anything is dropped.
 */
static bool
drops_extension(DropStmt *stmt)
{
	bool		ours = false;
	ListCell   *lc;

	foreach(lc, stmt->objects)
	{
		Oid			extension = get_extension_oid(strVal(lfirst(lc)), true);

		if (!OidIsValid(extension) && !stmt->missing_ok)
			return false;
		if (OidIsValid(extension) && !tex_owns_extension(extension))
			return false;
		ours = ours || (OidIsValid(extension) && strcmp(strVal(lfirst(lc)), "trace_ext") == 0);
	}
	return ours;
}

/*
 * The same, through its schema.  A schema that the extension made cannot be dropped
 * without it, nor the extension through a schema without CASCADE.
 */
static bool
drops_schema(DropStmt *stmt)
{
	bool		ours = false;
	ListCell   *lc;

	if (stmt->behavior != DROP_CASCADE || !OidIsValid(get_extension_oid("trace_ext", true)))
		return false;
	foreach(lc, stmt->objects)
	{
		Oid			schema = get_namespace_oid(strVal(lfirst(lc)), true);

		if (!OidIsValid(schema) && !stmt->missing_ok)
			return false;
		if (OidIsValid(schema) && !tex_owns_schema(schema))
			return false;
		ours = ours || (OidIsValid(schema) && strcmp(strVal(lfirst(lc)), "trace_ext") == 0 &&
						!OidIsValid(getExtensionOfObject(NamespaceRelationId, schema)));
	}
	return ours;
}

static bool
drops_us(DropStmt *stmt)
{
	if (stmt->removeType == OBJECT_EXTENSION)
		return drops_extension(stmt);
	return stmt->removeType == OBJECT_SCHEMA && drops_schema(stmt);
}

/*
 * The owner of the schema; and that of the tables in it, who is the extension's.
 */
static Oid
owner_of_schema(Oid schema)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

static Oid
owner_of_events(Oid schema)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(get_relname_relid("events", schema)));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * DROP OWNED of roles all of which the caller may act for, and one of which owns the
 * extension or its schema.
 */
static bool
drops_what_it_owns(DropOwnedStmt *stmt)
{
	Oid			schema = get_namespace_oid("trace_ext", true);
	bool		ours = false;
	ListCell   *lc;

	if (!OidIsValid(schema) || !OidIsValid(get_extension_oid("trace_ext", true)))
		return false;
	foreach(lc, stmt->roles)
	{
		RoleSpec   *spec = lfirst_node(RoleSpec, lc);
		Oid			role = get_rolespec_oid(spec, true);

		if (!OidIsValid(role) || !has_privs_of_role(GetUserId(), role))
			return false;
		ours = ours || role == owner_of_schema(schema) || role == owner_of_events(schema);
	}
	return ours;
}

static bool
updates_us(AlterExtensionStmt *stmt)
{
	Oid			extension;

	if (strcmp(stmt->extname, "trace_ext") != 0)
		return false;
	extension = get_extension_oid(stmt->extname, true);
	return OidIsValid(extension) && tex_owns_extension(extension);
}

/*
 * The database that a command wants without others in it, if it may have it.
 */
static Oid
database_wanted_by(Node *stmt, ProcessUtilityContext context)
{
	bool		in_block = IsInTransactionBlock(context == PROCESS_UTILITY_TOPLEVEL);

	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
			return wanted_by_drop_database((DropdbStmt *) stmt, in_block);
		case T_CreatedbStmt:
			return wanted_by_create_database((CreatedbStmt *) stmt, in_block);
		case T_AlterDatabaseStmt:
			return wanted_by_move((AlterDatabaseStmt *) stmt, in_block);
		case T_RenameStmt:
			return wanted_by_rename((RenameStmt *) stmt);
		case T_DropStmt:
			return drops_us((DropStmt *) stmt) ? MyDatabaseId : InvalidOid;
		case T_AlterExtensionStmt:
			return updates_us((AlterExtensionStmt *) stmt) ? MyDatabaseId : InvalidOid;
		case T_DropOwnedStmt:
			return drops_what_it_owns((DropOwnedStmt *) stmt) ? MyDatabaseId : InvalidOid;
		default:
			return InvalidOid;
	}
}

/* Most statements are none of these, and pay a comparison. */
static bool
may_want_a_database(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
		case T_CreatedbStmt:
		case T_AlterDatabaseStmt:
		case T_RenameStmt:
		case T_DropStmt:
		case T_AlterExtensionStmt:
		case T_DropOwnedStmt:
			return IsTransactionState() && OidIsValid(MyDatabaseId) && may_change();
		default:
			return false;
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
	Oid			new_settings = InvalidOid;

	if (may_want_a_database(stmt))
	{
		Oid			wanted = database_wanted_by(stmt, context);

		if (OidIsValid(wanted))
			keep_out(wanted);
	}
	/* Now, as the command may be gone when it ended. */
	if (IsA(stmt, AlterDatabaseSetStmt) && IsTransactionState())
		new_settings = get_database_oid(((AlterDatabaseSetStmt *) stmt)->dbname, true);
	note_command(stmt);
	if (previous_utility)
		previous_utility(plan, sql, read_only, context, params, environment, dest, completion);
	else
		standard_ProcessUtility(plan, sql, read_only, context, params, environment, dest, completion);
	if (commits)
		tex_worker_wake(MyDatabaseId);
	/* It has succeeded, so the caller had the right to it. */
	if (OidIsValid(new_settings))
		send_away_until_the_end(new_settings);
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
tex_keep_out_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
	tex_xact_register(TEX_XACT_MAKE_WAY, at_transaction_end, at_subtransaction_end);
}
