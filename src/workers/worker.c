/*
 * worker.c
 *		The worker of a database: runs the jobs that are due.
 *
 * When which job is due, and what became of it, is decided and written down by SQL
 * functions (sql/56_jobs.sql).  The extension's own jobs run in this process, as the
 * bootstrap superuser, since the extension's owner may not be allowed to log in;
 * their procedures are SECURITY DEFINER and pin search_path.  Nothing of users runs
 * here: neither their jobs (job_process.c) nor their cached queries (cache/turn.c), so
 * that nobody can occupy this process.
 *
 * The worker waits on its latch: for the next job, or for a writer's commit. When
 * nothing is due for a while it ends, and the launcher starts the next one.  It
 * leaves at once when it is asked to (SIGTERM), with its run undone.
 *
 * Its slot is protected by the lock of common/worker_slots.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "store/fold_once.h"
#include "guc.h"
#include "workers/job_call.h"
#include "workers/job_process.h"
#include "workers/worker.h"
#include "common/event.h"
#include "common/worker_slots.h"

/* Where nothing is due for so long, the process is worth less than its memory. */
#define LINGER_MS 10000

/* A job that takes longer, in steps, lets others run in between. */
#define SLICE_MS 5000

/* A wait so short needs no waking by writers. */
#define SHORT_WAIT_MS 2000

/* Never longer, whatever the clock does. */
#define LONGEST_WAIT_MS 60000

/* After failures of the worker itself: 2 s, 4 s, and so on up to this. */
#define LONGEST_PAUSE_S 60

/* Well below deadlock_timeout: the extension's own jobs give way to DDL. */
#define LOCK_TIMEOUT "200ms"

/* What claim_job() answers. */
typedef struct Claim
{
	TexJob		job;			/* run is 0 where none is due */
	bool		own;			/* the extension's */
	int64		wait_ms;		/* until one is */
	bool		folds;
} Claim;

/* The slot of this worker, from take_slot() on. */
static TexDatabaseSlot *slot;

/* How the slot is left at exit. */
static TexWorkerState leave_as = TEX_WORKER_FAILED;
static TimestampTz leave_until = 0;

/* volatile: read and written by leave(), which is a signal handler. */
static volatile sig_atomic_t asked_to_leave = false;
static volatile sig_atomic_t in_job = false;

/* ----------------------------------------------------------------
 *		Coming and going
 * ----------------------------------------------------------------
 */
/* SIGTERM: asks the worker to go, and interrupts a job that it runs. */
static void
leave(SIGNAL_ARGS)
{
	int			save_errno = errno;

	asked_to_leave = true;
	SetLatch(MyLatch);
	errno = save_errno;
	/* A job is interrupted; between jobs there is no need for a FATAL. */
	if (in_job)
		die(postgres_signal_arg);
}

/*
 * before_shmem_exit of the worker: says in the slot how it left, so that the
 * launcher knows when to start the next one.
 */
static void
release_slot(int code, Datum arg)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	slot->pid = 0;
	slot->latch = NULL;
	slot->state = asked_to_leave ? TEX_WORKER_UNKNOWN : leave_as;
	slot->wake_at = leave_until;
	if (slot->state == TEX_WORKER_FAILED)
	{
		slot->failures++;
		slot->wake_at = TimestampTzPlusMilliseconds(now, 1000 * Min(1 << Min(slot->failures, 6), LONGEST_PAUSE_S));
	}
	else if (asked_to_leave && slot->kept_out == 0)
		slot->wake_at = TimestampTzPlusMilliseconds(now, 1000);
	pg_atomic_write_u32(&slot->wants_wake, 1);
	LWLockRelease(&tex_workers->lock);
	tex_wake_launcher();
}

/*
 * Takes the slot; false where somebody wants the database, or it is taken.
 */
static bool
take_slot(int index)
{
	bool		taken = false;

	slot = &tex_workers->databases[index];
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	if (slot->state == TEX_WORKER_STARTING && slot->pid == 0)
	{
		if (slot->kept_out > 0)
			slot->state = TEX_WORKER_UNKNOWN;
		else
		{
			taken = true;
			slot->pid = MyProcPid;
			slot->latch = MyLatch;
			slot->started_at = GetCurrentTimestamp();
		}
	}
	LWLockRelease(&tex_workers->lock);
	if (taken)
		before_shmem_exit(release_slot, (Datum) 0);
	return taken;
}

/* Ends the process; the slot is left in that state, to be looked at after wait_ms. */
static void
go(TexWorkerState state, int64 wait_ms)
{
	leave_as = state;
	leave_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wait_ms);
	proc_exit(0);
}

/* Shows in the slot what the worker does, from now; "job" is empty while it waits. */
static void
set_state(TexWorkerState state, const char *job)
{
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	slot->state = state;
	namestrcpy(&slot->job, job);
	slot->job_started_at = GetCurrentTimestamp();
	LWLockRelease(&tex_workers->lock);
	pgstat_report_activity(job[0] ? STATE_RUNNING : STATE_IDLE, job[0] ? job : NULL);
}

/*
 * The books could be read, so what failed before is over; and whether job fold is
 * enabled, so that writers may leave folding to it.
 */
static void
note_healthy(bool folds)
{
	if (slot->folds == folds && slot->failures == 0 && slot->error[0] == '\0')
		return;
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	slot->folds = folds;
	slot->failures = 0;
	slot->error[0] = '\0';
	LWLockRelease(&tex_workers->lock);
}

/* ----------------------------------------------------------------
 *		The books
 * ----------------------------------------------------------------
 */
/* Begins a transaction that the books are read or written in. */
static void
begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
}

/* Commits it. */
static void
end(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* Runs one statement of the books; what it fails with ends the worker. */
static void
run_sql(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not run \"%s\"", sql);
}

/* Is the extension there, as of now?  In a transaction of its own. */
static bool
extension_exists(void)
{
	bool		exists;

	StartTransactionCommand();
	exists = OidIsValid(tex_extension_oid());
	CommitTransactionCommand();
	return exists;
}

/* A column of the one row that the last statement returned. */
static Datum
column(int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, isnull);
}

/*
 * Takes the job that is due and most urgent, if any.
 */
static Claim
claim_job(MemoryContext context)
{
	Claim		claim = {0};
	bool		isnull;
	bool		none;

	begin();
	run_sql(tex_job_processes_running() < tex_job_processes ?
			"SELECT * FROM trace_ext_internal.claim_job(true)" : "SELECT * FROM trace_ext_internal.claim_job(false)",
			0, NULL, NULL, NULL);
	claim.job.run = DatumGetInt64(column(1, &none));
	if (!none)
	{
		claim.job.name = *DatumGetName(column(2, &isnull));
		claim.job.procedure = MemoryContextStrdup(context, TextDatumGetCString(column(3, &isnull)));
		claim.job.owner = DatumGetObjectId(column(4, &isnull));
		claim.own = DatumGetBool(column(5, &isnull));
		claim.job.timeout_ms = DatumGetInt32(column(6, &isnull));
	}
	else
		claim.job.run = 0;
	claim.wait_ms = DatumGetInt64(column(7, &isnull));
	if (isnull)
		claim.wait_ms = PG_INT32_MAX;
	claim.folds = DatumGetBool(column(8, &isnull)) && !isnull;
	end();
	return claim;
}

/* Writes down how a run ended; "more" has the job be due at once. */
static void
finish_job(int64 run, const char *state, const char *error, bool more)
{
	Oid			types[4] = {INT8OID, TEXTOID, TEXTOID, BOOLOID};
	Datum		values[4];

	values[0] = Int64GetDatum(run);
	values[1] = CStringGetTextDatum(state);
	values[2] = error ? CStringGetTextDatum(error) : (Datum) 0;
	values[3] = BoolGetDatum(more);
	begin();
	run_sql("SELECT trace_ext_internal.finish_job($1, $2, $3, $4)", 4, types, values, error ? "    " : "  n ");
	end();
	pgstat_report_stat(false);
}

/*
 * Runs that are written down as running, and whose process is no more.
 */
static void
close_lost_runs(void)
{
	StringInfoData alive;

	initStringInfo(&alive);
	appendStringInfoString(&alive, "SELECT trace_ext_internal.close_lost_runs('{");
	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	for (int i = 0; i < TEX_JOB_PROCESSES; i++)
	{
		TexJobProcess *process = &tex_workers->processes[i];

		if (process->used && !process->refresh && process->database == MyDatabaseId)
			appendStringInfo(&alive, "%s" INT64_FORMAT, alive.data[alive.len - 1] == '{' ? "" : ",",
							 process->run);
	}
	LWLockRelease(&tex_workers->lock);
	appendStringInfoString(&alive, "}')");
	begin();
	run_sql(alive.data, 0, NULL, NULL, NULL);
	end();
	pfree(alive.data);
}

/* ----------------------------------------------------------------
 *		Jobs
 * ----------------------------------------------------------------
 */
/*
 * A job of many steps gives the others a turn now and then.
 */
static bool
may_go_on(void)
{
	return !asked_to_leave &&
		!TimestampDifferenceExceeds(slot->job_started_at, GetCurrentTimestamp(), SLICE_MS);
}

/*
 * Tables that a job empties all the time: every reader passes over their dead rows.
 */
static void
tidy_up_after(const char *job)
{
	if (strcmp(job, "fold") == 0)
	{
		tex_vacuum_if_large("summary_deltas");
		tex_vacuum_if_large("count_deltas");
		tex_vacuum_if_large("version_deltas");
	}
	else if (strcmp(job, "calls") == 0)
		tex_vacuum_if_large("calls_queue");
	else if (strcmp(job, "detect") == 0)
		tex_vacuum_if_large("detect_queue");
	else if (strcmp(job, "anomalies") == 0)
		tex_vacuum_if_large("anomaly_queue");
}

/* Runs a job of the extension in this process, and writes down how it ended. */
static void
run_own_job(const TexJob *job)
{
	const char *name = NameStr(job->name);
	TexJobResult result;

	if (!tex_job_lock(name))
	{
		finish_job(job->run, "skipped", "it was running already", false);
		return;
	}
	set_state(TEX_WORKER_BUSY, name);
	in_job = true;
	result = tex_job_run(job->procedure, job->owner, job->timeout_ms, may_go_on);
	tex_job_unlock(name);
	finish_job(job->run, result.ok ? "succeeded" : result.gave_way ? "skipped" : "failed", result.error,
			   result.more);
	if (result.ok)
		tidy_up_after(name);
	in_job = false;
	set_state(TEX_WORKER_WAITING, "");
}

/* Writes down the ends of users' jobs, whose processes left them in shared memory. */
static void
collect_ended(void)
{
	TexJobProcess process;

	while (tex_job_process_ended(&process, false))
		finish_job(process.run,
				   process.outcome == TEX_JOB_SUCCEEDED ? "succeeded" :
				   process.outcome == TEX_JOB_SKIPPED ? "skipped" :
				   process.outcome == TEX_JOB_LOST ? "lost" : "failed",
				   process.error[0] ? process.error : NULL, false);
}

/* ----------------------------------------------------------------
 *		The loop
 * ----------------------------------------------------------------
 */
/*
 * Waits for the next job, a writer or a signal; ends the process where that is
 * likely to take long.
 */
static void
rest(int64 wait_ms, TimestampTz busy_at)
{
	bool		is_short = wait_ms <= SHORT_WAIT_MS;

	if (!is_short && tex_job_processes_running() == 0 &&
		TimestampDifferenceExceeds(busy_at, GetCurrentTimestamp(), LINGER_MS))
		go(TEX_WORKER_ASLEEP, wait_ms);

	pg_atomic_write_u32(&slot->wants_wake, is_short ? 0 : 1);
	pg_memory_barrier();
	/* Set while wants_wake was not: nobody will set the latch. */
	if (!is_short && pg_atomic_read_u32(&slot->written) != 0)
		return;
	if (!is_short)
		wait_ms = Min(wait_ms, LINGER_MS);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Max(wait_ms, 1), PG_WAIT_EXTENSION);
}

/*
 * The loop: one job, or one rest, a turn.  What changes from outside (settings,
 * the extension, signals) is looked at between two.
 */
static void
work_until_asked_to_leave(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "trace_ext worker",
												  ALLOCSET_DEFAULT_SIZES);
	TimestampTz busy_at = GetCurrentTimestamp();

	while (!asked_to_leave)
	{
		Claim		claim;

		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		ResetLatch(MyLatch);
		/* Meant for a job, and came after its end. */
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (!tex_workers_on)
			go(TEX_WORKER_UNKNOWN, 0);

		pg_atomic_exchange_u32(&slot->written, 0);
		if (!extension_exists())
			go(TEX_WORKER_ABSENT, 0);
		collect_ended();
		claim = claim_job(context);
		note_healthy(claim.folds);
		if (claim.job.run != 0 && claim.own)
			run_own_job(&claim.job);
		else if (claim.job.run != 0)
		{
			const char *problem = tex_job_process_start(&claim.job);

			if (problem != NULL)
				finish_job(claim.job.run, "failed", problem, false);
		}
		else
		{
			rest(Min(claim.wait_ms, LONGEST_WAIT_MS * INT64CONST(60)), busy_at);
			continue;
		}
		busy_at = GetCurrentTimestamp();
	}
}

/*
 * This session's own: neither ALTER DATABASE nor ALTER ROLE may change them.
 */
static void
set_session(void)
{
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_OVERRIDE);
	/* Nothing of what its own jobs do is lost in a crash that could not be done again. */
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_OVERRIDE);
}

/*
 * What the books themselves fail with is shown to the operator.
 */
static void
note_failure(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	ErrorData  *error = CopyErrorData();

	LWLockReleaseAll();
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	tex_copy_error(slot->error, error->message ? error->message : "unknown error");
	LWLockRelease(&tex_workers->lock);
	MemoryContextSwitchTo(old);
}

/*
 * Entry point of the worker.  Its argument is the index of the slot, in which the
 * launcher named the database.  It is connected as the bootstrap superuser.
 * Whatever fails in a job is written to the books; what the books themselves fail
 * with ends the process, is left in the slot, and it is started again after a
 * pause.
 */
void
tex_worker_main(Datum argument)
{
	pqsignal(SIGTERM, leave);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	if (!take_slot(DatumGetInt32(argument)))
		proc_exit(0);
	/* It may wait for a lock on the database there. */
	in_job = true;
	BackgroundWorkerInitializeConnectionByOid(slot->database, InvalidOid, 0);
	in_job = false;
	/* VACUUM wants one that outlives its transactions. */
	PortalContext = AllocSetContextCreate(TopMemoryContext, "trace_ext worker's portal",
										  ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		set_session();
		if (!extension_exists())
			go(TEX_WORKER_ABSENT, 0);
		set_state(TEX_WORKER_WAITING, "");
		close_lost_runs();
		work_until_asked_to_leave();
	}
	PG_CATCH();
	{
		note_failure();
		PG_RE_THROW();
	}
	PG_END_TRY();
	proc_exit(0);
}
