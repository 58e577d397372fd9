/*
 * keep.c
 *		The queries whose results are to be in the cache before anybody asks.
 *
 * They are rows of table cache_kept, each of a role, by its oid: a name may be another
 * role's by tomorrow.  roles.c has them computed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "cache/settings.h"
#include "cache/cached.h"
#include "common/owner.h"
#include "common/worker_slots.h"

PG_FUNCTION_INFO_V1(tex_cache_keep);
PG_FUNCTION_INFO_V1(tex_cache_forget);

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
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(tell_worker, NULL);
	registered = true;
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

/*
 * cache_keep(query text, ttl interval) returns void
 */
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

/*
 * cache_forget(query text) returns boolean
 */
Datum
tex_cache_forget(PG_FUNCTION_ARGS)
{
	Oid			types[] = {OIDOID, TEXTOID};
	Datum		values[] = {ObjectIdGetDatum(GetUserId()), PG_GETARG_DATUM(0)};

	PG_RETURN_BOOL(change_kept("DELETE FROM trace_ext.cache_kept WHERE role = $1 AND query = $2",
							   2, types, values, NULL) > 0);
}
