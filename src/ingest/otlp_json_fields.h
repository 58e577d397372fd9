/*
 * otlp_json_fields.h
 *		What the files share that read requests of OpenTelemetry in JSON.
 */
#ifndef TEX_OTLP_JSON_FIELDS_H
#define TEX_OTLP_JSON_FIELDS_H

#include "ingest/otlp.h"

/* Longer numbers, written out, are none. */
#define TEX_JSON_NUMBER 400

/* What is left of a text. */
typedef struct TexJson
{
	TexOtlpReader *reader;
	const char *next;
	const char *end;
} TexJson;

typedef struct TexSlice
{
	const char *data;			/* NULL: there is none */
	int			len;
} TexSlice;

/* otlp_json_fields.c */
extern bool tex_json_word(TexJson *json, const char *word);
extern bool tex_json_null(TexJson *json);
extern bool tex_json_string(TexJson *json, TexOtlpString *to);
extern bool tex_json_text(TexJson *json, const char *name, TexOtlpString *to);
extern bool tex_json_spelling(TexJson *json, char *spelling);
extern bool tex_json_parse_double(const char *spelling, double *number);
extern bool tex_json_parse_whole(const char *spelling, uint64 *amount, bool *negative);
extern bool tex_json_unsigned(TexJson *json, const char *name, uint64 highest, uint64 *number);
extern bool tex_json_uint32(TexJson *json, const char *name, uint32 *number);
extern bool tex_json_enum(TexJson *json, const char *name, int32 *number);
extern bool tex_json_id(TexJson *json, const char *name, uint8 *id, int len);
extern bool tex_json_open(TexJson *json, char bracket);
extern bool tex_json_element(TexJson *json, char bracket, bool *first);
extern bool tex_json_member(TexJson *json, bool *first, TexOtlpString *key);
extern bool tex_json_skip(TexJson *json);

/* otlp_json_records.c */
extern bool tex_json_value(TexJson *json, TexOtlpValue *value, int depth);
extern bool tex_json_attributes(TexJson *json, TexOtlpList *attributes);
extern void tex_json_record(TexOtlpReader *reader, TexSlice record, bool is_log);

#endif							/* TEX_OTLP_JSON_FIELDS_H */
