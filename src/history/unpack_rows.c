/*
 * unpack_rows.c
 *		A router reads the events of some traces that its nodes sent: packed_rows.h says in which form.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "common/owner.h"
#include "common/varint.h"
#include "history/packed_rows.h"
#include "history/row_query.h"
#include "vclock/vclock.h"

/* A string of a chunk, and the text that it was made into: a name comes again and again. */
typedef struct Known
{
	const char *data;
	int			len;
	text	   *as_text;
} Known;

typedef struct Unpacker
{
	const uint8 *next;
	const uint8 *end;
	MemoryContext chunk;		/* of one chunk */
	Known	   *known;
	Size		nknown;
	Size		room;
	int64		last_at;
	Datum		values[TEX_COL_COUNT];
	bool		isnull[TEX_COL_COUNT];
} Unpacker;

static void
report_broken(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
			 errmsg("a node sent events in a form that this router does not know"),
			 errhint("Look in trace_ext.nodes for one of another version.")));
}

static uint64
get_number(Unpacker *in)
{
	uint64		n;

	if (!tex_get_varint(&in->next, in->end, &n))
		report_broken();
	return n;
}

static int64
get_signed(Unpacker *in)
{
	return tex_unzigzag(get_number(in));
}

/* A number of things each of which takes a byte at least. */
static int
get_count(Unpacker *in)
{
	uint64		n = get_number(in);

	if (n > (uint64) (in->end - in->next))
		report_broken();
	return (int) n;
}

/* A string that was not in the chunk before. */
static Known *
get_new(Unpacker *in)
{
	int			len = get_count(in);

	if (in->nknown == in->room)
	{
		in->room = Max(256, in->room * 2);
		in->known = in->known == NULL ? MemoryContextAllocHuge(in->chunk, sizeof(Known) * in->room) :
			repalloc_huge(in->known, sizeof(Known) * in->room);
	}
	in->known[in->nknown] = (Known) {.data = (const char *) in->next,.len = len};
	in->next += len;
	return &in->known[in->nknown++];
}

/* A string, or NULL. */
static Known *
get_string(Unpacker *in)
{
	uint64		form = get_number(in);

	if (form == TEX_STRING_NULL)
		return NULL;
	if (form == TEX_STRING_NEW)
		return get_new(in);
	if (form - TEX_STRING_KNOWN >= in->nknown)
		report_broken();
	return &in->known[form - TEX_STRING_KNOWN];
}

static Datum
text_of(Unpacker *in, Known *known)
{
	if (known->as_text == NULL)
	{
		known->as_text = MemoryContextAlloc(in->chunk, VARHDRSZ + known->len);
		SET_VARSIZE(known->as_text, VARHDRSZ + known->len);
		memcpy(VARDATA(known->as_text), known->data, known->len);
	}
	return PointerGetDatum(known->as_text);
}

static void
set_value(Unpacker *in, int column, Datum value)
{
	in->values[column] = value;
	in->isnull[column] = false;
}

static void
get_text(Unpacker *in, int column)
{
	Known	   *known = get_string(in);

	if (known != NULL)
		set_value(in, column, text_of(in, known));
}

static void
get_uuid(Unpacker *in, int column)
{
	Known	   *known = get_string(in);

	if (known == NULL)
		return;
	if (known->len != UUID_LEN)
		report_broken();
	set_value(in, column, UUIDPGetDatum((const pg_uuid_t *) known->data));
}

static bool
get_nullable(Unpacker *in, int64 *value)
{
	if (get_number(in) == 0)
		return false;
	*value = get_signed(in);
	return true;
}

/* The value of an attribute, as put_attribute() wrote it. */
static void
get_attribute(Unpacker *in, JsonbValue *value)
{
	uint64		form = get_number(in);
	Known	   *known = form < TEX_ATTRIBUTE_NUMBER ? NULL : get_string(in);
	char	   *string = known == NULL ? NULL : pnstrdup(known->data, known->len);
	Jsonb	   *json;

	if (known == NULL && form >= TEX_ATTRIBUTE_NUMBER)
		report_broken();
	switch (form)
	{
		case TEX_ATTRIBUTE_NULL:
			value->type = jbvNull;
			break;
		case TEX_ATTRIBUTE_FALSE:
		case TEX_ATTRIBUTE_TRUE:
			value->type = jbvBool;
			value->val.boolean = form == TEX_ATTRIBUTE_TRUE;
			break;
		case TEX_ATTRIBUTE_NUMBER:
			value->type = jbvNumeric;
			value->val.numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(string),
																	 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
			break;
		case TEX_ATTRIBUTE_STRING:
			value->type = jbvString;
			value->val.string.val = string;
			value->val.string.len = known->len;
			break;
		case TEX_ATTRIBUTE_JSON:
			json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(string)));
			value->type = jbvBinary;
			value->val.binary.data = &json->root;
			value->val.binary.len = VARSIZE(json) - VARHDRSZ;
			break;
		default:
			report_broken();
	}
}

/* An object of the attributes that were sent. */
static void
get_attributes(Unpacker *in)
{
	uint64		number = get_number(in);
	JsonbParseState *state = NULL;
	JsonbValue *all;

	if (number == 0)
		return;
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (; number != 1; number = get_number(in))
	{
		JsonbValue	key = {.type = jbvString};
		JsonbValue	value;

		if (number == 0 || number - 2 >= TEX_SENT_ATTRIBUTES)
			report_broken();
		key.val.string.val = unconstify(char *, tex_sent_attributes[number - 2]);
		key.val.string.len = strlen(tex_sent_attributes[number - 2]);
		(void) pushJsonbValue(&state, WJB_KEY, &key);
		get_attribute(in, &value);
		(void) pushJsonbValue(&state, WJB_VALUE, &value);
	}
	all = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	set_value(in, TEX_COL_ATTRIBUTES, JsonbPGetDatum(JsonbValueToJsonb(all)));
}

static void
get_clock(Unpacker *in)
{
	int			n = get_count(in) - 1;
	TexVclockComponent *components;
	TexVclock  *clock;
	const char *reason;

	if (n < 0)
		return;
	components = palloc(sizeof(TexVclockComponent) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		Known	   *name = get_string(in);

		if (name == NULL)
			report_broken();
		components[i] = (TexVclockComponent) {name->data, name->len, get_signed(in)};
	}
	clock = tex_vclock_build(components, n, &reason);
	if (clock == NULL)
		report_broken();
	set_value(in, TEX_COL_CLOCK, PointerGetDatum(clock));
}

static void
get_lock_set(Unpacker *in)
{
	int			n = get_count(in) - 1;
	Datum	   *names;
	bool	   *isnull;

	if (n < 0)
		return;
	names = palloc(sizeof(Datum) * Max(n, 1));
	isnull = palloc(sizeof(bool) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		Known	   *name = get_string(in);

		isnull[i] = name == NULL;
		names[i] = name == NULL ? (Datum) 0 : text_of(in, name);
	}
	set_value(in, TEX_COL_LOCK_SET, tex_value_array(names, isnull, n, TEXTOID));
}

static void
unpack_row(Unpacker *in)
{
	uint64		kind;
	int64		number;

	memset(in->isnull, true, sizeof(in->isnull));
	get_uuid(in, TEX_COL_TRACE_ID);
	get_uuid(in, TEX_COL_ID);
	get_uuid(in, TEX_COL_PARENT_ID);
	in->last_at = (int64) ((uint64) in->last_at + (uint64) get_signed(in));
	set_value(in, TEX_COL_AT, TimestampTzGetDatum(in->last_at));
	kind = get_number(in);
	if (in->isnull[TEX_COL_TRACE_ID] || in->isnull[TEX_COL_ID] || kind >= TEX_KIND_COUNT)
		report_broken();
	set_value(in, TEX_COL_KIND, ObjectIdGetDatum(tex_kind_oid((TexKind) kind)));
	get_text(in, TEX_COL_NAME);
	get_text(in, TEX_COL_SERVICE);
	get_text(in, TEX_COL_INSTANCE);
	if (get_nullable(in, &number))
		set_value(in, TEX_COL_PROCESS, Int32GetDatum((int32) number));
	get_text(in, TEX_COL_THREAD);
	get_text(in, TEX_COL_SPAN);
	get_text(in, TEX_COL_UPSTREAM);
	get_attributes(in);
	get_text(in, TEX_COL_TASK);
	get_clock(in);
	get_lock_set(in);
	if (get_nullable(in, &number))
		set_value(in, TEX_COL_DURATION, Int64GetDatum(number));
	if (get_nullable(in, &number))
		set_value(in, TEX_COL_AT_END, BoolGetDatum(number != 0));
}

/* Calls "each" for the rows of a chunk. */
static void
unpack_chunk(const char *base64, int len, TexPackedCallback each, void *arg)
{
	MemoryContext chunk = AllocSetContextCreate(CurrentMemoryContext, "trace_ext chunk of events", ALLOCSET_DEFAULT_SIZES);
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "trace_ext packed row", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	int			room = pg_b64_dec_len(len);
	uint8	   *bytes = MemoryContextAlloc(chunk, room + 1);
	Unpacker	in = {.chunk = chunk};

	len = pg_b64_decode(base64, len, (void *) bytes, room);
	if (len < 0)
		report_broken();
	in.next = bytes;
	in.end = bytes + len;
	while (in.next < in.end)
	{
		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(row);
		unpack_row(&in);
		each(in.values, in.isnull, arg);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row);
	}
	MemoryContextDelete(row);
	MemoryContextDelete(chunk);
}

/*
 * Whether events are to be had by tex_query_nodes(): on a router, for who may read all of them.  Others read the foreign
 * tables, where policies and rights on columns count.
 */
bool
tex_rows_come_packed(void)
{
	Oid			events;

	if (!tex_is_router())
		return false;
	events = tex_relation_oid("events");
	return pg_class_aclcheck(events, GetUserId(), ACL_SELECT) == ACLCHECK_OK && check_enable_rls(events, InvalidOid, true) != RLS_ENABLED;
}

/*
 * Calls "each" for the events of some traces, of all nodes that have any, in no order.  Within an SPI connection, after
 * tex_rows_come_packed().
 */
void
tex_query_nodes(const pg_uuid_t *ids, int n, TexPackedCallback each, void *arg)
{
	static const char query[] = "SELECT a.answer FROM trace_ext_internal.ask_about("
		"'SELECT p FROM trace_ext_internal.packed_events($1) p', $1) a";
	TexOwnerContext caller;
	Oid			types[1] = {UUIDARRAYOID};
	Datum		arg1 = tex_uuid_array(ids, n);
	SPITupleTable *table;

	tex_become_owner(&caller);
	SPI_execute_with_args(query, 1, types, &arg1, NULL, true, 0);
	tex_become_caller(&caller);
	table = SPI_tuptable;
	for (uint64 i = 0; i < table->numvals; i++)
	{
		bool		isnull;
		Datum		answer = heap_getattr(table->vals[i], 1, table->tupdesc, &isnull);
		text	   *chunk;

		if (isnull)
			report_broken();
		chunk = DatumGetTextPP(answer);
		unpack_chunk(VARDATA_ANY(chunk), VARSIZE_ANY_EXHDR(chunk), each, arg);
	}
	SPI_freetuptable(table);
}
