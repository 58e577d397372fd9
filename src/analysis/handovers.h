/*
 * handovers.h
 *		Who let whom have a lock that was waited for.
 */
#ifndef TEX_HANDOVERS_H
#define TEX_HANDOVERS_H

#include "analysis/one_trace.h"

/* A lock that was free for longer, in microseconds, was not waited for. */
#define TEX_HANDED_OVER	INT64CONST(1000)

extern int32 *tex_handovers(const TexOneTrace *one);

#endif							/* TEX_HANDOVERS_H */
