/*
 * json_out.c
 *		JSON, written piece by piece to the end of a buffer.
 *
 * Whether a comma is due, the last character tells: none after an opening bracket or a colon.
 * A string ends with a quote, so what clients sent cannot be taken for one of these.
 *
 * Strings come from columns of text and jsonb, so they are of the database's encoding; all
 * that JSON wants escaped are quotes, backslashes and control characters.
 */
#include "postgres.h"

#include <math.h>

#include "common/base64.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "exchange/json_out.h"

/* The comma before a member or element, unless it is the first one. */
static void
separate(StringInfo out)
{
	char		last = out->len == 0 ? '[' : out->data[out->len - 1];

	if (last != '{' && last != '[' && last != ':')
		appendStringInfoChar(out, ',');
}

/* Begins an object or an array. */
void
tex_doc_open(StringInfo out, char bracket)
{
	separate(out);
	appendStringInfoChar(out, bracket);
}

/* Ends it. */
void
tex_doc_close(StringInfo out, char bracket)
{
	appendStringInfoChar(out, bracket);
}

/* A key that needs no escapes. */
void
tex_doc_key(StringInfo out, const char *key)
{
	separate(out);
	appendStringInfoChar(out, '"');
	appendStringInfoString(out, key);
	appendStringInfoString(out, "\":");
}

/* Between quotes; what needs no escape is copied in one go. */
static void
append_quoted(StringInfo out, TexOtlpString string)
{
	int			from = 0;

	appendStringInfoChar(out, '"');
	for (int i = 0; i < string.len; i++)
	{
		unsigned char c = string.data[i];

		if (c >= ' ' && c != '"' && c != '\\')
			continue;
		appendBinaryStringInfo(out, string.data + from, i - from);
		from = i + 1;
		if (c < ' ')
			appendStringInfo(out, "\\u%04x", c);
		else
		{
			appendStringInfoChar(out, '\\');
			appendStringInfoChar(out, c);
		}
	}
	if (string.len > from)
		appendBinaryStringInfo(out, string.data + from, string.len - from);
	appendStringInfoChar(out, '"');
}

/* A string. */
void
tex_doc_string(StringInfo out, TexOtlpString string)
{
	separate(out);
	append_quoted(out, string);
}

/* A string of ours. */
void
tex_doc_word(StringInfo out, const char *word)
{
	tex_doc_string(out, tex_string(word));
}

/* What is written as it is: a number, true, false, null. */
void
tex_doc_literal(StringInfo out, const char *literal)
{
	separate(out);
	appendStringInfoString(out, literal);
}

/* A number. */
void
tex_doc_int(StringInfo out, int64 number)
{
	separate(out);
	appendStringInfo(out, INT64_FORMAT, number);
}

/* An id, as a string of hexadecimal digits. */
void
tex_doc_hex(StringInfo out, const uint8 *id, int len)
{
	separate(out);
	appendStringInfoChar(out, '"');
	enlargeStringInfo(out, 2 * len);
	out->len += hex_encode((const char *) id, len, out->data + out->len);
	out->data[out->len] = '\0';
	appendStringInfoChar(out, '"');
}

/* A member, unless it is empty. */
void
tex_doc_member(StringInfo out, const char *key, TexOtlpString string)
{
	if (string.len == 0)
		return;
	tex_doc_key(out, key);
	tex_doc_string(out, string);
}

/* A member, unless it is zero. */
void
tex_doc_member_int(StringInfo out, const char *key, int64 number)
{
	if (number == 0)
		return;
	tex_doc_key(out, key);
	tex_doc_int(out, number);
}

/* A number of 64 bits is a string in OTLP, as JSON's own are doubles to most; nothing for zero. */
void
tex_doc_member_time(StringInfo out, const char *key, uint64 nanoseconds)
{
	if (nanoseconds == 0)
		return;
	tex_doc_key(out, key);
	appendStringInfo(out, "\"" UINT64_FORMAT "\"", nanoseconds);
}

/* ----------------------------------------------------------------
 *		Values
 * ----------------------------------------------------------------
 */
/* Is it a whole number that fits 64 bits, and was written without a point? */
bool
tex_is_int64(Numeric number, int64 *value)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
	char	   *end;

	if (strspn(text, "-0123456789") != strlen(text))
		return false;
	errno = 0;
	*value = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0';
}

/* Does it fit a double? */
bool
tex_is_double(Numeric number, double *value)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));

	errno = 0;
	*value = strtod(text, NULL);
	return !isinf(*value) && !isnan(*value);
}

/* The only member of an object, if it has one and that begins with "@"; see ingest/otlp_attributes.c. */
static bool
get_mark(const TexOutValue *value, TexOtlpString *mark, JsonbValue *marked)
{
	JsonbContainer *container = value->json.type == jbvBinary ? value->json.val.binary.data : NULL;
	JsonbIterator *it;
	JsonbValue	key;

	if (!value->is_marked || container == NULL || !JsonContainerIsObject(container) ||
		JsonContainerSize(container) != 1)
		return false;
	it = JsonbIteratorInit(container);
	(void) JsonbIteratorNext(&it, &key, true);
	(void) JsonbIteratorNext(&it, &key, true);
	(void) JsonbIteratorNext(&it, marked, true);
	*mark = (TexOtlpString) {key.val.string.val, key.val.string.len};
	return mark->len > 0 && mark->data[0] == '@';
}

static bool
is_mark(TexOtlpString mark, const char *name)
{
	return strlen(name) == (size_t) mark.len && memcmp(mark.data, name, mark.len) == 0;
}

/* Is it what base64 looks like? What was inserted by hand may be anything. */
static bool
is_base64(const JsonbValue *text)
{
	char	   *decoded = palloc(pg_b64_dec_len(text->val.string.len) + 1);
	int			len = pg_b64_decode(text->val.string.val, text->val.string.len, (void *) decoded,
									pg_b64_dec_len(text->val.string.len));

	pfree(decoded);
	return text->val.string.len == 0 || len >= 0;
}

/* Is it one of the doubles that JSON has no word for? */
static bool
is_double_word(const JsonbValue *text)
{
	static const char *const words[] = {"NaN", "Infinity", "-Infinity", "-0"};

	for (Size i = 0; i < lengthof(words); i++)
	{
		if (is_mark((TexOtlpString) {text->val.string.val, text->val.string.len}, words[i]))
			return true;
	}
	return false;
}

/* A member of AnyValue whose value is a string. */
static void
append_any(StringInfo out, const char *type, const JsonbValue *text)
{
	tex_doc_key(out, type);
	tex_doc_string(out, (TexOtlpString) {text->val.string.val, text->val.string.len});
}

/* The pairs of an object, as OTLP has them. */
static void
append_pairs(StringInfo out, JsonbContainer *container, bool is_marked)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	TexOutValue value = {.is_marked = is_marked};

	tex_doc_key(out, "kvlistValue");
	tex_doc_open(out, '{');
	tex_doc_key(out, "values");
	tex_doc_open(out, '[');
	while ((token = JsonbIteratorNext(&it, &value.json, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			tex_doc_open(out, '{');
			append_any(out, "key", &value.json);
		}
		if (token == WJB_VALUE)
		{
			tex_doc_key(out, "value");
			tex_doc_any_value(out, &value);
			tex_doc_close(out, '}');
		}
	}
	tex_doc_close(out, ']');
	tex_doc_close(out, '}');
}

/* The elements of an array, as OTLP has them. */
static void
append_elements(StringInfo out, JsonbContainer *container, bool is_marked)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	TexOutValue value = {.is_marked = is_marked};

	tex_doc_key(out, "arrayValue");
	tex_doc_open(out, '{');
	tex_doc_key(out, "values");
	tex_doc_open(out, '[');
	while ((token = JsonbIteratorNext(&it, &value.json, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			tex_doc_any_value(out, &value);
	}
	tex_doc_close(out, ']');
	tex_doc_close(out, '}');
}

/* A number: an integer without a point, a double with one; what fits neither is text. */
static void
append_number(StringInfo out, Numeric number)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
	int64		integer;
	double		real;

	if (tex_is_int64(number, &integer))
	{
		tex_doc_key(out, "intValue");
		tex_doc_word(out, text);
	}
	else if (tex_is_double(number, &real))
	{
		tex_doc_key(out, "doubleValue");
		tex_doc_literal(out, text);
	}
	else
	{
		tex_doc_key(out, "stringValue");
		tex_doc_word(out, text);
	}
}

/* A container or what a mark says. */
static void
append_container(StringInfo out, const TexOutValue *value)
{
	JsonbContainer *container = value->json.val.binary.data;
	TexOtlpString mark;
	JsonbValue	marked;

	if (get_mark(value, &mark, &marked))
	{
		if (is_mark(mark, "@double") && marked.type == jbvString && is_double_word(&marked))
			append_any(out, "doubleValue", &marked);
		else if (is_mark(mark, "@bytes") && marked.type == jbvString && is_base64(&marked))
			append_any(out, "bytesValue", &marked);
		else if (is_mark(mark, "@pairs") && marked.type == jbvBinary &&
				 JsonContainerIsObject(marked.val.binary.data))
			append_pairs(out, marked.val.binary.data, true);
		else
			append_pairs(out, container, true);
	}
	else if (JsonContainerIsArray(container))
		append_elements(out, container, value->is_marked);
	else
		append_pairs(out, container, value->is_marked);
}

/* AnyValue of OTLP. */
void
tex_doc_any_value(StringInfo out, const TexOutValue *value)
{
	check_stack_depth();
	tex_doc_open(out, '{');
	switch (value->json.type)
	{
		case jbvString:
			append_any(out, "stringValue", &value->json);
			break;
		case jbvBool:
			tex_doc_key(out, "boolValue");
			tex_doc_literal(out, value->json.val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			append_number(out, value->json.val.numeric);
			break;
		case jbvBinary:
			append_container(out, value);
			break;
		default:				/* null: no value */
			break;
	}
	tex_doc_close(out, '}');
}

static void append_plain_members(StringInfo out, JsonbContainer *container, bool is_marked);

/* A value as JSON has it: bytes are base64, and what is no number to JSON is a string. */
void
tex_doc_plain(StringInfo out, const TexOutValue *value)
{
	TexOtlpString mark;
	TexOutValue marked = {.is_marked = true};

	check_stack_depth();
	switch (value->json.type)
	{
		case jbvString:
			tex_doc_string(out, (TexOtlpString) {value->json.val.string.val, value->json.val.string.len});
			break;
		case jbvBool:
			tex_doc_literal(out, value->json.val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			tex_doc_literal(out, DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->json.val.numeric))));
			break;
		case jbvBinary:
			if (!get_mark(value, &mark, &marked.json))
				append_plain_members(out, value->json.val.binary.data, value->is_marked);
			else if (is_mark(mark, "@pairs") && marked.json.type == jbvBinary)
				append_plain_members(out, marked.json.val.binary.data, true);
			else if ((is_mark(mark, "@bytes") || is_mark(mark, "@double")) && marked.json.type == jbvString)
				tex_doc_plain(out, &marked);
			else
				append_plain_members(out, value->json.val.binary.data, true);
			break;
		default:
			tex_doc_literal(out, "null");
			break;
	}
}

/* An object or array as JSON has it. */
static void
append_plain_members(StringInfo out, JsonbContainer *container, bool is_marked)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	TexOutValue value = {.is_marked = is_marked};

	tex_doc_open(out, JsonContainerIsArray(container) ? '[' : '{');
	while ((token = JsonbIteratorNext(&it, &value.json, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			tex_doc_string(out, (TexOtlpString) {value.json.val.string.val, value.json.val.string.len});
			appendStringInfoChar(out, ':');
		}
		else if (token == WJB_VALUE || token == WJB_ELEM)
			tex_doc_plain(out, &value);
	}
	tex_doc_close(out, JsonContainerIsArray(container) ? ']' : '}');
}

/* A value as text: a string is itself, as are bytes in base64 and doubles without a number; others are JSON. */
TexOtlpString
tex_plain_text(const TexOutValue *value)
{
	StringInfoData text;
	TexOtlpString mark;
	JsonbValue	marked;

	if (value->json.type == jbvString)
		return (TexOtlpString) {value->json.val.string.val, value->json.val.string.len};
	if (get_mark(value, &mark, &marked) && marked.type == jbvString && (is_mark(mark, "@bytes") || is_mark(mark, "@double")))
		return (TexOtlpString) {marked.val.string.val, marked.val.string.len};
	initStringInfo(&text);
	tex_doc_plain(&text, value);
	return (TexOtlpString) {text.data, text.len};
}
