/*
 * local.c
 *		The results that a session keeps a copy of.
 *
 * They need no lock and no copy, but are asked the same questions as those in
 * shared memory before they are given out.  The one that was not used for the
 * longest time leaves first.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "cache/local.h"
#include "cache/relations.h"
#include "guc.h"

/* A hit is counted in shared memory only now and then, as that takes its lock. */
#define HITS_AT_ONCE 16

typedef struct Kept
{
	TexCacheKey key;
	TexEntryInfo info;
	char	   *bytes;
	uint32		hits;
	dlist_node	node;
} Kept;

static HTAB *kept;
static MemoryContext context;
static dlist_head by_use = DLIST_STATIC_INIT(by_use);
static Size total;
static uint64 epoch;

static void
begin(void)
{
	HASHCTL		info = {.keysize = sizeof(TexCacheKey), .entrysize = sizeof(Kept)};

	context = AllocSetContextCreate(TopMemoryContext, "trace_ext cached results",
									ALLOCSET_DEFAULT_SIZES);
	info.hcxt = context;
	kept = hash_create("trace_ext cached results", 64, &info,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&by_use);
	total = 0;
	epoch = tex_entries_epoch();
}

static void
drop(Kept *entry)
{
	total -= TEX_ENTRY_BYTES(&entry->info);
	dlist_delete(&entry->node);
	pfree(entry->bytes);
	hash_search(kept, &entry->key, HASH_REMOVE, NULL);
}

/* What was dropped on demand is dropped here too. */
static void
catch_up(void)
{
	if (kept && epoch == tex_entries_epoch())
		return;
	if (context)
		MemoryContextDelete(context);
	context = NULL;
	kept = NULL;
	begin();
}

/*
 * Finds a result; what it returns is not to be changed, nor used after the next call.
 */
bool
tex_local_find(const TexCacheKey *key, TexEntryInfo **info, char **bytes)
{
	Kept	   *entry;

	catch_up();
	entry = hash_search(kept, key, HASH_FIND, NULL);
	if (entry == NULL)
		return false;
	dlist_move_head(&by_use, &entry->node);
	if (++entry->hits % HITS_AT_ONCE == 0)
		tex_entry_hit(&entry->info);
	*info = &entry->info;
	*bytes = entry->bytes;
	return true;
}

/*
 * Keeps a copy of a result, unless it is large for what there is.
 */
void
tex_local_keep(const TexEntryInfo *info, const char *bytes)
{
	Size		size = TEX_ENTRY_BYTES(info);
	Size		limit = (Size) tex_cache_local_size * 1024;
	char	   *copy;
	Kept	   *entry;
	bool		found;

	catch_up();
	tex_local_drop(&info->key);
	if (size > limit / 4)
		return;
	while (total + size > limit && !dlist_is_empty(&by_use))
		drop(dlist_tail_element(Kept, node, &by_use));
	copy = MemoryContextAlloc(context, size);
	memcpy(copy, bytes, size);
	entry = hash_search(kept, &info->key, HASH_ENTER, &found);
	entry->info = *info;
	entry->bytes = copy;
	entry->hits = 0;
	dlist_push_head(&by_use, &entry->node);
	total += size;
}

void
tex_local_drop(const TexCacheKey *key)
{
	Kept	   *entry = kept ? hash_search(kept, key, HASH_FIND, NULL) : NULL;

	if (entry)
		drop(entry);
}
