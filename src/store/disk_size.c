/*
 * disk_size.c
 *		What tables take on disk, by the sizes of their files: bytes_on_disk().
 *
 * pg_total_relation_size() opens the table and each of its indexes, so a session that asks
 * for the first time loads all that PostgreSQL knows of some eight relations a partition.
 * Here only their rows in pg_class are looked up. Nothing is locked: of what is dropped
 * meanwhile there are no files.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(tex_bytes_on_disk);

/* A file and its further segments, of which only the last one is not full; none is 0. */
static int64
segments_bytes(const char *path, const char *fork)
{
	int64		bytes = 0;

	for (unsigned int segment = 0;; segment++)
	{
		char		name[MAXPGPATH];
		struct stat found;

		CHECK_FOR_INTERRUPTS();
		if (segment == 0)
			snprintf(name, sizeof(name), "%s%s", path, fork);
		else
			snprintf(name, sizeof(name), "%s%s.%u", path, fork, segment);
		if (stat(name, &found) != 0)
		{
			if (errno != ENOENT)
				ereport(ERROR, (errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", name)));
			return bytes;
		}
		bytes += found.st_size;
		if (found.st_size < (off_t) RELSEG_SIZE * BLCKSZ)
			return bytes;
	}
}

/* All forks of a relation; one that has no files, or is gone, takes nothing. */
static int64
forks_bytes(Oid relation)
{
	LOCAL_FCINFO(call, 1);
	Datum		result;
	char	   *path;
	int64		bytes;

	InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
	call->args[0].value = ObjectIdGetDatum(relation);
	call->args[0].isnull = false;
	result = pg_relation_filepath(call);
	if (call->isnull)
		return 0;
	path = TextDatumGetCString(result);
	bytes = segments_bytes(path, "") + segments_bytes(path, "_fsm") + segments_bytes(path, "_vm");
	if (get_rel_persistence(relation) == RELPERSISTENCE_UNLOGGED)
		bytes += segments_bytes(path, "_init");
	pfree(path);
	return bytes;
}

/* A table and its indexes. */
static int64
table_bytes(Oid relation)
{
	Relation	indexes = table_open(IndexRelationId, AccessShareLock);
	int64		bytes = forks_bytes(relation);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	ScanKeyInit(&key, Anum_pg_index_indrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	scan = systable_beginscan(indexes, IndexIndrelidIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
		bytes += forks_bytes(((Form_pg_index) GETSTRUCT(row))->indexrelid);
	systable_endscan(scan);
	table_close(indexes, AccessShareLock);
	return bytes;
}

/* SQL: bytes_on_disk(relation), with its indexes and what is out of line. */
Datum
tex_bytes_on_disk(PG_FUNCTION_ARGS)
{
	Oid			relation = PG_GETARG_OID(0);
	HeapTuple	row = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			toast;

	if (!HeapTupleIsValid(row))
		PG_RETURN_NULL();
	toast = ((Form_pg_class) GETSTRUCT(row))->reltoastrelid;
	ReleaseSysCache(row);
	PG_RETURN_INT64(table_bytes(relation) + (OidIsValid(toast) ? table_bytes(toast) : 0));
}
