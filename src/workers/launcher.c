/*
 * launcher.c
 *		Finds the databases that have the extension and starts their workers.
 *
 * The launcher is connected to no database.  It reads pg_database, has a worker look
 * into each that it does not know yet, and from then on starts one when the
 * database was written to, when a job of it falls due, or after a failure.  A worker
 * ends by itself when nothing is due for a while, so a database at rest has none.
 *
 *		UNKNOWN -> STARTING -> WAITING <-> BUSY
 *		              |           |
 *		              |           +-> ASLEEP  -> STARTING when written to or due
 *		              +-> ABSENT  (no extension) -> STARTING when told of one
 *		              +-> NO_SLOT, FAILED        -> STARTING after a pause
 *
 * Whether workers are on or off, it also starts the receiver (receiver_start.c).
 *
 * The states are in shared memory (common/worker_slots.h).  The launcher makes and removes
 * slots and moves them to STARTING and NO_SLOT; the worker moves its own on.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "guc.h"
#include "workers/launcher.h"
#include "workers/receiver_start.h"
#include "common/receiver_shared.h"
#include "common/worker_slots.h"

/* Workers on their way at once: a database that hangs must not stop the others. */
#define MOST_STARTING 3

/* A worker that does not report by then is thought to be lost. */
#define START_TIMEOUT_S 60

#define NO_SLOT_PAUSE_S 2

/* After failures: 2 s, 4 s, and so on up to this. */
#define LONGEST_PAUSE_S 60

/* A database as pg_database has it. */
typedef struct Found
{
	Oid			database;
	NameData	name;
} Found;

/* Of the workers that this launcher started, by slot; in its own memory. */
static BackgroundWorkerHandle *handles[TEX_DATABASES];

/* So that the log says it once, until one starts again. */
static bool no_slot_reported = false;

/* ----------------------------------------------------------------
 *		Databases that there are
 * ----------------------------------------------------------------
 */
/*
 * The databases that may be visited, as Found in "context": no worker can connect
 * to the others, and none is wanted where a DROP was interrupted.
 */
static List *
read_databases(MemoryContext context)
{
	List	   *found = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);

		/* -2 marks one whose DROP was interrupted. */
		if (row->datallowconn && row->datconnlimit != -2)
		{
			MemoryContext old = MemoryContextSwitchTo(context);
			Found	   *one = palloc(sizeof(Found));

			one->database = row->oid;
			one->name = row->datname;
			found = lappend(found, one);
			MemoryContextSwitchTo(old);
		}
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return found;
}

/* Is a database one of those that were found? */
static bool
is_among(List *found, Oid database)
{
	ListCell   *lc;

	foreach(lc, found)
	{
		if (((Found *) lfirst(lc))->database == database)
			return true;
	}
	return false;
}

/*
 * Brings the slots in line with pg_database; false if some have no room.
 */
static bool
keep_slots(List *found)
{
	bool		room = true;
	ListCell   *lc;

	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TEX_DATABASES; i++)
	{
		TexDatabaseSlot *slot = &tex_workers->databases[i];

		if (OidIsValid(slot->database) && !is_among(found, slot->database) &&
			slot->pid == 0 && slot->kept_out == 0 && slot->state != TEX_WORKER_STARTING)
			slot->database = InvalidOid;
	}
	for (int i = 0; i < TEX_JOB_PROCESSES; i++)
	{
		TexJobProcess *process = &tex_workers->processes[i];

		/* Nobody will read how it ended. */
		if (process->used && process->ended && !is_among(found, process->database))
			process->used = false;
	}
	foreach(lc, found)
	{
		Found	   *one = lfirst(lc);
		TexDatabaseSlot *slot = tex_slot_of(one->database, true);

		if (slot != NULL)
			slot->name = one->name;
		else
			room = false;
	}
	LWLockRelease(&tex_workers->lock);
	return room;
}

/* Brings the slots in line with pg_database; says so once where some have no room. */
static void
look_for_databases(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "trace_ext databases",
												  ALLOCSET_DEFAULT_SIZES);
	bool		room = keep_slots(read_databases(context));

	MemoryContextDelete(context);
	if (!room && !tex_workers->too_many)
		ereport(WARNING,
				(errmsg("trace_ext looks after %d databases at most, and leaves the others alone", TEX_DATABASES)));
	tex_workers->too_many = !room;
}

/* ----------------------------------------------------------------
 *		Starting workers
 * ----------------------------------------------------------------
 */
/* Is a worker to be started for a slot now?  The lock is held. */
static bool
should_start(TexDatabaseSlot *slot, TimestampTz now)
{
	if (!OidIsValid(slot->database) || slot->pid != 0 || slot->kept_out > 0)
		return false;
	switch (slot->state)
	{
		case TEX_WORKER_ABSENT:
			return pg_atomic_read_u32(&slot->written) != 0;
		case TEX_WORKER_ASLEEP:
			return pg_atomic_read_u32(&slot->written) != 0 || now >= slot->wake_at;
		case TEX_WORKER_UNKNOWN:
		case TEX_WORKER_FAILED:
		case TEX_WORKER_NO_SLOT:
			/* Not for long: the clock may have been set back. */
			return now >= slot->wake_at ||
				slot->wake_at > TimestampTzPlusMilliseconds(now, 2 * LONGEST_PAUSE_S * INT64CONST(1000));
		default:
			return false;
	}
}

/* Asks the postmaster for the process; false where max_worker_processes is used up. */
static bool
register_worker(int index, const char *database)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;	/* the launcher sees to that */
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = Int32GetDatum(index);
	strlcpy(worker.bgw_library_name, "trace_ext", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "tex_worker_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "trace_ext worker for %s", database);
	strlcpy(worker.bgw_type, "trace_ext worker", sizeof(worker.bgw_type));
	if (handles[index] != NULL)
		pfree(handles[index]);
	handles[index] = NULL;
	return RegisterDynamicBackgroundWorker(&worker, &handles[index]);
}

/* Moves a slot to STARTING and asks for its process, or to NO_SLOT. */
static void
start_worker(int index)
{
	TexDatabaseSlot *slot = &tex_workers->databases[index];
	NameData	name = slot->name;
	bool		started;

	/* Before it is registered, as it may report at once. */
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	slot->state = TEX_WORKER_STARTING;
	slot->started_at = GetCurrentTimestamp();
	pg_atomic_write_u32(&slot->written, 0);
	LWLockRelease(&tex_workers->lock);

	started = register_worker(index, NameStr(name));
	if (started)
	{
		no_slot_reported = false;
		return;
	}
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	slot->state = TEX_WORKER_NO_SLOT;
	slot->wake_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), NO_SLOT_PAUSE_S * 1000);
	tex_copy_error(slot->error, "no background worker slot is free; max_worker_processes is too small");
	LWLockRelease(&tex_workers->lock);
	if (!no_slot_reported)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker slot is free for database \"%s\"", NameStr(name)),
				 errhint("Increase the configuration parameter \"max_worker_processes\".")));
	no_slot_reported = true;
}

/*
 * One that ended before it could report, or was never started.
 */
static void
find_lost(int index, TimestampTz now)
{
	TexDatabaseSlot *slot = &tex_workers->databases[index];
	pid_t		pid;
	bool		lost;

	if (slot->state != TEX_WORKER_STARTING)
		return;
	lost = handles[index] != NULL ?
		GetBackgroundWorkerPid(handles[index], &pid) == BGWH_STOPPED :
		TimestampDifferenceExceeds(slot->started_at, now, START_TIMEOUT_S * 1000);
	if (!lost)
		return;
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	if (slot->state == TEX_WORKER_STARTING && slot->pid == 0)
	{
		slot->state = TEX_WORKER_FAILED;
		slot->failures++;
		slot->wake_at = TimestampTzPlusMilliseconds(now, 1000 * Min(1 << Min(slot->failures, 6), LONGEST_PAUSE_S));
		if (slot->error[0] == '\0')
			tex_copy_error(slot->error, "its worker did not start; the server log says why");
	}
	LWLockRelease(&tex_workers->lock);
}

/* Starts what is to be started, but few at once. */
static void
start_workers(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int			starting = 0;

	for (int i = 0; i < TEX_DATABASES; i++)
	{
		find_lost(i, now);
		starting += tex_workers->databases[i].state == TEX_WORKER_STARTING;
	}
	for (int i = 0; i < TEX_DATABASES && starting < MOST_STARTING; i++)
	{
		bool		start;

		LWLockAcquire(&tex_workers->lock, LW_SHARED);
		start = should_start(&tex_workers->databases[i], now);
		LWLockRelease(&tex_workers->lock);
		if (start)
		{
			start_worker(i);
			starting += tex_workers->databases[i].state == TEX_WORKER_STARTING;
		}
	}
}

/* ----------------------------------------------------------------
 *		The loop
 * ----------------------------------------------------------------
 */
/*
 * Until something falls due.  What does not depend on time sets the latch.
 */
static long
time_to_wait(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long		wait = tex_naptime * 1000L;

	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	for (int i = 0; i < TEX_DATABASES && tex_workers_on; i++)
	{
		TexDatabaseSlot *slot = &tex_workers->databases[i];

		if (!OidIsValid(slot->database) || slot->pid != 0 || slot->kept_out > 0 ||
			slot->state == TEX_WORKER_ABSENT)
			continue;
		if (slot->state == TEX_WORKER_STARTING)
			wait = Min(wait, 1000L);
		else
			wait = Min(wait, Max(TimestampDifferenceMilliseconds(now, slot->wake_at), 10L));
	}
	LWLockRelease(&tex_workers->lock);
	return wait;
}

/* before_shmem_exit of the launcher: the next one has a pid and a latch of its own. */
static void
forget_launcher(int code, Datum arg)
{
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	tex_workers->launcher_pid = 0;
	tex_workers->launcher_latch = NULL;
	LWLockRelease(&tex_workers->lock);
}

/*
 * Workers see the setting themselves, and end; whoever ended for that is to be
 * looked at again once it is on.
 */
static void
reload_settings(void)
{
	bool		were_on = tex_workers_on;

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	tex_receiver_retry();
	if (were_on || !tex_workers_on)
		return;
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TEX_DATABASES; i++)
	{
		TexDatabaseSlot *slot = &tex_workers->databases[i];

		if (slot->pid == 0 && slot->state != TEX_WORKER_STARTING)
			slot->state = TEX_WORKER_UNKNOWN;
		slot->wake_at = 0;
	}
	pg_atomic_write_u32(&tex_workers->look_again, 1);
	LWLockRelease(&tex_workers->lock);
}

/*
 * Until asked to go: looks for databases now and then, and starts workers that are
 * due.
 */
static void
run(void)
{
	TimestampTz looked_at = 0;

	while (!ShutdownRequestPending)
	{
		TimestampTz now;
		long		receiver_wait;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			reload_settings();
		now = GetCurrentTimestamp();
		if (tex_workers_on &&
			(pg_atomic_exchange_u32(&tex_workers->look_again, 0) != 0 || now < looked_at ||
			 TimestampDifferenceExceeds(looked_at, now, tex_naptime * 1000)))
		{
			look_for_databases();
			looked_at = now;
		}
		if (tex_workers_on)
			start_workers();
		receiver_wait = tex_receiver_keep();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(time_to_wait(), receiver_wait), PG_WAIT_EXTENSION);
	}
}

/*
 * Entry point of the launcher.  It runs in no database, and exits with 1 so that
 * the postmaster starts it again, after a second.
 */
void
tex_launcher_main(Datum argument)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(forget_launcher, (Datum) 0);
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	tex_workers->launcher_pid = MyProcPid;
	tex_workers->launcher_latch = MyLatch;
	tex_workers->launcher_started_at = GetCurrentTimestamp();
	LWLockRelease(&tex_workers->lock);
	pgstat_report_appname("trace_ext launcher");
	run();
	/* Asked to go by the postmaster, or by somebody who wants it to come back. */
	proc_exit(1);
}

/*
 * Called once from _PG_init(): without preload there is no launcher, nor while
 * pg_upgrade runs.
 */
void
tex_launcher_init(void)
{
	BackgroundWorker worker = {0};

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	/* Not on a standby before it is promoted. */
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "trace_ext", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "tex_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "trace_ext launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "trace_ext launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}
