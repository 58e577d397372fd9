/*
 * owner.h
 *		Runs the extension's own SQL with the rights of its owner.
 *
 * SQL text in C runs in one of two ways.  As the owner, from tex_become_owner() on: its
 * search_path is set, so names of pg_catalog may stand alone.  Or as the caller, whose
 * rights and search_path it has: then every function and table is named with its
 * schema, and every operator is OPERATOR(pg_catalog.=).  IN, BETWEEN, LIKE and the like
 * stand for operators, so they are not written there.
 */
#ifndef TEX_OWNER_H
#define TEX_OWNER_H

/* Who the caller is; for tex_become_caller(). An error brings him back as well. */
typedef struct TexOwnerContext
{
	Oid			user;
	int			security_context;
	int			guc_nesting;
} TexOwnerContext;

extern void tex_become_owner(TexOwnerContext *context);
extern void tex_become_caller(TexOwnerContext *context);
extern void tex_run_as_owner(const char *sql);

#endif							/* TEX_OWNER_H */
