/*
 * slow.h
 *		What took longer than its operation usually does.
 */
#ifndef TEX_SLOW_H
#define TEX_SLOW_H

#include "analysis/one_trace.h"

typedef struct TexSlow
{
	int32		event;
	int64		actual;			/* microseconds */
	int64		expected;		/* what 99 of 100 calls take at most */
	double		score;			/* how many times as long as the shortest that would be slow */
	bool		critical;
	char	   *evidence;
} TexSlow;

extern TexSlow *tex_find_slow(TexOneTrace *one, int32 *n);

#endif							/* TEX_SLOW_H */
