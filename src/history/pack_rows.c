/*
 * pack_rows.c
 *		packed_events(): the events of some traces in few bytes, for a router.  packed_rows.h says in which form.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/base64.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "common/event.h"
#include "common/varint.h"
#include "history/packed_rows.h"
#include "history/row_query.h"
#include "history/strings.h"
#include "store/trace_range.h"
#include "vclock/vclock.h"

#define CHUNK_BYTES			(48 * 1024)

const char *const tex_sent_attributes[TEX_SENT_ATTRIBUTES] = {
	"access_type", "ordering", "location", "old_value", "new_value", "isolation", "transaction", "by", "incomplete", "row_lock",
	"file", "line", "lock_type", "trace_of", "message", "status", "timestamp_ns",
};

PG_FUNCTION_INFO_V1(tex_packed_events);

/* Whether a node sends an attribute. */
bool
tex_attribute_is_sent(const char *key)
{
	for (int i = 0; i < TEX_SENT_ATTRIBUTES; i++)
		if (strcmp(key, tex_sent_attributes[i]) == 0)
			return true;
	return false;
}

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
	enlargeStringInfo(out, TEX_VARINT_SIZE);
	out->len = (char *) tex_put_varint((uint8 *) out->data + out->len, n) - out->data;
}

static void
put_signed(StringInfo out, int64 n)
{
	put_number(out, tex_zigzag(n));
}

/* A string, or what else is likely to come again. */
static void
put_string(Packer *packer, const char *data, int len)
{
	int32		before = tex_strings_count(packer->strings);
	int32		number = tex_strings_add(packer->strings, data, len);

	if (number < before)
	{
		put_number(&packer->out, TEX_STRING_KNOWN + (uint64) number);
		return;
	}
	put_number(&packer->out, TEX_STRING_NEW);
	put_number(&packer->out, len);
	appendBinaryStringInfo(&packer->out, data, len);
}

static void
put_text(Packer *packer, const TupleTableSlot *slot, int column)
{
	text	   *t;

	if (slot->tts_isnull[column])
	{
		put_number(&packer->out, TEX_STRING_NULL);
		return;
	}
	t = DatumGetTextPP(slot->tts_values[column]);
	put_string(packer, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

static void
put_uuid(Packer *packer, const TupleTableSlot *slot, int column)
{
	if (slot->tts_isnull[column])
		put_number(&packer->out, TEX_STRING_NULL);
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
			appendStringInfoCharMacro(&packer->out, TEX_ATTRIBUTE_NULL);
			break;
		case jbvBool:
			appendStringInfoCharMacro(&packer->out, value->val.boolean ? TEX_ATTRIBUTE_TRUE : TEX_ATTRIBUTE_FALSE);
			break;
		case jbvNumeric:
			appendStringInfoCharMacro(&packer->out, TEX_ATTRIBUTE_NUMBER);
			number = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			put_string(packer, number, strlen(number));
			break;
		case jbvString:
			appendStringInfoCharMacro(&packer->out, TEX_ATTRIBUTE_STRING);
			put_string(packer, value->val.string.val, value->val.string.len);
			break;
		default:
			appendStringInfoCharMacro(&packer->out, TEX_ATTRIBUTE_JSON);
			initStringInfo(&json);
			(void) JsonbToCString(&json, value->val.binary.data, value->val.binary.len);
			put_string(packer, json.data, json.len);
			break;
	}
}

/* Attributes, where somebody looks at them: 0, or for each that is there 2 + its place in tex_sent_attributes, and 1. */
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
	for (uint64 i = 0; i < TEX_SENT_ATTRIBUTES && JB_ROOT_IS_OBJECT(attributes); i++)
	{
		JsonbValue	buffer;
		JsonbValue *value = getKeyJsonValueFromContainer(&attributes->root, tex_sent_attributes[i], strlen(tex_sent_attributes[i]), &buffer);

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
			put_number(&packer->out, TEX_STRING_NULL);
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
	for (int i = 0; i < n; i += TEX_TRACES_OF_A_QUERY)
		tex_query_traces(tex_load_query, ranges, &ids[i], Min(n - i, TEX_TRACES_OF_A_QUERY), pack_row, &packer);
	if (packer.strings != NULL)
		end_chunk(&packer);
	SPI_finish();
	return (Datum) 0;
}
