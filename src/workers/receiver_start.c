/*
 * receiver_start.c
 *		The launcher starts the receiver, where trace_ext.otlp_listen has an address.
 *
 * The receiver is a background worker whose code is in a library of its own, as it needs
 * libmicrohttpd, which trace_ext must not.  So the launcher, not the postmaster, sees to it: an
 * address may be set without a restart, a database that somebody wants for himself is left
 * alone, and one that cannot start (no library, no such role, port taken) is tried again after
 * 2 s, 4 s, and so on up to a minute.
 *
 *		OFF -> STARTING -> LISTENING -> OFF      asked to go, or the settings changed
 *		          |            |
 *		          +------------+------> FAILED -> STARTING after a pause
 *
 * The launcher moves it to STARTING, and to FAILED where no process came of that; the receiver
 * moves it on.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"

#include "common/receiver_shared.h"
#include "guc.h"
#include "workers/receiver_start.h"

/* One that does not report by then is thought to be lost. */
#define START_TIMEOUT_S 60

#define LONGEST_PAUSE_S 60

/* Looked at again so soon while it starts, or while its database is kept for somebody. */
#define SHORT_WAIT_MS 250
#define LONG_WAIT_MS 60000

/* Of the receiver that this launcher started. */
static BackgroundWorkerHandle *handle = NULL;

/* So that the log says it once, until one starts again. */
static bool reported = false;

/* Asks the postmaster for the process; false where max_worker_processes is used up. */
static bool
register_receiver(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;	/* the launcher sees to that */
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "trace_ext_otlp", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "tex_receiver_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "trace_ext receiver", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "trace_ext receiver", sizeof(worker.bgw_type));
	if (handle != NULL)
		pfree(handle);
	handle = NULL;
	return RegisterDynamicBackgroundWorker(&worker, &handle);
}

/* It did not start, and said nothing: so does this, once.  The lock is held. */
static void
note_lost(TimestampTz now, const char *error)
{
	TexReceiver *r = tex_receiver;

	r->state = TEX_RECEIVER_FAILED;
	r->failures++;
	r->wake_at = TimestampTzPlusMilliseconds(now, 1000 * Min(1 << Min(r->failures, 6), LONGEST_PAUSE_S));
	tex_copy_error(r->error, error);
}

/* Does somebody want the receiver's database for himself? */
static bool
is_kept_out(void)
{
	bool		kept_out = false;

	LWLockAcquire(&tex_workers->lock, LW_SHARED);
	for (int i = 0; i < TEX_DATABASES && !kept_out; i++)
	{
		TexDatabaseSlot *slot = &tex_workers->databases[i];

		kept_out = OidIsValid(slot->database) && slot->kept_out > 0 &&
			strcmp(NameStr(slot->name), tex_otlp_database) == 0;
	}
	LWLockRelease(&tex_workers->lock);
	return kept_out;
}

/* One that was asked for, and ended or was lost before it could say why. */
static void
find_lost(TimestampTz now)
{
	TexReceiver *r = tex_receiver;
	pid_t		pid;
	bool		lost;

	lost = handle != NULL ? GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED :
		TimestampDifferenceExceeds(r->started_at, now, START_TIMEOUT_S * 1000);
	LWLockAcquire(&r->lock, LW_EXCLUSIVE);
	lost = lost && r->state == TEX_RECEIVER_STARTING && r->pid == 0;
	if (lost)
		note_lost(now, "it did not start; is the library trace_ext_otlp installed? The server log says more");
	LWLockRelease(&r->lock);
	if (lost && !reported)
		ereport(WARNING,
				(errmsg("the receiver of trace_ext did not start"),
				 errhint("Its library trace_ext_otlp is built where libmicrohttpd's header is. Another try is made every minute.")));
	reported |= lost;
}

/* Asks for the process, and shows that it is on its way. Only called where there is none. */
static void
start(TimestampTz now)
{
	TexReceiver *r = tex_receiver;
	bool		registered;

	/* Before it is registered, as it may report at once. */
	LWLockAcquire(&r->lock, LW_EXCLUSIVE);
	r->state = TEX_RECEIVER_STARTING;
	r->started_at = now;
	LWLockRelease(&r->lock);
	registered = register_receiver();
	if (registered)
		return;
	LWLockAcquire(&r->lock, LW_EXCLUSIVE);
	note_lost(now, "no background worker slot is free; max_worker_processes is too small");
	LWLockRelease(&r->lock);
	if (!reported)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker slot is free for the receiver of trace_ext"),
				 errhint("Increase the configuration parameter \"max_worker_processes\".")));
	reported = true;
}

/*
 * Called by the launcher at each turn of its loop: starts the receiver where it is due.
 * Returns when to call it again, in ms; what does not depend on time sets the latch.
 */
long
tex_receiver_keep(void)
{
	TexReceiver *r = tex_receiver;
	TimestampTz now = GetCurrentTimestamp();
	TexReceiverState state;
	TimestampTz wake_at;
	bool		has_process;

	if (r->state == TEX_RECEIVER_STARTING)
		find_lost(now);
	LWLockAcquire(&r->lock, LW_EXCLUSIVE);
	has_process = r->pid != 0;
	if (tex_otlp_listen[0] == '\0' && r->state == TEX_RECEIVER_FAILED)
	{
		r->state = TEX_RECEIVER_OFF;
		r->error[0] = '\0';
		r->failures = 0;
	}
	/* Not for long: the clock may have been set back. */
	if (r->wake_at > TimestampTzPlusMilliseconds(now, 2 * LONGEST_PAUSE_S * INT64CONST(1000)))
		r->wake_at = 0;
	state = r->state;
	wake_at = r->wake_at;
	LWLockRelease(&r->lock);

	if (state == TEX_RECEIVER_LISTENING)
		reported = false;
	if (has_process || tex_otlp_listen[0] == '\0')
		return LONG_WAIT_MS;
	if (state == TEX_RECEIVER_STARTING || is_kept_out())
		return SHORT_WAIT_MS;
	if (now < wake_at)
		return Max(TimestampDifferenceMilliseconds(now, wake_at), 10L);
	start(now);
	return SHORT_WAIT_MS;
}
