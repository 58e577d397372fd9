/*
 * extent.c
 *		From when to when an event lasted.
 *
 * A timestamp is the start of what lasted "duration_ns" for OTLP, INSERT and COPY, and
 * the end of it for clients of the event JSON, which send an event when its work is
 * done.  Which of the two holds is stored per event, so that it survives any way out
 * of the table and in again.  This is the one place that reads it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "fmgr.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "common/extent.h"
#include "compat.h"

#define NSECS_PER_USEC 1000

PG_FUNCTION_INFO_V1(tex_event_extent);

/*
 * The extent of an event, rounded to microseconds.  Less than no time counts as
 * none, and what would reach beyond the times that there are ends with them: the
 * ends are finite, always, so that they can be subtracted.
 */
TexExtent
tex_extent(TimestampTz timestamp, int64 duration_ns, bool stamped_at_end)
{
	TexExtent	extent = {timestamp, timestamp};
	int64		usecs;

	if (duration_ns <= 0)
		return extent;
	usecs = duration_ns / NSECS_PER_USEC + (duration_ns % NSECS_PER_USEC >= NSECS_PER_USEC / 2);
	if (stamped_at_end && (pg_sub_s64_overflow(timestamp, usecs, &extent.started) ||
						   extent.started < MIN_TIMESTAMP))
		extent.started = MIN_TIMESTAMP;
	if (!stamped_at_end && (pg_add_s64_overflow(timestamp, usecs, &extent.ended) ||
							extent.ended >= END_TIMESTAMP))
		extent.ended = END_TIMESTAMP - 1;
	return extent;
}

/*
 * event_extent("timestamp" timestamptz, duration_ns bigint, stamped_at_end boolean)
 * returns tstzrange
 *
 * Both ends included; NULL without a timestamp, or for one that is infinite.
 */
Datum
tex_event_extent(PG_FUNCTION_ARGS)
{
	TypeCacheEntry *range_type = fcinfo->flinfo->fn_extra;
	RangeBound	lower = {.inclusive = true,.lower = true};
	RangeBound	upper = {.inclusive = true,.lower = false};
	TexExtent	extent;

	if (PG_ARGISNULL(0) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(0)))
		PG_RETURN_NULL();
	if (range_type == NULL)
		fcinfo->flinfo->fn_extra = range_type = lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO);
	extent = tex_extent_of_columns(PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_DATUM(1), PG_ARGISNULL(1),
								   PG_GETARG_DATUM(2), PG_ARGISNULL(2));
	lower.val = TimestampTzGetDatum(extent.started);
	upper.val = TimestampTzGetDatum(extent.ended);
	PG_RETURN_RANGE_P(tex_make_range(range_type, &lower, &upper));
}
