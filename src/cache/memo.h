/*
 * memo.h
 *		What a session remembers of the queries that it had cached.
 */
#ifndef TEX_CACHE_MEMO_H
#define TEX_CACHE_MEMO_H

#include "cache/query.h"
#include "cache/relations.h"

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

typedef struct TexMemo
{
	TexMemoKey	key;
	bool		valid;
	TexDefinitions definitions;
	TexQuery	query;			/* without its tree */
} TexMemo;

extern void tex_cache_memo_init(void);
extern uint64 tex_definitions_seen(void);
extern bool tex_i_changed_definitions(void);
extern void tex_definitions_read(TexDefinitions *definitions);

extern TexMemo *tex_memo_find(const TexMemoKey *key);
extern TexMemo *tex_memo_keep(const TexMemoKey *key, const TexQuery *query,
							  const TexDefinitions *definitions);

#endif							/* TEX_CACHE_MEMO_H */
