/*
 * distributed.c
 *		Refuses to write to events where Citus has distributed it.
 *
 * Citus runs the triggers of a distributed table on its shards, and plans statements
 * on it by itself: a deleted event would empty its summary, TRUNCATE would leave the
 * counts, and duplicates would be reported as inserted, all without an error.  So
 * every way to write says so instead: ingest before it stores, the triggers of
 * events before they append, TRUNCATE before it empties.
 *
 * Whether a table is distributed is a row of pg_catalog.pg_dist_partition, on each
 * node of a cluster that synchronises its metadata, as Citus does by default.  So a
 * trigger that is fired on a shard finds events itself there.  Nothing is kept
 * between statements: a server without Citus is told by one entry of the catalog's
 * cache, some tens of nanoseconds, another one by a probe of an index.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_namespace.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "common/distributed.h"
#include "common/event.h"

/* Its first column is the table. */
#define CITUS_TABLES "pg_dist_partition"
#define CITUS_TABLES_INDEX "pg_dist_partition_logical_relid_index"
#define CITUS_TABLES_RELATION 1

/* Does this table of Citus' have a row of the relation? */
static bool
is_listed(Oid citus_tables, Oid relation)
{
	Relation	tables = table_open(citus_tables, AccessShareLock);
	Oid			index = get_relname_relid(CITUS_TABLES_INDEX, PG_CATALOG_NAMESPACE);
	ScanKeyData key;
	SysScanDesc scan;
	bool		listed;

	ScanKeyInit(&key, CITUS_TABLES_RELATION, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	scan = systable_beginscan(tables, index, OidIsValid(index), NULL, 1, &key);
	listed = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(tables, AccessShareLock);
	return listed;
}

/*
 * Throws where Citus has distributed events, or made anything else of it that has
 * shards.  To be called before what a statement did becomes sums; it needs the
 * rights of nobody, as it reads like the catalog is read.
 */
void
tex_refuse_distributed(void)
{
	Oid			citus_tables = get_relname_relid(CITUS_TABLES, PG_CATALOG_NAMESPACE);

	if (likely(!OidIsValid(citus_tables)))
		return;
	if (is_listed(citus_tables, tex_relation_oid("events")))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"trace_ext.events\" cannot be a distributed table of Citus"),
				 errdetail("Counts and summaries would be wrong without an error: Citus runs triggers on shards, and plans statements by itself."),
				 errhint("For more than one machine, have a whole store on each and the extension trace_ext_router in front of them: see docs/scale.md.")));
}
