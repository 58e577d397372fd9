/*
 * slow.h
 *		What took longer than its operation usually does.
 */
#ifndef TEX_SLOW_H
#define TEX_SLOW_H

#include "analysis/judges.h"
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
extern char *tex_slow_sentence(const char *service, const char *operation, double actual_ms, const TexJudge *judge);

#endif							/* TEX_SLOW_H */
