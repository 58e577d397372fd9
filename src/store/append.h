/*
 * append.h
 *		Between what collects deltas (deltas.c) and what writes them (append.c).
 */
#ifndef TEX_APPEND_H
#define TEX_APPEND_H

#include "histogram/histogram.h"
#include "store/summary.h"

/* What events are counted by; the columns of count_deltas but for the counts. */
typedef struct TexCountKey
{
	TimestampTz hour;			/* its begin; in UTC */
	Oid			kind;			/* label of event_kind */
	text	   *service;		/* may be NULL */
	text	   *operation;		/* may be NULL */
} TexCountKey;

/* By how much a count changes; an element of a hash in backend memory. */
typedef struct TexCount
{
	TexCountKey key;
	int64		event_count;
	int64		error_count;
	int64		write_count;	/* accesses that write */
	TexHistogram *latency;		/* of the events that have a duration; NULL: none */
	char		status;			/* for simplehash.h */
} TexCount;

extern int	tex_append_summaries(TexSummary **summaries, int n);
extern int	tex_append_counts(TexCount **counts, int n);
extern void tex_append_version_stamp(void);

#endif							/* TEX_APPEND_H */
