/*
 * json_scan.h
 *		Reads a batch of JSON text event by event.
 */
#ifndef TEX_JSON_SCAN_H
#define TEX_JSON_SCAN_H

#include "utils/jsonb.h"

/* What is left of the array of events. */
typedef struct TexBatchText
{
	const char *next;
	const char *end;
	bool		wrapped;		/* inside {"events": [...]} */
	bool		started;
} TexBatchText;

/* One event, or why it cannot be one. */
typedef struct TexScannedEvent
{
	Jsonb	   *event;			/* NULL where there is a reason */
	char	   *reason;
	char	   *id;				/* as far as they were read before the reason */
	char	   *trace_id;
} TexScannedEvent;

extern void tex_batch_open(TexBatchText *batch, const char *text, int len);
extern bool tex_batch_next(TexBatchText *batch, const char **event, int *len);
extern void tex_scan_event(const char *text, int len, TexScannedEvent *scanned);
extern JsonbValue *tex_scan_value(const char *text, int len);
extern char *tex_check_event(JsonbContainer *event);

#endif							/* TEX_JSON_SCAN_H */
