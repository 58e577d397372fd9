/*
 * call.h
 *		One call of cached(): what it is about, and what a session remembers of that.
 */
#ifndef TEX_CACHE_CALL_H
#define TEX_CACHE_CALL_H

#include "access/tupdesc.h"
#include "utils/tuplestore.h"

#include "cache/entries.h"
#include "cache/query.h"
#include "cache/relations.h"

#define TEX_NO_TTL (-1)

/* What a query is remembered by. */
typedef struct TexMemoKey
{
	Oid			role;
	Oid			temporary;		/* schema of the session's temporary tables, if it has any */
	uint64		hash[2];		/* of text, types of arguments, settings */
} TexMemoKey;

/* As of when definitions are known. */
typedef struct TexDefinitions
{
	uint64		seen;			/* tex_definitions_seen() */
	bool		settled;		/* nobody was about to commit others */
	TexDependency marks[2];		/* of TEX_DEFINITIONS and TEX_ROLES */
} TexDefinitions;

typedef struct TexCall
{
	/* By the caller: */
	const char *text;
	int			n_args;
	Oid		   *types;
	Datum	   *values;
	bool	   *nulls;
	int64		ttl;			/* in microseconds, or TEX_NO_TTL */
	TupleDesc	desc;			/* of the rows that the caller takes; NULL: as they are */
	Tuplestorestate *store;		/* for them; NULL where nobody takes them */

	/* By tex_call_identify(): */
	TexSettings settings;
	TexMemoKey	memo_key;
	TexQuery	query;			/* of the session's memo, or after tex_call_tree() its own */
	Query	   *tree;			/* of the query, where it had to be parsed */
	TexDefinitions definitions; /* as of which it was parsed */
	TexCacheKey key;
	TexCacheKey attempt;		/* the same, but stays as it is when the key turns out to be another */
} TexCall;

extern void tex_cache_call_init(void);

extern uint64 tex_definitions_seen(void);
extern bool tex_i_changed_definitions(void);
extern Oid	tex_temporary_schema(void);

extern void tex_call_identify(TexCall *call);
extern void tex_call_require_ttl(const TexCall *call);
extern Query *tex_call_tree(TexCall *call);
extern void tex_call_write_arguments(const TexCall *call, StringInfo to);
extern void tex_call_read_arguments(TexCall *call, const char *from);
extern bool tex_call_is_of_session(const TexCall *call);

#endif							/* TEX_CACHE_CALL_H */
