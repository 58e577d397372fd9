/*
 * sharing.h
 *		Whether two traces are seen to share a variable of one name.
 */
#ifndef TEX_SHARING_H
#define TEX_SHARING_H

#include "races/races.h"

extern bool tex_seen_shared(const TexRaces *races, int32 first, int32 second);

#endif							/* TEX_SHARING_H */
