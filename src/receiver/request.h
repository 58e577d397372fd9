/*
 * request.h
 *		A request while the receiver has it.
 *
 * Its memory is malloc()ed, as callbacks of libmicrohttpd must not throw, which palloc() may.
 */
#ifndef TEX_RECEIVER_REQUEST_H
#define TEX_RECEIVER_REQUEST_H

#include "lib/ilist.h"

#include "common/receiver_shared.h"
#include "ingest/batch.h"
#include "receiver/bodies.h"

/* What the receiver has of one body, and of all, in memory and on disk; more is refused. */
#define TEX_MOST_BODY (16 * 1024 * 1024)
#define TEX_MOST_BODIES (48 * 1024 * 1024)

#define TEX_ANSWER_TEXT 256

struct MHD_Connection;

typedef struct TexClient TexClient;

typedef struct TexRequest
{
	dlist_node	node;			/* among those that wait to be stored, or to be stored on */
	struct MHD_Connection *connection;
	TexClient  *client;			/* NULL where there was no memory for one */
	TexDoor		door;
	bool		json;			/* the body is JSON, so the answer is; else protobuf */
	bool		gzip;
	bool		wants_close;	/* the connection is given up after the answer */

	TexBytes	body;
	size_t		expected;		/* as the client announced; 0: it did not */
	size_t		len;			/* of the body, as it came */
	int64		complete_at;	/* when the last byte had come, as tex_http_now() */

	TexBatchDone done;			/* as much of the body is stored */

	int			status;			/* of the answer; 0: not decided */
	TexRefusal	refusal;		/* where it is none of 200 */
	char		text[TEX_ANSWER_TEXT];	/* what is wrong, in UTF-8; empty: nothing */
	char		reason[TEX_ANSWER_TEXT];	/* why the first rejected record was, in UTF-8 */
	int			retry_after;	/* of 429 and 503, in seconds; 0: not said otherwise */
	int64		inserted;
	int64		duplicates;
	int64		rejected;
	int64		records;		/* spans, log records or events, with the rejected ones */
} TexRequest;

#endif							/* TEX_RECEIVER_REQUEST_H */
