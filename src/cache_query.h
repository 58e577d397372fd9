/*
 * cache_query.h
 *		What has to be known of a query before its result can be cached.
 */
#ifndef TEX_CACHE_QUERY_H
#define TEX_CACHE_QUERY_H

#include "access/tupdesc.h"
#include "nodes/parsenodes.h"

typedef struct TexQuery
{
	Query	   *tree;			/* analysed and rewritten */
	TupleDesc	desc;			/* of its result */
	uint64		hash[2];		/* of what the query means, however it is written */
	List	   *relations;		/* Oids of those it names, partitions excepted */
	bool		has_functions;	/* executes statements inside functions */
	bool		needs_settings; /* depends on any setting of the session */
	const char *ttl_reason;		/* why it cannot be cached for ever, or NULL */
} TexQuery;

extern TexQuery *tex_query_parse(const char *text, const Oid *types, int n_types);
extern void tex_query_examine(TexQuery *query, const char *text);
extern const char *tex_relation_refusal(Oid relation, bool *ever);

#endif							/* TEX_CACHE_QUERY_H */
