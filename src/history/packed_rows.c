/*
 * packed_rows.c
 *		Events of some traces on their way from a node to its router: packed_events() there, tex_query_nodes() here.
 *
 * Through a foreign table an event is some 450 bytes of text in 18 columns, each of which is read by an input
 * function; that was most of what races cost on a router.  Nearly all of it has been said before: a trace has one id, its
 * events few names, places and threads, and their parents are events that came just before.  So a node sends the
 * rows in chunks.  In a chunk each string and id is written once and then named by its number; times
 * are differences, numbers take as many bytes as they need, and of attributes come those that
 * somebody looks at.  A chunk is base64, as what a call answers is text.
 *
 * A chunk has rows, column by column in the order of tex_load_query.
 *
 *		number			7 bits a byte, the lowest first, the highest bit set on all but the last
 *		signed number	(n << 1) ^ (n >> 63), as a number
 *		string			number 0: NULL; 1: a new one, its length and its bytes; else 2 + its place among those
 *		other value		number 0: NULL; else as the function says that writes it
 *
 * A router and its nodes are of one version and one encoding (add_node() sees to it), so there is no other form.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
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
#include "history/packed_rows.h"
#include "history/row_query.h"
#include "history/strings.h"
#include "store/trace_range.h"
#include "vclock/vclock.h"

#define TRACES_OF_A_QUERY	250
#define CHUNK_BYTES			(48 * 1024)

/* How a string begins. */
#define STRING_NULL			0
#define STRING_NEW			1
#define STRING_KNOWN		2

/* What an attribute is. */
enum
{
	ATTRIBUTE_NULL, ATTRIBUTE_FALSE, ATTRIBUTE_TRUE,
	ATTRIBUTE_NUMBER,			/* and all after it: a string follows */
	ATTRIBUTE_STRING, ATTRIBUTE_JSON
};

/* The attributes that a history reads; trace_load.c asserts that it reads no other. */
static const char *const sent_attributes[] = {
	"access_type", "ordering", "location", "old_value", "new_value", "isolation", "transaction", "by", "incomplete", "row_lock",
	"file", "line", "lock_type", "trace_of", "message", "status", "timestamp_ns",
};

PG_FUNCTION_INFO_V1(tex_packed_events);

/* Whether a node sends an attribute. */
bool
tex_attribute_is_sent(const char *key)
{
	for (Size i = 0; i < lengthof(sent_attributes); i++)
		if (strcmp(key, sent_attributes[i]) == 0)
			return true;
	return false;
}

/* ----------------------------------------------------------------- on the node */

typedef struct Packer
{
	ReturnSetInfo *result;
	MemoryContext chunk;		/* of the strings and bytes of one chunk */
	TexStrings *strings;		/* NULL: none has begun */
	StringInfoData out;
	int64		last_at;
} Packer;

static void
put_number(StringInfo out, uint64 n)
{
	for (; n >= 0x80; n >>= 7)
		appendStringInfoCharMacro(out, (char) (n | 0x80));
	appendStringInfoCharMacro(out, (char) n);
}

static void
put_signed(StringInfo out, int64 n)
{
	put_number(out, ((uint64) n << 1) ^ (uint64) (n >> 63));
}

/* A string, or what else is likely to come again. */
static void
put_string(Packer *packer, const char *data, int len)
{
	int32		before = tex_strings_count(packer->strings);
	int32		number = tex_strings_add(packer->strings, data, len);

	if (number < before)
	{
		put_number(&packer->out, STRING_KNOWN + (uint64) number);
		return;
	}
	put_number(&packer->out, STRING_NEW);
	put_number(&packer->out, len);
	appendBinaryStringInfo(&packer->out, data, len);
}

static void
put_text(Packer *packer, const TupleTableSlot *slot, int column)
{
	text	   *t;

	if (slot->tts_isnull[column])
	{
		put_number(&packer->out, STRING_NULL);
		return;
	}
	t = DatumGetTextPP(slot->tts_values[column]);
	put_string(packer, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

static void
put_uuid(Packer *packer, const TupleTableSlot *slot, int column)
{
	if (slot->tts_isnull[column])
		put_number(&packer->out, STRING_NULL);
	else
		put_string(packer, (const char *) DatumGetUUIDP(slot->tts_values[column])->data, UUID_LEN);
}

/* A bigint or int as it is in the row: 0, or 1 and the value. */
static void
put_nullable(Packer *packer, const TupleTableSlot *slot, int column, int64 value)
{
	put_number(&packer->out, slot->tts_isnull[column] ? 0 : 1);
	if (!slot->tts_isnull[column])
		put_signed(&packer->out, value);
}

/* Whether it may be of OpenTelemetry, whose attributes have its time to the nanosecond: then its thread is its span. */
static bool
may_be_otlp(const TupleTableSlot *slot)
{
	text	   *span;
	text	   *thread;

	if (slot->tts_isnull[TEX_COL_SPAN] || slot->tts_isnull[TEX_COL_THREAD])
		return false;
	span = DatumGetTextPP(slot->tts_values[TEX_COL_SPAN]);
	thread = DatumGetTextPP(slot->tts_values[TEX_COL_THREAD]);
	return VARSIZE_ANY_EXHDR(span) == VARSIZE_ANY_EXHDR(thread) &&
		memcmp(VARDATA_ANY(span), VARDATA_ANY(thread), VARSIZE_ANY_EXHDR(span)) == 0;
}

/* What an attribute is: a byte, and for most of them a string. */
static void
put_attribute(Packer *packer, JsonbValue *value)
{
	char	   *number;
	StringInfoData json;

	switch (value->type)
	{
		case jbvNull:
			appendStringInfoCharMacro(&packer->out, ATTRIBUTE_NULL);
			break;
		case jbvBool:
			appendStringInfoCharMacro(&packer->out, value->val.boolean ? ATTRIBUTE_TRUE : ATTRIBUTE_FALSE);
			break;
		case jbvNumeric:
			appendStringInfoCharMacro(&packer->out, ATTRIBUTE_NUMBER);
			number = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			put_string(packer, number, strlen(number));
			break;
		case jbvString:
			appendStringInfoCharMacro(&packer->out, ATTRIBUTE_STRING);
			put_string(packer, value->val.string.val, value->val.string.len);
			break;
		default:
			appendStringInfoCharMacro(&packer->out, ATTRIBUTE_JSON);
			initStringInfo(&json);
			(void) JsonbToCString(&json, value->val.binary.data, value->val.binary.len);
			put_string(packer, json.data, json.len);
			break;
	}
}

/* Attributes, where somebody looks at them: 0, or for each that is there 2 + its place in sent_attributes, and 1. */
static void
put_attributes(Packer *packer, const TupleTableSlot *slot, TexKind kind)
{
	Jsonb	   *attributes;

	if (slot->tts_isnull[TEX_COL_ATTRIBUTES] || (!tex_reads_attributes(kind) && !may_be_otlp(slot)))
	{
		put_number(&packer->out, 0);
		return;
	}
	attributes = DatumGetJsonbP(slot->tts_values[TEX_COL_ATTRIBUTES]);
	for (uint64 i = 0; i < lengthof(sent_attributes) && JB_ROOT_IS_OBJECT(attributes); i++)
	{
		JsonbValue	buffer;
		JsonbValue *value = getKeyJsonValueFromContainer(&attributes->root, sent_attributes[i], strlen(sent_attributes[i]), &buffer);

		if (value == NULL)
			continue;
		put_number(&packer->out, 2 + i);
		put_attribute(packer, value);
	}
	put_number(&packer->out, 1);
}

/* A clock: 0, or 1 + how many components, each a name and a count. */
static void
put_clock(Packer *packer, const TupleTableSlot *slot)
{
	TexVclock  *clock;
	TexVclockIter iter;
	TexVclockComponent component;
	int			n = 0;

	if (slot->tts_isnull[TEX_COL_CLOCK])
	{
		put_number(&packer->out, 0);
		return;
	}
	clock = DatumGetTexVclockP(slot->tts_values[TEX_COL_CLOCK]);
	for (tex_vclock_iterate(&iter, clock); tex_vclock_next(&iter, &component);)
		n++;
	put_number(&packer->out, 1 + (uint64) n);
	for (tex_vclock_iterate(&iter, clock); tex_vclock_next(&iter, &component);)
	{
		put_string(packer, component.name, component.len);
		put_signed(&packer->out, component.count);
	}
}

/* A lock set: 0, or 1 + how many strings. */
static void
put_lock_set(Packer *packer, const TupleTableSlot *slot)
{
	Datum	   *elements;
	bool	   *isnull;
	int			n;

	if (slot->tts_isnull[TEX_COL_LOCK_SET])
	{
		put_number(&packer->out, 0);
		return;
	}
	deconstruct_array(DatumGetArrayTypeP(slot->tts_values[TEX_COL_LOCK_SET]), TEXTOID, -1, false, TYPALIGN_INT, &elements, &isnull, &n);
	put_number(&packer->out, 1 + (uint64) n);
	for (int i = 0; i < n; i++)
	{
		text	   *name = isnull[i] ? NULL : DatumGetTextPP(elements[i]);

		if (name == NULL)
			put_number(&packer->out, STRING_NULL);
		else
			put_string(packer, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	}
}

static void
begin_chunk(Packer *packer)
{
	MemoryContext old = MemoryContextSwitchTo(packer->chunk);

	packer->strings = tex_strings_create();
	initStringInfo(&packer->out);
	packer->last_at = 0;
	MemoryContextSwitchTo(old);
}

/* Hands over what was packed. */
static void
end_chunk(Packer *packer)
{
	int			room = pg_b64_enc_len(packer->out.len);
	text	   *answer = MemoryContextAllocHuge(packer->chunk, VARHDRSZ + (Size) room);
	int			len = pg_b64_encode((const void *) packer->out.data, packer->out.len, VARDATA(answer), room);
	Datum		value = PointerGetDatum(answer);
	bool		isnull = false;

	if (len < 0)
		elog(ERROR, "could not encode packed events");
	SET_VARSIZE(answer, VARHDRSZ + len);
	tuplestore_putvalues(packer->result->setResult, packer->result->setDesc, &value, &isnull);
	MemoryContextReset(packer->chunk);
	packer->strings = NULL;
}

/* Packs a row; for tex_query_traces(). */
static void
pack_row(TupleTableSlot *slot, void *arg)
{
	Packer	   *packer = arg;
	TexKind		kind = tex_kind_by_oid(DatumGetObjectId(slot->tts_values[TEX_COL_KIND]));
	int64		at = DatumGetTimestampTz(slot->tts_values[TEX_COL_AT]);

	if (packer->strings == NULL)
		begin_chunk(packer);
	put_uuid(packer, slot, TEX_COL_TRACE_ID);
	put_uuid(packer, slot, TEX_COL_ID);
	put_uuid(packer, slot, TEX_COL_PARENT_ID);
	put_signed(&packer->out, (int64) ((uint64) at - (uint64) packer->last_at));
	packer->last_at = at;
	put_number(&packer->out, kind);
	put_text(packer, slot, TEX_COL_NAME);
	put_text(packer, slot, TEX_COL_SERVICE);
	put_text(packer, slot, TEX_COL_INSTANCE);
	put_nullable(packer, slot, TEX_COL_PROCESS, DatumGetInt32(slot->tts_values[TEX_COL_PROCESS]));
	put_text(packer, slot, TEX_COL_THREAD);
	put_text(packer, slot, TEX_COL_SPAN);
	put_text(packer, slot, TEX_COL_UPSTREAM);
	put_attributes(packer, slot, kind);
	put_text(packer, slot, TEX_COL_TASK);
	put_clock(packer, slot);
	put_lock_set(packer, slot);
	put_nullable(packer, slot, TEX_COL_DURATION, DatumGetInt64(slot->tts_values[TEX_COL_DURATION]));
	put_nullable(packer, slot, TEX_COL_AT_END, DatumGetBool(slot->tts_values[TEX_COL_AT_END]));
	if (packer->out.len >= CHUNK_BYTES)
		end_chunk(packer);
}

/*
 * packed_events(ids uuid[]) returns setof text
 *
 * The events of some traces in chunks, for a router; with the caller's right to read events.
 */
Datum
tex_packed_events(PG_FUNCTION_ARGS)
{
	Packer		packer = {0};
	TexRanges  *ranges;
	pg_uuid_t  *ids;
	int			n;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	packer.result = (ReturnSetInfo *) fcinfo->resultinfo;
	SPI_connect();
	packer.chunk = AllocSetContextCreate(CurrentMemoryContext, "trace_ext packed events", ALLOCSET_DEFAULT_SIZES);
	ranges = tex_ranges_create();
	ids = tex_traces_by_start(ranges, PG_GETARG_ARRAYTYPE_P(0), &n);
	for (int i = 0; i < n; i += TRACES_OF_A_QUERY)
		tex_query_traces(tex_load_query, ranges, &ids[i], Min(n - i, TRACES_OF_A_QUERY), pack_row, &packer);
	if (packer.strings != NULL)
		end_chunk(&packer);
	SPI_finish();
	return (Datum) 0;
}

/* ----------------------------------------------------------------- on the router */

/* A string of a chunk, and the text that it was made into: a name comes again and again. */
typedef struct Known
{
	const char *data;
	int			len;
	text	   *as_text;
} Known;

typedef struct Unpacker
{
	const char *next;
	const char *end;
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
	uint64		n = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint8		b;

		if (in->next == in->end)
			break;
		b = (uint8) *in->next++;
		n |= (uint64) (b & 0x7f) << shift;
		if (b < 0x80)
			return n;
	}
	report_broken();
	return 0;
}

static int64
get_signed(Unpacker *in)
{
	uint64		n = get_number(in);

	return (int64) ((n >> 1) ^ (~(n & 1) + 1));
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
	in->known[in->nknown] = (Known) {.data = in->next,.len = len};
	in->next += len;
	return &in->known[in->nknown++];
}

/* A string, or NULL. */
static Known *
get_string(Unpacker *in)
{
	uint64		form = get_number(in);

	if (form == STRING_NULL)
		return NULL;
	if (form == STRING_NEW)
		return get_new(in);
	if (form - STRING_KNOWN >= in->nknown)
		report_broken();
	return &in->known[form - STRING_KNOWN];
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
	Known	   *known = form < ATTRIBUTE_NUMBER ? NULL : get_string(in);
	char	   *string = known == NULL ? NULL : pnstrdup(known->data, known->len);
	Jsonb	   *json;

	if (known == NULL && form >= ATTRIBUTE_NUMBER)
		report_broken();
	switch (form)
	{
		case ATTRIBUTE_NULL:
			value->type = jbvNull;
			break;
		case ATTRIBUTE_FALSE:
		case ATTRIBUTE_TRUE:
			value->type = jbvBool;
			value->val.boolean = form == ATTRIBUTE_TRUE;
			break;
		case ATTRIBUTE_NUMBER:
			value->type = jbvNumeric;
			value->val.numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(string),
																	 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
			break;
		case ATTRIBUTE_STRING:
			value->type = jbvString;
			value->val.string.val = string;
			value->val.string.len = known->len;
			break;
		case ATTRIBUTE_JSON:
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

		if (number == 0 || number - 2 >= lengthof(sent_attributes))
			report_broken();
		key.val.string.val = unconstify(char *, sent_attributes[number - 2]);
		key.val.string.len = strlen(sent_attributes[number - 2]);
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
	char	   *bytes = MemoryContextAlloc(chunk, room + 1);
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
		text	   *chunk = DatumGetTextPP(heap_getattr(table->vals[i], 1, table->tupdesc, &isnull));

		if (isnull)
			report_broken();
		unpack_chunk(VARDATA_ANY(chunk), VARSIZE_ANY_EXHDR(chunk), each, arg);
	}
	SPI_freetuptable(table);
}
