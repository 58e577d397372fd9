/*
 * turn.c
 *		Cached results of one role, computed although nobody waits for them.
 *
 * This is a process that ends after a turn of some seconds.  In it are computed
 * - the results that callers were given although they were past half of their time:
 *   the entry says so;
 * - those of the role's kept queries (table cache_kept) that the cache lacks: after a
 *   commit made them stale, or after a restart, so that the first caller finds them.
 *
 * What a query does to this process it does to its own role's turn.  Each runs in a
 * transaction of its own, read only, with the settings of whoever asked for it, for
 * trace_ext.cache_refresh_timeout at most.  The process is connected as the role; where
 * PostgreSQL starts none for it (before 17, without LOGIN), as the bootstrap superuser.
 * In both cases queries run as a restricted operation, as functions in indexes do under
 * ANALYZE: they cannot change the role, nor leave anything behind.
 *
 * A kept query that takes t is not computed again before 9 t have passed, so all of
 * a role's together take a part of one process that does not grow with how much is
 * written.  One that fails, or whose result is not kept, waits twice as long each time.
 * That is written down before it is computed: one that ends the process waits too.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "cache/attempts.h"
#include "cache/cached.h"
#include "cache/compute.h"
#include "cache/settings.h"
#include "cache/shared.h"
#include "cache/turn.h"
#include "common/owner.h"
#include "guc.h"
#include "workers/job_process.h"

/* Then it is another role's turn, if one waits. */
#define TURN_MS 5000

typedef struct KeptQuery
{
	char	   *query;
	int64		ttl;
	bytea	   *settings;
} KeptQuery;

/*
 * What is done in a transaction as the role, with the settings of whoever asked: an entry
 * is renewed, or a kept query is asked for.
 */
typedef struct Work
{
	const char *settings;
	Size		settings_size;
	const TexEntryInfo *info;	/* the entry, or NULL */
	const char *bytes;
	const KeptQuery *kept;		/* the kept query, or NULL */
	bool		may_compute;	/* it; else it is only looked for */
	bool		is_there;		/* the cache has the result */
	char		error[TEX_ERROR_LENGTH];	/* if it failed */
} Work;

static Oid	role;
static TimestampTz turn_began;
static MemoryContext turn_context;

/* Has this process had its time? */
static bool
is_over(void)
{
	return TimestampDifferenceExceeds(turn_began, GetCurrentTimestamp(), TURN_MS);
}

/* ----------------------------------------------------------------
 *		As the role
 * ----------------------------------------------------------------
 */
/*
 * Computes an entry anew.  If the query means something else by now, nobody will ask
 * for the entry again.
 */
static void
renew(Work *work, const char *arguments)
{
	const TexEntryInfo *info = work->info;
	TexCall		call = {.ttl = info->ttl};

	call.text = work->bytes + TEX_ENTRY_QUERY(info);
	tex_call_read_arguments(&call, arguments);
	tex_call_identify(&call);
	if (memcmp(&call.key, &info->key, sizeof(TexCacheKey)) != 0)
		return;
	if (!tex_attempt_begin(&call.attempt))
	{
		work->is_there = true;	/* soon, by somebody else */
		return;
	}
	tex_compute_and_store(&call);
	tex_attempt_end(&call.attempt);
	tex_cache_count(TEX_CACHE_REFRESHES, 1);
}

/* Asks for a kept query, as a caller does who takes no rows. */
static void
ask(Work *work)
{
	TexCall		call = {.text = work->kept->query, .ttl = work->kept->ttl};
	TexEntryInfo info;
	char	   *bytes;

	work->is_there = tex_cached_answer(&call, work->may_compute);
	/* What was computed need not have been stored. */
	if (work->may_compute)
		work->is_there = tex_entry_find(&call.key, &info, &bytes) &&
			info.as_of >= GetCurrentTransactionStartTimestamp();
}

/* Does it, in a transaction that is read only and ends in time; errors are for the caller. */
static void
run(Work *work)
{
	int			nesting;
	const char *rest;
	Oid			user;
	int			security_context;

	enable_timeout_after(STATEMENT_TIMEOUT, tex_cache_refresh_timeout * 1000);
	tex_process_deadline(tex_cache_refresh_timeout * 1000 + TEX_GRACE_MS);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	/* Before any query: it cannot be taken back. */
	(void) set_config_option("transaction_read_only", "on", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	PushActiveSnapshot(GetTransactionSnapshot());
	nesting = NewGUCNestLevel();
	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(role, SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	rest = tex_settings_apply(work->settings, work->settings + work->settings_size);
	if (work->info)
		renew(work, rest);
	else
		ask(work);
	AtEOXact_GUC(false, nesting);
	SetUserIdAndSecContext(user, security_context);
	PopActiveSnapshot();
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	CommitTransactionCommand();
}

/* After an error: notes it in "work", and aborts. */
static void
clean_up(Work *work)
{
	ErrorData  *error;

	HOLD_INTERRUPTS();
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(turn_context);
	error = CopyErrorData();
	tex_copy_error(work->error, error->message && error->message[0] ? error->message : "unknown error");
	FlushErrorState();
	AbortCurrentTransaction();
	FreeErrorData(error);
	RESUME_INTERRUPTS();
	ereport(DEBUG1, (errmsg_internal("cached query failed: %s", work->error)));
}

/* Whether it succeeded; a failure is also noted where the cache notes failures. */
static bool
do_work(Work *work)
{
	volatile bool done = true;

	work->error[0] = '\0';
	PG_TRY();
	{
		run(work);
	}
	PG_CATCH();
	{
		clean_up(work);
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(turn_context);
	pgstat_report_stat(true);
	return done;
}

/* ----------------------------------------------------------------
 *		What callers asked for
 * ----------------------------------------------------------------
 */
/* Was a newer result asked for, by this role? */
static bool
is_wanted_of_mine(const TexEntryInfo *info)
{
	return info->wanted && info->key.database == MyDatabaseId && info->key.role == role;
}

/*
 * An entry that could not be replaced is dropped, or it would be tried for ever: the
 * next caller computes, and is told why it fails.
 */
static void
renew_wanted(void)
{
	ListCell   *cell;

	foreach(cell, tex_entries_list(is_wanted_of_mine))
	{
		TexEntryInfo info;
		char	   *bytes;
		Work		work = {.info = &info};

		if (is_over())
			return;
		if (!tex_entry_find(&((TexEntryInfo *) lfirst(cell))->key, &info, &bytes))
			continue;
		work.bytes = bytes;
		work.settings = bytes + TEX_ENTRY_RECIPE(&info);
		work.settings_size = info.recipe_size;
		if (info.wanted && (!do_work(&work) || !work.is_there))
			(void) tex_entry_drop(&info.key, info.id);
		pfree(bytes);
	}
}

/* ----------------------------------------------------------------
 *		What is kept
 * ----------------------------------------------------------------
 */
/* Begins a transaction with the rights of the extension's owner, for its tables. */
static void
begin_as_owner(TexOwnerContext *owner)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	tex_become_owner(owner);
	SPI_connect();
}

/* Ends what begin_as_owner() began. */
static void
end_as_owner(TexOwnerContext *owner)
{
	SPI_finish();
	tex_become_caller(owner);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(turn_context);
}

/* The role's queries that do not wait for their time. */
static List *
read_kept(void)
{
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(role)};
	TexOwnerContext owner;
	List	   *kept = NIL;

	begin_as_owner(&owner);
	SPI_execute_with_args("SELECT query, (extract(epoch FROM ttl) * 1000000)::bigint, settings"
						  " FROM trace_ext.cache_kept"
						  " WHERE role = $1 AND (retry_at IS NULL OR retry_at <= clock_timestamp())"
						  " ORDER BY retry_at NULLS FIRST",
						  1, types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		MemoryContext old = MemoryContextSwitchTo(turn_context);
		KeptQuery  *one = palloc(sizeof(KeptQuery));
		bool		isnull;

		one->query = TextDatumGetCString(SPI_getbinval(tuple, desc, 1, &isnull));
		one->ttl = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
		if (isnull)
			one->ttl = TEX_NO_TTL;
		one->settings = DatumGetByteaPCopy(SPI_getbinval(tuple, desc, 3, &isnull));
		kept = lappend(kept, one);
		MemoryContextSwitchTo(old);
	}
	end_as_owner(&owner);
	return kept;
}

/*
 * Writes down how the computation of a kept query went, and when the next one may be;
 * error is NULL if it went well.
 */
static void
note(const KeptQuery *kept, int64 took, const char *error)
{
	Oid			types[] = {OIDOID, TEXTOID, INT8OID, TEXTOID};
	Datum		values[4];
	TexOwnerContext owner;

	begin_as_owner(&owner);
	values[0] = ObjectIdGetDatum(role);
	values[1] = CStringGetTextDatum(kept->query);
	values[2] = Int64GetDatum(took);
	values[3] = error ? CStringGetTextDatum(error) : (Datum) 0;
	SPI_execute_with_args("SELECT trace_ext_internal.note_kept($1, $2, $3, $4)", 4, types, values,
						  error ? NULL : "   n", false, 0);
	end_as_owner(&owner);
}

/* Sees to it that the cache has the result of a kept query. */
static void
see_to(const KeptQuery *kept)
{
	Work		work = {
		.settings = VARDATA(kept->settings),
		.settings_size = VARSIZE(kept->settings) - VARHDRSZ,
		.kept = kept
	};
	TimestampTz began = GetCurrentTimestamp();
	bool		done;

	if (do_work(&work) && work.is_there)
		return;
	note(kept, 0, "its process ended before it was done");
	work.may_compute = true;
	done = do_work(&work);
	note(kept, GetCurrentTimestamp() - began,
		 !done ? work.error : work.is_there ? NULL :
		 "its result was not kept: it was too large, or not right any more when it was done");
}

/* Computes those kept queries that the cache lacks. */
static void
warm_kept(void)
{
	ListCell   *cell;

	foreach(cell, read_kept())
	{
		if (is_over())
			return;
		see_to(lfirst(cell));
	}
}

/* ----------------------------------------------------------------
 *		The process
 * ----------------------------------------------------------------
 */
/* For the transactions as owner, whatever ALTER ROLE says of this session. */
static void
set_session(void)
{
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_OVERRIDE);
}

/* Connects as the role, where that can be. */
static void
connect_as_role(const TexJobProcess *mine)
{
	role = mine->owner;
#ifdef BGWORKER_BYPASS_ROLELOGINCHECK
	BackgroundWorkerInitializeConnectionByOid(mine->database, role, BGWORKER_BYPASS_ROLELOGINCHECK);
#else
	BackgroundWorkerInitializeConnectionByOid(mine->database, mine->may_log_in ? role : InvalidOid, 0);
#endif
}

/* Entry point of the process; its argument is its place among job processes. */
void
tex_cache_turn_main(Datum argument)
{
	TexJobProcess *mine;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	mine = tex_process_take(DatumGetInt32(argument));
	if (mine == NULL)
		proc_exit(0);
	connect_as_role(mine);
	set_session();
	pgstat_report_appname("trace_ext cache");
	pgstat_report_activity(STATE_RUNNING, "computes cached results");
	turn_began = GetCurrentTimestamp();
	turn_context = AllocSetContextCreate(TopMemoryContext, "trace_ext turn", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(turn_context);

	renew_wanted();
	warm_kept();
	tex_process_outcome(TEX_JOB_SUCCEEDED, NULL);
	proc_exit(0);
}
