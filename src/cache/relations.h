/*
 * relations.h
 *		Relations that cached results depend on, and the commits that wrote them.
 */
#ifndef TEX_CACHE_RELATIONS_H
#define TEX_CACHE_RELATIONS_H

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

/*
 * That a result depends on a relation as of its first "writes" writers.
 */
typedef struct TexDependency
{
	Oid			relation;
	uint32		slot;			/* where the relation is tracked */
	uint64		incarnation;	/* as which of those that the slot has tracked */
	uint64		writes;
} TexDependency;

/*
 * What is no relation but can change results, tracked under numbers that no relation has:
 * the lowest of PostgreSQL is 112.  Those of catalogs would not do, as what is done to a
 * catalog, such as an ANALYZE, changes no definition.
 */
#define TEX_DEFINITIONS ((Oid) 2)	/* functions, operators, casts, enums */
#define TEX_NAMES ((Oid) 3)		/* which relation a name means */
#define TEX_ROLES ((Oid) 4)		/* roles and their members, of the cluster */

extern Size tex_relations_shmem_size(void);
extern void tex_relations_shmem_attach(void);

extern void tex_relation_track(Oid relation, TexDependency *dependency);
extern bool tex_relation_all_seen(TexDependency *dependency, Snapshot snapshot);
extern bool tex_relation_same(const TexDependency *dependency, Snapshot snapshot);

extern bool tex_relation_wiped(const TexDependency *dependency);
extern bool tex_relation_is_told(const TexDependency *dependency, bool *recently);

extern uint64 tex_relations_replayed(void);
extern void tex_relations_note_replayed(void);

extern void tex_relations_committing(void);
extern bool tex_relations_any(void);
extern bool tex_relation_is_tracked(Oid relation);
extern bool tex_relation_mark(Oid relation, bool wipe, TimestampTz at);
extern void tex_relations_wipe_all(TimestampTz at);
extern void tex_relation_forget(Oid relation);

extern void tex_relations_computing(void);
extern void tex_relations_end_computing(void);
extern void tex_relations_use(const TexDependency *dependencies, uint32 n, int entries);

extern int	tex_relations_in_use(void);

#endif							/* TEX_CACHE_RELATIONS_H */
