/*
 * proof.h
 *		What the values that accesses carry prove.
 */
#ifndef TEX_PROOF_H
#define TEX_PROOF_H

#include "history/trace_load.h"

typedef enum TexComparison
{
	TEX_VALUES_UNKNOWN,			/* one is absent, no scalar, or of another type */
	TEX_VALUES_EQUAL,
	TEX_VALUES_DIFFERENT
} TexComparison;

extern TexComparison tex_compare_values(Jsonb *a, Jsonb *b);
extern TexComparison tex_compare_columns(Jsonb *a, Jsonb *b);
extern Jsonb *tex_value_of(const TexEvent *access);
extern bool tex_proves_lost_update(const TexEvent *before, const TexEvent *remote,
								   const TexEvent *write, bool remote_is_latest);
extern bool tex_proves_changed(const TexEvent *before, const TexEvent *remote, const TexEvent *after);
extern bool tex_refutes_between(const TexEvent *before, const TexEvent *remote, const TexEvent *after);
extern bool tex_proves_read_of(const TexEvent *write, const TexEvent *read);

#endif							/* TEX_PROOF_H */
