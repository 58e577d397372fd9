/*
 * batch.h
 *		Rows of events and refused records, collected and then stored at once.
 */
#ifndef TEX_BATCH_H
#define TEX_BATCH_H

#include "access/tupdesc.h"
#include "fmgr.h"
#include "nodes/pg_list.h"

#include "ingest/event_row.h"

typedef struct TexBatchRow TexBatchRow;

typedef struct TexBatch
{
	MemoryContext context;		/* of the rows and rejections */
	MemoryContext event_context;	/* of one event, while it is read */
	TupleDesc	desc;
	int			position;		/* of the event being read, from 1 */
	int			row_count;
	int			row_room;
	TexBatchRow *rows;
	List	   *rejections;
	int64		rejected;
	int64		most_rejections;	/* as many are kept */
} TexBatch;

/*
 * The batch that this process stored last: how many records it had, refused ones included, and
 * why the first of those was, in the database's encoding.  For the receiver, which calls the
 * SQL functions, and tells its client.
 */
typedef struct TexLastBatch
{
	int64		records;
	char		reason[200];
} TexLastBatch;

extern PGDLLEXPORT TexLastBatch tex_last_batch;

/* Memory that the rows of a batch may take in this process; 0: no limit.  The receiver sets one. */
extern PGDLLEXPORT Size tex_batch_most_memory;

extern TexBatch *tex_batch_begin(void);
extern void tex_batch_add(TexBatch *batch, TexEventRow *row);
extern void tex_batch_cut(TexBatch *batch, int row_count);
extern void tex_batch_refuse(TexBatch *batch, const char *reason, const char *id, const char *trace_id,
							 const char *event, int len);
extern void tex_batch_take_quota(TexBatch *batch);
extern Datum tex_batch_finish(FunctionCallInfo fcinfo, TexBatch *batch);

#endif							/* TEX_BATCH_H */
