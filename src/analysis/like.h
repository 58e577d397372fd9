/*
 * like.h
 *		What is the same but for its numbers and literals.
 */
#ifndef TEX_LIKE_H
#define TEX_LIKE_H

#include "history/trace_load.h"

extern int32 tex_operation_name(TexHistory *history, const TexEvent *event);
extern int32 tex_like_name(TexHistory *history, const TexEvent *event);

#endif							/* TEX_LIKE_H */
