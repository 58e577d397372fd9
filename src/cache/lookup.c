/*
 * lookup.c
 *		Answers a query from the cache, or else by computing it.
 *
 * Three places are asked in turn: the copies of this session, shared memory, and the
 * query itself.  A result that is found is given out only if it is what the query
 * would return now, for this caller and his snapshot; or, if he accepts an age, one
 * that is young enough.
 *
 * Who keeps away from the cache altogether: a transaction that has written what it
 * reads, because it sees what nobody else does; SERIALIZABLE, because what was not
 * read cannot be found in conflict; a query inside a query that is being cached,
 * because what it reads has to be seen.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "cache/compute.h"
#include "cache/counters.h"
#include "cache/entries.h"
#include "cache/failures.h"
#include "cache/flight.h"
#include "cache/local.h"
#include "cache/locks.h"
#include "cache/refresh.h"
#include "cache/relations.h"
#include "cache/rows.h"
#include "cache/writes.h"
#include "cache/lookup.h"
#include "guc.h"
#include "common/reads.h"

PG_FUNCTION_INFO_V1(tex_cached);

typedef enum Verdict
{
	RIGHT,						/* what the query would return */
	YOUNG,						/* not that, but of an age that the caller accepts */
	RENEWED,					/* it was, and was computed anew for him */
	WRONG,
	NOT_FOR_ME					/* this transaction has written what was read */
} Verdict;

/* May the query read a temporary table, that inherits from one that it names? */
static bool
has_temporary_children(const List *relations)
{
	ListCell   *cell;

	foreach(cell, relations)
	{
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION && has_subclass(lfirst_oid(cell)))
			return true;
	}
	return false;
}

static bool
may_use_cache(const TexCall *call)
{
	if (tex_cache_mode != TEX_CACHE_ON || tex_cache_size == 0 || tex_reads_collecting() ||
		IsolationIsSerializable() || tex_i_changed_definitions() ||
		GetActiveSnapshot()->snapshot_type != SNAPSHOT_MVCC)
		return false;
	if (RecoveryInProgress() && call->ttl == TEX_NO_TTL)
		return false;
	return !OidIsValid(tex_temporary_schema()) ||
		!(call->query.has_functions || has_temporary_children(call->query.relations));
}

/*
 * Is a result, that may not be right, one that the caller accepts for its age?  Not
 * if he has written since; nor if DDL came since, such as REVOKE.  A transaction
 * with one snapshot is not shown another one's time.
 */
static bool
is_accepted(const TexCall *call, const TexEntryInfo *info, const TexDependency *dependencies,
			int64 age)
{
	if (call->ttl == TEX_NO_TTL || age < 0 || age > call->ttl || IsolationUsesXactSnapshot())
		return false;
	if (RecoveryInProgress())
		return info->n_dependencies == 0 && info->replayed == tex_relations_replayed();
	if (info->n_dependencies == 0 || info->as_of <= tex_last_write())
		return false;
	for (uint32 i = 0; i < info->n_dependencies; i++)
	{
		if (tex_relation_wiped(&dependencies[i]))
			return false;
	}
	return true;
}

static Verdict
judge(const TexCall *call, const TexEntryInfo *info, const char *bytes, int64 age)
{
	const TexDependency *dependencies = (const TexDependency *) bytes;
	bool		right = info->exact && !RecoveryInProgress();

	for (uint32 i = 0; i < info->n_dependencies; i++)
	{
		if (tex_i_wrote(dependencies[i].relation))
			return NOT_FOR_ME;
	}
	for (uint32 i = 0; right && i < info->n_dependencies; i++)
		right = tex_relation_same(&dependencies[i], GetActiveSnapshot());
	/* What moves with time has to be young as well. */
	if (right && info->timed)
		right = call->ttl != TEX_NO_TTL && age >= 0 && age <= call->ttl;
	if (right)
		return RIGHT;
	return is_accepted(call, info, dependencies, age) ? YOUNG : WRONG;
}

static void
give(TexCall *call, const TexEntryInfo *info, const char *bytes)
{
	if (call->store)
		tex_result_put(call->desc, call->store, bytes + TEX_ENTRY_ROWS(info), info->n_rows);
	tex_notices_repeat(bytes + TEX_ENTRY_NOTICES(info), info->notices_size);
	tex_cache_count(TEX_CACHE_SAVED_US, info->cost);
}

static int64
age_of(const TexCall *call, const TexEntryInfo *info)
{
	return call->ttl == TEX_NO_TTL ? 0 : GetCurrentTimestamp() - info->as_of;
}

/*
 * Past half of its time, a result that changed or moves with time is computed anew:
 * by a worker, or by one caller, while others are given the old one.
 */
static bool
is_to_be_renewed(const TexCall *call, const TexEntryInfo *info, Verdict verdict, int64 age)
{
	if (age <= call->ttl / 2 || (verdict == RIGHT && !info->timed))
		return false;
	if (info->repeatable && tex_refresh_ask(info))
		return false;
	return tex_flight_begin(&call->flight);
}

static Verdict
answer_from(TexCall *call, TexEntryInfo *info, char *bytes, TexCounter counter, bool may_renew)
{
	int64		age = age_of(call, info);
	Verdict		verdict = judge(call, info, bytes, age);

	if (verdict == WRONG || verdict == NOT_FOR_ME)
		return verdict;
	if (call->ttl != TEX_NO_TTL && may_renew && is_to_be_renewed(call, info, verdict, age))
	{
		tex_compute_and_keep(call);
		tex_flight_end(&call->flight);
		tex_cache_count(TEX_CACHE_REFRESHES, 1);
		return RENEWED;
	}
	tex_cache_count(verdict == YOUNG ? TEX_CACHE_STALE_HITS : counter, 1);
	give(call, info, bytes);
	return verdict;
}

/*
 * Answers from the session's copies or from shared memory, if they have what is
 * right or young enough.
 */
static Verdict
answer_from_cache(TexCall *call, bool may_renew)
{
	TexEntryInfo *local;
	TexEntryInfo info;
	char	   *bytes;
	Verdict		verdict;

	/* Past half of its time there may be a newer one in shared memory. */
	if (tex_local_find(&call->key, &local, &bytes) &&
		(call->ttl == TEX_NO_TTL || age_of(call, local) <= call->ttl / 2))
	{
		verdict = answer_from(call, local, bytes, TEX_CACHE_LOCAL_HITS, may_renew);
		if (verdict != WRONG)
			return verdict;
		tex_local_drop(&call->key);
	}
	if (!tex_entry_find(&call->key, &info, &bytes))
		return WRONG;
	verdict = answer_from(call, &info, bytes, TEX_CACHE_SHARED_HITS, may_renew);
	if (verdict == RIGHT || verdict == YOUNG)
	{
		tex_entry_hit(&info);
		tex_local_keep(&info, bytes);
	}
	pfree(bytes);
	return verdict;
}

/* Computes it, after a last look, as who had it before may just have kept it. */
static void
look_or_compute(TexCall *call)
{
	switch (answer_from_cache(call, false))
	{
		case RIGHT:
		case YOUNG:
		case RENEWED:
			break;
		case NOT_FOR_ME:
			tex_cache_count(TEX_CACHE_BYPASSES, 1);
			tex_compute(call);
			tex_failures_clear(&call->flight);
			break;
		case WRONG:
			tex_cache_count(TEX_CACHE_MISSES, 1);
			tex_compute_and_keep(call);
			break;
	}
}

/* Is it of use to look again, after another one computed the result? */
static bool
is_answered_after_wait(TexCall *call)
{
	Verdict		verdict;

	tex_failures_check(&call->flight);
	verdict = answer_from_cache(call, false);
	return verdict == RIGHT || verdict == YOUNG;
}

/*
 * Another session computes the result: waits for that.  If it failed, one of those
 * who waited is the next, and the others wait for him.  If it ended well but is of
 * no use, as it was for another snapshot, computes beside others.
 */
static void
answer_after_others(TexCall *call, uint32 successes)
{
	tex_cache_count(TEX_CACHE_WAITS, 1);
	tex_flight_wait(&call->flight);
	if (is_answered_after_wait(call))
		return;
	if (tex_failures_successes(&call->flight) == successes)
	{
		tex_flight_take(&call->flight);
		if (tex_failures_successes(&call->flight) == successes)
		{
			look_or_compute(call);
			tex_flight_end(&call->flight);
			return;
		}
		tex_flight_end(&call->flight);
	}
	look_or_compute(call);
}

/* What the query is known to read is tracked before it is computed, not only after. */
static void
track(const TexCall *call)
{
	TexDependency dependency;
	ListCell   *cell;

	if (RecoveryInProgress())
		return;
	tex_relations_computing();
	foreach(cell, call->query.relations)
		tex_relation_track(lfirst_oid(cell), &dependency);
	tex_relation_track(TEX_DEFINITIONS, &dependency);
	tex_relation_track(TEX_ROLES, &dependency);
	tex_relation_track(TEX_NAMES, &dependency);
}

/*
 * Computes the result, or has another session's computation.  Who has written does
 * not wait for others, as they may wait for him.
 */
static void
answer_by_computing(TexCall *call)
{
	uint32		successes = tex_failures_successes(&call->flight);

	track(call);
	if (tex_flight_begin(&call->flight))
	{
		look_or_compute(call);
		tex_flight_end(&call->flight);
	}
	else if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		look_or_compute(call);
	else
		answer_after_others(call, successes);
}

/*
 * Fails where the result can only be cached with a ttl, and there is none.
 */
void
tex_cached_require_ttl(const TexCall *call)
{
	if (call->query.ttl_reason && call->ttl == TEX_NO_TTL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot cache this query without a ttl"),
				 errdetail_internal("%s", call->query.ttl_reason),
				 errhint("Say how old its result may be: cached(query, interval '30 s'). "
						 "Or answer for a function: trace_ext.cache_trusted_functions.")));
}

/* Once a session: the cache cannot work, but everything else does. */
static void
say_not_preloaded(void)
{
	static bool said = false;

	if (!said)
		ereport(NOTICE,
				(errmsg("results are not cached, as trace_ext is not preloaded"),
				 errhint("Add trace_ext to shared_preload_libraries and restart the server.")));
	said = true;
}

/*
 * Answers a call: puts the rows into its store.  Without one it only sees to it that
 * the cache has them.
 */
void
tex_cached_answer(TexCall *call)
{
	AcceptInvalidationMessages();
	tex_call_identify(call);
	if (call->desc == NULL)
		call->desc = CreateTupleDescCopy(call->query.desc);
	tex_call_check_columns(call);
	if (tex_cache_mode != TEX_CACHE_OFF)
		tex_cached_require_ttl(call);
	if (!tex_cache_is_there())
	{
		tex_compute(call);
		return;
	}
	if (!may_use_cache(call))
	{
		tex_cache_count(TEX_CACHE_BYPASSES, 1);
		tex_compute(call);
		return;
	}
	switch (answer_from_cache(call, true))
	{
		case RIGHT:
		case YOUNG:
		case RENEWED:
			break;
		case NOT_FOR_ME:
			tex_cache_count(TEX_CACHE_BYPASSES, 1);
			tex_compute(call);
			break;
		case WRONG:
			tex_failures_check(&call->flight);
			answer_by_computing(call);
			break;
	}
}

/*
 * Has the cache what a call would be given?  Nothing is computed, but for a result that
 * grows old a newer one is asked for.
 */
bool
tex_cached_has(TexCall *call)
{
	AcceptInvalidationMessages();
	tex_call_identify(call);
	tex_cached_require_ttl(call);
	if (call->desc == NULL)
		call->desc = CreateTupleDescCopy(call->query.desc);
	return may_use_cache(call) && answer_from_cache(call, true) != WRONG;
}

/*
 * A ttl in microseconds; a month has 30 days.
 */
int64
tex_cached_ttl(const Interval *span)
{
	int64		ttl = span->time + (span->day + (int64) span->month * DAYS_PER_MONTH) * USECS_PER_DAY;

	if (ttl <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ttl must be positive")));
	return ttl;
}

/*
 * Prepares the caller to be given rows in a tuplestore.
 */
void
tex_cached_begin_rows(FunctionCallInfo fcinfo, TexCall *call)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;

	if (info == NULL || !IsA(info, ReturnSetInfo) || !(info->allowedModes & SFRM_Materialize) ||
		info->expectedDesc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a function that returns rows was called where there is no place for them"),
				 errhint("Call it in FROM; cached() with a column definition list: "
						 "SELECT * FROM trace_ext.cached('SELECT 1') AS t (n int)")));
	/* The executor compares it with nothing then: check_columns() has. */
	call->desc = info->expectedDesc;
	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	call->store = tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0,
										false, work_mem);
	MemoryContextSwitchTo(old);
	info->returnMode = SFRM_Materialize;
	info->setResult = call->store;
	info->setDesc = NULL;
}

/*
 * An argument may point to where its row keeps it, and the row be gone when the result
 * is computed anew: from here on the arguments hold what they mean.
 */
static void
detoast_arguments(TexCall *call)
{
	for (int i = 0; i < call->n_args; i++)
		if (!call->nulls[i] && get_typlen(call->types[i]) == -1)
			call->values[i] = PointerGetDatum(PG_DETOAST_DATUM_PACKED(call->values[i]));
}

/*
 * cached(query text, ttl interval) returns setof record
 * cached(query text, ttl interval, VARIADIC arguments "any") returns setof record
 */
Datum
tex_cached(PG_FUNCTION_ARGS)
{
	TexCall		call = {0};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("query must not be null")));
	call.text = text_to_cstring(PG_GETARG_TEXT_PP(0));
	call.ttl = PG_ARGISNULL(1) ? TEX_NO_TTL : tex_cached_ttl(PG_GETARG_INTERVAL_P(1));
	if (PG_NARGS() > 2)
	{
		call.n_args = extract_variadic_args(fcinfo, 2, true, &call.values, &call.types, &call.nulls);
		/* VARIADIC NULL */
		call.n_args = Max(call.n_args, 0);
		detoast_arguments(&call);
	}
	if (!tex_cache_is_there())
		say_not_preloaded();
	tex_cached_begin_rows(fcinfo, &call);
	tex_cached_answer(&call);
	return (Datum) 0;
}
