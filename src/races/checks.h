/*
 * checks.h
 *		What transactions on watched tables did on the strength of what others changed.
 */
#ifndef TEX_CHECKS_H
#define TEX_CHECKS_H

#include "races/races.h"

extern void tex_checks_find(TexRaces *races);

#endif							/* TEX_CHECKS_H */
