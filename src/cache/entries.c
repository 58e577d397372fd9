/*
 * entries.c
 *		The results, by key: in shared memory, and the copies that a session has.
 *
 * In shared memory: a hash table with chains, of a fixed number of entries: as many as there would be
 * if each had two blocks.  What an entry holds is in blocks (blocks.c).
 *
 * A full cache evicts by the clock: the hand passes over the entries, takes one from
 * the uses of each, and evicts the first that has none.  A new entry has none, so
 * results that are asked for once leave before those that are asked for often.
 *
 * Locks: an entry that is in the table, and its chain, are protected by the lock of
 * its partition.  A free entry belongs to whoever took it from the list of free
 * ones, which "mutex" protects.  "uses" is only ever a hint.  Nobody holds two
 * locks: room is made, and the bytes are written, before the partition is locked.
 * Evicting and listing go over all entries, and read "in_table", keys and ids without a
 * lock: these are hints, and looked at again under the lock that the key says.
 *
 * Copies need no lock and no copying, but are asked the same questions as entries before
 * they are given out.  The one that was not used for the longest time leaves first.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "cache/blocks.h"
#include "cache/entries.h"
#include "cache/relations.h"
#include "cache/shared.h"
#include "guc.h"

#define NO_ENTRY PG_UINT32_MAX
#define MOST_USES 8

/* Under the lock of the partition, but for "hits" and "last_hit", which are for the eye. */
typedef struct Entry
{
	TexEntryInfo info;
	bool		in_table;
	uint32		next;			/* in its bucket, or in the list of free entries */
	uint32		blocks;			/* the first one of its chain */
	pg_atomic_uint32 uses;		/* without a lock */
} Entry;

/* Half an entry, two buckets and a link a block. */
StaticAssertDecl(sizeof(Entry) / 2 + 3 * sizeof(uint32) <= TEX_BLOCK_OVERHEAD,
				 "entries take more than their share of the cache");

typedef struct Entries
{
	pg_atomic_uint64 last_id;	/* without a lock */
	pg_atomic_uint64 epoch;		/* changes when entries were dropped on demand; without a lock */
	pg_atomic_uint32 hand;		/* the entry that evict_one() looks at next; without a lock */
	slock_t		mutex;
	uint32		first_free;		/* under "mutex" */
	uint32		n;				/* set when the server starts */
	uint32		n_buckets;		/* too; a power of two, not below TEX_CACHE_PARTITIONS */
	uint32		buckets[FLEXIBLE_ARRAY_MEMBER]; /* each under the lock of its partition */
} Entries;

/* A hit on a copy is counted in shared memory only now and then, as that takes its lock. */
#define HITS_AT_ONCE 16

typedef struct Copy
{
	TexCacheKey key;
	TexEntryInfo info;
	char	   *bytes;
	uint32		hits;
	dlist_node	node;
} Copy;

static Entries *table;
static Entry *entries;

static HTAB *copies;
static MemoryContext copies_context;
static dlist_head copies_by_use = DLIST_STATIC_INIT(copies_by_use);
static Size copies_size;		/* bytes of results */
static uint64 copies_epoch;		/* of the table, when they were begun */

#define N_ENTRIES Max(tex_blocks_total() / 2, 1)
#define N_BUCKETS pg_nextpower2_32(Max(N_ENTRIES, TEX_CACHE_PARTITIONS))
#define TABLE_SIZE MAXALIGN(offsetof(Entries, buckets) + N_BUCKETS * sizeof(uint32))

/* Bytes of shared memory. */
Size
tex_entries_shmem_size(void)
{
	return add_size(TABLE_SIZE, mul_size(N_ENTRIES, sizeof(Entry)));
}

/* Attaches to it, with AddinShmemInitLock held; the first process sets it up. */
void
tex_entries_shmem_attach(void)
{
	bool		found;

	table = ShmemInitStruct("trace_ext cache entries", tex_entries_shmem_size(), &found);
	entries = (Entry *) ((char *) table + TABLE_SIZE);
	if (found)
		return;
	pg_atomic_init_u64(&table->last_id, 0);
	pg_atomic_init_u64(&table->epoch, 1);
	pg_atomic_init_u32(&table->hand, 0);
	SpinLockInit(&table->mutex);
	table->n = N_ENTRIES;
	table->n_buckets = N_BUCKETS;
	for (uint32 i = 0; i < table->n_buckets; i++)
		table->buckets[i] = NO_ENTRY;
	table->first_free = 0;
	for (uint32 i = 0; i < table->n; i++)
	{
		entries[i].in_table = false;
		entries[i].next = i + 1 < table->n ? i + 1 : NO_ENTRY;
		pg_atomic_init_u32(&entries[i].uses, 0);
	}
}

/* Bytes that one entry may have: what is set, but never more than a quarter of all. */
Size
tex_entry_limit(void)
{
	return Min((Size) tex_cache_entry_size * 1024, (Size) tex_cache_size * 1024 / 4);
}

#define BUCKET_OF(key) (&table->buckets[(uint32) (key)->hash[0] & (table->n_buckets - 1)])
#define LOCK_OF(key) TEX_PARTITION_LOCK((uint32) (key)->hash[0] & (table->n_buckets - 1))

/* The entry with a key, whose partition is locked, or NULL. */
static Entry *
find(const TexCacheKey *key)
{
	for (uint32 i = *BUCKET_OF(key); i != NO_ENTRY; i = entries[i].next)
	{
		if (memcmp(&entries[i].info.key, key, sizeof(TexCacheKey)) == 0)
			return &entries[i];
	}
	return NULL;
}

/* The same, if it still is the one with that id. */
static Entry *
find_same(const TexCacheKey *key, uint64 id)
{
	Entry	   *entry = find(key);

	return entry && entry->info.id == id ? entry : NULL;
}

/*
 * Finds an entry: what is known of it, and a copy of its bytes in the current
 * memory context.  False where there is none; whether it is right is not asked.
 */
bool
tex_entry_find(const TexCacheKey *key, TexEntryInfo *info, char **bytes)
{
	LWLock	   *lock = LOCK_OF(key);
	Size		room = 0;

	*bytes = NULL;
	for (;;)
	{
		Entry	   *entry;
		Size		size = 0;

		LWLockAcquire(lock, LW_SHARED);
		entry = find(key);
		if (entry)
		{
			*info = entry->info;
			size = TEX_ENTRY_BYTES(info);
			if (size <= room)
				tex_blocks_read(entry->blocks, 0, *bytes, size);
		}
		LWLockRelease(lock);
		if (!entry)
			return false;
		if (size <= room)
			return true;
		/* Memory is not asked for under a lock. */
		*bytes = *bytes ? repalloc(*bytes, size) : palloc(size);
		room = size;
	}
}

/* Notes that a result was given to a caller, if the entry is still there. */
void
tex_entry_hit(const TexEntryInfo *info)
{
	LWLock	   *lock = LOCK_OF(&info->key);
	Entry	   *entry;

	/* These are for the eye and for the clock: two at once may count as one. */
	LWLockAcquire(lock, LW_SHARED);
	entry = find_same(&info->key, info->id);
	if (entry)
	{
		uint32		uses = pg_atomic_read_u32(&entry->uses);

		if (uses < MOST_USES)
			pg_atomic_write_u32(&entry->uses, uses + 1);
		entry->info.hits++;
		entry->info.last_hit = GetCurrentStatementStartTimestamp();
	}
	LWLockRelease(lock);
}

/* Asks for a newer result in the background; false where that was done before. */
bool
tex_entry_want(const TexEntryInfo *info)
{
	LWLock	   *lock = LOCK_OF(&info->key);
	Entry	   *entry;
	bool		first = false;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry = find_same(&info->key, info->id);
	if (entry && !entry->info.wanted)
		first = entry->info.wanted = true;
	LWLockRelease(lock);
	return first;
}

/* Takes an entry, whose partition is locked, out of the table. */
static void
unlink_entry(Entry *entry)
{
	uint32	   *link = BUCKET_OF(&entry->info.key);

	while (&entries[*link] != entry)
		link = &entries[*link].next;
	*link = entry->next;
	entry->in_table = false;
}

/* A free entry, for the caller alone, or NULL. */
static Entry *
take_free_entry(void)
{
	Entry	   *entry = NULL;

	SpinLockAcquire(&table->mutex);
	if (table->first_free != NO_ENTRY)
	{
		entry = &entries[table->first_free];
		table->first_free = entry->next;
	}
	SpinLockRelease(&table->mutex);
	return entry;
}

/* Gives a free entry back. */
static void
put_free_entry(Entry *entry)
{
	SpinLockAcquire(&table->mutex);
	entry->next = table->first_free;
	table->first_free = entry - entries;
	SpinLockRelease(&table->mutex);
}

/* Frees an entry that is in the table no more, and what it held. */
static void
free_entry(Entry *entry)
{
	TexDependency dependency;

	for (uint32 i = 0; i < entry->info.n_dependencies; i++)
	{
		tex_blocks_read(entry->blocks, i * sizeof(TexDependency), (char *) &dependency,
						sizeof(TexDependency));
		tex_relations_use(&dependency, 1, -1);
	}
	tex_blocks_give(entry->blocks);
	put_free_entry(entry);
}

/* Drops an entry if it still is what the caller saw; false where it is not. */
bool
tex_entry_drop(const TexCacheKey *key, uint64 id)
{
	LWLock	   *lock = LOCK_OF(key);
	Entry	   *entry;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry = find_same(key, id);
	if (entry)
		unlink_entry(entry);
	LWLockRelease(lock);
	if (entry)
		free_entry(entry);
	return entry != NULL;
}

/*
 * Evicts one entry.  False where all are in use after the hand went round twice
 * as often as an entry can have uses: then the caller does without.
 */
static bool
evict_one(void)
{
	for (uint32 n = 0; n < table->n * (MOST_USES + 1); n++)
	{
		Entry	   *entry = &entries[pg_atomic_fetch_add_u32(&table->hand, 1) % table->n];
		uint32		uses = pg_atomic_read_u32(&entry->uses);
		TexCacheKey key;
		uint64		id;

		if (!entry->in_table)
			continue;
		if (uses > 0)
		{
			pg_atomic_write_u32(&entry->uses, uses - 1);
			continue;
		}
		/* Read without its lock, so it may be another one by now: then it is not dropped. */
		key = entry->info.key;
		id = entry->info.id;
		if (tex_entry_drop(&key, id))
		{
			tex_cache_count(TEX_CACHE_EVICTIONS, 1);
			return true;
		}
	}
	return false;
}

/* A free entry with blocks for "size" bytes, or NULL; what leaves for it has left. */
static Entry *
make_room(Size size)
{
	Entry	   *entry;

	while ((entry = take_free_entry()) == NULL)
	{
		if (!evict_one())
			return NULL;
	}
	while ((entry->blocks = tex_blocks_take(size)) == TEX_NO_BLOCK)
	{
		if (!evict_one())
		{
			put_free_entry(entry);
			return NULL;
		}
	}
	return entry;
}

/*
 * Stores a result, in the place of an older one with its key.  False where there
 * is no room, which is not an error.
 */
bool
tex_entry_store(TexEntryInfo *info, const char *bytes)
{
	LWLock	   *lock = LOCK_OF(&info->key);
	Size		size = TEX_ENTRY_BYTES(info);
	Entry	   *entry = make_room(size);
	Entry	   *old;
	uint32	   *bucket = BUCKET_OF(&info->key);

	if (entry == NULL)
		return false;
	info->id = pg_atomic_add_fetch_u64(&table->last_id, 1);
	tex_blocks_write(entry->blocks, bytes, size);
	entry->info = *info;
	tex_relations_use((const TexDependency *) bytes, info->n_dependencies, 1);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	old = find(&info->key);
	if (old)
	{
		entry->info.hits = old->info.hits;
		entry->info.last_hit = old->info.last_hit;
		pg_atomic_write_u32(&entry->uses, pg_atomic_read_u32(&old->uses));
		unlink_entry(old);
	}
	else
		pg_atomic_write_u32(&entry->uses, 0);
	entry->next = *bucket;
	*bucket = entry - entries;
	entry->in_table = true;
	LWLockRelease(lock);
	if (old)
	{
		tex_cache_count(TEX_CACHE_INVALIDATIONS, 1);
		free_entry(old);
	}
	return true;
}

/* Tells all sessions to drop their copies: entries were dropped on demand. */
void
tex_entries_new_epoch(void)
{
	pg_atomic_fetch_add_u64(&table->epoch, 1);
}

/*
 * What is known of the entries that pass the filter (NULL: all), as a list of
 * TexEntryInfo in the current memory context.
 */
List *
tex_entries_list(TexEntryFilter filter)
{
	List	   *list = NIL;
	TexEntryInfo *found = palloc(sizeof(TexEntryInfo));

	for (uint32 i = 0; i < table->n; i++)
	{
		Entry	   *entry = &entries[i];
		LWLock	   *lock;
		bool		passed;

		if (!entry->in_table)
			continue;
		/* The key may change until the lock is held. */
		lock = LOCK_OF(&entry->info.key);
		LWLockAcquire(lock, LW_SHARED);
		*found = entry->info;
		passed = entry->in_table && LOCK_OF(&entry->info.key) == lock &&
			(filter == NULL || filter(found));
		LWLockRelease(lock);
		CHECK_FOR_INTERRUPTS();
		if (passed)
		{
			list = lappend(list, found);
			found = palloc(sizeof(TexEntryInfo));
		}
	}
	return list;
}

/* The text of an entry's query, or NULL if the entry is gone. */
char *
tex_entry_query(const TexEntryInfo *info)
{
	LWLock	   *lock = LOCK_OF(&info->key);
	char	   *query = palloc(info->query_size);
	Entry	   *entry;

	LWLockAcquire(lock, LW_SHARED);
	entry = find_same(&info->key, info->id);
	if (entry)
		tex_blocks_read(entry->blocks, TEX_ENTRY_QUERY(info), query, info->query_size);
	LWLockRelease(lock);
	return entry ? query : NULL;
}

/* ----------------------------------------------------------------
 *		Copies of the session
 * ----------------------------------------------------------------
 */
/* Drops all copies, where entries were dropped on demand since the last time. */
static void
catch_up(void)
{
	HASHCTL		info = {.keysize = sizeof(TexCacheKey), .entrysize = sizeof(Copy)};
	uint64		epoch = pg_atomic_read_u64(&table->epoch);

	if (copies && copies_epoch == epoch)
		return;
	copies = NULL;
	if (copies_context)
		MemoryContextDelete(copies_context);
	copies_context = AllocSetContextCreate(TopMemoryContext, "trace_ext cached results",
										   ALLOCSET_DEFAULT_SIZES);
	info.hcxt = copies_context;
	dlist_init(&copies_by_use);
	copies_size = 0;
	copies_epoch = epoch;
	copies = hash_create("trace_ext cached results", 64, &info,
						 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Drops one copy. */
static void
drop_copy(Copy *copy)
{
	copies_size -= TEX_ENTRY_BYTES(&copy->info);
	dlist_delete(&copy->node);
	pfree(copy->bytes);
	hash_search(copies, &copy->key, HASH_REMOVE, NULL);
}

/*
 * Finds a copy; what it returns is not to be changed, nor used after the next call of
 * any tex_copy_ function.  It may be of an entry that is gone.
 */
bool
tex_copy_find(const TexCacheKey *key, TexEntryInfo **info, char **bytes)
{
	Copy	   *copy;

	catch_up();
	copy = hash_search(copies, key, HASH_FIND, NULL);
	if (copy == NULL)
		return false;
	dlist_move_head(&copies_by_use, &copy->node);
	if (++copy->hits % HITS_AT_ONCE == 0)
		tex_entry_hit(&copy->info);
	*info = &copy->info;
	*bytes = copy->bytes;
	return true;
}

/* Copies a result, in the place of an older copy, unless it is large for what there is. */
void
tex_copy_store(const TexEntryInfo *info, const char *bytes)
{
	Size		size = TEX_ENTRY_BYTES(info);
	Size		limit = (Size) tex_cache_local_size * 1024;
	char	   *place;
	Copy	   *copy;

	catch_up();
	tex_copy_drop(&info->key);
	if (size > limit / 4)
		return;
	while (copies_size + size > limit && !dlist_is_empty(&copies_by_use))
		drop_copy(dlist_tail_element(Copy, node, &copies_by_use));
	place = MemoryContextAlloc(copies_context, size);
	copy = hash_search(copies, &info->key, HASH_ENTER, NULL);
	copy->info = *info;
	copy->bytes = memcpy(place, bytes, size);
	copy->hits = 0;
	dlist_push_head(&copies_by_use, &copy->node);
	copies_size += size;
}

/* Drops the copy with a key, if there is one. */
void
tex_copy_drop(const TexCacheKey *key)
{
	Copy	   *copy = copies ? hash_search(copies, key, HASH_FIND, NULL) : NULL;

	if (copy)
		drop_copy(copy);
}
