/*
 * event_json.h
 *		From the JSON of one event to a row of events.
 */
#ifndef TEX_EVENT_JSON_H
#define TEX_EVENT_JSON_H

#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "ingest/event_row.h"

extern char *tex_event_from_json(JsonbContainer *event, TexEventRow *row);
extern bool tex_parse_uuid(const char *text, int len, pg_uuid_t *uuid);
extern char *tex_event_text(JsonbContainer *event, const char *key);

#endif							/* TEX_EVENT_JSON_H */
