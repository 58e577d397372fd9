/*
 * otlp_known.h
 *		Attributes of OpenTelemetry that mean something here.
 */
#ifndef TEX_OTLP_KNOWN_H
#define TEX_OTLP_KNOWN_H

#include "ingest/otlp.h"

/* Attributes that are looked at. */
typedef enum TexKnown
{
	ATTR_METHOD, ATTR_OLD_METHOD, ATTR_ROUTE, ATTR_PATH, ATTR_TARGET, ATTR_FULL_URL, ATTR_OLD_URL, ATTR_RESPONSE_STATUS, ATTR_OLD_RESPONSE_STATUS,
	ATTR_DB_SYSTEM, ATTR_OLD_DB_SYSTEM, ATTR_DB_TEXT, ATTR_OLD_DB_TEXT, ATTR_DB_NAMESPACE, ATTR_OLD_DB_NAME, ATTR_DB_ROWS,
	ATTR_CODE_FILE, ATTR_OLD_CODE_FILE, ATTR_CODE_LINE, ATTR_OLD_CODE_LINE,
	ATTR_ERROR_TYPE, ATTR_EXCEPTION_TYPE, ATTR_EXCEPTION_MESSAGE, ATTR_EXCEPTION_STACK, ATTR_EVENT_NAME,
	ATTR_VARIABLE, ATTR_ACCESS, ATTR_VALUE, ATTR_OLD_VALUE, ATTR_LOCK_ID, ATTR_LOCK_OP, ATTR_LOCK_TYPE,
	ATTR_SERVICE_NAME, ATTR_SERVICE_INSTANCE, ATTR_POD_NAME, ATTR_HOST_NAME, ATTR_PROCESS_ID, ATTR_ENVIRONMENT, ATTR_OLD_ENVIRONMENT,
	ATTR_COUNT
} TexKnown;

/* The attributes of a list that are known; NULL where they are missing. */
typedef struct TexFound
{
	TexOtlpValue *of[ATTR_COUNT];
} TexFound;

extern const TexOtlpString tex_known_names[ATTR_COUNT];

extern void tex_find_known(const TexOtlpList *attributes, TexFound *found);
extern TexOtlpValue *tex_either(TexFound *found, TexKnown now, TexKnown before);
extern bool tex_has_text(const TexOtlpValue *value);
extern TexOtlpString tex_text_of(const TexOtlpValue *value);
extern bool tex_number_of(const TexOtlpValue *value, int64 *number);
extern void tex_mark_moved(TexOtlpValue *value);

#endif							/* TEX_OTLP_KNOWN_H */
