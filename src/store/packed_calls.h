/*
 * packed_calls.h
 *		The calls of a trace in few bytes: what is stored of them.
 */
#ifndef TEX_PACKED_CALLS_H
#define TEX_PACKED_CALLS_H

#include "store/calls.h"

/* Some calls of a trace that are alike but in how long they took. */
typedef struct TexCallGroup
{
	int64		hour;			/* since the epoch of PostgreSQL */
	const uint8 *from;			/* services, not ended by zero */
	int			from_size;
	const uint8 *to;
	int			to_size;
	TexLink		link;
	int64		calls;			/* all of them */
	int64		errors;			/* of these */
	bool		first;			/* of this trace between these services by this link */
} TexCallGroup;

/* Reads a packed value from one end to the other; on the stack of who reads. */
typedef struct TexCallReader
{
	const uint8 *next;
	const uint8 *end;
	int			service_count;
	const uint8 **services;		/* where their texts begin */
	int		   *sizes;
	int			from;			/* of the group read last */
	int			to;
	int			link;
	int64		left;			/* of its durations that are not read yet */
} TexCallReader;

extern struct varlena *tex_pack_calls(const TexCalls *calls);
extern void tex_call_reader_init(TexCallReader *reader, const struct varlena *packed);
extern bool tex_next_call_group(TexCallReader *reader, TexCallGroup *group);
extern int64 tex_next_duration(TexCallReader *reader);

#endif							/* TEX_PACKED_CALLS_H */
