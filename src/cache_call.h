/*
 * cache_call.h
 *		One call of cached(), and what its result is known by.
 */
#ifndef TEX_CACHE_CALL_H
#define TEX_CACHE_CALL_H

#include "access/tupdesc.h"
#include "utils/tuplestore.h"

#include "cache_entries.h"
#include "cache_memo.h"

#define TEX_NO_TTL (-1)

typedef struct TexCall
{
	const char *text;
	int			n_args;
	Oid		   *types;
	Datum	   *values;
	bool	   *nulls;
	int64		ttl;			/* in microseconds, or TEX_NO_TTL */
	bool		is_report;		/* of the extension: depends on no settings but those that are in each key */
	TupleDesc	desc;			/* of the rows that the caller takes; NULL: as they are */
	Tuplestorestate *store;		/* for them; NULL where nobody takes them */

	/* By tex_call_identify(): */
	uint64		settings[2];	/* hash of those that change what queries return */
	TexMemoKey	memo_key;
	TexQuery	query;			/* its pointers are good until another query is looked at */
	TexQuery   *fresh;			/* with its tree, where it had to be parsed */
	uint64		definitions;	/* tex_definitions_seen() before that */
	TexCacheKey key;
	TexCacheKey flight;			/* the same, but stays as it is when the key turns out to be another */
} TexCall;

extern void tex_call_identify(TexCall *call);
extern void tex_call_needs_settings(TexCall *call);

#endif							/* TEX_CACHE_CALL_H */
