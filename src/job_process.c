/*
 * job_process.c
 *		Users' jobs, each in a process of its own.
 *
 * The process connects as the owner of the job and has his rights from its start:
 * there is no superuser that the procedure could return to, and a job that hangs,
 * leaks or leaves settings behind does so alone.
 *
 * The worker of the database asks for the process and keeps the books; what
 * became of the run is handed over in an entry of shared memory (TexJobProcess),
 * which stays until a worker, this one or the next, has read it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
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

#include "job_call.h"
#include "job_process.h"

/* Before 17 only a role that may log in can have a process. */
#ifdef BGWORKER_BYPASS_ROLELOGINCHECK
#define CONNECTION_FLAGS BGWORKER_BYPASS_ROLELOGINCHECK
#else
#define CONNECTION_FLAGS 0
#endif

/* A process that has not come by then never will. */
#define START_TIMEOUT_MS 60000

static TexJobProcess *mine = NULL;

/* ----------------------------------------------------------------
 *		In the worker
 * ----------------------------------------------------------------
 */
static TexJobProcess *
reserve(const TexJob *job)
{
	TexJobProcess *process = NULL;

	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TEX_JOB_PROCESSES && process == NULL; i++)
	{
		if (!tex_workers->processes[i].used)
			process = &tex_workers->processes[i];
	}
	if (process != NULL)
	{
		memset(process, 0, sizeof(TexJobProcess));
		process->used = true;
		process->database = MyDatabaseId;
		process->owner = job->owner;
		process->run = job->run;
		process->job = job->name;
		process->timeout_ms = job->timeout_ms;
		process->asked_at = GetCurrentTimestamp();
		strlcpy(process->procedure, job->procedure, sizeof(process->procedure));
	}
	LWLockRelease(&tex_workers->lock);
	return process;
}

/*
 * Starts a job; returns why not, or NULL.
 */
const char *
tex_job_process_start(const TexJob *job)
{
	BackgroundWorker worker = {0};
	TexJobProcess *process = reserve(job);

	if (process == NULL)
		return "too many jobs of users run already";
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = Int32GetDatum((int32) (process - tex_workers->processes));
	strlcpy(worker.bgw_library_name, "trace_ext", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "tex_job_process_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "trace_ext job %s", NameStr(job->name));
	strlcpy(worker.bgw_type, "trace_ext job", sizeof(worker.bgw_type));
	if (RegisterDynamicBackgroundWorker(&worker, NULL))
		return NULL;
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	process->used = false;
	LWLockRelease(&tex_workers->lock);
	return "no background worker slot is free; max_worker_processes is too small";
}

/*
 * Takes one that ended, in this database, off shared memory; false if there is none.
 */
bool
tex_job_process_ended(TexJobProcess *copy)
{
	bool		found = false;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TEX_JOB_PROCESSES && !found; i++)
	{
		TexJobProcess *process = &tex_workers->processes[i];

		if (!process->used || process->database != MyDatabaseId)
			continue;
		if (!process->ended && (process->pid != 0 ||
								!TimestampDifferenceExceeds(process->asked_at, now, START_TIMEOUT_MS)))
			continue;
		*copy = *process;
		process->used = false;
		found = true;
	}
	LWLockRelease(&tex_workers->lock);
	if (found && copy->outcome == TEX_JOB_RUNNING)
	{
		copy->outcome = TEX_JOB_FAILED;
		tex_copy_error(copy->error, "its process ended without a result; the server log says why");
	}
	return found;
}

int
tex_job_processes_running(void)
{
	int			n = 0;

	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	for (int i = 0; i < TEX_JOB_PROCESSES; i++)
		n += tex_workers->processes[i].used && tex_workers->processes[i].database == MyDatabaseId;
	LWLockRelease(&tex_workers->lock);
	return n;
}

/* ----------------------------------------------------------------
 *		In the process
 * ----------------------------------------------------------------
 */
/*
 * However it ends: the worker is told.  The launcher as well, in case there is no
 * worker any more.
 */
static void
report_end(int code, Datum arg)
{
	TexDatabaseSlot *slot;
	Latch	   *latch = NULL;

	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	mine->pid = 0;
	mine->ended = true;
	slot = tex_slot_of(mine->database, false);
	if (slot != NULL)
	{
		pg_atomic_write_u32(&slot->written, 1);
		latch = slot->pid != 0 ? slot->latch : tex_workers->launcher_latch;
	}
	LWLockRelease(&tex_workers->lock);
	if (latch != NULL)
		SetLatch(latch);
}

static void
set_outcome(TexJobOutcome outcome, const char *error)
{
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	mine->outcome = outcome;
	tex_copy_error(mine->error, error ? error : "");
	LWLockRelease(&tex_workers->lock);
}

/*
 * Takes the entry; false where somebody wants the database for himself, or has
 * given this process up.
 */
static bool
take_entry(int index)
{
	TexDatabaseSlot *slot;
	bool		taken;

	mine = &tex_workers->processes[index];
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	slot = tex_slot_of(mine->database, false);
	taken = mine->used && mine->pid == 0 && !mine->ended;
	if (taken)
		mine->pid = MyProcPid;
	LWLockRelease(&tex_workers->lock);
	if (!taken)
		return false;
	before_shmem_exit(report_end, (Datum) 0);
	if (slot != NULL && slot->kept_out == 0)
		return true;
	set_outcome(TEX_JOB_SKIPPED, "somebody wanted the database for himself");
	return false;
}

static bool
lock_job(void)
{
	bool		locked;

	StartTransactionCommand();
	locked = tex_job_lock(NameStr(mine->job), true);
	CommitTransactionCommand();
	return locked;
}

static bool
may_go_on(void)
{
	return true;
}

/*
 * Entry point of the process.
 */
void
tex_job_process_main(Datum argument)
{
	TexJobResult result;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	if (!take_entry(DatumGetInt32(argument)))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(mine->database, mine->owner, CONNECTION_FLAGS);
	/* Others may have put something in a schema that the owner's path has. */
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
	pgstat_report_appname(NameStr(mine->job));
	pgstat_report_activity(STATE_RUNNING, mine->procedure);

	if (!lock_job())
	{
		set_outcome(TEX_JOB_SKIPPED, "it was running already");
		proc_exit(0);
	}
	result = tex_job_run(mine->procedure, mine->owner, mine->timeout_ms, may_go_on);
	set_outcome(result.ok ? TEX_JOB_SUCCEEDED : TEX_JOB_FAILED, result.error);
	proc_exit(0);
}
