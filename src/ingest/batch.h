/*
 * batch.h
 *		Rows of events and refused records, collected and then stored at once.
 */
#ifndef TEX_BATCH_H
#define TEX_BATCH_H

#include "access/tupdesc.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/tuplesort.h"

#include "ingest/event_row.h"

typedef struct TexBatchRow TexBatchRow;

typedef struct TexBatch
{
	MemoryContext context;		/* of the rejections, and what else is kept of the batch */
	MemoryContext row_context;	/* of the rows */
	MemoryContext event_context;	/* of one event, while it is read */
	TupleDesc	desc;
	int			position;		/* of the event being read, from 1 */
	int			row_count;
	int			row_room;
	TexBatchRow *rows;			/* in memory; others were moved into the sort */
	Size		row_bytes;		/* as much these take */
	Tuplesortstate *sort;		/* NULL: none was */
	int64		moved_count;
	Size		moved_bytes;	/* as much they took */
	List	   *rejections;
	int64		rejected;
	int64		most_rejections;	/* as many are kept */
} TexBatch;

/*
 * The batch that this process stored last: how many records it had, refused ones included, and
 * why the first of those was, in the database's encoding; or what the quota said.  For the
 * receiver, which calls the SQL functions, and tells its client.
 */
typedef struct TexLastBatch
{
	int64		records;
	char		reason[200];
	int64		quota_wait;		/* microseconds until the quota lets it in that has just refused one; 0: it did not */
} TexLastBatch;

extern PGDLLEXPORT TexLastBatch tex_last_batch;

/*
 * What the batches of this process may take, set by the receiver, which has to get by with
 * little memory and to serve others meanwhile.  0: no limit.
 */
typedef struct TexBatchLimits
{
	Size		memory;			/* rows of more are moved to disk; more of what is beside them is refused */
	Size		bytes;			/* the rows of a batch, wherever they are */
	int64		records;		/* of a batch, refused ones included */
	int64		rejections;		/* that are kept with their reason */
	int			record_bytes;	/* of a record, as it was sent; longer ones are refused */
	int			record_values;	/* in a record */
	void		(*was_read) (void); /* called when nothing of the body is needed any more; may be NULL */
} TexBatchLimits;

extern PGDLLEXPORT TexBatchLimits tex_batch_limits;

extern TexBatch *tex_batch_begin(void);
extern void tex_batch_next_record(TexBatch *batch);
extern void tex_batch_add(TexBatch *batch, TexEventRow *row);
extern void tex_batch_cut(TexBatch *batch, int row_count);
extern int64 tex_batch_rows(const TexBatch *batch);
extern void tex_batch_refuse(TexBatch *batch, const char *reason, const char *id, const char *trace_id,
							 const char *event, int len);
extern void tex_batch_was_read(TexBatch *batch);
extern Datum tex_batch_finish(FunctionCallInfo fcinfo, TexBatch *batch);

#endif							/* TEX_BATCH_H */
