/*
 * otlp_attributes.h
 *		Values of OpenTelemetry as jsonb.
 */
#ifndef TEX_OTLP_ATTRIBUTES_H
#define TEX_OTLP_ATTRIBUTES_H

#include "utils/jsonb.h"

#include "ingest/otlp.h"

/* An object of jsonb that is being made. */
typedef struct TexObject
{
	JsonbParseState *state;
	int			members;
} TexObject;

extern void tex_object_begin(TexObject *object);
extern void tex_object_key(TexObject *object, const char *key);
extern void tex_object_string(TexObject *object, const char *key, TexOtlpString string);
extern void tex_object_number(TexObject *object, const char *key, uint64 number);
extern void tex_object_integer(TexObject *object, const char *key, int64 number);
extern void tex_object_value(TexObject *object, const char *key, const TexOtlpValue *value);
extern void tex_object_jsonb(TexObject *object, const char *key, JsonbValue *value);
extern void tex_object_none(TexObject *object, const char *key);
extern void tex_object_open(TexObject *object, const char *key, bool is_array);
extern void tex_object_close(TexObject *object, bool is_array);
extern void tex_object_attributes(TexObject *object, const char *key, const TexOtlpList *attributes);
extern Jsonb *tex_object_end(TexObject *object);

#endif							/* TEX_OTLP_ATTRIBUTES_H */
