/*
 * cache_keep.c
 *		Results that are computed although nobody waits for them.
 *
 * cache_refresh(), which a worker calls, computes two kinds:
 * - those that callers were given although they were past half of their time: the
 *   entry says so;
 * - those of kept queries (table cache_kept), if the cache lacks them: after a commit
 *   made them stale, or after a restart, so that the first caller finds them.
 *
 * Each is computed with the role and the settings of whoever asked for it, as a
 * restricted operation, and in a subtransaction: what fails is one result.
 *
 * A kept query that takes t is not computed again before 9 t have passed, so all of
 * them together take a tenth of one core each at most, however much is written.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "cache_compute.h"
#include "cache_counters.h"
#include "cache_flight.h"
#include "cache_locks.h"
#include "cache_relations.h"
#include "cache_settings.h"
#include "cached.h"
#include "owner.h"
#include "worker_slots.h"

PG_FUNCTION_INFO_V1(tex_cache_keep);
PG_FUNCTION_INFO_V1(tex_cache_forget);
PG_FUNCTION_INFO_V1(tex_cache_refresh);
PG_FUNCTION_INFO_V1(tex_cache_wanted);

#define REST_BY_COST 9

typedef struct KeptQuery
{
	Oid			role;
	char	   *query;
	int64		ttl;
	bytea	   *settings;
} KeptQuery;

/* What is done with the role and the settings of somebody else. */
typedef struct Work
{
	Oid			role;
	const char *settings;
	Size		settings_size;
	void		(*compute) (struct Work *work);
	const TexEntryInfo *info;	/* the entry to renew, or NULL */
	const char *bytes;
	const KeptQuery *kept;		/* the kept query, or NULL */
	const char *recipe;			/* where the settings end */
} Work;

/* Reads the arguments of a recipe, from where its settings end. */
static void
read_arguments(TexCall *call, const char *from)
{
	char	   *place = unconstify(char *, from);

	memcpy(&call->n_args, place, sizeof(int));
	place += sizeof(int);
	call->types = palloc(sizeof(Oid) * call->n_args);
	call->values = palloc(sizeof(Datum) * call->n_args);
	call->nulls = palloc(sizeof(bool) * call->n_args);
	for (int i = 0; i < call->n_args; i++)
	{
		memcpy(&call->types[i], place, sizeof(Oid));
		place += sizeof(Oid);
		call->values[i] = datumRestore(&place, &call->nulls[i]);
	}
}

/*
 * Computes an entry anew.  If the query means something else by now, nobody will ask
 * for the entry again.
 */
static void
renew(Work *work)
{
	const TexEntryInfo *info = work->info;
	TexCall		call = {.ttl = info->ttl};

	call.text = work->bytes + TEX_ENTRY_QUERY(info);
	read_arguments(&call, work->recipe);
	tex_call_identify(&call);
	if (memcmp(&call.key, &info->key, sizeof(TexCacheKey)) != 0)
	{
		tex_entry_drop(&info->key, info->id);
		return;
	}
	if (!tex_flight_begin(&call.flight))
		return;
	call.desc = CreateTupleDescCopy(call.query.desc);
	tex_compute_and_keep(&call);
	tex_flight_end(&call.flight);
	tex_cache_count(TEX_CACHE_REFRESHES, 1);
}

/* Did it take so long that it is too early to compute it again? */
static bool
is_resting(TexCall *call)
{
	TexEntryInfo info;
	char	   *bytes;

	tex_call_identify(call);
	if (!tex_entry_find(&call->key, &info, &bytes))
		return false;
	pfree(bytes);
	return GetCurrentTimestamp() - info.as_of < (int64) info.cost * (REST_BY_COST + 1);
}

/* Sees to it that the cache has the result of a kept query. */
static void
warm(Work *work)
{
	TexCall		call = {.text = work->kept->query, .ttl = work->kept->ttl};

	if (!is_resting(&call))
		tex_cached_answer(&call);
}

/* As the role, with the settings; whoever calls undoes both. */
static void
compute_as(Work *work)
{
	SetUserIdAndSecContext(work->role,
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	work->recipe = tex_settings_apply(work->settings, work->settings + work->settings_size);
	work->compute(work);
}

/* Whether it succeeded; a failure was noted where the cache notes failures. */
static bool
do_work(Work *work)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Oid			role;
	int			security_context;
	int			nesting = NewGUCNestLevel();
	bool		done = true;

	GetUserIdAndSecContext(&role, &security_context);
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		compute_as(work);
		PopActiveSnapshot();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		SetUserIdAndSecContext(role, security_context);
		/* Who cancels, or shuts down, means all of it. */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(error);
		ereport(DEBUG1, (errmsg_internal("cached query failed: %s", error->message)));
		FreeErrorData(error);
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	SetUserIdAndSecContext(role, security_context);
	AtEOXact_GUC(false, nesting);
	return done;
}

static bool
is_wanted_here(const TexEntryInfo *info, void *arg)
{
	return info->wanted && info->key.database == MyDatabaseId;
}

static int64
renew_wanted(void)
{
	int64		n = 0;
	ListCell   *cell;

	foreach(cell, tex_entries_list(is_wanted_here, NULL))
	{
		TexEntryInfo info;
		char	   *bytes;
		Work		work = {.compute = renew, .info = &info};

		CHECK_FOR_INTERRUPTS();
		if (!tex_entry_find(&((TexEntryInfo *) lfirst(cell))->key, &info, &bytes))
			continue;
		work.role = info.key.role;
		work.bytes = bytes;
		work.settings = bytes + TEX_ENTRY_RECIPE(&info);
		work.settings_size = info.recipe_size;
		if (info.wanted)
			n += do_work(&work);
		pfree(bytes);
	}
	return n;
}

/* The kept queries of roles that there are, in the current memory context. */
static List *
read_kept(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *kept = NIL;

	SPI_connect();
	SPI_execute("SELECT r.oid, k.query, (extract(epoch FROM k.ttl) * 1000000)::bigint, k.settings"
				" FROM trace_ext.cache_kept k JOIN pg_catalog.pg_roles r ON r.rolname = k.role",
				true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		MemoryContext old = MemoryContextSwitchTo(context);
		KeptQuery  *k = palloc(sizeof(KeptQuery));
		bool		isnull;

		k->role = DatumGetObjectId(SPI_getbinval(tuple, desc, 1, &isnull));
		k->query = TextDatumGetCString(SPI_getbinval(tuple, desc, 2, &isnull));
		k->ttl = DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));
		if (isnull)
			k->ttl = TEX_NO_TTL;
		k->settings = DatumGetByteaPCopy(SPI_getbinval(tuple, desc, 4, &isnull));
		kept = lappend(kept, k);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return kept;
}

static void
warm_kept(void)
{
	ListCell   *cell;

	foreach(cell, read_kept())
	{
		KeptQuery  *kept = lfirst(cell);
		Work		work = {
			.role = kept->role,
			.settings = VARDATA(kept->settings),
			.settings_size = VARSIZE(kept->settings) - VARHDRSZ,
			.compute = warm,
			.kept = kept
		};

		CHECK_FOR_INTERRUPTS();
		(void) do_work(&work);
	}
}

/*
 * cache_refresh() returns bigint
 *
 * Computes what was asked for and what is kept; returns how many entries were
 * computed anew because callers asked for it.
 */
Datum
tex_cache_refresh(PG_FUNCTION_ARGS)
{
	int64		refreshed;

	if (!tex_cache_is_there())
		PG_RETURN_INT64(0);
	refreshed = renew_wanted();
	warm_kept();
	PG_RETURN_INT64(refreshed);
}

/*
 * cache_wanted() returns boolean
 */
Datum
tex_cache_wanted(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(tex_cache_is_there() && tex_entries_list(is_wanted_here, NULL) != NIL);
}

/* Runs a statement on cache_kept, for the caller, with the rights of the owner. */
static uint64
change_kept(const char *sql, int n_args, Oid *types, Datum *values, const char *nulls)
{
	TexOwnerContext owner;
	uint64		changed;

	tex_become_owner(&owner);
	SPI_connect();
	SPI_execute_with_args(sql, n_args, types, values, nulls, false, 0);
	changed = SPI_processed;
	SPI_finish();
	tex_become_caller(&owner);
	return changed;
}

/* This transaction keeps a query that the worker does not know of yet. */
static bool has_news = false;

static void
tell_worker(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (has_news && event == XACT_EVENT_COMMIT)
		tex_worker_wake(MyDatabaseId);
	has_news = false;
}

static void
tell_worker_at_commit(void)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(tell_worker, NULL);
	registered = true;
	has_news = true;
}

static Datum
caller_name(void)
{
	return CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
}

/*
 * cache_keep(query text, ttl interval) returns void
 */
Datum
tex_cache_keep(PG_FUNCTION_ARGS)
{
	TexCall		call = {.ttl = TEX_NO_TTL};
	Oid			types[] = {TEXTOID, TEXTOID, INTERVALOID, BYTEAOID};
	Datum		values[4];
	char		nulls[] = "    ";
	StringInfoData settings;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("query must not be null")));
	call.text = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(1))
		call.ttl = tex_cached_ttl(PG_GETARG_INTERVAL_P(1));
	tex_call_identify(&call);
	tex_cached_require_ttl(&call);

	initStringInfo(&settings);
	tex_settings_write(&settings);
	values[0] = caller_name();
	values[1] = PG_GETARG_DATUM(0);
	values[2] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	nulls[2] = PG_ARGISNULL(1) ? 'n' : ' ';
	values[3] = PointerGetDatum(cstring_to_text_with_len(settings.data, settings.len));
	change_kept("INSERT INTO trace_ext.cache_kept (role, query, ttl, settings) VALUES ($1, $2, $3, $4)"
				" ON CONFLICT (role, md5(query))"
				" DO UPDATE SET ttl = excluded.ttl, settings = excluded.settings, kept_at = now()",
				4, types, values, nulls);
	tell_worker_at_commit();
	PG_RETURN_VOID();
}

/*
 * cache_forget(query text) returns boolean
 */
Datum
tex_cache_forget(PG_FUNCTION_ARGS)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {caller_name(), PG_GETARG_DATUM(0)};

	PG_RETURN_BOOL(change_kept("DELETE FROM trace_ext.cache_kept WHERE role = $1 AND query = $2",
							   2, types, values, NULL) > 0);
}
