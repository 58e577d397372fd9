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

/*
 * How far the steps of a body have come that is stored in more than one.  What a record is counts by its
 * place in the body, so a step reads the whole frame, and of the records only its own.
 */
typedef struct TexBatchDone
{
	int64		records;		/* from the beginning of the body */
	int64		record_rows;	/* of the record after those, where its rows are more than a step has */
	Size		bytes;			/* of all rows */
	int64		rejections;		/* that were kept */
} TexBatchDone;

typedef struct TexBatch
{
	MemoryContext context;		/* of the call */
	MemoryContext kept_context; /* of the rejections, and what else is stored beside the rows */
	MemoryContext row_context;	/* of the rows */
	MemoryContext event_context;	/* of one event, while it is read */
	TupleDesc	desc;
	int			position;		/* of the event being read, from 1 */
	int			row_count;
	int			row_room;
	int			record_begin;	/* the rows of the record being read come after so many */
	TexBatchRow *rows;
	Size		row_bytes;		/* as much they take */
	bool		is_full;		/* what comes is for the next step */
	TexBatchDone done;			/* after this step; where it is full */
	List	   *rejections;
	int64		rejected;
	int64		most_rejections;	/* as many are kept */
	bool		all_new;		/* no row is there yet: one that is, is an error */
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
	bool		more;			/* the body has records for another step */
	TexBatchDone done;
	int64		quota_wait;		/* microseconds until the quota lets it in that has just refused one; 0: it did not */
} TexLastBatch;

extern PGDLLEXPORT TexLastBatch tex_last_batch;

/*
 * What the batches of this process may take, set by the receiver, which has to get by with
 * little memory and to serve others meanwhile.  0: no limit.
 */
typedef struct TexBatchLimits
{
	int			step_rows;		/* a body is stored in steps of so many rows; 0: at once */
	TexBatchDone done;			/* in the steps before */
	Size		memory;			/* half of it makes a step; more beside the rows of one is refused */
	Size		bytes;			/* the rows of a body, of all its steps */
	int64		records;		/* of a body, refused ones included */
	int64		rejections;		/* that are kept with their reason */
	int			record_bytes;	/* of a record, as it was sent; longer ones are refused */
	int			record_values;	/* in a record */
	void		(*was_read) (void); /* called when nothing of the body is needed any more; may be NULL */
} TexBatchLimits;

extern PGDLLEXPORT TexBatchLimits tex_batch_limits;

extern TexBatch *tex_batch_begin(void);
extern bool tex_batch_pass_over(TexBatch *batch, int64 records, int64 beside);
extern void tex_batch_next_record(TexBatch *batch);
extern void tex_batch_add(TexBatch *batch, TexEventRow *row);
extern void tex_batch_cut(TexBatch *batch, int row_count);
extern void tex_batch_end_record(TexBatch *batch);
extern void tex_batch_refuse(TexBatch *batch, const char *reason, const char *id, const char *trace_id,
							 const char *event, int len);
extern void tex_batch_was_read(TexBatch *batch);
extern Datum tex_batch_finish(FunctionCallInfo fcinfo, TexBatch *batch);

#endif							/* TEX_BATCH_H */
