/*
 * append.h
 *		Between what collects deltas (deltas.c) and what writes them (append.c).
 */
#ifndef TEX_APPEND_H
#define TEX_APPEND_H

#include "store/summary.h"

/* What events are counted by; the columns of count_deltas but for the counts. */
typedef struct TexCountKey
{
	TimestampTz hour;			/* its begin; in UTC */
	Oid			kind;			/* label of event_kind */
	text	   *service;		/* may be NULL */
} TexCountKey;

/* By how much a count changes; an element of a hash in backend memory. */
typedef struct TexCount
{
	TexCountKey key;
	int64		event_count;
	int64		error_count;
	char		status;			/* for simplehash.h */
} TexCount;

extern int	tex_append_summaries(TexSummary **summaries, int n);
extern int	tex_append_counts(TexCount **counts, int n);

#endif							/* TEX_APPEND_H */
