/*
 * row_query.h
 *		A query about many traces: ids go in as an array, rows come out one by one.
 */
#ifndef TEX_ROW_QUERY_H
#define TEX_ROW_QUERY_H

#include "executor/tuptable.h"
#include "utils/uuid.h"

#include "common/event.h"
#include "store/trace_range.h"

/* What an event of a history is made of. */
extern const char tex_load_query[];

/* The columns of tex_load_query, from 0. */
enum
{
	TEX_COL_TRACE_ID, TEX_COL_ID, TEX_COL_PARENT_ID, TEX_COL_AT, TEX_COL_KIND, TEX_COL_NAME,
	TEX_COL_SERVICE, TEX_COL_INSTANCE, TEX_COL_PROCESS, TEX_COL_THREAD, TEX_COL_SPAN, TEX_COL_UPSTREAM,
	TEX_COL_ATTRIBUTES, TEX_COL_TASK, TEX_COL_CLOCK, TEX_COL_LOCK_SET, TEX_COL_DURATION, TEX_COL_AT_END,
	TEX_COL_COUNT
};

/* Whether anybody looks at the attributes of events of a kind, those of OpenTelemetry aside. */
static inline bool
tex_reads_attributes(TexKind kind)
{
	return kind == TEX_STATE_CHANGE || kind == TEX_FUNCTION_CALL || kind == TEX_LOCK_ACQUIRE || kind == TEX_LOCK_RELEASE ||
		kind == TEX_HTTP_RESPONSE || kind == TEX_DATABASE_QUERY || kind == TEX_ERROR;
}

/*
 * So many traces a query: it is planned for all of them, and looks for each in each partition that it reads, so more
 * of them, further apart, cost more each.
 */
#define TEX_TRACES_OF_A_QUERY 100

/* Takes a row, all of whose columns are there. What it allocates in the memory context that is current is gone after it. */
typedef void (*TexRowCallback) (TupleTableSlot *slot, void *arg);

extern void tex_query_traces(const char *query, const TexRanges *ranges, const pg_uuid_t *ids, int n,
							 TexRowCallback each, void *arg);
extern Datum tex_uuid_array(const pg_uuid_t *ids, int n);
extern Datum tex_value_array(Datum *values, bool *isnull, int n, Oid type);

#endif							/* TEX_ROW_QUERY_H */
