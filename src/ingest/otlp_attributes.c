/*
 * otlp_attributes.c
 *		Values of OpenTelemetry as jsonb.
 *
 * What came in can be told from what is kept: strings, booleans and arrays are what they are,
 * and
 *
 *	an integer		a number without a point
 *	a double		a number with a point, 5.0; {"@double": "NaN"} where jsonb has none: NaN, the
 *					infinities and -0
 *	bytes			{"@bytes": "AP8Q"}, in base64
 *	pairs			an object; {"@pairs": {...}} around one that could be taken for a mark,
 *					as its only key begins with "@"
 *	nothing			null
 *
 * Keys of attributes are unique in OpenTelemetry: of two the last one is kept.  Recursion is
 * bounded by the depth that the readers take.
 */
#include "postgres.h"

#include <math.h>

#include "common/base64.h"
#include "common/shortest_dec.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "ingest/otlp_attributes.h"

static void push_value(JsonbParseState **state, const TexOtlpValue *value, JsonbIteratorToken token);

/* Begins a member. */
static void
push_key(JsonbParseState **state, const char *key, int len)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, key);
	v.val.string.len = len;
	pushJsonbValue(state, WJB_KEY, &v);
}

/* A string as the value of a member, or as an element. */
static void
push_string(JsonbParseState **state, const char *data, int len, JsonbIteratorToken token)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, data);
	v.val.string.len = len;
	pushJsonbValue(state, token, &v);
}

/* {mark: text}, for what JSON has no word for. */
static void
push_marked(JsonbParseState **state, const char *mark, const char *text, int len, JsonbIteratorToken token)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_key(state, mark, strlen(mark));
	push_string(state, text, len, WJB_VALUE);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* A double by its shortest spelling, with a digit after the point, so that it is told from an integer. */
static void
push_double(JsonbParseState **state, double number, JsonbIteratorToken token)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN + 2];
	JsonbValue	v;
	Datum		numeric;

	if (isnan(number))
		push_marked(state, "@double", "NaN", 3, token);
	else if (isinf(number))
		push_marked(state, "@double", number > 0 ? "Infinity" : "-Infinity", number > 0 ? 8 : 9, token);
	else if (number == 0 && signbit(number))
		push_marked(state, "@double", "-0", 2, token);
	else
	{
		double_to_shortest_decimal_buf(number, text);
		numeric = DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
									  Int32GetDatum(-1));
		if (number == rint(number))
			numeric = DirectFunctionCall2(numeric_round, numeric, Int32GetDatum(1));
		v.type = jbvNumeric;
		v.val.numeric = DatumGetNumeric(numeric);
		pushJsonbValue(state, token, &v);
	}
}

/* Bytes in base64. */
static void
push_bytes(JsonbParseState **state, TexOtlpString bytes, JsonbIteratorToken token)
{
	int			room = pg_b64_enc_len(bytes.len);
	char	   *text = palloc(room + 1);
	int			len = bytes.len == 0 ? 0 : pg_b64_encode((const void *) bytes.data, bytes.len, text, room);

	push_marked(state, "@bytes", text, len, token);
}

/* Pairs, without those whose value stands elsewhere. */
static void
push_pairs(JsonbParseState **state, const TexOtlpList *pairs)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	for (const TexOtlpValue *v = pairs->first; v != NULL; v = v->next)
	{
		if (v->moved)
			continue;
		push_key(state, v->key.data, v->key.len);
		push_value(state, v, WJB_VALUE);
	}
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* Could the object of these pairs be taken for a mark? Two of one key become one. */
static bool
looks_like_mark(const TexOtlpList *pairs)
{
	for (const TexOtlpValue *v = pairs->first; v != NULL; v = v->next)
	{
		if (v->key.len == 0 || v->key.data[0] != '@')
			return false;
	}
	return pairs->first != NULL;
}

/* A value of any type. */
static void
push_value(JsonbParseState **state, const TexOtlpValue *value, JsonbIteratorToken token)
{
	JsonbValue	v;

	switch (value->type)
	{
		case TEX_OTLP_EMPTY:
			v.type = jbvNull;
			pushJsonbValue(state, token, &v);
			break;
		case TEX_OTLP_STRING:
			push_string(state, value->string.data, value->string.len, token);
			break;
		case TEX_OTLP_BOOL:
			v.type = jbvBool;
			v.val.boolean = value->boolean;
			pushJsonbValue(state, token, &v);
			break;
		case TEX_OTLP_INT:
			v.type = jbvNumeric;
			v.val.numeric = int64_to_numeric(value->integer);
			pushJsonbValue(state, token, &v);
			break;
		case TEX_OTLP_DOUBLE:
			push_double(state, value->number, token);
			break;
		case TEX_OTLP_BYTES:
			push_bytes(state, value->string, token);
			break;
		case TEX_OTLP_ARRAY:
			pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
			for (const TexOtlpValue *e = value->list.first; e != NULL; e = e->next)
				push_value(state, e, WJB_ELEM);
			pushJsonbValue(state, WJB_END_ARRAY, NULL);
			break;
		case TEX_OTLP_KVLIST:
			if (looks_like_mark(&value->list))
			{
				pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
				push_key(state, "@pairs", strlen("@pairs"));
				push_pairs(state, &value->list);
				pushJsonbValue(state, WJB_END_OBJECT, NULL);
			}
			else
				push_pairs(state, &value->list);
			break;
	}
}

/* ----------------------------------------------------------------
 *		Objects
 * ----------------------------------------------------------------
 */
/* Begins an object in the current memory context; it must not move before its end. */
void
tex_object_begin(TexObject *object)
{
	object->state = NULL;
	object->members = 0;
	pushJsonbValue(&object->state, WJB_BEGIN_OBJECT, NULL);
}

/* Begins a member; its value is to follow. */
void
tex_object_key(TexObject *object, const char *key)
{
	push_key(&object->state, key, strlen(key));
	object->members++;
}

/* A string, unless it is empty, as an empty one is none in OpenTelemetry. */
void
tex_object_string(TexObject *object, const char *key, TexOtlpString string)
{
	if (string.len == 0)
		return;
	tex_object_key(object, key);
	push_string(&object->state, string.data, string.len, WJB_VALUE);
}

/* A signed number, zero or not. */
void
tex_object_integer(TexObject *object, const char *key, int64 number)
{
	JsonbValue	v;

	tex_object_key(object, key);
	v.type = jbvNumeric;
	v.val.numeric = int64_to_numeric(number);
	pushJsonbValue(&object->state, WJB_VALUE, &v);
}

/* A number, unless it is zero, as a zero is none in OpenTelemetry. */
void
tex_object_number(TexObject *object, const char *key, uint64 number)
{
	JsonbValue	v;

	if (number == 0)
		return;
	if (number <= PG_INT64_MAX)
	{
		tex_object_integer(object, key, (int64) number);
		return;
	}
	tex_object_key(object, key);
	v.type = jbvNumeric;
	v.val.numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(psprintf(UINT64_FORMAT, number)),
														ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	pushJsonbValue(&object->state, WJB_VALUE, &v);
}

/* Says that there is none, where the event itself seems to tell one. */
void
tex_object_none(TexObject *object, const char *key)
{
	JsonbValue	v = {.type = jbvNull};

	tex_object_jsonb(object, key, &v);
}

/* A value of any type; NULL is none. */
void
tex_object_value(TexObject *object, const char *key, const TexOtlpValue *value)
{
	if (value == NULL)
		return;
	tex_object_key(object, key);
	push_value(&object->state, value, WJB_VALUE);
}

/* A value that is jsonb already. */
void
tex_object_jsonb(TexObject *object, const char *key, JsonbValue *value)
{
	tex_object_key(object, key);
	pushJsonbValue(&object->state, WJB_VALUE, value);
}

/* Begins an object or array inside, as a member, or without a key as an element. */
void
tex_object_open(TexObject *object, const char *key, bool is_array)
{
	if (key != NULL)
		tex_object_key(object, key);
	pushJsonbValue(&object->state, is_array ? WJB_BEGIN_ARRAY : WJB_BEGIN_OBJECT, NULL);
}

/* Ends it. */
void
tex_object_close(TexObject *object, bool is_array)
{
	pushJsonbValue(&object->state, is_array ? WJB_END_ARRAY : WJB_END_OBJECT, NULL);
}

/* Attributes as an object, without those that stand elsewhere; none are not kept. */
void
tex_object_attributes(TexObject *object, const char *key, const TexOtlpList *attributes)
{
	const TexOtlpValue *v = attributes->first;

	while (v != NULL && v->moved)
		v = v->next;
	if (v == NULL)
		return;
	tex_object_key(object, key);
	push_pairs(&object->state, attributes);
}

/* The finished object. */
Jsonb *
tex_object_end(TexObject *object)
{
	return JsonbValueToJsonb(pushJsonbValue(&object->state, WJB_END_OBJECT, NULL));
}
