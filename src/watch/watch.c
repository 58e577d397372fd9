/*
 * watch.c
 *		Watched tables: what SQL asks, and how the room is set up.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "watch/collect.h"
#include "watch/scans.h"
#include "watch/shared.h"
#include "watch/tables.h"
#include "watch/watch.h"

PG_FUNCTION_INFO_V1(tex_watch_settings);
PG_FUNCTION_INFO_V1(tex_watch_counts);
PG_FUNCTION_INFO_V1(tex_watch_forget);

/* Called once from _PG_init(): without preload nothing is hooked, and nothing is taken. */
void
tex_watch_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	tex_watches_init();
	tex_watch_collect_init();
	tex_scans_init();
}

/* The names of columns as name[]. */
static Datum
names_of(const TexWatchColumn *columns, int n)
{
	Datum	   *names = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		names[i] = CStringGetTextDatum(NameStr(columns[i].name));
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * watch_settings(regclass): a row of what is watched of a table, as a backend understands its
 * trigger, and what was counted; NULLs where that is nothing, as when a column of the key is gone.
 */
Datum
tex_watch_settings(PG_FUNCTION_ARGS)
{
	static const char *const values_names[] = {"plain", "hash", "none"};
	Oid			table = PG_GETARG_OID(0);
	TupleDesc	desc;
	Datum		values[7] = {0};
	bool		isnull[7];
	Relation	relation;
	TexWatch   *watch = NULL;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(isnull, true, sizeof(isnull));
	if (tex_watch_shared)
	{
		relation = try_relation_open(table, AccessShareLock);
		if (relation)
		{
			watch = tex_watch_of(table);
			relation_close(relation, AccessShareLock);
		}
	}
	if (watch)
	{
		memset(isnull, false, sizeof(isnull));
		values[0] = names_of(watch->columns, watch->ncolumns);
		values[1] = names_of(watch->keys, watch->nkeys);
		values[2] = CStringGetTextDatum(values_names[watch->values]);
		values[3] = CStringGetTextDatum(watch->watched_by);
		values[4] = Int64GetDatum((int64) pg_atomic_read_u64(&watch->counts->reads));
		values[5] = Int64GetDatum((int64) pg_atomic_read_u64(&watch->counts->writes));
		values[6] = Int64GetDatum((int64) pg_atomic_read_u64(&watch->counts->dropped));
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull));
}

/* watch_counts(): a row of counters, of all databases since the server started; NULLs without preload. */
Datum
tex_watch_counts(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[TEX_WATCH_COUNTERS] = {0};
	bool		isnull[TEX_WATCH_COUNTERS];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int i = 0; i < TEX_WATCH_COUNTERS; i++)
	{
		isnull[i] = tex_watch_shared == NULL;
		if (tex_watch_shared)
			values[i] = Int64GetDatum((int64) pg_atomic_read_u64(&tex_watch_shared->counters[i]));
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull));
}

/* watch_forget(regclass): the table is counted no more. */
Datum
tex_watch_forget(PG_FUNCTION_ARGS)
{
	if (tex_watch_shared)
		tex_watch_forget_table(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}
