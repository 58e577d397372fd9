/*
 * json_scan.c
 *		Reads a batch of JSON text event by event.
 *
 * PostgreSQL's own parser throws at the first thing jsonb cannot hold (\u0000,
 * a lone surrogate, a number without end, deep nesting), and the whole batch is
 * lost.  Here one event that cannot be read is refused alone, with the path of
 * the field: tex_batch_next() finds where an event ends by its brackets and
 * quotes only, and tex_scan_event() reads what is between.
 *
 * Nothing here recurses: the stack of open containers is an array, limited by
 * trace_ext.max_nesting, which also bounds the recursion of PostgreSQL's
 * conversion to jsonb.
 *
 * Source of the grammar: RFC 8259.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "common/hex.h"
#include "compat.h"
#include "guc.h"
#include "ingest/batch.h"
#include "ingest/json_scan.h"
#include "ingest/json_text.h"

/* Longer numbers, written out, are no measurements. */
#define MAX_NUMBER_LENGTH 400

/* At longer spellings numeric_in would throw. */
#define MAX_SPELLING 8000
#define MAX_EXPONENT 8000

/* How many keys lead to the field that a reason names, and how much of each. */
#define PATH_LEVELS 5
#define MAX_KEY_SHOWN 64

#define OUT_OF_RANGE "number out of range"

typedef struct Level
{
	bool		is_object;
	char	   *key;			/* of an object: the last one read */
} Level;

typedef struct Scanner
{
	const char *next;
	const char *end;
	char	   *reason;
	int			depth;
	Level	   *levels;
	JsonbParseState *state;
	JsonbValue *result;
	TexScannedEvent *scanned;
} Scanner;

static bool read_string(Scanner *s, char **value, int *len);

/* ----------------------------------------------------------------
 *		The batch
 * ----------------------------------------------------------------
 */
/* Throws for a batch as a whole, of which no event can be told; does not return. */
static void
not_a_batch(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("this is not a batch of events"),
			 errdetail("%s", detail),
			 errhint("Send {\"events\": [...]} or an array of events.")));
}

/* The end of the string that begins at p, after its closing quote. */
static const char *
skip_string(const char *p, const char *end)
{
	p = tex_json_string_end(p, end);
	if (p == NULL)
		not_a_batch("A string does not end.");
	return p;
}

/* The end of the value that begins at p, which is p where there is none. */
static const char *
skip_value(const char *p, const char *end)
{
	const char *why;
	const char *value_end;

	if (p == end || *p == ',' || *p == ']' || *p == '}')
		return p;
	value_end = tex_json_value_end(p, end, &why);
	if (value_end == NULL)
		not_a_batch(why);
	return value_end;
}

/*
 * Is this string, with its quotes, the key "events", however it is spelled?
 */
static bool
is_events_key(const char *key, const char *end)
{
	Scanner		s = {.next = key,.end = end};
	char	   *value;
	int			len;

	return read_string(&s, &value, &len) && strcmp(value, "events") == 0;
}

/*
 * Finds the array of "events" in the object that begins at p.
 */
static const char *
find_events(const char *p, const char *end)
{
	p = tex_json_skip_space(p + 1, end);
	while (p < end && *p == '"')
	{
		const char *key = p;
		bool		found;

		p = skip_string(p, end);
		found = is_events_key(key, p);
		p = tex_json_skip_space(p, end);
		if (p >= end || *p != ':')
			not_a_batch("A key has no value.");
		p = tex_json_skip_space(p + 1, end);
		if (found)
		{
			if (p >= end || *p != '[')
				not_a_batch("\"events\" is not an array.");
			return p;
		}
		p = tex_json_skip_space(skip_value(p, end), end);
		if (p < end && *p == ',')
			p = tex_json_skip_space(p + 1, end);
	}
	not_a_batch("The object has no \"events\".");
	return NULL;				/* keep the compiler quiet */
}

/*
 * Begins to read a batch: an array of events, or an object with such an array as its "events".
 * The text is of the database's encoding, len bytes, and must stay. Throws where it is neither.
 */
void
tex_batch_open(TexBatchText *batch, const char *text, int len)
{
	const char *end = text + len;
	const char *p = tex_json_skip_space(text, end);

	batch->end = end;
	batch->started = false;
	batch->wrapped = p < end && *p == '{';
	if (batch->wrapped)
		p = find_events(p, end);
	else if (p >= end || *p != '[')
		not_a_batch("It is neither an object nor an array.");
	batch->next = tex_json_skip_space(p + 1, end);
}

/*
 * Reads what follows the array. Other keys of the object say nothing to us, but a second list of
 * events would be lost: the batch is refused.
 */
static void
close_batch(TexBatchText *batch)
{
	const char *p = tex_json_skip_space(batch->next + 1, batch->end);
	const char *key;

	if (batch->wrapped)
	{
		while (p < batch->end && *p == ',')
		{
			p = tex_json_skip_space(p + 1, batch->end);
			if (p >= batch->end || *p != '"')
				not_a_batch("A comma is not followed by a key.");
			key = p;
			p = skip_string(p, batch->end);
			if (is_events_key(key, p))
				not_a_batch("The object has \"events\" twice.");
			p = tex_json_skip_space(p, batch->end);
			if (p >= batch->end || *p != ':')
				not_a_batch("A key has no value.");
			p = tex_json_skip_space(skip_value(tex_json_skip_space(p + 1, batch->end), batch->end), batch->end);
		}
		if (p >= batch->end || *p != '}')
			not_a_batch("The object does not end.");
		p = tex_json_skip_space(p + 1, batch->end);
	}
	if (p < batch->end)
		not_a_batch("Something follows the end of the batch.");
}

/*
 * The text of the next event, not yet read and not terminated; false at the end of the batch, once
 * what follows the array was looked at as well. Throws where the array is broken, and so may come
 * after events that were fine: the transaction then stores none.
 */
bool
tex_batch_next(TexBatchText *batch, const char **event, int *len)
{
	const char *p = batch->next;

	if (p < batch->end && *p == ']')
	{
		close_batch(batch);
		return false;
	}
	if (batch->started)
	{
		if (p >= batch->end || *p != ',')
			not_a_batch("Two events are not separated by a comma, or the array does not end.");
		p = tex_json_skip_space(p + 1, batch->end);
	}
	*event = p;
	p = skip_value(p, batch->end);
	*len = p - *event;
	if (*len == 0)
		not_a_batch("An event is missing, or the array does not end.");
	batch->started = true;
	batch->next = tex_json_skip_space(p, batch->end);
	return true;
}

/* ----------------------------------------------------------------
 *		One event
 * ----------------------------------------------------------------
 */

/*
 * The names of the keys that lead to the value being read, as "kind.Error".
 */
static char *
path_of(const Level *levels, int depth)
{
	StringInfoData path;

	initStringInfo(&path);
	for (int i = 0; i < Min(depth, PATH_LEVELS); i++)
	{
		if (levels[i].is_object && levels[i].key != NULL)
		{
			const char *key = levels[i].key;
			int			len = pg_mbcliplen(key, strlen(key), MAX_KEY_SHOWN);

			appendStringInfo(&path, "%s%.*s", path.len > 0 ? "." : "", len, key);
		}
	}
	if (path.len == 0)
		appendStringInfoString(&path, "event");
	return path.data;
}

/* Notes the first reason to refuse the event, with the path of the field; false, to be returned. */
static bool
refuse(Scanner *s, const char *why)
{
	if (s->reason == NULL)
		s->reason = psprintf("%s: %s", path_of(s->levels, s->depth), why);
	return false;
}

/* A reason that both doors give. */
static char *
too_long(void)
{
	return psprintf("longer than trace_ext.max_field_size (%d bytes)", tex_max_field_size);
}

/* Throws nothing: false, and a reason, where an event is more than this process takes of one. */
static bool
check_values(Scanner *s, uint64 steps)
{
	if (tex_batch_limits.record_values == 0 || steps <= (uint64) tex_batch_limits.record_values)
		return true;
	return refuse(s, psprintf("more than %d values", tex_batch_limits.record_values));
}

/* A reason that both doors give. */
static char *
too_deep(void)
{
	return psprintf("nested deeper than trace_ext.max_nesting (%d)", tex_max_nesting);
}

/* Reads the four digits of a \u escape; -1 where they are none. */
static int
read_hex4(Scanner *s)
{
	int			code = tex_hex4(s->next, s->end);

	if (code >= 0)
		s->next += 4;
	return code;
}

/*
 * Reads what follows \u and appends the character in the server's encoding.
 */
static bool
read_unicode_escape(Scanner *s, StringInfo out)
{
	int			code = read_hex4(s);
	unsigned char bytes[MAX_UNICODE_EQUIVALENT_STRING + 1];

	if (code < 0)
		return refuse(s, "malformed \\u escape");
	if (code == 0)
		return refuse(s, "\\u0000 cannot be stored");
	if (code >= 0xD800 && code <= 0xDBFF)
	{
		int			low = -1;

		if (s->end - s->next >= 2 && s->next[0] == '\\' && s->next[1] == 'u')
		{
			s->next += 2;
			low = read_hex4(s);
		}
		if (low < 0xDC00 || low > 0xDFFF)
			return refuse(s, "lone surrogate in a \\u escape");
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
	}
	else if (code >= 0xDC00 && code <= 0xDFFF)
		return refuse(s, "lone surrogate in a \\u escape");

	if (!tex_unicode_to_server(code, bytes))
		return refuse(s, "\\u escape of a character that the database encoding lacks");
	appendStringInfoString(out, (char *) bytes);
	return true;
}

/* Reads an escape after its backslash and appends what it means. */
static bool
read_escape(Scanner *s, StringInfo out)
{
	char		c = s->next < s->end ? *s->next++ : '\0';
	char		letter = tex_json_unescape(c);

	if (c == 'u')
		return read_unicode_escape(s, out);
	if (letter == '\0')
		return refuse(s, "malformed escape in a string");
	appendStringInfoChar(out, letter);
	return true;
}

/*
 * Reads a string; next is at its opening quote. The value is decoded, terminated, and no longer
 * than trace_ext.max_field_size, which is looked at while it grows.
 */
static bool
read_string(Scanner *s, char **value, int *len)
{
	const char *start = ++s->next;
	const char *p = start;
	StringInfoData out;

	while (p < s->end && *p != '"' && *p != '\\' && (unsigned char) *p >= ' ')
		p++;
	if (p - start > tex_max_field_size)
		return refuse(s, too_long());
	initStringInfo(&out);
	appendBinaryStringInfo(&out, start, p - start);
	s->next = p;

	while (s->next < s->end && *s->next != '"')
	{
		if ((unsigned char) *s->next < ' ')
			return refuse(s, "control character in a string");
		if (*s->next == '\\')
		{
			s->next++;
			if (!read_escape(s, &out))
				return false;
		}
		else
			appendStringInfoChar(&out, *s->next++);
		if (out.len > tex_max_field_size)
			return refuse(s, too_long());
	}
	if (s->next >= s->end)
		return refuse(s, "a string does not end");
	s->next++;
	*value = out.data;
	*len = out.len;
	return true;
}

/* The end of the digits at p. */
static const char *
skip_digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* The end of the number at p by the grammar of JSON (RFC 8259), or NULL; *exponent has no sign. */
static const char *
end_of_number(const char *p, const char *end, int *exponent)
{
	const char *digits;

	*exponent = 0;
	if (p < end && *p == '-')
		p++;
	digits = p;
	p = skip_digits(p, end);
	if (p == digits || (*digits == '0' && p - digits > 1))
		return NULL;
	if (p < end && *p == '.')
	{
		digits = ++p;
		p = skip_digits(p, end);
		if (p == digits)
			return NULL;
	}
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		digits = p;
		p = skip_digits(p, end);
		if (p == digits)
			return NULL;
		*exponent = p - digits > 6 ? MAX_EXPONENT + 1 : atoi(pnstrdup(digits, p - digits));
	}
	return p;
}

/*
 * Judged by how it is written out, since jsonb does not know how it was sent.
 */
static bool
is_long_number(Numeric number)
{
	return strlen(DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)))) > MAX_NUMBER_LENGTH;
}

/* Reads a number. Those for which numeric_in() would throw are refused before it sees them. */
static bool
read_number(Scanner *s, JsonbValue *value)
{
	int			exponent;
	const char *end = end_of_number(s->next, s->end, &exponent);
	char	   *digits;

	if (end == NULL)
		return refuse(s, "malformed value");
	if (end - s->next > MAX_SPELLING || exponent > MAX_EXPONENT)
		return refuse(s, OUT_OF_RANGE);
	digits = pnstrdup(s->next, end - s->next);
	value->type = jbvNumeric;
	value->val.numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(digits),
															 ObjectIdGetDatum(InvalidOid),
															 Int32GetDatum(-1)));
	if (is_long_number(value->val.numeric))
		return refuse(s, OUT_OF_RANGE);
	s->next = end;
	return true;
}

/* Steps over a word if it comes next. */
static bool
read_word(Scanner *s, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (s->end - s->next) < len || memcmp(s->next, word, len) != 0)
		return false;
	s->next += len;
	return true;
}

/* Reads a value that is no container; what is no word and no string must be a number. */
static bool
read_scalar(Scanner *s, JsonbValue *value)
{
	if (*s->next == '"')
	{
		value->type = jbvString;
		return read_string(s, &value->val.string.val, &value->val.string.len);
	}
	value->type = jbvNull;
	if (read_word(s, "null"))
		return true;
	value->type = jbvBool;
	value->val.boolean = true;
	if (read_word(s, "true"))
		return true;
	value->val.boolean = false;
	if (read_word(s, "false"))
		return true;
	return read_number(s, value);
}

/*
 * Keeps the ids of an event that may turn out to be refused.
 */
static void
remember_id(Scanner *s, const JsonbValue *value)
{
	const char *key = s->levels[0].key;

	if (s->depth != 1 || value->type != jbvString || key == NULL)
		return;
	if (strcmp(key, "id") == 0)
		s->scanned->id = pnstrdup(value->val.string.val, value->val.string.len);
	else if (strcmp(key, "trace_id") == 0)
		s->scanned->trace_id = pnstrdup(value->val.string.val, value->val.string.len);
}

/* Goes one level down, as far as trace_ext.max_nesting. */
static bool
open_container(Scanner *s)
{
	bool		is_object = *s->next == '{';

	if (s->depth == tex_max_nesting)
		return refuse(s, too_deep());
	s->levels[s->depth].is_object = is_object;
	s->levels[s->depth].key = NULL;
	s->depth++;
	s->next++;
	pushJsonbValue(&s->state, is_object ? WJB_BEGIN_OBJECT : WJB_BEGIN_ARRAY, NULL);
	return true;
}

/* Reads a key and its colon. */
static bool
read_key(Scanner *s)
{
	JsonbValue	key;

	if (s->next >= s->end || *s->next != '"')
		return refuse(s, "a key is missing");
	key.type = jbvString;
	s->levels[s->depth - 1].key = NULL; /* a fault of this key is none of the one before */
	if (!read_string(s, &key.val.string.val, &key.val.string.len))
		return false;
	s->levels[s->depth - 1].key = key.val.string.val;
	pushJsonbValue(&s->state, WJB_KEY, &key);

	s->next = tex_json_skip_space(s->next, s->end);
	if (s->next >= s->end || *s->next != ':')
		return refuse(s, "a key has no value");
	s->next = tex_json_skip_space(s->next + 1, s->end);
	return true;
}

/*
 * Reads the next member of the innermost open container, or opens or closes
 * one.  "first" tells whether that container was just opened.
 */
static bool
read_step(Scanner *s, bool *first)
{
	Level	   *level = &s->levels[s->depth - 1];
	JsonbValue	value;

	s->next = tex_json_skip_space(s->next, s->end);
	if (s->next < s->end && *s->next == (level->is_object ? '}' : ']'))
	{
		s->next++;
		s->depth--;
		s->result = pushJsonbValue(&s->state, level->is_object ? WJB_END_OBJECT : WJB_END_ARRAY, NULL);
		*first = false;
		return true;
	}
	if (!*first)
	{
		if (s->next >= s->end || *s->next != ',')
			return refuse(s, "a comma or a closing bracket is missing");
		s->next = tex_json_skip_space(s->next + 1, s->end);
	}
	if (level->is_object && !read_key(s))
		return false;
	if (s->next >= s->end)
		return refuse(s, "a value is missing");

	*first = *s->next == '{' || *s->next == '[';
	if (*first)
		return open_container(s);
	if (!read_scalar(s, &value))
		return false;
	remember_id(s, &value);
	pushJsonbValue(&s->state, level->is_object ? WJB_VALUE : WJB_ELEM, &value);
	return true;
}

/*
 * Reads the text of one event, which is not empty. Never throws for what is in it: either event is
 * set, or reason is, with the ids as far as they came before. All is made in the current memory
 * context, which the caller resets after each event.
 */
void
tex_scan_event(const char *text, int len, TexScannedEvent *scanned)
{
	Scanner		s = {.next = text,.end = text + len,.scanned = scanned};
	bool		first = true;
	uint64		steps = 0;

	memset(scanned, 0, sizeof(*scanned));
	s.levels = palloc(sizeof(Level) * tex_max_nesting);
	if (*text != '{')
	{
		scanned->reason = pstrdup("event: not an object");
		return;
	}
	if (tex_batch_limits.record_bytes > 0 && len > tex_batch_limits.record_bytes)
	{
		scanned->reason = psprintf("event: longer than %d bytes", tex_batch_limits.record_bytes);
		return;
	}
	(void) open_container(&s);
	while (s.depth > 0 && read_step(&s, &first) && check_values(&s, steps))
	{
		if (++steps % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	if (s.reason == NULL && s.next < s.end)
		refuse(&s, "something follows the end of the event");
	scanned->reason = s.reason;
	if (s.reason == NULL)
		scanned->event = JsonbValueToJsonb(s.result);
}

/*
 * Reads a text that should be one JSON value of any type; NULL where it is none, or beyond the
 * limits of events. Throws nothing. The text is of the database's encoding and must stay as long
 * as the value, which is made in the current memory context.
 */
JsonbValue *
tex_scan_value(const char *text, int len)
{
	TexScannedEvent scanned;
	Scanner		s = {.next = tex_json_skip_space(text, text + len),.end = text + len,.scanned = &scanned};
	JsonbValue *value = palloc(sizeof(JsonbValue));
	bool		first = true;
	uint64		steps = 0;

	if (s.next == s.end)
		return NULL;
	if (*s.next == '{' || *s.next == '[')
	{
		s.levels = palloc(sizeof(Level) * tex_max_nesting);
		(void) open_container(&s);
		while (s.depth > 0 && read_step(&s, &first) && check_values(&s, ++steps))
			CHECK_FOR_INTERRUPTS();
		if (s.reason == NULL)
		{
			Jsonb	   *container = JsonbValueToJsonb(s.result);

			value->type = jbvBinary;
			value->val.binary.data = &container->root;
			value->val.binary.len = VARSIZE(container) - VARHDRSZ;
		}
	}
	else
		(void) read_scalar(&s, value);
	return s.reason == NULL && tex_json_skip_space(s.next, s.end) == s.end ? value : NULL;
}

/*
 * The same limits for an event that came as jsonb: returns NULL, or the reason to refuse it, in
 * the current memory context. Throws nothing for what a client sent.
 */
char *
tex_check_event(JsonbContainer *event)
{
	JsonbIterator *iterator = JsonbIteratorInit(event);
	Level	   *levels = palloc(sizeof(Level) * tex_max_nesting);
	int			depth = 0;
	JsonbValue	v;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&iterator, &v, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY)
		{
			if (depth == tex_max_nesting)
				return psprintf("%s: %s", path_of(levels, depth), too_deep());
			levels[depth].is_object = token == WJB_BEGIN_OBJECT;
			levels[depth++].key = NULL;
		}
		else if (token == WJB_END_OBJECT || token == WJB_END_ARRAY)
			depth--;
		else
		{
			if (token == WJB_KEY)
				levels[depth - 1].key = NULL;
			if (v.type == jbvString && v.val.string.len > tex_max_field_size)
				return psprintf("%s: %s", path_of(levels, depth), too_long());
			if (v.type == jbvNumeric && is_long_number(v.val.numeric))
				return psprintf("%s: %s", path_of(levels, depth), OUT_OF_RANGE);
			if (token == WJB_KEY && depth <= PATH_LEVELS)
				levels[depth - 1].key = pnstrdup(v.val.string.val, v.val.string.len);
		}
	}
	return NULL;
}
