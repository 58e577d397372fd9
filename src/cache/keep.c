/*
 * keep.c
 *		Whose results are computed although nobody waits for them, and when.
 *
 * Kept queries are those whose results are to be in the cache before anybody asks.
 * They are rows of table cache_kept, each of a role, by its oid: a name may be another
 * role's by tomorrow.
 *
 * cache_refresh(), which a worker calls each second, computes nothing itself.  It finds
 * the roles that callers asked results for, or that keep queries, and starts processes
 * for them (turn.c): one a role, a few a database, and first for the role
 * whose last turn is longest ago.  So a role whose queries take long, or for ever,
 * takes turns with the others, and the worker goes on with its own duties.
 *
 * When each role had its turn is known to the session that gave it, which is the
 * worker as a rule.  Nothing depends on it but fairness.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "cache/cached.h"
#include "cache/entries.h"
#include "cache/settings.h"
#include "cache/shared.h"
#include "common/owner.h"
#include "common/worker_slots.h"
#include "common/xact.h"
#include "compat.h"
#include "guc.h"
#include "workers/job_process.h"

PG_FUNCTION_INFO_V1(tex_cache_keep);
PG_FUNCTION_INFO_V1(tex_cache_forget);
PG_FUNCTION_INFO_V1(tex_cache_refresh);
PG_FUNCTION_INFO_V1(tex_cache_wanted);

/* Of one role; more would be a load that nobody meant. */
#define MOST_KEPT 1000

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
	tex_xact_register(TEX_XACT_KEEP, tell_worker, NULL);
	has_news = true;
}

/* One that is kept already does not count. */
static void
require_room(Datum role, Datum query)
{
	Oid			types[] = {OIDOID, TEXTOID, INT4OID};
	Datum		values[] = {role, query, Int32GetDatum(MOST_KEPT)};

	if (change_kept("SELECT FROM trace_ext.cache_kept WHERE role = $1 AND query <> $2 OFFSET $3 - 1 LIMIT 1",
					3, types, values, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("role \"%s\" keeps %d queries already", GetUserNameFromId(GetUserId(), false), MOST_KEPT),
				 errhint("Forget one with cache_forget().")));
}

/* cache_keep(query text, ttl interval) returns void */
Datum
tex_cache_keep(PG_FUNCTION_ARGS)
{
	TexCall		call = {.ttl = TEX_NO_TTL};
	Oid			types[] = {OIDOID, TEXTOID, INTERVALOID, BYTEAOID};
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
	tex_call_require_ttl(&call);

	initStringInfo(&settings);
	tex_settings_write(&settings);
	values[0] = ObjectIdGetDatum(GetUserId());
	values[1] = PG_GETARG_DATUM(0);
	values[2] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	nulls[2] = PG_ARGISNULL(1) ? 'n' : ' ';
	values[3] = PointerGetDatum(cstring_to_text_with_len(settings.data, settings.len));
	require_room(values[0], values[1]);
	change_kept("INSERT INTO trace_ext.cache_kept (role, role_name, query, ttl, settings)"
				" VALUES ($1, pg_get_userbyid($1), $2, $3, $4)"
				" ON CONFLICT (role, md5(query))"
				" DO UPDATE SET ttl = excluded.ttl, settings = excluded.settings, kept_at = now(),"
				" failures = 0, retry_at = NULL, last_error = NULL",
				4, types, values, nulls);
	tell_worker_at_commit();
	PG_RETURN_VOID();
}

/* cache_forget(query text) returns boolean */
Datum
tex_cache_forget(PG_FUNCTION_ARGS)
{
	Oid			types[] = {OIDOID, TEXTOID};
	Datum		values[] = {ObjectIdGetDatum(GetUserId()), PG_GETARG_DATUM(0)};

	PG_RETURN_BOOL(change_kept("DELETE FROM trace_ext.cache_kept WHERE role = $1 AND query = $2",
							   2, types, values, NULL) > 0);
}

/* ----------------------------------------------------------------
 *		Roles
 * ----------------------------------------------------------------
 */
/*
 * How often the kept queries of a role are looked at, unless one is new: each time that
 * the job runs for them, which is every five seconds.
 */
#define LOOK_MS 4000

/* A role whose process fails is left alone for twice as long each time. */
#define FIRST_PAUSE_MS 5000
#define LONGEST_PAUSE_MS (10 * 60 * 1000)

typedef struct Role
{
	Oid			oid;			/* hash key */
	bool		wants;			/* a turn, now */
	TimestampTz last_turn;
	int			failures;		/* of its process, in a row */
	TimestampTz not_before;
} Role;

static HTAB *roles = NULL;

/* What is known of a role, which is nothing at first. */
static Role *
role_of(Oid oid)
{
	bool		found;
	Role	   *role = hash_search(roles, &oid, HASH_ENTER, &found);

	if (!found)
		memset((char *) role + sizeof(Oid), 0, sizeof(Role) - sizeof(Oid));
	return role;
}

/* Was a newer result asked for, in this database? */
static bool
is_wanted_here(const TexEntryInfo *info)
{
	return info->wanted && info->key.database == MyDatabaseId;
}

/* ----------------------------------------------------------------
 *		Who wants a turn
 * ----------------------------------------------------------------
 */
/* What became of earlier turns. */
static void
collect_ended(TimestampTz now)
{
	TexJobProcess process;

	while (tex_job_process_ended(&process, true))
	{
		Role	   *role = role_of(process.owner);

		if (process.outcome != TEX_JOB_FAILED && process.outcome != TEX_JOB_LOST)
			role->failures = 0;
		else
		{
			int64		pause = (int64) FIRST_PAUSE_MS << Min(role->failures, 10);

			role->failures++;
			role->not_before = TimestampTzPlusMilliseconds(now, Min(pause, LONGEST_PAUSE_MS));
		}
	}
}

/* Roles with results that grew old while somebody asked for them; all others want nothing yet. */
static void
find_wanted(void)
{
	HASH_SEQ_STATUS all;
	Role	   *role;
	ListCell   *cell;

	hash_seq_init(&all, roles);
	while ((role = hash_seq_search(&all)) != NULL)
		role->wants = false;
	foreach(cell, tex_entries_list(is_wanted_here))
		role_of(((TexEntryInfo *) lfirst(cell))->key.role)->wants = true;
}

/*
 * Roles with kept queries whose time has come.  On the way the table is brought in line
 * with the roles that there are.
 */
static void
find_kept(TimestampTz now)
{
	TexOwnerContext owner;

	tex_become_owner(&owner);
	SPI_connect();
	SPI_execute("SELECT role, is_new FROM trace_ext_internal.roles_with_kept()", false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Role	   *role = role_of(DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i],
																  SPI_tuptable->tupdesc, 1, &isnull)));
		bool		is_new = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i],
														SPI_tuptable->tupdesc, 2, &isnull));

		if (is_new || role->last_turn > now ||
			TimestampDifferenceExceeds(role->last_turn, now, LOOK_MS))
			role->wants = true;
	}
	SPI_finish();
	tex_become_caller(&owner);
}

/* ----------------------------------------------------------------
 *		Turns
 * ----------------------------------------------------------------
 */
/* Its pause is over, or longer than any: the clock was set back. */
static bool
is_rested(const Role *role, TimestampTz now)
{
	return role->failures == 0 || role->not_before <= now ||
		role->not_before > TimestampTzPlusMilliseconds(now, LONGEST_PAUSE_MS);
}

/* The role that has waited longest, and waits no more after this; NULL if none waits. */
static Role *
next_role(TimestampTz now)
{
	HASH_SEQ_STATUS all;
	Role	   *role;
	Role	   *next = NULL;

	hash_seq_init(&all, roles);
	while ((role = hash_seq_search(&all)) != NULL)
	{
		if (role->wants && is_rested(role, now) &&
			(next == NULL || role->last_turn < next->last_turn))
			next = role;
	}
	if (next != NULL)
		next->wants = false;
	return next;
}

/*
 * Starts a process for a role, if it is there and may connect; false where it is not
 * started.
 */
static bool
start_turn(Role *role, TimestampTz now)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role->oid));
	bool		may_log_in;

	if (!HeapTupleIsValid(tuple))
		return false;
	may_log_in = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (!tex_role_may_connect(MyDatabaseId, role->oid) ||
		!tex_refresh_process_start(role->oid, may_log_in))
		return false;
	role->last_turn = now;
	return true;
}

/*
 * cache_refresh() returns bigint
 *
 * Has computed what was asked for and what is kept; returns for how many roles a
 * process was started.
 */
Datum
tex_cache_refresh(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		started = 0;
	HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(Role)};
	Role	   *role;

	if (!tex_cache_is_there() || tex_workers == NULL || RecoveryInProgress())
		PG_RETURN_INT64(0);
	if (roles == NULL)
		roles = hash_create("trace_ext roles", 16, &control, HASH_ELEM | HASH_BLOBS);
	collect_ended(now);
	find_wanted();
	find_kept(now);
	while ((role = next_role(now)) != NULL)
		started += start_turn(role, now);
	PG_RETURN_INT64(started);
}

/* cache_wanted() returns boolean */
Datum
tex_cache_wanted(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(tex_cache_is_there() && tex_entries_list(is_wanted_here) != NIL);
}
