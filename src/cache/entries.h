/*
 * entries.h
 *		The results, by key: in shared memory, and the copies that a session has.
 */
#ifndef TEX_CACHE_ENTRIES_H
#define TEX_CACHE_ENTRIES_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef struct TexCacheKey
{
	Oid			database;
	Oid			role;
	uint64		hash[2];
} TexCacheKey;

/*
 * What is stored of a result, beside its bytes.  In shared memory the lock of its
 * partition protects it, but for "hits" and "last_hit", which are for the eye.
 */
typedef struct TexEntryInfo
{
	TexCacheKey key;
	uint64		id;				/* another one for each result ever stored */
	bool		exact;			/* all was seen that was written until then */
	bool		timed;			/* depends on more than what is tracked: has to be young as well */
	bool		repeatable;		/* its recipe is all that it takes to compute it again */
	uint64		replayed;		/* on a standby, tex_relations_replayed() */
	TimestampTz as_of;			/* age counts from here */
	int64		ttl;			/* the longest that a caller accepted, in microseconds */
	uint64		cost;			/* microseconds that the query took */
	uint32		n_rows;
	uint32		n_dependencies;
	uint32		query_size;		/* with the terminating zero */
	uint32		recipe_size;	/* what else it takes to compute it again */
	uint32		notices_size;	/* what is told with it */
	uint32		rows_size;
	bool		wanted;			/* a newer one is to be computed in the background */
	uint64		hits;
	TimestampTz last_hit;
} TexEntryInfo;

/*
 * The bytes are the dependencies, the query, the recipe, the notices and the rows, in
 * this order, each MAXALIGNed.
 */
#define TEX_ENTRY_QUERY(info) MAXALIGN((info)->n_dependencies * sizeof(TexDependency))
#define TEX_ENTRY_RECIPE(info) (TEX_ENTRY_QUERY(info) + MAXALIGN((info)->query_size))
#define TEX_ENTRY_NOTICES(info) (TEX_ENTRY_RECIPE(info) + MAXALIGN((info)->recipe_size))
#define TEX_ENTRY_ROWS(info) (TEX_ENTRY_NOTICES(info) + MAXALIGN((info)->notices_size))
#define TEX_ENTRY_BYTES(info) (TEX_ENTRY_ROWS(info) + (info)->rows_size)

/* Asked of each entry, with its partition locked; may not fail. */
typedef bool (*TexEntryFilter) (const TexEntryInfo *info);

extern Size tex_entries_shmem_size(void);
extern void tex_entries_shmem_attach(void);

extern Size tex_entry_limit(void);
extern bool tex_entry_find(const TexCacheKey *key, TexEntryInfo *info, char **bytes);
extern void tex_entry_hit(const TexEntryInfo *info);
extern bool tex_entry_want(const TexEntryInfo *info);
extern bool tex_entry_store(TexEntryInfo *info, const char *bytes);
extern bool tex_entry_drop(const TexCacheKey *key, uint64 id);

extern void tex_entries_new_epoch(void);
extern List *tex_entries_list(TexEntryFilter filter);
extern char *tex_entry_query(const TexEntryInfo *info);

extern bool tex_copy_find(const TexCacheKey *key, TexEntryInfo **info, char **bytes);
extern void tex_copy_store(const TexEntryInfo *info, const char *bytes);
extern void tex_copy_drop(const TexCacheKey *key);

#endif							/* TEX_CACHE_ENTRIES_H */
