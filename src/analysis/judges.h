/*
 * judges.h
 *		What calls are judged by: from how long on one is slow.
 *
 * First tex_judge_of() for each call in question, then tex_judges_read(), which asks for all
 * baselines by one query, then tex_is_slow().
 */
#ifndef TEX_JUDGES_H
#define TEX_JUDGES_H

#include "common/event.h"
#include "history/strings.h"

/* From so many times the shortest slow call on it is CRITICAL. */
#define TEX_CRITICALLY_SLOW 5

/* What the calls of an operation in an hour are judged by. */
typedef struct TexJudge
{
	struct TexJudgeKey
	{
		TimestampTz hour;
		int32		service;	/* numbers of strings */
		int32		operation;
		int32		kind;
		int32		unused;		/* zero: the key is hashed as it lies there */
	}			key;
	int32		number;
	bool		is_known;		/* there is a baseline of enough calls */
	int64		calls;
	double		p99_ms;
	double		bound_ms;		/* what took longer is slow */
} TexJudge;

typedef struct TexJudges TexJudges;

extern TexJudges *tex_judges_create(const TexStrings *names);
extern const TexJudge *tex_judge_of(TexJudges *judges, TimestampTz at, int32 service, TexKind kind, int32 operation);
extern void tex_judges_read(TexJudges *judges);

/* Whether a call took too long. */
static inline bool
tex_is_slow(const TexJudge *judge, double actual_ms)
{
	return judge->is_known && actual_ms > judge->bound_ms;
}

#endif							/* TEX_JUDGES_H */
