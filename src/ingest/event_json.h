/*
 * event_json.h
 *		From the JSON of one event to a row of events.
 */
#ifndef TEX_EVENT_JSON_H
#define TEX_EVENT_JSON_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#define TEX_EVENT_COLUMNS 19

typedef struct TexEventRow
{
	Datum		values[TEX_EVENT_COLUMNS];	/* in the order of the table's columns */
	bool		isnull[TEX_EVENT_COLUMNS];
	pg_uuid_t	trace_id;
	pg_uuid_t	id;
	pg_uuid_t	parent_id;
	TimestampTz timestamp;
} TexEventRow;

extern char *tex_event_from_json(JsonbContainer *event, TexEventRow *row);
extern char *tex_event_text(JsonbContainer *event, const char *key);

#endif							/* TEX_EVENT_JSON_H */
