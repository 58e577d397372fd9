/*
 * json_out.h
 *		JSON, written piece by piece to the end of a buffer.
 */
#ifndef TEX_JSON_OUT_H
#define TEX_JSON_OUT_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "ingest/otlp.h"

extern void tex_doc_open(StringInfo out, char bracket);
extern void tex_doc_close(StringInfo out, char bracket);
extern void tex_doc_key(StringInfo out, const char *key);
extern void tex_doc_string(StringInfo out, TexOtlpString string);
extern void tex_doc_word(StringInfo out, const char *word);
extern void tex_doc_literal(StringInfo out, const char *literal);
extern void tex_doc_int(StringInfo out, int64 number);
extern void tex_doc_hex(StringInfo out, const uint8 *id, int len);

extern void tex_doc_member(StringInfo out, const char *key, TexOtlpString string);
extern void tex_doc_member_int(StringInfo out, const char *key, int64 number);
extern void tex_doc_member_time(StringInfo out, const char *key, uint64 nanoseconds);

/* Values as ingest_otlp() keeps them, "marked", or as JSON means them. */
typedef struct TexOutValue
{
	JsonbValue	json;
	bool		is_marked;
} TexOutValue;

extern void tex_doc_any_value(StringInfo out, const TexOutValue *value);
extern void tex_doc_plain(StringInfo out, const TexOutValue *value);
extern TexOtlpString tex_plain_text(const TexOutValue *value);
extern bool tex_is_double(Numeric number, double *value);
extern bool tex_is_int64(Numeric number, int64 *value);

static inline TexOtlpString
tex_string(const char *data)
{
	return (TexOtlpString) {data, data == NULL ? 0 : strlen(data)};
}

#endif							/* TEX_JSON_OUT_H */
