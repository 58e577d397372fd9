/*
 * fold_once.c
 *		A background worker that folds what there is, adds up calls, vacuums the delta tables and ends.
 *
 * A writer who appended many deltas starts it at his commit, so that the fold is
 * neither part of his time nor of his transaction.  The library need not be
 * preloaded for that.
 *
 * Folded deltas are dead rows, and every reader passes over their pages until
 * vacuum frees them.  Autovacuum would come once a minute at best, and a reader
 * of 4,000 such pages takes 10 ms longer, so the folder vacuums at once.
 *
 * Where the library is preloaded the worker of the database folds (workers/worker.c), and
 * this one is for times when there is none.
 *
 * It lives for milliseconds, for two seconds at most where many calls are to be added up, so nothing that waits for the last connection to a
 * database has to wait for it for long.  Where deltas were left in great number, as by a load that was broken off or a time without
 * a worker, it lives until they are folded, in steps that commit: who waits for one of its locks, and who waits behind him, waits for a step.  Where no worker slot is free nobody folds: a
 * later writer asks again.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "commands/extension.h"
#include "commands/vacuum.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parse_node.h"
#include "parser/parser.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "common/event.h"
#include "store/fold.h"
#include "store/fold_once.h"

/* With fewer pages a delta table is not worth a vacuum. */
#define VACUUM_PAGES 64

/* With more, its empty end is given back, for which writers may wait a moment. */
#define TRUNCATE_PAGES 4096

/* Of half a second each: what is left of calls then is for the next folder. */
#define MOST_STEPS 4

/* After so many steps of folding the dead rows of these are taken away, which the next would read again. */
#define STEPS_A_VACUUM 8

/* Well below deadlock_timeout. */
#define LOCK_TIMEOUT_MS "200"

/* What a folder is told, in bgw_extra. */
typedef struct Order
{
	Oid			database;
	TransactionId after;		/* the transaction to wait for, or InvalidTransactionId */
} Order;

StaticAssertDecl(sizeof(Order) <= BGW_EXTRALEN, "an order has to fit into bgw_extra");

/*
 * Starts a folder for this database, which waits for the end of this transaction:
 * it is about to commit, and its deltas are to be folded too.  Nothing happens where
 * there is no slot for it.
 */
void
tex_folder_start(void)
{
	BackgroundWorker worker = {0};
	Order		order = {.database = MyDatabaseId, .after = GetTopTransactionIdIfAny()};

	/* Another one is at work: it, or the next statement, will do. */
	if (!tex_fold_is_free())
		return;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	memcpy(worker.bgw_extra, &order, sizeof(Order));
	strlcpy(worker.bgw_library_name, "trace_ext", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "tex_folder_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "trace_ext folder", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "trace_ext folder", sizeof(worker.bgw_type));
	(void) RegisterDynamicBackgroundWorker(&worker, NULL);
}

/*
 * Calls a function or procedure of the extension that returns a boolean, in a transaction of its own; returns
 * whether it returned true.
 */
static bool
call(const char *sql)
{
	bool		said = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	/* The extension may be gone, or not be committed yet. */
	if (OidIsValid(get_extension_oid("trace_ext", true)))
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		SPI_connect();
		if (SPI_execute(sql, false, 0) >= 0 && SPI_tuptable != NULL && SPI_processed == 1)
		{
			bool		isnull;

			said = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) && !isnull;
		}
		SPI_finish();
		PopActiveSnapshot();
	}
	CommitTransactionCommand();
	return said;
}

/* Size of a table of the extension, in pages; 0 where the extension is gone. */
static BlockNumber
pages_of(const char *table)
{
	BlockNumber pages = 0;
	Relation	rel;

	StartTransactionCommand();
	if (OidIsValid(get_extension_oid("trace_ext", true)))
	{
		rel = relation_open(tex_relation_oid(table), AccessShareLock);
		pages = RelationGetNumberOfBlocks(rel);
		relation_close(rel, AccessShareLock);
	}
	CommitTransactionCommand();
	return pages;
}

/*
 * Vacuums a table of the extension, if it has grown to VACUUM_PAGES, and skips it
 * where somebody has it locked.  Call it in a worker, outside of a transaction.
 * PortalContext must be set and outlive transactions.  Throws what VACUUM throws.
 */
void
tex_vacuum_if_large(const char *table)
{
	BlockNumber pages = pages_of(table);
	MemoryContext context;
	char	   *sql;
	ParseState *state;
	RawStmt    *raw;

	if (pages < VACUUM_PAGES)
		return;

	/* VACUUM begins and ends transactions of its own. */
	context = MemoryContextSwitchTo(PortalContext);
	sql = psprintf("VACUUM (SKIP_LOCKED, TRUNCATE %s) trace_ext.%s",
				   pages > TRUNCATE_PAGES ? "true" : "false", table);
	raw = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT));
	state = make_parsestate(NULL);
	state->p_sourcetext = sql;
	MemoryContextSwitchTo(context);

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	ExecVacuum(state, castNode(VacuumStmt, raw->stmt), true);
	CommitTransactionCommand();
}

static void
vacuum_deltas(void)
{
	pgstat_report_activity(STATE_RUNNING, "vacuuming deltas");
	tex_vacuum_if_large("summary_deltas");
	tex_vacuum_if_large("count_deltas");
	tex_vacuum_if_large("version_deltas");
}

/* Folds all that is outstanding, step by step, unless somebody else does. */
static void
fold_in_steps(void)
{
	int			step = 0;

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (step > 0 && step % STEPS_A_VACUUM == 0)
			vacuum_deltas();
		pgstat_report_activity(STATE_RUNNING, "folding");
		step++;
	} while (call("CALL trace_ext.job_fold(NULL)"));
}

/*
 * Entry point of the worker, whose order (database, transaction) is in bgw_extra.
 * Where the database is gone, or any step fails, it ends with a
 * message in the log; nothing depends on it.
 */
void
tex_folder_main(Datum argument)
{
	Order		order;

	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(Order));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	/* As the bootstrap superuser: the owner may not be allowed to log in. */
	BackgroundWorkerInitializeConnectionByOid(order.database, InvalidOid, 0);
	PortalContext = AllocSetContextCreate(TopMemoryContext, "trace_ext folder",
										  ALLOCSET_DEFAULT_SIZES);

	if (TransactionIdIsValid(order.after))
	{
		StartTransactionCommand();
		XactLockTableWait(order.after, NULL, NULL, XLTW_None);
		CommitTransactionCommand();
	}
	/* Where it is in the way of DDL, it gives way before a deadlock is looked for. */
	SetConfigOption("lock_timeout", LOCK_TIMEOUT_MS, PGC_USERSET, PGC_S_OVERRIDE);
	fold_in_steps();
	pgstat_report_activity(STATE_RUNNING, "adding up calls");
	for (int step = 0; step < MOST_STEPS && call("SELECT trace_ext_internal.take_calls_if_free()"); step++)
		CHECK_FOR_INTERRUPTS();
	vacuum_deltas();
	tex_vacuum_if_large("calls_queue");
	proc_exit(0);
}
