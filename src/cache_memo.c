/*
 * cache_memo.c
 *		What a session remembers of the queries that it had cached.
 *
 * A hit needs not the tree of the query, only what was found out about it: so it
 * need not be parsed again, until something changes that it may depend on.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "cache_memo.h"
#include "cache_writes.h"

/* With more it forgets them all: a session that puts values into texts. */
#define MOST_MEMOS 1000

static HTAB *memos;
static MemoryContext context;

static void
forget_all(void)
{
	HASHCTL		info = {.keysize = sizeof(TexMemoKey), .entrysize = sizeof(TexMemo)};

	if (context)
		MemoryContextDelete(context);
	memos = NULL;
	context = AllocSetContextCreate(TopMemoryContext, "trace_ext cached queries",
									ALLOCSET_DEFAULT_SIZES);
	info.hcxt = context;
	memos = hash_create("trace_ext cached queries", 64, &info,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * What is known of a query, or NULL.
 */
TexMemo *
tex_memo_find(const TexMemoKey *key)
{
	TexMemo    *memo = memos ? hash_search(memos, key, HASH_FIND, NULL) : NULL;

	return memo && memo->definitions == tex_definitions_seen() ? memo : NULL;
}

/*
 * Remembers what was found out about a query when "definitions" was seen.
 */
TexMemo *
tex_memo_keep(const TexMemoKey *key, const TexQuery *query, uint64 definitions)
{
	MemoryContext old;
	TexMemo    *memo;
	bool		found;

	if (memos == NULL || hash_get_num_entries(memos) >= MOST_MEMOS)
		forget_all();
	memo = hash_search(memos, key, HASH_ENTER, &found);
	if (found)
	{
		list_free(memo->query.relations);
		FreeTupleDesc(memo->query.desc);
		if (memo->query.ttl_reason)
			pfree((char *) memo->query.ttl_reason);
	}
	memo->definitions = 0;
	memset(&memo->query, 0, sizeof(TexQuery));

	old = MemoryContextSwitchTo(context);
	memo->query = *query;
	memo->query.tree = NULL;
	memo->query.relations = list_copy(query->relations);
	memo->query.desc = CreateTupleDescCopy(query->desc);
	memo->query.ttl_reason = query->ttl_reason ? pstrdup(query->ttl_reason) : NULL;
	MemoryContextSwitchTo(old);
	memo->definitions = definitions;
	return memo;
}
