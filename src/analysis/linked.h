/*
 * linked.h
 *		Traces of one request, linked by their spans.
 */
#ifndef TEX_LINKED_H
#define TEX_LINKED_H

#include "analysis/one_trace.h"

extern void tex_load_linked(TexHistory *history);
extern int32 *tex_parents(const TexOneTrace *one, bool by_spans);

#endif							/* TEX_LINKED_H */
