/*
 * requests.h
 *		Which request an answer in the same span comes after.
 */
#ifndef TEX_REQUESTS_H
#define TEX_REQUESTS_H

#include "utils/timestamp.h"
#include "utils/uuid.h"

typedef struct TexRequest
{
	int32		trace;
	int32		service;		/* numbers of strings */
	int32		span;
	int32		name;
	TimestampTz at;
	pg_uuid_t	id;
} TexRequest;

extern void tex_requests_sort(TexRequest *requests, int32 n);
extern const TexRequest *tex_request_before(const TexRequest *requests, int32 n, int32 trace, int32 service, int32 span, TimestampTz at);

#endif							/* TEX_REQUESTS_H */
