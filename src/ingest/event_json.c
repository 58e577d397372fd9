/*
 * event_json.c
 *		From the JSON of one event to a row of events.
 *
 * What is read is what real clients send, see docs/formats.md: ids, time and kind
 * are needed, everything else may be missing or null.  A field that is there
 * but is not what it must be refuses the event, with a reason that begins with
 * the path of the field.  Nothing here throws for what a client sent.
 *
 * Of a kind, the field that says what the event is about becomes the column
 * "name"; the others are kept in "attributes" as they are.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "common/hex.h"
#include "ingest/event_json.h"
#include "ingest/timestamps.h"
#include "vclock/vclock.h"

/* As in the constraints of the table. */
#define MAX_VARIABLE 1024
#define MAX_SERVICE_NAME 512

/* Of what a client sent, a reason shows so much. */
#define MAX_SHOWN 60

/* The fields of each kind that become its name. */
typedef struct NameFields
{
	const char *field;
	const char *second;			/* after a blank */
	bool		required;
	bool		also_attribute;
} NameFields;

static const NameFields name_fields[TEX_KIND_COUNT] = {
	[TEX_FUNCTION_CALL] = {"function_name", NULL, false, false},
	[TEX_ASYNC_SPAWN] = {"task_id", NULL, false, false},
	[TEX_ASYNC_AWAIT] = {"future_id", NULL, false, false},
	[TEX_STATE_CHANGE] = {"variable", NULL, true, false},
	[TEX_LOCK_ACQUIRE] = {"lock_id", NULL, true, false},
	[TEX_LOCK_RELEASE] = {"lock_id", NULL, true, false},
	[TEX_MEMORY_FENCE] = {"ordering", NULL, false, false},
	[TEX_HTTP_REQUEST] = {"method", "url", false, false},
	[TEX_HTTP_RESPONSE] = {"status", NULL, false, true},
	[TEX_DATABASE_QUERY] = {"query", NULL, false, false},
	[TEX_DATABASE_RESULT] = {NULL, NULL, false, false},
	[TEX_ERROR] = {"error_type", NULL, false, false},
	[TEX_CUSTOM] = {"name", NULL, false, false},
};

typedef struct Reader
{
	TexEventRow *row;
	const char *prefix;			/* of the object being read, as "metadata." */
	char	   *reason;
	TexKind		kind;
	JsonbContainer *fields;		/* of the kind; may be NULL */
} Reader;

/* Notes the first reason to refuse the event, with the path of the field; false, to be returned. */
static bool
refuse(Reader *r, const char *field, const char *why)
{
	if (r->reason == NULL)
		r->reason = psprintf("%s%s: %s", r->prefix, field, why);
	return false;
}

/*
 * What a client sent, cut to what fits a message.
 */
static char *
shown(const char *text, int len)
{
	int			clipped = pg_mbcliplen(text, len, MAX_SHOWN);

	return psprintf("\"%.*s%s\"", clipped, text, clipped < len ? "..." : "");
}

/*
 * The value of a key; NULL where it is missing or null.
 */
static JsonbValue *
get(JsonbContainer *object, const char *key)
{
	JsonbValue *v = getKeyJsonValueFromContainer(object, key, strlen(key), NULL);

	return v == NULL || v->type == jbvNull ? NULL : v;
}

/* Sets a column, which begins as null. */
static void
set(Reader *r, int column, Datum value)
{
	r->row->values[column] = value;
	r->row->isnull[column] = false;
}

/* ----------------------------------------------------------------
 *		Scalars
 * ----------------------------------------------------------------
 */
/*
 * A uuid of 32 digits, with the usual hyphens or with none.
 */
bool
tex_parse_uuid(const char *text, int len, pg_uuid_t *uuid)
{
	bool		hyphens = len == 36;
	const char *p = text;

	if (len != 32 && len != 36)
		return false;
	for (int i = 0; i < UUID_LEN; i++)
	{
		int			high;
		int			low;

		if (hyphens && (i == 4 || i == 6 || i == 8 || i == 10) && *p++ != '-')
			return false;
		high = tex_hex_digit(*p++);
		low = tex_hex_digit(*p++);
		if (high < 0 || low < 0)
			return false;
		uuid->data[i] = high << 4 | low;
	}
	return true;
}

/* Reads a uuid into its column and the row's own field, which sorting and parents need. */
static bool
read_uuid(Reader *r, JsonbContainer *object, const char *key, bool required,
		  int column, pg_uuid_t *uuid)
{
	JsonbValue *v = get(object, key);

	if (v == NULL)
		return required ? refuse(r, key, "missing") : true;
	if (v->type != jbvString)
		return refuse(r, key, "not a string with a UUID");
	if (!tex_parse_uuid(v->val.string.val, v->val.string.len, uuid))
		return refuse(r, key, psprintf("%s is not a UUID",
									   shown(v->val.string.val, v->val.string.len)));
	set(r, column, UUIDPGetDatum(uuid));
	return true;
}

/*
 * A string as it is, a number or a boolean as its text; NULL and a reason for
 * anything else.
 */
static text *
scalar_text(Reader *r, const char *key, JsonbValue *v)
{
	switch (v->type)
	{
		case jbvString:
			return cstring_to_text_with_len(v->val.string.val, v->val.string.len);
		case jbvNumeric:
			return cstring_to_text(numeric_normalize(v->val.numeric));
		case jbvBool:
			return cstring_to_text(v->val.boolean ? "true" : "false");
		default:
			refuse(r, key, "not a string");
			return NULL;
	}
}

/* Reads a text; max_len is in bytes, 0: no limit but that of fields in general. */
static bool
read_text(Reader *r, JsonbContainer *object, const char *key, int column, int max_len)
{
	JsonbValue *v = get(object, key);
	text	   *t;

	if (v == NULL)
		return true;
	t = scalar_text(r, key, v);
	if (t == NULL)
		return false;
	if (max_len > 0 && VARSIZE_ANY_EXHDR(t) > (Size) max_len)
		return refuse(r, key, psprintf("longer than %d bytes", max_len));
	set(r, column, PointerGetDatum(t));
	return true;
}

/*
 * A number from 0 to "max"; a fraction is rounded if "round", else refused.
 */
static bool
read_integer(Reader *r, JsonbContainer *object, const char *key, int64 max, bool round,
			 int64 *value, bool *found)
{
	JsonbValue *v = get(object, key);
	Datum		number;
	bool		negative;

	*found = v != NULL;
	if (v == NULL)
		return true;
	if (v->type != jbvNumeric)
		return refuse(r, key, "not a number");
	number = NumericGetDatum(v->val.numeric);
	/* Before rounding: -0.4 is negative, not nothing. */
	negative = DatumGetBool(DirectFunctionCall2(numeric_lt, number,
												NumericGetDatum(int64_to_numeric(0))));
	if (round)
		number = DirectFunctionCall2(numeric_round, number, Int32GetDatum(0));
	if (negative ||
		DatumGetBool(DirectFunctionCall2(numeric_gt, number, NumericGetDatum(int64_to_numeric(max)))))
		return refuse(r, key, psprintf("number out of range 0 to " INT64_FORMAT, max));
	*value = DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, number, NumericGetDatum(int64_to_numeric(*value)))))
		return refuse(r, key, "not a whole number");
	return true;
}

/* Reads the time; nanoseconds are what the column cannot hold, 0 to 999. */
static bool
read_timestamp(Reader *r, JsonbContainer *event, int *nanoseconds)
{
	JsonbValue *v = get(event, "timestamp");

	if (v == NULL)
		return refuse(r, "timestamp", "missing");
	if (v->type != jbvString)
		return refuse(r, "timestamp", "not a string");
	if (!tex_parse_timestamp(v->val.string.val, v->val.string.len,
							 &r->row->timestamp, nanoseconds))
		return refuse(r, "timestamp",
					  psprintf("%s is no RFC 3339 time with a time zone",
							   shown(v->val.string.val, v->val.string.len)));
	set(r, COL_TIMESTAMP, TimestampTzGetDatum(r->row->timestamp));
	return true;
}

/* ----------------------------------------------------------------
 *		The kind
 * ----------------------------------------------------------------
 */

/*
 * Finds the one key of the object "kind"; keys whose value is null do not count
 * beside another, for some clients name all kinds.  False where there is none, or
 * more than one.
 */
static bool
find_kind(JsonbContainer *kinds, JsonbValue *name, JsonbValue *value)
{
	JsonbIterator *iterator = JsonbIteratorInit(kinds);
	JsonbValue	key;
	JsonbValue	fields;
	int			named = 0;

	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		JsonbIteratorNext(&iterator, &fields, true);
		if (fields.type == jbvNull && JsonContainerSize(kinds) > 1)
			continue;
		*name = key;
		*value = fields;
		named++;
	}
	return named == 1;
}

/* For the reason that names an unknown one. */
static char *
all_kinds(void)
{
	StringInfoData kinds;

	initStringInfo(&kinds);
	for (int kind = 0; kind < TEX_KIND_COUNT; kind++)
		appendStringInfo(&kinds, "%s%s", kind == 0 ? "" : ", ", tex_kind_name(kind));
	return kinds.data;
}

/*
 * Reads {"Kind": {fields}} or "Kind"; the fields may be NULL.
 */
static bool
read_kind(Reader *r, JsonbContainer *event, TexKind *kind, JsonbContainer **fields)
{
	JsonbValue *v = get(event, "kind");
	JsonbValue	name;
	JsonbValue	value;

	*fields = NULL;
	if (v == NULL)
		return refuse(r, "kind", "missing");
	if (v->type == jbvString)
		name = *v;
	else
	{
		if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data) ||
			!find_kind(v->val.binary.data, &name, &value))
			return refuse(r, "kind", "not an object with one key, the kind");
		if (value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data))
			*fields = value.val.binary.data;
		else if (value.type != jbvNull)
			return refuse(r, "kind", "the fields of the kind are no object");
	}
	*kind = tex_kind_by_name(name.val.string.val, name.val.string.len);
	if (*kind == TEX_NO_KIND)
		return refuse(r, "kind", psprintf("unknown kind %s, not one of %s",
										  shown(name.val.string.val, name.val.string.len),
										  all_kinds()));
	set(r, COL_KIND, ObjectIdGetDatum(tex_kind_oid(*kind)));
	return true;
}

/* Reads what the event is about, from the one or two fields that its kind has for that. */
static bool
read_name(Reader *r, TexKind kind, JsonbContainer *fields)
{
	const NameFields *nf = &name_fields[kind];
	JsonbValue *v = fields == NULL || nf->field == NULL ? NULL : get(fields, nf->field);
	JsonbValue *second = fields == NULL || nf->second == NULL ? NULL : get(fields, nf->second);
	text	   *name = NULL;

	if (v == NULL && nf->required)
		return refuse(r, nf->field, "missing");
	if (v != NULL && kind == TEX_STATE_CHANGE && v->type == jbvString && v->val.string.len == 0)
		return refuse(r, nf->field, "empty");
	if (v != NULL && (name = scalar_text(r, nf->field, v)) == NULL)
		return false;
	if (second != NULL)
	{
		text	   *rest = scalar_text(r, nf->second, second);

		if (rest == NULL)
			return false;
		name = name == NULL ? rest :
			cstring_to_text(psprintf("%s %s", text_to_cstring(name), text_to_cstring(rest)));
	}
	if (name == NULL)
		return true;
	if (kind == TEX_STATE_CHANGE && VARSIZE_ANY_EXHDR(name) > MAX_VARIABLE)
		return refuse(r, nf->field, psprintf("longer than %d bytes", MAX_VARIABLE));
	set(r, COL_NAME, PointerGetDatum(name));
	return true;
}

/*
 * Access types are told by their exact spelling: the detector goes by them, and a wrong one would
 * make or hide races.
 */
static bool
check_access_type(Reader *r, JsonbContainer *fields)
{
	JsonbValue *v = fields == NULL ? NULL : get(fields, "access_type");

	if (v == NULL)
		return refuse(r, "access_type", "missing");
	if (v->type != jbvString)
		return refuse(r, "access_type", "not a string");
	if (tex_is_access_type(v->val.string.val, v->val.string.len))
		return true;
	return refuse(r, "access_type",
				  psprintf("unknown access type %s, not one of " TEX_ACCESS_TYPES,
						   shown(v->val.string.val, v->val.string.len)));
}

/* Whether a field is in the name and so not kept among the attributes as well. */
static bool
is_name_field(const NameFields *nf, const JsonbValue *key)
{
	const char *fields[] = {nf->also_attribute ? NULL : nf->field, nf->second};

	for (Size i = 0; i < lengthof(fields); i++)
	{
		if (fields[i] != NULL && strlen(fields[i]) == (Size) key->val.string.len &&
			memcmp(fields[i], key->val.string.val, key->val.string.len) == 0)
			return true;
	}
	return false;
}

/* Begins a member that no client sent. */
static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, key);
	v.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &v);
}

/*
 * Keeps the fields of the kind that are not in its name, what the timestamp has
 * below a microsecond, and the mark of an event that named itself as its parent.
 */
static void
set_attributes(Reader *r, TexKind kind, JsonbContainer *fields, int nanoseconds, bool own_parent)
{
	JsonbParseState *state = NULL;
	JsonbValue	v;
	int			kept = 0;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (fields != NULL)
	{
		JsonbIterator *iterator = JsonbIteratorInit(fields);
		JsonbValue	key;
		JsonbValue	value;

		JsonbIteratorNext(&iterator, &key, true);
		while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
		{
			JsonbIteratorNext(&iterator, &value, true);
			if (is_name_field(&name_fields[kind], &key))
				continue;
			pushJsonbValue(&state, WJB_KEY, &key);
			pushJsonbValue(&state, WJB_VALUE, &value);
			kept++;
		}
	}
	if (nanoseconds > 0)
	{
		push_key(&state, "timestamp_ns");
		v.type = jbvNumeric;
		v.val.numeric = int64_to_numeric(nanoseconds);
		pushJsonbValue(&state, WJB_VALUE, &v);
		kept++;
	}
	if (own_parent)
	{
		push_key(&state, "own_parent");
		v.type = jbvBool;
		v.val.boolean = true;
		pushJsonbValue(&state, WJB_VALUE, &v);
		kept++;
	}
	if (kept > 0)
		set(r, COL_ATTRIBUTES,
			JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL))));
}

/*
 * Reads all that depends on the kind. Comes after the ids, for it makes an event that is its own
 * parent a root, and marks that.
 */
static bool
read_kind_and_fields(Reader *r, JsonbContainer *event, int nanoseconds)
{
	bool		own_parent;

	if (!read_kind(r, event, &r->kind, &r->fields))
		return false;
	r->prefix = psprintf("kind.%s.", tex_kind_name(r->kind));
	if (!read_name(r, r->kind, r->fields) ||
		(r->kind == TEX_STATE_CHANGE && !check_access_type(r, r->fields)))
		return false;
	r->prefix = "";
	own_parent = !r->row->isnull[COL_PARENT_ID] &&
		memcmp(&r->row->id, &r->row->parent_id, sizeof(pg_uuid_t)) == 0;
	if (own_parent)
		r->row->isnull[COL_PARENT_ID] = true;
	set_attributes(r, r->kind, r->fields, nanoseconds, own_parent);
	return true;
}

/* ----------------------------------------------------------------
 *		The rest
 * ----------------------------------------------------------------
 */
/* Reads who and where: columns, since the detector tells threads and locks apart by them. */
static bool
read_metadata(Reader *r, JsonbContainer *event)
{
	JsonbValue *v = get(event, "metadata");
	JsonbContainer *m;
	int64		number;
	bool		found;

	if (v == NULL)
		return true;
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		return refuse(r, "metadata", "not an object");
	m = v->val.binary.data;
	r->prefix = "metadata.";

	if (!read_text(r, m, "service_name", COL_SERVICE_NAME, MAX_SERVICE_NAME) ||
		!read_text(r, m, "instance_id", COL_INSTANCE_ID, 0) ||
		!read_text(r, m, "thread_id", COL_THREAD_ID, 0) ||
		!read_text(r, m, "environment", COL_ENVIRONMENT, 0) ||
		!read_text(r, m, "distributed_span_id", COL_SPAN_ID, 0) ||
		!read_text(r, m, "upstream_span_id", COL_UPSTREAM_SPAN_ID, 0))
		return false;

	v = get(m, "tags");
	if (v != NULL)
	{
		if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
			return refuse(r, "tags", "not an object");
		set(r, COL_TAGS, JsonbPGetDatum(JsonbValueToJsonb(v)));
	}

	if (!read_integer(r, m, "process_id", PG_INT32_MAX, false, &number, &found))
		return false;
	if (found)
		set(r, COL_PROCESS_ID, Int32GetDatum((int32) number));
	/* Timers of JavaScript and Python have fractions. */
	if (!read_integer(r, m, "duration_ns", PG_INT64_MAX, true, &number, &found))
		return false;
	if (found)
		set(r, COL_DURATION_NS, Int64GetDatum(number));
	r->prefix = "";
	return true;
}

/*
 * Says from where the duration counts, and takes that of the kind where the metadata
 * has none.  Clients send an event that has a duration when its work is done, and
 * stamp it then; only what begins something that another event ends is stamped at its
 * begin.  Comes after the metadata.
 */
static void
complete_duration(Reader *r)
{
	JsonbValue *v = r->fields == NULL ? NULL : get(r->fields, "duration_ms");

	if (r->row->isnull[COL_DURATION_NS] && v != NULL && v->type == jbvNumeric)
	{
		double		ns = 1e6 * DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
																  NumericGetDatum(v->val.numeric)));

		if (ns >= 0 && ns < (double) PG_INT64_MAX)
			set(r, COL_DURATION_NS, Int64GetDatum((int64) (ns + 0.5)));
	}
	if (!r->row->isnull[COL_DURATION_NS] && r->kind != TEX_HTTP_REQUEST && r->kind != TEX_ASYNC_SPAWN)
		set(r, COL_STAMPED_AT_END, BoolGetDatum(true));
}

/* Reads the client's own vector clock, in either shape. */
static bool
read_clock(Reader *r, JsonbContainer *event)
{
	JsonbValue *v = get(event, "causality_vector");
	const char *reason = NULL;
	TexVclock  *clock;

	if (v == NULL)
		return true;
	if (v->type != jbvBinary)
		return refuse(r, "causality_vector", "neither an object nor an array");
	clock = tex_vclock_from_container(v->val.binary.data, &reason);
	if (clock == NULL)
		return refuse(r, "causality_vector", reason);
	set(r, COL_CAUSALITY_VECTOR, PointerGetDatum(clock));
	return true;
}

/* Reads the locks that the client says it held; the array may be empty. */
static bool
read_lock_set(Reader *r, JsonbContainer *event)
{
	JsonbValue *v = get(event, "lock_set");
	JsonbContainer *locks;
	Datum	   *values;
	int			n;

	if (v == NULL)
		return true;
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		return refuse(r, "lock_set", "not an array");
	locks = v->val.binary.data;
	n = JsonContainerSize(locks);
	values = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		JsonbValue *lock = getIthJsonbValueFromContainer(locks, i);

		if (lock->type != jbvString)
			return refuse(r, "lock_set", "not an array of strings");
		values[i] = PointerGetDatum(cstring_to_text_with_len(lock->val.string.val,
															 lock->val.string.len));
	}
	set(r, COL_LOCK_SET,
		PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT)));
	return true;
}

/*
 * Fills the row of an event, an object within the limits that tex_check_event() tests. Returns
 * NULL, or the reason to refuse the event; then the row is not to be used. The values are made in
 * the current memory context, but for uuids, which point into the row. Throws nothing for what a
 * client sent.
 */
char *
tex_event_from_json(JsonbContainer *event, TexEventRow *row)
{
	Reader		r = {.row = row,.prefix = ""};
	int			nanoseconds;

	memset(row->isnull, true, sizeof(row->isnull));
	if (read_uuid(&r, event, "id", true, COL_ID, &row->id) &&
		read_uuid(&r, event, "trace_id", true, COL_TRACE_ID, &row->trace_id) &&
		read_uuid(&r, event, "parent_id", false, COL_PARENT_ID, &row->parent_id) &&
		read_timestamp(&r, event, &nanoseconds) &&
		read_kind_and_fields(&r, event, nanoseconds) &&
		read_metadata(&r, event) &&
		read_clock(&r, event) &&
		read_lock_set(&r, event))
		complete_duration(&r);
	return r.reason;
}

/*
 * A field of an event as text, in the current memory context, if it is a string, else NULL: for the
 * report of an event that was refused.
 */
char *
tex_event_text(JsonbContainer *event, const char *key)
{
	JsonbValue *v = get(event, key);

	return v == NULL || v->type != jbvString ? NULL :
		pnstrdup(v->val.string.val, v->val.string.len);
}
