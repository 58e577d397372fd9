/*
 * rows.h
 *		Rows of a result, on their way to the caller and into the cache.
 */
#ifndef TEX_CACHE_ROWS_H
#define TEX_CACHE_ROWS_H

#include "access/tupdesc.h"
#include "lib/stringinfo.h"
#include "tcop/dest.h"
#include "utils/tuplestore.h"

typedef struct TexResult
{
	DestReceiver dest;			/* first, so that one is the other */
	TupleDesc	desc;
	Tuplestorestate *store;
	Datum	   *values;
	bool	   *isnull;
	MemoryContext row;			/* for what the copy of one row takes */
	StringInfoData bytes;		/* MinimalTuples, each MAXALIGNed */
	Size		limit;			/* for "bytes"; 0 to collect none */
	uint32		n;
	bool		too_large;		/* "bytes" lacks rows, as they passed the limit */
} TexResult;

extern void tex_result_init(TexResult *rows, TupleDesc desc, Tuplestorestate *store, Size limit);
extern void tex_result_end(TexResult *rows);
extern void tex_result_put(TupleDesc desc, Tuplestorestate *store, const char *bytes, uint32 n);

#endif							/* TEX_CACHE_ROWS_H */
