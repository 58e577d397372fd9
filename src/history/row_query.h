/*
 * row_query.h
 *		A query about many traces: ids go in as an array, rows come out one by one.
 */
#ifndef TEX_ROW_QUERY_H
#define TEX_ROW_QUERY_H

#include "executor/tuptable.h"
#include "utils/uuid.h"

#include "store/trace_range.h"

/* Takes a row, all of whose columns are there. What it allocates in the memory context that is current is gone after it. */
typedef void (*TexRowCallback) (TupleTableSlot *slot, void *arg);

extern void tex_query_traces(const char *query, const TexRanges *ranges, const pg_uuid_t *ids, int n,
							 TexRowCallback each, void *arg);
extern Datum tex_uuid_array(const pg_uuid_t *ids, int n);
extern Datum tex_value_array(Datum *values, bool *isnull, int n, Oid type);

#endif							/* TEX_ROW_QUERY_H */
