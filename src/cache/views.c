/*
 * views.c
 *		What is in the result cache, and how to drop it.
 *
 * Who may see a query's text: whoever has the rights of its role, and members of
 * pg_read_all_stats and trace_ext_admin.  Others see that there is an entry.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "cache/attempts.h"
#include "cache/blocks.h"
#include "cache/entries.h"
#include "cache/relations.h"
#include "cache/shared.h"

PG_FUNCTION_INFO_V1(tex_cache_counters);
PG_FUNCTION_INFO_V1(tex_cache_list);
PG_FUNCTION_INFO_V1(tex_cache_failure_list);
PG_FUNCTION_INFO_V1(tex_cache_invalidate);
PG_FUNCTION_INFO_V1(tex_cache_reset);

#define ENTRY_COLUMNS 12
#define FAILURE_COLUMNS 6
/* Beside the counters: entries, bytes used, bytes in all, relations. */
#define SIZES 4

/* May the caller drop and see what is of others? */
static bool
is_admin(void)
{
	Oid			admin = get_role_oid("trace_ext_admin", true);

	return OidIsValid(admin) && has_privs_of_role(GetUserId(), admin);
}

/* May the caller see what is of that role? */
static bool
may_see(Oid role)
{
	return has_privs_of_role(GetUserId(), role) ||
		has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) || is_admin();
}

/* cache_counters(): one row; none without preload. */
Datum
tex_cache_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[TEX_CACHE_COUNTERS + SIZES];
	bool		nulls[TEX_CACHE_COUNTERS + SIZES] = {0};
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	if (!tex_cache_is_there())
		return (Datum) 0;
	for (i = 0; i < TEX_CACHE_COUNTERS; i++)
		values[i] = Int64GetDatum((int64) tex_cache_counted(i));
	values[i++] = Int64GetDatum(list_length(tex_entries_list(NULL)));
	values[i++] = Int64GetDatum((int64) (tex_blocks_total() - tex_blocks_free()) * TEX_BLOCK_SIZE);
	values[i++] = Int64GetDatum((int64) tex_blocks_total() * TEX_BLOCK_SIZE);
	values[i++] = Int64GetDatum(tex_relations_in_use());
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return (Datum) 0;
}

/* 0 stands for never. */
static void
set_timestamp(Datum *values, bool *nulls, int i, TimestampTz at)
{
	values[i] = TimestampTzGetDatum(at);
	nulls[i] = at == 0;
}

/* Adds the row of an entry. */
static void
put_entry(ReturnSetInfo *result, const TexEntryInfo *info)
{
	Datum		values[ENTRY_COLUMNS];
	bool		nulls[ENTRY_COLUMNS] = {0};
	char	   *query = may_see(info->key.role) ? tex_entry_query(info) : NULL;
	int			i = 0;

	values[i++] = ObjectIdGetDatum(info->key.database);
	values[i++] = ObjectIdGetDatum(info->key.role);
	nulls[i] = query == NULL;
	values[i++] = query ? CStringGetTextDatum(query) : (Datum) 0;
	values[i++] = Int64GetDatum(info->n_rows);
	values[i++] = Int64GetDatum(TEX_ENTRY_BYTES(info));
	values[i++] = Int32GetDatum(info->n_dependencies);
	set_timestamp(values, nulls, i++, info->as_of);
	nulls[i] = info->ttl < 0;
	values[i++] = Float8GetDatum(info->ttl / 1000.0);
	values[i++] = BoolGetDatum(info->exact && !info->timed);
	values[i++] = Int64GetDatum((int64) info->hits);
	set_timestamp(values, nulls, i++, info->last_hit);
	values[i++] = Float8GetDatum(info->cost / 1000.0);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* cache_list(): one row an entry. */
Datum
tex_cache_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	if (!tex_cache_is_there())
		return (Datum) 0;
	foreach(cell, tex_entries_list(NULL))
		put_entry(result, lfirst(cell));
	return (Datum) 0;
}

/* cache_failure_list(): one row a key that failed the last time. */
Datum
tex_cache_failure_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	if (!tex_cache_is_there())
		return (Datum) 0;
	foreach(cell, tex_failures_list())
	{
		TexFailure *failure = lfirst(cell);
		Datum		values[FAILURE_COLUMNS];
		bool		nulls[FAILURE_COLUMNS] = {0};

		values[0] = ObjectIdGetDatum(failure->key.database);
		values[1] = ObjectIdGetDatum(failure->key.role);
		values[2] = CStringGetTextDatum(tex_failure_state(failure));
		values[3] = Int32GetDatum((int32) failure->in_a_row);
		values[4] = TimestampTzGetDatum(failure->retry_at);
		nulls[5] = !may_see(failure->key.role);
		values[5] = nulls[5] ? (Datum) 0 : CStringGetTextDatum(failure->message);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Of those of others nobody here drops anything. */
static bool
is_of_this_database(const TexEntryInfo *info)
{
	return info->key.database == MyDatabaseId;
}

/* Is the query of an entry LIKE the pattern?  NULL: each is. */
static bool
matches(const TexEntryInfo *info, text *pattern)
{
	char	   *query;

	if (pattern == NULL)
		return true;
	query = tex_entry_query(info);
	return query != NULL &&
		DatumGetBool(DirectFunctionCall2Coll(textlike, C_COLLATION_OID,
											 CStringGetTextDatum(query), PointerGetDatum(pattern)));
}

/*
 * Drops the results of this database whose query is LIKE the pattern (NULL: all), as
 * far as the caller has the rights of their role.
 */
static int64
drop_entries(text *pattern)
{
	bool		admin = is_admin();
	int64		dropped = 0;
	ListCell   *cell;

	foreach(cell, tex_entries_list(is_of_this_database))
	{
		TexEntryInfo *info = lfirst(cell);

		if (!admin && !has_privs_of_role(GetUserId(), info->key.role))
			continue;
		if (matches(info, pattern))
			dropped += tex_entry_drop(&info->key, info->id);
	}
	tex_entries_new_epoch();
	return dropped;
}

/* cache_invalidate(pattern text) returns bigint */
Datum
tex_cache_invalidate(PG_FUNCTION_ARGS)
{
	int64		dropped = 0;

	if (tex_cache_is_there())
	{
		dropped = drop_entries(PG_GETARG_TEXT_PP(0));
		tex_cache_count(TEX_CACHE_INVALIDATIONS, dropped);
	}
	PG_RETURN_INT64(dropped);
}

/* cache_reset() returns bigint */
Datum
tex_cache_reset(PG_FUNCTION_ARGS)
{
	int64		dropped = 0;

	if (tex_cache_is_there())
	{
		dropped = drop_entries(NULL);
		tex_failures_reset();
		tex_cache_counters_reset();
	}
	PG_RETURN_INT64(dropped);
}
