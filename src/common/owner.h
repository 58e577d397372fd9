/*
 * owner.h
 *		Runs the extension's own SQL with the rights of its owner.
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
