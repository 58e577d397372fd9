/*
 * cached.c
 *		Answers a call of cached(): from the cache, or else by computing.
 *
 * tex_cached_answer() is the whole story, as a machine of these states:
 *
 *	IDENTIFY ----- the cache is not to be used ---------------> ALONE
 *	    |
 *	    v
 *	  LOOK ------- right, or young enough --------------------> DONE
 *	    |  |------ the same, but past half of its time -------> RENEW
 *	    |  `------ this transaction has written what was read > ALONE
 *	    |
 *	    | nothing good was found; here it ends while the query keeps failing
 *	    v
 *	  JOIN ------- nobody computes it ------------------------> LOOK, then COMPUTE
 *	    |  `------ others may wait for this transaction ------> COMPUTE
 *	    v
 *	  WAIT ------- nobody does any more ----------------------> LOOK, then NEXT
 *
 *	  NEXT ------- it failed: this session is the next -------> LOOK, then COMPUTE
 *	       `------ it succeeded, but for another snapshot ----> COMPUTE
 *
 * "LOOK, then" the other state, if nothing good is found.  ALONE computes for this caller;
 * RENEW and COMPUTE also store the result for others (compute.c).  After each of the three
 * the call is DONE.
 *
 * A result that is found is given out only if it is what the query would return now, for
 * this caller and his snapshot (relations.c begins with the reason); or, if he accepts an
 * age, one that is young enough.
 *
 * Who keeps away from the cache altogether: a transaction that has written what it
 * reads, because it sees what nobody else does; SERIALIZABLE, because what was not
 * read cannot be found in conflict; a query inside a query that is being cached,
 * because what it reads has to be seen.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "cache/attempts.h"
#include "cache/cached.h"
#include "cache/compute.h"
#include "cache/entries.h"
#include "cache/relations.h"
#include "cache/shared.h"
#include "cache/writes.h"
#include "common/reads.h"
#include "common/worker_slots.h"
#include "guc.h"

PG_FUNCTION_INFO_V1(tex_cached);

typedef enum State
{
	IDENTIFY,					/* what is asked, and may the cache answer it? */
	LOOK,						/* at this session's copies, then in shared memory */
	JOIN,						/* nothing was found: is anybody computing it? */
	WAIT,						/* for whoever does */
	NEXT,						/* what he has is of no use here */
	COMPUTE,					/* for all */
	RENEW,						/* the same, in place of what was found */
	ALONE,						/* for this caller, aside of the cache */
	DONE,
	UNANSWERED					/* nothing good was found, and nothing may be computed */
} State;

/* What a call has come to, beside its state. */
typedef struct Progress
{
	TexCall    *call;
	bool		may_compute;
	State		if_missing;		/* where it goes on if nothing good is found */
	bool		mine;			/* others wait for what this session computes */
	uint32		successes;		/* computations that ended well before this one joins */
} Progress;

/* What a look at a result says of it. */
typedef enum Verdict
{
	RIGHT,						/* it is what the query would return */
	YOUNG,						/* not that, but of an age that the caller accepts */
	WORN,						/* either, but it is for this session to compute it anew */
	WRONG,						/* or none was found */
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

/* May this call be answered from the cache, and its result be stored? */
static bool
may_use_cache(const TexCall *call)
{
	if (!tex_cache_is_there() || tex_cache_mode != TEX_CACHE_ON || tex_cache_size == 0 || tex_reads_collecting() ||
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

/*
 * Is a result what the query would return, or young enough?  One that moves with time
 * (timed) has to be young in any case.
 */
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
	if (right && info->timed)
		right = call->ttl != TEX_NO_TTL && age >= 0 && age <= call->ttl;
	if (right)
		return RIGHT;
	return is_accepted(call, info, dependencies, age) ? YOUNG : WRONG;
}

/* How old a result is, in microseconds, where that matters. */
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
	if (info->repeatable && tex_cache_processes > 0 && tex_worker_folds())
	{
		if (tex_entry_want(info))
			tex_worker_wake(info->key.database);
		return false;
	}
	return tex_attempt_begin(&call->attempt);
}

/*
 * Judges a result and, where it is RIGHT or YOUNG, gives it to the caller.  Where it is
 * WORN this session has its lock (attempts.c), and nothing is given.
 */
static Verdict
give_if_good(TexCall *call, const TexEntryInfo *info, const char *bytes, TexCounter counter, bool may_renew)
{
	int64		age = age_of(call, info);
	Verdict		verdict = judge(call, info, bytes, age);

	if (verdict != RIGHT && verdict != YOUNG)
		return verdict;
	if (call->ttl != TEX_NO_TTL && may_renew && is_to_be_renewed(call, info, verdict, age))
		return WORN;
	tex_cache_count(verdict == YOUNG ? TEX_CACHE_STALE_HITS : counter, 1);
	if (call->store)
		tex_rows_put(call->desc, call->store, bytes + TEX_ENTRY_ROWS(info), info->n_rows);
	tex_notices_repeat(bytes + TEX_ENTRY_NOTICES(info), info->notices_size);
	tex_cache_count(TEX_CACHE_SAVED_US, info->cost);
	return verdict;
}

/* Looks at what this session and shared memory have, and gives it where it is good. */
static Verdict
look(TexCall *call, bool may_renew)
{
	TexEntryInfo *copied;
	TexEntryInfo info;
	char	   *bytes;
	Verdict		verdict;

	/* Past half of its time there may be a newer one in shared memory. */
	if (tex_copy_find(&call->key, &copied, &bytes) &&
		(call->ttl == TEX_NO_TTL || age_of(call, copied) <= call->ttl / 2))
	{
		verdict = give_if_good(call, copied, bytes, TEX_CACHE_LOCAL_HITS, may_renew);
		if (verdict != WRONG)
			return verdict;
		tex_copy_drop(&call->key);
	}
	if (!tex_entry_find(&call->key, &info, &bytes))
		return WRONG;
	verdict = give_if_good(call, &info, bytes, TEX_CACHE_SHARED_HITS, may_renew);
	if (verdict == RIGHT || verdict == YOUNG)
	{
		tex_entry_hit(&info);
		tex_copy_store(&info, bytes);
	}
	pfree(bytes);
	return verdict;
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

/* ----------------------------------------------------------------
 *		States, of which each says the next
 * ----------------------------------------------------------------
 */
static State
identify(TexCall *call)
{
	AcceptInvalidationMessages();
	tex_call_identify(call);
	if (tex_cache_mode != TEX_CACHE_OFF)
		tex_call_require_ttl(call);
	return may_use_cache(call) ? LOOK : ALONE;
}

static State
look_and_decide(Progress *progress)
{
	switch (look(progress->call, progress->if_missing == JOIN))
	{
		case RIGHT:
		case YOUNG:
			return DONE;
		case WORN:
			progress->mine = true;
			return RENEW;
		case NOT_FOR_ME:
			return ALONE;
		case WRONG:
			break;
	}
	if (!progress->may_compute)
		return UNANSWERED;
	/* The only way to JOIN, NEXT or, by a lock, to COMPUTE. */
	tex_failures_check(&progress->call->attempt);
	return progress->if_missing;
}

static State
join(Progress *progress)
{
	TexCall    *call = progress->call;

	progress->successes = tex_failures_successes(&call->attempt);
	track(call);
	progress->if_missing = COMPUTE;
	progress->mine = tex_attempt_begin(&call->attempt);
	if (progress->mine)
		return LOOK;
	return TransactionIdIsValid(GetTopTransactionIdIfAny()) ? COMPUTE : WAIT;
}

/* Of those who waited for one that succeeded, all compute side by side; else one at a time. */
static State
come_next(Progress *progress)
{
	TexCacheKey *attempt = &progress->call->attempt;

	progress->if_missing = COMPUTE;
	if (tex_failures_successes(attempt) != progress->successes)
		return COMPUTE;
	tex_attempt_take(attempt);
	progress->mine = tex_failures_successes(attempt) == progress->successes;
	if (!progress->mine)
		tex_attempt_end(attempt);
	return LOOK;
}

static State
compute_alone(const Progress *progress)
{
	if (!progress->may_compute)
		return UNANSWERED;
	tex_cache_count(TEX_CACHE_BYPASSES, 1);
	tex_compute(progress->call);
	if (progress->mine)
		tex_failures_clear(&progress->call->attempt);
	return DONE;
}

/*
 * Answers a call, whose text, arguments, ttl and places for rows are set: puts the rows
 * into its store; without one it only sees to it that the cache has them.  An active
 * snapshot is needed.  Errors are those of the query, of what cannot be cached, and of a
 * query that keeps failing; locks that were taken end with the (sub)transaction then.
 *
 * If nothing may be computed, and the cache has nothing good, nothing happens and false
 * is returned; what is WORN is computed anew even so.
 */
bool
tex_cached_answer(TexCall *call, bool may_compute)
{
	Progress	progress = {.call = call,.may_compute = may_compute,.if_missing = JOIN};
	State		state = IDENTIFY;

	while (state != DONE && state != UNANSWERED)
	{
		switch (state)
		{
			case IDENTIFY:
				state = identify(call);
				break;
			case LOOK:
				state = look_and_decide(&progress);
				break;
			case JOIN:
				state = join(&progress);
				break;
			case WAIT:
				tex_cache_count(TEX_CACHE_WAITS, 1);
				tex_attempt_wait(&call->attempt);
				progress.if_missing = NEXT;
				state = LOOK;
				break;
			case NEXT:
				state = come_next(&progress);
				break;
			case COMPUTE:
				tex_cache_count(TEX_CACHE_MISSES, 1);
				tex_compute_and_store(call);
				state = DONE;
				break;
			case RENEW:
				tex_compute_and_store(call);
				tex_cache_count(TEX_CACHE_REFRESHES, 1);
				state = DONE;
				break;
			case ALONE:
				state = compute_alone(&progress);
				break;
			case DONE:
			case UNANSWERED:
				break;
		}
	}
	if (progress.mine)
		tex_attempt_end(&call->attempt);
	return state == DONE;
}

/* A ttl in microseconds, for which a month has 30 days; fails where it is not positive. */
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
 * Prepares the caller to be given rows in a tuplestore: sets desc and store of the call.
 * Fails where the function is not called in FROM.
 */
void
tex_cached_begin_rows(FunctionCallInfo fcinfo, TexCall *call)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;

	if (info == NULL || !IsA(info, ReturnSetInfo) || info->expectedDesc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a function that returns rows was called where there is no place for them"),
				 errhint("Call it in FROM; cached() with a column definition list: "
						 "SELECT * FROM trace_ext.cached('SELECT 1') AS t (n int)")));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	call->desc = info->setDesc;
	call->store = info->setResult;
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
	}
	if (!tex_cache_is_there())
		say_not_preloaded();
	tex_cached_begin_rows(fcinfo, &call);
	(void) tex_cached_answer(&call, true);
	return (Datum) 0;
}
