/*
 * query.h
 *		What has to be known of a query before its result can be cached.
 */
#ifndef TEX_CACHE_QUERY_H
#define TEX_CACHE_QUERY_H

#include "access/tupdesc.h"
#include "nodes/parsenodes.h"

#include "cache/settings.h"

typedef struct TexQuery
{
	TupleDesc	desc;			/* of its result */
	uint64		hash[2];		/* of what the query means, however it is written */
	List	   *relations;		/* Oids of those it names, partitions excepted, and of row types */
	List	   *names;			/* hashes (TYPENAMENSP) of names that mean something to it */
	bool		has_functions;	/* executes statements inside functions */
	TexSettingsScope scope;		/* which settings it may depend on */
	List	   *settings;		/* names (String) of those that it asks for */
	bool		of_session;		/* belongs to the session alone */
	const char *ttl_reason;		/* why it cannot be cached for ever, or NULL */
} TexQuery;

extern Query *tex_query_parse(const char *text, const Oid *types, int n_types, TexQuery *query);
extern const char *tex_relation_refusal(Oid relation, bool *ever);

#endif							/* TEX_CACHE_QUERY_H */
