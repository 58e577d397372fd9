/*
 * event_row.h
 *		A row of events, while it is being read.
 */
#ifndef TEX_EVENT_ROW_H
#define TEX_EVENT_ROW_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* The columns, in the order of the table. */
enum
{
	COL_TRACE_ID, COL_ID, COL_PARENT_ID, COL_TIMESTAMP, COL_KIND, COL_NAME,
	COL_SERVICE_NAME, COL_INSTANCE_ID, COL_PROCESS_ID, COL_THREAD_ID,
	COL_ENVIRONMENT, COL_SPAN_ID, COL_UPSTREAM_SPAN_ID, COL_DURATION_NS,
	COL_ATTRIBUTES, COL_TAGS, COL_CAUSALITY_VECTOR, COL_LOCK_SET, COL_STAMPED_AT_END,
	TEX_EVENT_COLUMNS
};

typedef struct TexEventRow
{
	Datum		values[TEX_EVENT_COLUMNS];	/* in the order of the table's columns */
	bool		isnull[TEX_EVENT_COLUMNS];
	pg_uuid_t	trace_id;
	pg_uuid_t	id;
	pg_uuid_t	parent_id;
	TimestampTz timestamp;
} TexEventRow;

#endif							/* TEX_EVENT_ROW_H */
