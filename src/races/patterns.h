/*
 * patterns.h
 *		What kind of harm a racing pair does, and how sure that is.
 */
#ifndef TEX_PATTERNS_H
#define TEX_PATTERNS_H

#include "races/races.h"

typedef enum TexPattern
{
	TEX_LOST_UPDATE,
	TEX_WRITE_WRITE,
	TEX_READ_WRITE,
	TEX_NON_REPEATABLE_READ,
	TEX_INTERMEDIATE_READ,
	TEX_OWN_WRITE_OVERWRITTEN,
	TEX_ABORTED_READ,
	TEX_CHECK_THEN_ACT,
	TEX_WRITE_SKEW,				/* of watched tables only */
	TEX_POTENTIAL_RACE,
	TEX_LOCK_ORDER				/* of acquires, not of accesses: no verdict of tex_judge() */
} TexPattern;

typedef struct TexVerdict
{
	TexPattern	pattern;
	int32		third;			/* the access that makes the pair this pattern, or TEX_NO_ACCESS */
	bool		confirmed;		/* values prove it */
	bool		unshared;		/* ... unless each trace has a variable of its own */
	int			confidence;		/* in tenths */
} TexVerdict;

/* In tenths, of what did not happen in this run. */
#define TEX_POTENTIAL_CONFIDENCE 3

/* For each trace and span, when it failed. */
typedef struct TexFailures TexFailures;

extern TexFailures *tex_failures_collect(const TexHistory *history);
extern TexVerdict tex_judge(const TexRaces *races, const TexFailures *failures, const TexPair *pair);
extern const char *tex_pattern_name(TexPattern pattern);
extern const char *tex_pattern_severity(TexPattern pattern);
extern int	tex_pattern_rank(TexPattern pattern);

#endif							/* TEX_PATTERNS_H */
