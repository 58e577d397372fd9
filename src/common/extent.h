/*
 * extent.h
 *		From when to when an event lasted.
 */
#ifndef TEX_EXTENT_H
#define TEX_EXTENT_H

#include "datatype/timestamp.h"

/* Both ends belong to it. */
typedef struct TexExtent
{
	TimestampTz started;
	TimestampTz ended;
} TexExtent;

extern TexExtent tex_extent(TimestampTz timestamp, int64 duration_ns, bool stamped_at_end);

/* The same of the columns "timestamp", duration_ns and stamped_at_end; the latter two may be NULL. */
static inline TexExtent
tex_extent_of_columns(TimestampTz timestamp, Datum duration_ns, bool no_duration, Datum at_end, bool not_said)
{
	return tex_extent(timestamp, no_duration ? 0 : DatumGetInt64(duration_ns),
					  !not_said && DatumGetBool(at_end));
}

#endif							/* TEX_EXTENT_H */
