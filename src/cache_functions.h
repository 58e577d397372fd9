/*
 * cache_functions.h
 *		What results of functions depend on beside their arguments and tables.
 */
#ifndef TEX_CACHE_FUNCTIONS_H
#define TEX_CACHE_FUNCTIONS_H

#include "nodes/pg_list.h"
#include "nodes/plannodes.h"

/* What a query depends on through a function, or an expression like one. */
typedef enum TexNeed
{
	TEX_NEEDS_TIME = 1 << 0,	/* the time */
	TEX_NEEDS_STATE = 1 << 1,	/* the server, its catalogs, the connection */
	TEX_NEEDS_SETTING = 1 << 2, /* a setting of the session */
	TEX_NEEDS_UNKNOWN = 1 << 3, /* nobody can say: C of another extension */
	TEX_NEEDS_STATEMENTS = 1 << 4,	/* executes statements of its own */
	TEX_IS_VOLATILE = 1 << 5
} TexNeed;

typedef struct TexNeeds
{
	int			needs;			/* of TexNeed */
	Oid			volatile_function;
	const char *ttl_reason;		/* why it cannot be cached for ever, or NULL */
	List	   *visited;		/* Oids of functions */
	List	   *texts;			/* hashes of the texts of statements looked at */
} TexNeeds;

extern void tex_needs_of_function(Oid function, TexNeeds *needs);
extern void tex_needs_of_value_function(int op, TexNeeds *needs);
extern void tex_needs_of_statement(PlannedStmt *statement, const char *text, void *needs);
extern void tex_need(TexNeeds *needs, TexNeed need, const char *what);

#endif							/* TEX_CACHE_FUNCTIONS_H */
