/*
 * otlp_json_fields.c
 *		Strings, numbers, ids, objects and arrays within a record of OpenTelemetry in JSON.
 *
 * All of these are read strictly; what is wrong refuses the record, see tex_otlp_refuse().
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"

#include "common/hex.h"
#include "ingest/json_text.h"
#include "ingest/otlp_json_fields.h"

/* ----------------------------------------------------------------
 *		Scalars
 * ----------------------------------------------------------------
 */
/* Steps over a word if it comes next. */
bool
tex_json_word(TexJson *json, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (json->end - json->next) < len || memcmp(json->next, word, len) != 0)
		return false;
	json->next += len;
	return true;
}

/* Null stands for what is missing. */
bool
tex_json_null(TexJson *json)
{
	return tex_json_word(json, "null");
}

/*
 * Decodes the escape whose backslash is at *p; *to grows by at most as many bytes as the escape has.
 * What is no character becomes U+FFFD.
 */
static bool
decode_escape(const char **p, const char *end, char **to)
{
	char		c = *p + 1 < end ? (*p)[1] : '\0';
	char		letter = tex_json_unescape(c);
	int			code;

	if (letter != '\0')
	{
		*(*to)++ = letter;
		*p += 2;
		return true;
	}
	code = c == 'u' ? tex_hex4(*p + 2, end) : -1;
	if (code < 0)
		return false;
	*p += 6;
	if (code >= 0xD800 && code <= 0xDBFF && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u')
	{
		int			low = tex_hex4(*p + 2, end);

		if (low >= 0xDC00 && low <= 0xDFFF)
		{
			code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
			*p += 6;
		}
	}
	if (code == 0 || (code >= 0xD800 && code <= 0xDFFF))
		code = 0xFFFD;
	unicode_to_utf8(code, (unsigned char *) *to);
	*to += pg_utf_mblen((unsigned char *) *to);
	return true;
}

/* Reads a string, a slice where it has no escapes. */
bool
tex_json_string(TexJson *json, TexOtlpString *to)
{
	TexOtlpReader *reader = json->reader;
	const char *start = json->next + 1;
	const char *p = start;
	const char *end;
	char	   *decoded;
	char	   *at;

	if (json->next >= json->end || *json->next != '"')
		return tex_otlp_refuse(reader, "not a string");
	while (p < json->end && *p != '"' && *p != '\\' && (unsigned char) *p >= ' ')
		p++;
	if (p < json->end && *p == '"')
	{
		json->next = p + 1;
		return tex_otlp_clean(reader, start, p - start, to);
	}
	end = tex_json_string_end(json->next, json->end);
	if (end == NULL)
		return tex_otlp_refuse(reader, "a string does not end");
	json->next = end;
	decoded = at = palloc(end - start);
	for (p = start; p < end - 1;)
	{
		if ((unsigned char) *p < ' ')
			return tex_otlp_refuse(reader, "control character in a string");
		if (*p != '\\')
			*at++ = *p++;
		else if (!decode_escape(&p, end - 1, &at))
			return tex_otlp_refuse(reader, "malformed escape in a string");
	}
	return tex_otlp_clean(reader, decoded, at - decoded, to);
}

/* A string as the value of a field; null is none. */
bool
tex_json_text(TexJson *json, const char *name, TexOtlpString *to)
{
	json->reader->field = name;
	return tex_json_null(json) || tex_json_string(json, to);
}

/* Reads the spelling of a number, which may be in quotes; terminated. */
bool
tex_json_spelling(TexJson *json, char *spelling)
{
	bool		quoted = json->next < json->end && *json->next == '"';
	const char *start = json->next + quoted;
	const char *p = start;

	while (p < json->end && *p != '\0' && strchr("0123456789+-.eE", *p) != NULL)
		p++;
	if (p == start || p - start > TEX_JSON_NUMBER || (quoted && (p == json->end || *p != '"')))
		return tex_otlp_refuse(json->reader, "not a number");
	memcpy(spelling, start, p - start);
	spelling[p - start] = '\0';
	json->next = p + quoted;
	return true;
}

/* A finite number from its spelling. */
bool
tex_json_parse_double(const char *spelling, double *number)
{
	char	   *end;

	*number = strtod(spelling, &end);
	return *end == '\0' && end != spelling && isfinite(*number);
}

/*
 * A whole number from its spelling: its amount, and whether it is negative.  One with a fraction
 * or exponent is taken if it is whole and exact.
 */
bool
tex_json_parse_whole(const char *spelling, uint64 *amount, bool *negative)
{
	const char *digits = spelling + (*spelling == '-');
	size_t		n = strspn(digits, "0123456789");
	double		number;

	*negative = digits != spelling;
	*amount = 0;
	if (digits[n] == '\0' && n > 0)
	{
		for (size_t i = 0; i < n; i++)
		{
			uint64		digit = digits[i] - '0';

			if (*amount > (PG_UINT64_MAX - digit) / 10)
				return false;
			*amount = *amount * 10 + digit;
		}
		return true;
	}
	if (!tex_json_parse_double(digits, &number) || number != rint(number) || number < 0 || number > 9007199254740992.0)
		return false;
	*amount = (uint64) number;
	return true;
}

/* A number from 0 to the highest as the value of a field; null is none. */
bool
tex_json_unsigned(TexJson *json, const char *name, uint64 highest, uint64 *number)
{
	char		spelling[TEX_JSON_NUMBER + 1];
	bool		negative;

	json->reader->field = name;
	if (tex_json_null(json))
		return true;
	if (!tex_json_spelling(json, spelling))
		return false;
	if (!tex_json_parse_whole(spelling, number, &negative) || *number > highest || (negative && *number > 0))
		return tex_otlp_refuse(json->reader, psprintf("not a whole number from 0 to " UINT64_FORMAT, highest));
	return true;
}

/* The same of 32 bits. */
bool
tex_json_uint32(TexJson *json, const char *name, uint32 *number)
{
	uint64		value = *number;

	if (!tex_json_unsigned(json, name, PG_UINT32_MAX, &value))
		return false;
	*number = (uint32) value;
	return true;
}

/* The number of an enum. */
bool
tex_json_enum(TexJson *json, const char *name, int32 *number)
{
	uint64		value = *number;

	if (!tex_json_unsigned(json, name, PG_INT32_MAX, &value))
		return false;
	*number = (int32) value;
	return true;
}

/* An id in hexadecimal digits; an empty one is none. */
bool
tex_json_id(TexJson *json, const char *name, uint8 *id, int len)
{
	TexOtlpString text = {"", 0};

	if (!tex_json_text(json, name, &text))
		return false;
	if (text.len == 0)
		return true;
	for (int i = 0; text.len == 2 * len && i < len; i++)
	{
		char		pair[] = {'0', '0', text.data[2 * i], text.data[2 * i + 1]};
		int			code = tex_hex4(pair, pair + 4);

		if (code < 0)
			text.len = 0;
		id[i] = (uint8) code;
	}
	if (text.len != 2 * len)
		return tex_otlp_refuse(json->reader, psprintf("not %d hexadecimal digits", 2 * len));
	return true;
}

/* ----------------------------------------------------------------
 *		Containers
 * ----------------------------------------------------------------
 */
/* Begins an object or array; null is an empty one, and then this is false without a reason. */
bool
tex_json_open(TexJson *json, char bracket)
{
	if (tex_json_null(json))
		return false;
	if (json->next >= json->end || *json->next != bracket)
		return tex_otlp_refuse(json->reader, bracket == '{' ? "not an object" : "not an array");
	json->next++;
	return true;
}

/* Is there another element? False at the end of the container, and with a reason where it is broken. */
bool
tex_json_element(TexJson *json, char bracket, bool *first)
{
	json->next = tex_json_skip_space(json->next, json->end);
	if (json->next < json->end && *json->next == bracket)
	{
		json->next++;
		return false;
	}
	if (!*first)
	{
		if (json->next >= json->end || *json->next != ',')
			return tex_otlp_refuse(json->reader, "a comma or a closing bracket is missing");
		json->next = tex_json_skip_space(json->next + 1, json->end);
	}
	*first = false;
	if (json->next >= json->end)
		return tex_otlp_refuse(json->reader, "a value is missing");
	return true;
}

/* Is there another member of an object? Then its value comes next. */
bool
tex_json_member(TexJson *json, bool *first, TexOtlpString *key)
{
	if (!tex_json_element(json, '}', first) || !tex_json_string(json, key))
		return false;
	json->next = tex_json_skip_space(json->next, json->end);
	if (json->next >= json->end || *json->next != ':')
		return tex_otlp_refuse(json->reader, "a key has no value");
	json->next = tex_json_skip_space(json->next + 1, json->end);
	return true;
}

/* Steps over the value of a key that is not known. */
bool
tex_json_skip(TexJson *json)
{
	const char *why;
	const char *end = tex_json_value_end(json->next, json->end, &why);

	if (end == NULL)
		return tex_otlp_refuse(json->reader, "malformed value");
	json->next = end;
	return true;
}
