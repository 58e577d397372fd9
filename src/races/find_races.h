/*
 * find_races.h
 *		The SQL functions that look for races on demand, as other rooms call them.
 */
#ifndef TEX_FIND_RACES_H
#define TEX_FIND_RACES_H

#include "fmgr.h"

extern Datum tex_find_variable_races(PG_FUNCTION_ARGS);

#endif							/* TEX_FIND_RACES_H */
