/*
 * enclosing.h
 *		Which event was going on while another one was.
 */
#ifndef TEX_ENCLOSING_H
#define TEX_ENCLOSING_H

#include "analysis/one_trace.h"

extern int32 *tex_enclosing(const TexOneTrace *one, const int32 *parent);

#endif							/* TEX_ENCLOSING_H */
