/*
 * receiver.c
 *		The receiver: a background worker that takes what SDKs of OpenTelemetry send over HTTP.
 *
 * Started by the launcher (workers/receiver_start.c) where trace_ext.otlp_listen has an address.
 * It is connected to one database, as a role that may send events and nothing else, and waits for
 * its latch and for sockets at once.  A turn of its loop: sockets are read (http.c), of the bodies that are
 * there as much is stored as takes a moment (store.c), the clients of those that are done are answered.
 *
 * What stands in the way of a start ends the process, with a line in the log and in
 * trace_ext.status; the launcher tries again.  So does a change of settings that only a new
 * process can follow.  When it is asked to go, it takes no more connections, answers
 * all that is under way, and goes.
 *
 * This is a library of its own, so that trace_ext needs no libmicrohttpd.  It finds the
 * functions and variables of trace_ext, which is preloaded wherever it runs, by their names.
 */
#include "postgres.h"

#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include "access/xact.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "common/receiver_shared.h"
#include "guc.h"
#include "receiver/bodies.h"
#include "receiver/http.h"
#include "receiver/listen.h"
#include "receiver/store.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void tex_receiver_main(Datum argument);

/* Connections that are served at once, where the server may open so many files. */
#define MOST_CLIENTS 512

/* A transaction has no more bodies than that; how many rows, store.c says. */
#define MOST_REQUESTS 64
#define MOST_BYTES (8 * 1024 * 1024)

/* Well below the 10 s after which SDKs give a batch up: whoever holds a lock so long is not waited for. */
#define LOCK_TIMEOUT "3s"

/* So long it waits for what is under way when it is asked to go. */
#define LEAVE_US (3 * INT64CONST(1000000))

#define LONGEST_PAUSE_S 60

/* Requests whose bodies are stored in part; the first is stored on until it is done. */
static dlist_head unfinished = DLIST_STATIC_INIT(unfinished);

/* The last transaction was of bodies that had come. */
static bool took_new = false;

/* The settings that this process was started with. */
static char *listens_on;
static char *database;
static char *role;
static bool asks_for_token;

/* How it is left at exit. */
static bool failed = true;

static volatile sig_atomic_t asked_to_leave = false;

/* Set while a batch is stored, which may wait for a lock: then SIGTERM cancels it. */
static volatile sig_atomic_t storing = false;

/* ----------------------------------------------------------------
 *		Coming and going
 * ----------------------------------------------------------------
 */
/* SIGTERM: asks it to go; bodies that are just being stored are given up, and refused for now. */
static void
leave(SIGNAL_ARGS)
{
	int			save_errno = errno;

	asked_to_leave = true;
	if (storing)
	{
		QueryCancelPending = true;
		InterruptPending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/* before_shmem_exit: says how it left, so that the launcher knows when to start the next one. */
static void
release(int code, Datum arg)
{
	TexReceiver *r = tex_receiver;
	int64		pause_ms = 0;

	LWLockReleaseAll();
	LWLockAcquire(&r->lock, LW_EXCLUSIVE);
	r->pid = 0;
	r->database = InvalidOid;
	r->address[0] = '\0';
	r->state = failed && !asked_to_leave ? TEX_RECEIVER_FAILED : TEX_RECEIVER_OFF;
	if (r->state == TEX_RECEIVER_FAILED)
	{
		r->failures++;
		pause_ms = 1000 * Min(1 << Min(r->failures, 6), LONGEST_PAUSE_S);
	}
	else if (asked_to_leave)
		pause_ms = 1000;
	r->wake_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
	LWLockRelease(&r->lock);
	pg_atomic_write_u64(&r->connections, 0);
	pg_atomic_write_u64(&r->buffered, 0);
	tex_wake_launcher();
}

/* Takes the place of the receiver, or ends where another process has it. */
static void
take_place(void)
{
	TexReceiver *r = tex_receiver;
	bool		taken;

	if (r == NULL || r->size != sizeof(TexReceiver))
		ereport(FATAL,
				(errmsg("trace_ext_otlp is not of the same build as trace_ext, which is preloaded"),
				 errhint("Install both anew and restart the server.")));
	LWLockAcquire(&r->lock, LW_EXCLUSIVE);
	taken = r->pid == 0;
	if (taken)
	{
		r->pid = MyProcPid;
		r->state = TEX_RECEIVER_STARTING;
		r->started_at = GetCurrentTimestamp();
	}
	LWLockRelease(&r->lock);
	if (!taken)
		proc_exit(0);
	before_shmem_exit(release, (Datum) 0);
}

/* Ends the process: it cannot work, for a reason that the operator is told. */
static void
give_up(const char *message, const char *hint)
{
	tex_receiver_note_error(message);
	ereport(FATAL,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the receiver of trace_ext cannot start: %s", message),
			 hint ? errhint("%s", hint) : 0));
}

/* ----------------------------------------------------------------
 *		Before it works
 * ----------------------------------------------------------------
 */
/* Reads the token, if there is to be one. */
static char *
read_token(void)
{
	const char *problem;
	char	   *token;

	if (tex_otlp_token_file[0] == '\0')
		return NULL;
	token = tex_token_read(tex_otlp_token_file, &problem);
	if (token == NULL)
		give_up(psprintf("the token in \"%s\" cannot be used: %s", tex_otlp_token_file, problem),
				"Write one token to a file that only the server's user can read.");
	return token;
}

/* Takes the address; who can be reached from elsewhere must ask for a token. */
static int
take_address(bool has_token)
{
	bool		loopback = false;
	const char *problem;
	int			fd = tex_listen(listens_on, &loopback, &problem);

	if (fd < 0)
		give_up(psprintf("it cannot listen on \"%s\": %s", listens_on, problem), NULL);
	if (!loopback && !has_token)
	{
		close(fd);
		give_up(psprintf("\"%s\" can be reached from other machines, and no token is asked for", listens_on),
				"Set trace_ext.otlp_token_file, or listen on 127.0.0.1.");
	}
	return fd;
}

/*
 * This session's own, whatever ALTER ROLE and ALTER DATABASE say.
 */
static void
set_session(void)
{
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_OVERRIDE);
#if PG_VERSION_NUM >= 170000
	SetConfigOption("transaction_timeout", "0", PGC_USERSET, PGC_S_OVERRIDE);
#endif
	/* The memory of this process is promised, whatever sessions may take; the disk is where it waits. */
	SetConfigOption("work_mem", "4MB", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("temp_file_limit", "-1", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("jit", "off", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("trace_ext.otlp_max_size", psprintf("%d", TEX_MOST_BODY), PGC_SUSET, PGC_S_OVERRIDE);
}

/* What the role lacks for its work, or has too much of it; NULL: nothing.  In a transaction. */
static const char *
judge_role(void)
{
	bool		isnull;

	if (superuser())
		return psprintf("role \"%s\" is a superuser, and whoever sends bodies needs none of that", role);
	if (!OidIsValid(get_extension_oid("trace_ext", true)) && !OidIsValid(get_extension_oid("trace_ext_router", true)))
		return psprintf("there is no extension trace_ext in database \"%s\"", database);
	SPI_connect();
	if (SPI_execute("SELECT CASE WHEN has_schema_privilege('trace_ext', 'USAGE') THEN"
					" has_function_privilege('trace_ext.ingest_otlp(bytea)', 'EXECUTE') AND"
					" has_function_privilege('trace_ext.ingest_events(text)', 'EXECUTE') END", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look at the rights of the receiver's role");
	isnull = !DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) || isnull;
	SPI_finish();
	return isnull ? psprintf("role \"%s\" may not send events", role) : NULL;
}

/* Ends the process unless the database can be written to, and the role has the right to that alone. */
static void
check_role(void)
{
	const char *problem;
	MemoryContext old = CurrentMemoryContext;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(old);
	problem = judge_role();
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (problem != NULL)
		give_up(problem, "trace_ext.otlp_database has the extension, and trace_ext.otlp_role is a member of trace_ext_writer.");
}

/*
 * Its memory goes back to the system when a large body is done with.  Of the files that the
 * process may open, connections have half; so many that PostgreSQL leaves a third to others than
 * itself, less what waiting takes, are kept from its own use.  Returns how many connections.
 */
static int
provide(void)
{
	(void) mallopt(M_MMAP_THRESHOLD, 256 * 1024);
	(void) mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
	for (int i = 0; i < max_safe_fds / 3 - 16; i++)
		ReserveExternalFD();
	return Min(MOST_CLIENTS, max_safe_fds / 2);
}

/* ----------------------------------------------------------------
 *		The loop
 * ----------------------------------------------------------------
 */
/* Counts a stored body; all was committed. */
static void
count_stored(const TexRequest *request, int64 now)
{
	TexReceiver *r = tex_receiver;
	int64		took = Max(now - request->complete_at, 0);
	int			bucket = 0;
	static int	counted = 0;

	pg_atomic_fetch_add_u64(&r->bodies[request->door], 1);
	pg_atomic_fetch_add_u64(&r->records[request->door], request->records);
	pg_atomic_fetch_add_u64(&r->rejected, request->rejected);
	pg_atomic_fetch_add_u64(&r->bytes, request->len);
	pg_atomic_fetch_add_u64(&r->usecs, took);
	for (double limit = 100; took > limit && bucket < TEX_LATENCY_BUCKETS - 1; limit *= 1.189207115)
		bucket++;
	pg_atomic_fetch_add_u32(&r->latency[bucket], 1);
	if (++counted < 4096)
		return;
	counted = 0;
	for (int i = 0; i < TEX_LATENCY_BUCKETS; i++)
		pg_atomic_write_u32(&r->latency[i], pg_atomic_read_u32(&r->latency[i]) / 2);
}

/* Counts a request that was decided, and has its client answered. */
static void
answer(TexRequest *request, int64 now)
{
	if (request->status == 200)
	{
		count_stored(request, now);
		/* What stood in the way is over; only this process writes it. */
		if (tex_receiver->error[0] != '\0')
			tex_receiver_note_error("");
	}
	tex_http_answer(request);
}

/*
 * Takes the requests of the next transaction: by turns those that came, and one whose body is stored in part, so
 * that neither waits for the other.
 */
static int
take_some(TexRequest **requests)
{
	bool		go_on = took_new && !dlist_is_empty(&unfinished);
	int			n = go_on ? 0 : tex_http_take(requests, MOST_REQUESTS, MOST_BYTES);

	took_new = n > 0;
	if (n == 0 && !dlist_is_empty(&unfinished))
		requests[n++] = dlist_container(TexRequest, node, dlist_pop_head_node(&unfinished));
	return n;
}

/*
 * Stores what is there, as far as one transaction goes, and has the clients answered whose bodies are stored;
 * false where there is nothing.
 */
static bool
store_ready(void)
{
	TexRequest *requests[MOST_REQUESTS];
	int			n = take_some(requests);
	int			done;
	int64		begin = tex_http_now();
	int64		now;

	if (n == 0)
		return false;
	QueryCancelPending = false;
	storing = true;
	done = tex_store_bodies(requests, n, &asked_to_leave);
	storing = false;
	QueryCancelPending = false;
	now = tex_http_now();
	tex_http_excuse(now - begin);
	pg_atomic_fetch_add_u64(&tex_receiver->batches, 1);
	while (n > done)
		tex_http_put_back(requests[--n]);
	for (int i = 0; i < n; i++)
	{
		if (requests[i]->status != 0)
			answer(requests[i], now);
		else if (took_new)
			dlist_push_tail(&unfinished, &requests[i]->node);
		else
			dlist_push_head(&unfinished, &requests[i]->node);
	}
	return true;
}

/*
 * Follows the settings that changed: a new token at once, another address, database or role by a
 * new process.  False where this one has to go.
 */
static bool
follow_settings(void)
{
	const char *problem;
	char	   *token;

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	if (strcmp(tex_otlp_listen, listens_on) != 0 || strcmp(tex_otlp_database, database) != 0 ||
		strcmp(tex_otlp_role, role) != 0)
		return false;
	/* Whether none is allowed depends on the address. */
	if (tex_otlp_token_file[0] == '\0')
		return !asks_for_token;
	token = tex_token_read(tex_otlp_token_file, &problem);
	if (token != NULL)
	{
		tex_http_set_token(token);
		asks_for_token = true;
	}
	/* Who wants a token from now on is not served without. */
	else if (!asks_for_token)
		return false;
	else
		ereport(LOG,
				(errmsg("the receiver of trace_ext goes on with its old token: that in \"%s\" cannot be used: %s",
						tex_otlp_token_file, problem)));
	return true;
}

/* Waits until there is something to do, so long at most. */
static void
rest(long wait_ms)
{
	(void) WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 tex_http_fd(), wait_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	/* Meant for a batch, and came after its end. */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
}

/* One turn after the other, until it is asked to go or the settings say so. */
static void
work(void)
{
	while (!asked_to_leave)
	{
		tex_http_run();
		if (store_ready())
			continue;
		rest(tex_http_wait_ms());
		if (ConfigReloadPending && !follow_settings())
			return;
	}
}

/* Answers what is under way, with 503 where it is not there yet; slow clients are not waited for. */
static void
leave_in_order(void)
{
	int64		until = tex_http_now() + LEAVE_US;

	tex_http_close_door();
	do
	{
		tex_http_run();
		if (!store_ready() && tex_http_is_busy())
			rest(Min(tex_http_wait_ms(), 50));
	} while (tex_http_is_busy() && tex_http_now() < until);
	while (store_ready())
		tex_http_run();
	tex_http_stop();
}

/* From now on it listens, and what failed before is over. */
static void
announce(void)
{
	TexReceiver *r = tex_receiver;

	LWLockAcquire(&r->lock, LW_EXCLUSIVE);
	r->state = TEX_RECEIVER_LISTENING;
	r->failures = 0;
	r->error[0] = '\0';
	tex_copy_error(r->address, listens_on);
	LWLockRelease(&r->lock);
	ereport(LOG, (errmsg("the receiver of trace_ext listens on \"%s\", for database \"%s\"", listens_on, database)));
	tex_wake_launcher();
}

/* Connects, as the role; what fails there ends the process, and the log has it. */
static void
connect_as_role(void)
{
	uint32		flags = 0;

#if PG_VERSION_NUM >= 170000
	flags = BGWORKER_BYPASS_ROLELOGINCHECK;
#endif
	tex_receiver_note_error(psprintf("it could not connect to database \"%s\" as \"%s\"; the server log says why", database, role));
	BackgroundWorkerInitializeConnection(database, role, flags);
	LWLockAcquire(&tex_receiver->lock, LW_EXCLUSIVE);
	tex_receiver->database = MyDatabaseId;
	tex_receiver->error[0] = '\0';
	LWLockRelease(&tex_receiver->lock);
	pgstat_report_appname("trace_ext receiver");
}

/* What it fails with unforeseen is shown to the operator. */
static void
note_failure(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	ErrorData  *error = CopyErrorData();

	LWLockReleaseAll();
	tex_receiver_note_error(error->message ? error->message : "unknown error");
	MemoryContextSwitchTo(old);
}

/* From the connection to the database to the last answer. */
static void
receive(void)
{
	int			fd;
	char	   *token;

	connect_as_role();
	set_session();
	check_role();
	token = read_token();
	fd = take_address(token != NULL);
	tex_http_set_token(token);
	asks_for_token = token != NULL;
	tex_store_init();
	tex_bodies_start();
	if (!tex_http_start(fd, provide()))
		give_up("libmicrohttpd could not be started", NULL);
	announce();
	work();
	leave_in_order();
}

/*
 * Entry point of the receiver.
 */
void
tex_receiver_main(Datum argument)
{

	pqsignal(SIGTERM, leave);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	take_place();
	listens_on = MemoryContextStrdup(TopMemoryContext, tex_otlp_listen);
	database = MemoryContextStrdup(TopMemoryContext, tex_otlp_database);
	role = MemoryContextStrdup(TopMemoryContext, tex_otlp_role);
	PG_TRY();
	{
		if (listens_on[0] != '\0')
			receive();
	}
	PG_CATCH();
	{
		note_failure();
		PG_RE_THROW();
	}
	PG_END_TRY();
	failed = false;
	proc_exit(0);
}
