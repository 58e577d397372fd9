/*
 * clock_offsets.h
 *		By how much the clocks of two instances differ, as their messages tell.
 */
#ifndef TEX_CLOCK_OFFSETS_H
#define TEX_CLOCK_OFFSETS_H

#include "analysis/one_trace.h"

extern char *tex_instance_words(const TexOneTrace *one, int32 event);
extern void tex_adjust_clocks(TexOneTrace *one, const int32 *parent);

#endif							/* TEX_CLOCK_OFFSETS_H */
