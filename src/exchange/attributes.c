/*
 * attributes.c
 *		Attributes on their way out: lists of names and values, and what is looked up in jsonb.
 *
 * What is looked up may be anything, as rows may be inserted by hand: what is not of the type
 * that is asked for is not there.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "common/hex.h"
#include "exchange/outgoing.h"

/* A new attribute at the end of a list, whose value is to be set. */
TexOutAttribute *
tex_out_add(TexOutList *list, TexOtlpString key)
{
	TexOutAttribute *attribute;

	if (list->n == list->room)
	{
		list->room = Max(list->room * 2, 8);
		list->items = list->items == NULL ? palloc(sizeof(TexOutAttribute) * list->room) :
			repalloc_huge(list->items, sizeof(TexOutAttribute) * list->room);
	}
	attribute = &list->items[list->n++];
	memset(attribute, 0, sizeof(*attribute));
	attribute->key = key;
	return attribute;
}

/* A text, unless it is empty. */
void
tex_out_add_text(TexOutList *list, const char *key, TexOtlpString text)
{
	TexOutAttribute *attribute;

	if (text.len == 0)
		return;
	attribute = tex_out_add(list, tex_string(key));
	attribute->value.json.type = jbvString;
	attribute->value.json.val.string.val = unconstify(char *, text.data);
	attribute->value.json.val.string.len = text.len;
}

/* A whole number. */
void
tex_out_add_int(TexOutList *list, const char *key, int64 number)
{
	TexOutAttribute *attribute = tex_out_add(list, tex_string(key));

	attribute->value.json.type = jbvNumeric;
	attribute->value.json.val.numeric = int64_to_numeric(number);
}

/* A value of jsonb, as JSON means it. */
void
tex_out_add_value(TexOutList *list, const char *key, const JsonbValue *value)
{
	tex_out_add(list, tex_string(key))->value.json = *value;
}

/* All members of an object; NULL has none. */
void
tex_out_add_members(TexOutList *list, JsonbContainer *object, bool is_marked)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	TexOutAttribute *attribute = NULL;

	if (object == NULL)
		return;
	it = JsonbIteratorInit(object);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			attribute = tex_out_add(list, (TexOtlpString) {v.val.string.val, v.val.string.len});
		else if (token == WJB_VALUE)
			attribute->value = (TexOutValue) {v, is_marked};
	}
}

/* For qsort_arg(): attributes by name, those of one name as they came. */
static int
compare_names(const void *a, const void *b, void *arg)
{
	const TexOutAttribute *items = arg;
	int			x = *(const int *) a;
	int			y = *(const int *) b;
	int			result;

	if (items[x].key.len != items[y].key.len)
		return items[x].key.len < items[y].key.len ? -1 : 1;
	result = memcmp(items[x].key.data, items[y].key.data, items[x].key.len);
	return result != 0 ? result : x - y;
}

/* Of attributes of one name the first one stays: names of tags may be any, and there may be thousands. */
void
tex_out_drop_repeated(TexOutList *list)
{
	int		   *by_name = palloc(sizeof(int) * Max(list->n, 1));
	bool	   *is_repeated = palloc0(sizeof(bool) * Max(list->n, 1));
	int			kept = 0;

	for (int i = 0; i < list->n; i++)
		by_name[i] = i;
	qsort_arg(by_name, list->n, sizeof(int), compare_names, list->items);
	for (int i = 1; i < list->n; i++)
	{
		const TexOutAttribute *before = &list->items[by_name[i - 1]];
		const TexOutAttribute *at = &list->items[by_name[i]];

		is_repeated[by_name[i]] = before->key.len == at->key.len && memcmp(before->key.data, at->key.data, at->key.len) == 0;
	}
	for (int i = 0; i < list->n; i++)
	{
		if (!is_repeated[i])
			list->items[kept++] = list->items[i];
	}
	list->n = kept;
	pfree(by_name);
	pfree(is_repeated);
}

/* The value of an attribute, or NULL. */
const TexOutValue *
tex_out_find(const TexOutList *list, const char *key)
{
	int			len = strlen(key);

	for (int i = 0; i < list->n; i++)
	{
		if (list->items[i].key.len == len && memcmp(list->items[i].key.data, key, len) == 0)
			return &list->items[i].value;
	}
	return NULL;
}

/* The same as text; empty where it is missing. */
TexOtlpString
tex_out_find_text(const TexOutList *list, const char *key)
{
	const TexOutValue *value = tex_out_find(list, key);

	return value == NULL ? tex_string("") : tex_plain_text(value);
}

/* A member of an object, NULL of which has none. */
bool
tex_out_member(JsonbContainer *object, const char *key, JsonbValue *value)
{
	return object != NULL && getKeyJsonValueFromContainer(object, key, strlen(key), value) != NULL;
}

/* A member that is an object, else NULL. */
JsonbContainer *
tex_out_object(JsonbContainer *object, const char *key)
{
	JsonbValue	value;

	return tex_out_member(object, key, &value) && value.type == jbvBinary &&
		JsonContainerIsObject(value.val.binary.data) ? value.val.binary.data : NULL;
}

/* A member that is a string, else nothing. */
TexOtlpString
tex_out_string(JsonbContainer *object, const char *key)
{
	JsonbValue	value;

	if (tex_out_member(object, key, &value) && value.type == jbvString)
		return (TexOtlpString) {value.val.string.val, value.val.string.len};
	return tex_string("");
}

/* A member that is a whole number of 64 bits, else what is given. */
int64
tex_out_int(JsonbContainer *object, const char *key, int64 otherwise)
{
	JsonbValue	value;
	int64		number;

	if (tex_out_member(object, key, &value) && value.type == jbvNumeric && tex_is_int64(value.val.numeric, &number))
		return number;
	return otherwise;
}

/* A member that is a whole number within limits, else 0: OTLP's numbers of 32 bits. */
int64
tex_out_within(JsonbContainer *object, const char *key, int64 least, int64 most)
{
	int64		number = tex_out_int(object, key, 0);

	return number >= least && number <= most ? number : 0;
}

/* A member that is an id in hexadecimal digits, else nothing. */
TexOtlpString
tex_out_id(JsonbContainer *object, const char *key, int len)
{
	TexOtlpString id = tex_out_string(object, key);
	uint8		bytes[TEX_TRACE_ID_LEN];

	Assert(len <= TEX_TRACE_ID_LEN);
	return id.len == 2 * len && tex_hex_bytes(id.data, bytes, len) ? id : tex_string("");
}

/* A member that is a whole number of 64 bits without a sign, else 0. */
uint64
tex_out_unsigned(JsonbContainer *object, const char *key)
{
	JsonbValue	value;
	uint64		number;
	char	   *text;
	char	   *end;

	if (!tex_out_member(object, key, &value) || value.type != jbvNumeric)
		return 0;
	text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value.val.numeric)));
	errno = 0;
	number = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0' && text[0] != '-' ? number : 0;
}
