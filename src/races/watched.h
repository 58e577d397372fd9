/*
 * watched.h
 *		Harm that the values of a database's own accesses prove.
 */
#ifndef TEX_WATCHED_H
#define TEX_WATCHED_H

#include "races/races.h"

extern void tex_watched_find(TexRaces *races);
extern bool tex_watched_are_rivals(const TexRaces *races, const TexEvent *a, const TexEvent *b);

#endif							/* TEX_WATCHED_H */
