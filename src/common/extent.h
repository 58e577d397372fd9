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

#endif							/* TEX_EXTENT_H */
