/*
 * request.h
 *		For which request a statement was run.
 */
#ifndef TEX_WATCH_REQUEST_H
#define TEX_WATCH_REQUEST_H

#include "utils/uuid.h"

#define TEX_REQUEST_NAME 120

typedef struct TexRequest
{
	bool		traced;			/* a traceparent said so; else trace is not set */
	pg_uuid_t	trace;
	pg_uuid_t	parent;			/* the first event of the span that ran it */
	char		name[TEX_REQUEST_NAME]; /* what it is called; empty: nobody said */
} TexRequest;

extern void tex_request_of(TexRequest *request, const char *text, size_t len);

#endif							/* TEX_WATCH_REQUEST_H */
