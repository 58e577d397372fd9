/*
 * job_process.c
 *		What users have done in the background, in processes of its own.
 *
 * That is each of their jobs, and the cached results of a role (cache/turn.c).
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
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "guc.h"
#include "workers/job_call.h"
#include "workers/job_process.h"

/* Before 17 only a role that may log in can have a process. */
#ifdef BGWORKER_BYPASS_ROLELOGINCHECK
#define CONNECTION_FLAGS BGWORKER_BYPASS_ROLELOGINCHECK
#else
#define CONNECTION_FLAGS 0
#endif

/* A process that has not come by then never will. */
#define START_TIMEOUT_MS 60000

/* The entry of this process, from tex_process_take() on. */
static TexJobProcess *mine = NULL;

/* ----------------------------------------------------------------
 *		In the worker
 * ----------------------------------------------------------------
 */
/* Its process has come to an end, or never came.  The lock is held. */
static bool
is_over(const TexJobProcess *process, TimestampTz now)
{
	return process->ended ||
		(process->pid == 0 && TimestampDifferenceExceeds(process->asked_at, now, START_TIMEOUT_MS));
}

/*
 * A free entry, now used; NULL if there is none for this kind.  The lock is held.
 *
 * How a process for cached results ended is good to know, no more: its entry is free.
 */
static TexJobProcess *
reserve(Oid owner, bool refresh)
{
	TimestampTz now = GetCurrentTimestamp();
	TexJobProcess *process = NULL;
	int			n = 0;

	for (int i = 0; i < TEX_JOB_PROCESSES; i++)
	{
		TexJobProcess *one = &tex_workers->processes[i];

		if (!one->used || (one->refresh && is_over(one, now)))
			process = one;
		else
			n += one->refresh == refresh;
	}
	if (process == NULL || n >= (refresh ? TEX_MOST_REFRESHES : TEX_MOST_JOBS))
		return NULL;
	memset(process, 0, sizeof(TexJobProcess));
	process->used = true;
	process->refresh = refresh;
	process->database = MyDatabaseId;
	process->owner = owner;
	process->asked_at = now;
	return process;
}

/*
 * Registers the process for an entry that is reserved; where that fails the entry
 * is free again.
 */
static bool
start(TexJobProcess *process, const char *function, const char *type, const char *name)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = Int32GetDatum((int32) (process - tex_workers->processes));
	strlcpy(worker.bgw_library_name, "trace_ext", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function, sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "%s %s", type, name);
	strlcpy(worker.bgw_type, type, sizeof(worker.bgw_type));
	if (RegisterDynamicBackgroundWorker(&worker, NULL))
		return true;
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	process->used = false;
	LWLockRelease(&tex_workers->lock);
	return false;
}

/*
 * Starts a process for a job whose run was claimed; returns why not, or NULL.
 * Called in the worker of the database, which is told by its latch when the
 * process begins and ends.
 */
const char *
tex_job_process_start(const TexJob *job)
{
	TexJobProcess *process;

	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	process = reserve(job->owner, false);
	if (process != NULL)
	{
		process->run = job->run;
		process->job = job->name;
		process->timeout_ms = job->timeout_ms;
		strlcpy(process->procedure, job->procedure, sizeof(process->procedure));
	}
	LWLockRelease(&tex_workers->lock);
	if (process == NULL)
		return "too many jobs of users run already";
	if (!start(process, "tex_job_process_main", "trace_ext job", NameStr(job->name)))
		return "no background worker slot is free; max_worker_processes is too small";
	return NULL;
}

/*
 * Starts a process for the cached results of a role; false where there is no room:
 * one a role and database; of a database, trace_ext.cache_processes; and of all, a
 * quarter of what there is, so that users never take the places of workers.
 */
bool
tex_refresh_process_start(Oid role, bool may_log_in)
{
	TimestampTz now = GetCurrentTimestamp();
	TexJobProcess *process = NULL;
	int			here = 0;
	int			everywhere = 0;
	bool		has_one = false;

	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TEX_JOB_PROCESSES; i++)
	{
		TexJobProcess *one = &tex_workers->processes[i];

		if (!one->used || !one->refresh || is_over(one, now))
			continue;
		everywhere++;
		here += one->database == MyDatabaseId;
		has_one = has_one || (one->database == MyDatabaseId && one->owner == role);
	}
	if (!has_one && here < tex_cache_processes && everywhere < Max(max_worker_processes / 4, 1))
		process = reserve(role, true);
	if (process != NULL)
	{
		process->may_log_in = may_log_in;
		namestrcpy(&process->job, "cache_refresh");
	}
	LWLockRelease(&tex_workers->lock);
	return process != NULL &&
		start(process, "tex_cache_turn_main", "trace_ext cache", GetUserNameFromId(role, false));
}

/*
 * Takes one that ended, in this database, off shared memory: of a job, or one for
 * cached results; false if there is none.  A copy of it is the caller's, with
 * outcome LOST where the process said nothing.
 */
bool
tex_job_process_ended(TexJobProcess *copy, bool refresh)
{
	bool		found = false;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TEX_JOB_PROCESSES && !found; i++)
	{
		TexJobProcess *process = &tex_workers->processes[i];

		if (!process->used || process->refresh != refresh || process->database != MyDatabaseId)
			continue;
		if (!is_over(process, now))
			continue;
		*copy = *process;
		process->used = false;
		found = true;
	}
	LWLockRelease(&tex_workers->lock);
	if (found && copy->outcome == TEX_JOB_RUNNING)
	{
		copy->outcome = TEX_JOB_LOST;
		tex_copy_error(copy->error, "its process ended without a result; the server log says why");
	}
	return found;
}

/*
 * How many jobs of users run in this database, or are on their way.
 */
int
tex_job_processes_running(void)
{
	int			n = 0;

	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	for (int i = 0; i < TEX_JOB_PROCESSES; i++)
		n += tex_workers->processes[i].used && !tex_workers->processes[i].refresh &&
			tex_workers->processes[i].database == MyDatabaseId;
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
	/* Of a turn that went well nobody needs to be told. */
	if (mine->refresh && mine->outcome != TEX_JOB_RUNNING && mine->outcome != TEX_JOB_FAILED)
		mine->used = false;
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

/*
 * Writes down how the run of this process ended, for whoever reads its entry;
 * "error" may be NULL.  Takes the lock.
 */
void
tex_process_outcome(TexJobOutcome outcome, const char *error)
{
	LWLockAcquire(&tex_workers->lock, LW_EXCLUSIVE);
	mine->outcome = outcome;
	tex_copy_error(mine->error, error ? error : "");
	LWLockRelease(&tex_workers->lock);
}

/*
 * Takes the entry, in the process that was started for it, before it connects;
 * NULL where somebody wants the database for himself, or has given this process
 * up: then it ends.  From here on its end is reported, however it ends.
 */
TexJobProcess *
tex_process_take(int index)
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
		return NULL;
	before_shmem_exit(report_end, (Datum) 0);
	if (slot != NULL && slot->kept_out == 0)
		return mine;
	tex_process_outcome(TEX_JOB_SKIPPED, "somebody wanted the database for himself");
	return NULL;
}

/* In a signal handler: ends the process at its next check for interrupts. */
static void
end_now(void)
{
	InterruptPending = true;
	ProcDiePending = true;
	SetLatch(MyLatch);
}

/*
 * A query can catch that it was cancelled, and go on.  After so many milliseconds
 * this process ends, whatever it does.  Call it once connected; a second call
 * moves the deadline.
 */
void
tex_process_deadline(int ms)
{
	static TimeoutId timeout = MAX_TIMEOUTS;

	if (timeout == MAX_TIMEOUTS)
		timeout = RegisterTimeout(USER_TIMEOUT, end_now);
	enable_timeout_after(timeout, ms);
}

/* The process is the job's own, so nobody waits for a turn. */
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
	if (tex_process_take(DatumGetInt32(argument)) == NULL)
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(mine->database, mine->owner, CONNECTION_FLAGS);
	/* Others may have put something in a schema that the owner's path has. */
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
	pgstat_report_appname(NameStr(mine->job));
	pgstat_report_activity(STATE_RUNNING, mine->procedure);

	if (!tex_job_lock(NameStr(mine->job)))
	{
		tex_process_outcome(TEX_JOB_SKIPPED, "it was running already");
		proc_exit(0);
	}
	if (mine->timeout_ms > 0 && mine->timeout_ms < INT_MAX - TEX_GRACE_MS)
		tex_process_deadline(mine->timeout_ms + TEX_GRACE_MS);
	result = tex_job_run(mine->procedure, mine->owner, mine->timeout_ms, may_go_on);
	tex_process_outcome(result.ok ? TEX_JOB_SUCCEEDED : TEX_JOB_FAILED, result.error);
	proc_exit(0);
}
