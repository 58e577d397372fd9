/*
 * amounts.h
 *		Numbers and durations as people read them, in sentences.
 */
#ifndef TEX_AMOUNTS_H
#define TEX_AMOUNTS_H

#include "lib/stringinfo.h"

extern void tex_say_number(StringInfo text, double value);
extern void tex_say_ms(StringInfo text, double ms);

#endif							/* TEX_AMOUNTS_H */
