/*
 * owner.h
 *		Runs the extension's own SQL with the rights of its owner.
 */
#ifndef TEX_OWNER_H
#define TEX_OWNER_H

extern void tex_run_as_owner(const char *sql);

#endif							/* TEX_OWNER_H */
