/*
 * cache_memo.h
 *		What a session remembers of the queries that it had cached.
 */
#ifndef TEX_CACHE_MEMO_H
#define TEX_CACHE_MEMO_H

#include "cache_query.h"

typedef struct TexMemoKey
{
	Oid			role;
	uint64		hash[2];		/* of text, types of arguments, settings */
} TexMemoKey;

typedef struct TexMemo
{
	TexMemoKey	key;
	uint64		definitions;	/* good as long as tex_definitions_seen() is that */
	TexQuery	query;			/* without its tree */
} TexMemo;

extern TexMemo *tex_memo_find(const TexMemoKey *key);
extern TexMemo *tex_memo_keep(const TexMemoKey *key, const TexQuery *query, uint64 definitions);

#endif							/* TEX_CACHE_MEMO_H */
