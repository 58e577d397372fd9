/*
 * evidence.h
 *		A finding in one sentence that a developer can act on.
 */
#ifndef TEX_EVIDENCE_H
#define TEX_EVIDENCE_H

#include "races/patterns.h"

extern const TexEvent *tex_function_around(const TexHistory *history, const TexEvent *event);
extern char *tex_lock_order_evidence(const TexRaces *races, const TexLockCycle *cycle);
extern char *tex_evidence(const TexRaces *races, const TexPair *pair, const TexVerdict *verdict);

#endif							/* TEX_EVIDENCE_H */
