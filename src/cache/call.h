/*
 * call.h
 *		One call of cached(), and what its result is known by.
 */
#ifndef TEX_CACHE_CALL_H
#define TEX_CACHE_CALL_H

#include "access/tupdesc.h"
#include "utils/tuplestore.h"

#include "cache/entries.h"
#include "cache/memo.h"
#include "cache/settings.h"

#define TEX_NO_TTL (-1)

typedef struct TexCall
{
	const char *text;
	int			n_args;
	Oid		   *types;
	Datum	   *values;
	bool	   *nulls;
	int64		ttl;			/* in microseconds, or TEX_NO_TTL */
	TupleDesc	desc;			/* of the rows that the caller takes; NULL: as they are */
	Tuplestorestate *store;		/* for them; NULL where nobody takes them */

	/* By tex_call_identify(): */
	const TexSettings *settings;
	TexMemoKey	memo_key;
	TexQuery	query;			/* its pointers are good until another query is looked at */
	TexQuery   *fresh;			/* with its tree, where it had to be parsed */
	TexDefinitions definitions; /* as of which it was parsed */
	TexCacheKey key;
	TexCacheKey flight;			/* the same, but stays as it is when the key turns out to be another */
} TexCall;

extern void tex_call_identify(TexCall *call);
extern Query *tex_call_tree(TexCall *call);
extern void tex_call_require_ttl(const TexCall *call);
extern Oid	tex_temporary_schema(void);
extern bool tex_call_is_of_session(const TexCall *call);

#endif							/* TEX_CACHE_CALL_H */
