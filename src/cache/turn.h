/*
 * turn.h
 *		Cached results of one role, computed although nobody waits for them.
 */
#ifndef TEX_CACHE_TURN_H
#define TEX_CACHE_TURN_H

extern PGDLLEXPORT void tex_cache_turn_main(Datum argument);

#endif							/* TEX_CACHE_TURN_H */
