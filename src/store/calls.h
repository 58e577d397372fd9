/*
 * calls.h
 *		The calls between services within one trace.
 */
#ifndef TEX_CALLS_H
#define TEX_CALLS_H

#include "store/trace_reader.h"

/* In the order of the SQL type link_type. */
typedef enum TexLink
{
	TEX_HTTP_CALL,
	TEX_GRPC_CALL,
	TEX_MESSAGE_QUEUE,
	TEX_DATABASE_CALL,
	TEX_CUSTOM_CALL,
	TEX_LINK_COUNT
} TexLink;

/* In microseconds: what the nanoseconds of a histogram can hold; longer ones count as this. */
#define TEX_LONGEST_CALL (PG_INT64_MAX / 1000)

/* One call from a service to another. */
typedef struct TexCall
{
	int64		hour;			/* it began in, since the epoch of PostgreSQL */
	int64		duration;		/* in microseconds */
	int32		from;			/* numbers of services */
	int32		to;
	uint8		link;			/* a TexLink */
	bool		is_error;
} TexCall;

/* The calls of a trace; in a memory context of the caller's. */
typedef struct TexCalls
{
	text	  **services;		/* by number */
	int			service_count;
	TexCall    *calls;			/* in no order */
	int			count;
	int			room;
} TexCalls;

/* Services of producers in traces that are not here, by the id of the start of their span; see tex_producers_create(). */
typedef struct HTAB TexProducers;

extern void tex_require_calls(void);
extern TexTraceReader *tex_calls_reader(void);
extern const TexCalls *tex_calls_of(TexTraceReader *reader, const pg_uuid_t *trace_id, const TexProducers *elsewhere);
extern text *tex_service_of_producer(TexTraceReader *reader, const pg_uuid_t *trace_id, const pg_uuid_t *start);
extern TexProducers *tex_producers_create(int n);
extern void tex_producers_add(TexProducers *producers, const pg_uuid_t *start, text *service);

#endif							/* TEX_CALLS_H */
