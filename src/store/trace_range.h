/*
 * trace_range.h
 *		Where in time the events of a trace may lie, from its summary.
 */
#ifndef TEX_TRACE_RANGE_H
#define TEX_TRACE_RANGE_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/uuid.h"

#include "common/extent.h"

/* From first to last, both included; empty where first is after last. */
typedef struct TexRange
{
	TimestampTz first;
	TimestampTz last;
} TexRange;

#define TEX_NO_RANGE	((TexRange) {DT_NOEND, DT_NOBEGIN})

/* A trace that ran longer is found by its extent, others by their last event. */
#define TEX_LONG_TRACE	INT64CONST(10000000)	/* 10 s, in microseconds */

/* What is outstanding, read once for a snapshot. */
typedef struct TexRanges TexRanges;

extern TexRanges *tex_ranges_create(void);
extern void tex_ranges_learn(const TexRanges *ranges, const pg_uuid_t *ids, int n);
extern TexRange tex_range_of(const TexRanges *ranges, const pg_uuid_t *ids, int n);

extern TexRange tex_range_uncounted(const TexRanges *ranges);
extern TexRange tex_counted_range(const TexRanges *ranges, const pg_uuid_t *id, TexExtent *extent);

extern TexExtent tex_extent_of(const TexRanges *ranges, const pg_uuid_t *id);
extern bool tex_has_errors(const TexRanges *ranges, const pg_uuid_t *id);
extern void tex_sort_by_start(const TexRanges *ranges, pg_uuid_t *ids, int n);
extern pg_uuid_t *tex_traces_by_start(const TexRanges *ranges, ArrayType *ids, int *n);

extern List *tex_partitions_of(TexRange range);
extern void tex_require_rows_in_place(void);

static inline bool
tex_range_is_empty(TexRange range)
{
	return range.first > range.last;
}

static inline TexRange
tex_range_union(TexRange a, TexRange b)
{
	return (TexRange) {Min(a.first, b.first), Max(a.last, b.last)};
}

extern int	tex_no_jit(void);
/* Begin of the hour, in UTC, that a finite time is in; rounds down before PostgreSQL's epoch as well. */
static inline TimestampTz
tex_hour_of(TimestampTz at)
{
	TimestampTz hour = at - at % USECS_PER_HOUR;

	return hour > at ? hour - USECS_PER_HOUR : hour;
}

extern TimestampTz tex_time_plus(TimestampTz at, int64 usecs);

#endif							/* TEX_TRACE_RANGE_H */
