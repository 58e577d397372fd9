/*
 * otlp.c
 *		What the readers of both encodings share: memory of a record, clean strings, and
 *		reasons with the path of the field.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "compat.h"
#include "guc.h"
#include "ingest/batch.h"
#include "ingest/otlp.h"

#define BLOCK_VALUES 128

#define MAX_KEY_SHOWN 64

/* U+FFFD, which stands for what cannot be stored. */
#define REPLACEMENT "\xEF\xBF\xBD"
#define REPLACEMENT_LEN 3

/* ----------------------------------------------------------------
 *		Memory
 * ----------------------------------------------------------------
 */
/* A reader in the current memory context, without takers yet. */
TexOtlpReader *
tex_otlp_reader(void)
{
	TexOtlpReader *reader = palloc0(sizeof(TexOtlpReader));

	reader->context = CurrentMemoryContext;
	reader->resource_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext resource",
													 ALLOCSET_SMALL_SIZES);
	reader->scope_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext scope",
												  ALLOCSET_SMALL_SIZES);
	reader->record_context = AllocSetContextCreate(CurrentMemoryContext, "trace_ext span",
												   ALLOCSET_DEFAULT_SIZES);
	reader->kept_block = palloc(sizeof(TexOtlpValue) * BLOCK_VALUES);
	return reader;
}

/* Forgets what was read before into a context, and goes there. */
static void
begin(TexOtlpReader *reader, MemoryContext context, const char *list)
{
	MemoryContextReset(context);
	reader->outer = MemoryContextSwitchTo(context);
	reader->reason = NULL;
	reader->list = list;
	reader->place = -1;
	reader->field = NULL;
	reader->key.len = 0;
	reader->free_count = 0;
	reader->taken_count = 0;
}

/* A limit, or the one of this process, which is less. */
static int
most_of(int limit, int of_process)
{
	return of_process > 0 ? Min(limit, of_process) : limit;
}

/*
 * Counts resources and scopes, which a body of few bytes may have very many of, each to be hashed.
 * There may be a quarter of what there may be of records.
 */
static void
count_sources(TexOtlpReader *reader, int64 sources)
{
	reader->source_count += sources;
	if (reader->source_count > tex_batch_limits.records / 4 && tex_batch_limits.records > 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the body has more than " INT64_FORMAT " resources and scopes", tex_batch_limits.records / 4),
				 errhint("Send fewer at once.")));
}

/* Need the next so many records not be read, nor the resources and scopes that are theirs alone? */
bool
tex_otlp_passes_over(TexOtlpReader *reader, int64 records, int64 sources)
{
	if (reader->pass_over == NULL || !reader->pass_over(reader, records))
		return false;
	count_sources(reader, sources);
	return true;
}

/* Before the fields of a resource are read. */
void
tex_otlp_begin_resource(TexOtlpReader *reader)
{
	count_sources(reader, 1);
	begin(reader, reader->resource_context, "resource");
	memset(&reader->resource, 0, sizeof(reader->resource));
	reader->resource_reason = NULL;
	reader->scope_reason = NULL;
}

/* After them; a reason refuses all records of the resource. */
void
tex_otlp_end_resource(TexOtlpReader *reader)
{
	if (reader->reason == NULL)
		reader->take_resource(reader);
	reader->resource_reason = reader->reason;
	MemoryContextSwitchTo(reader->outer);
}

/* Before the fields of a scope are read. */
void
tex_otlp_begin_scope(TexOtlpReader *reader)
{
	count_sources(reader, 1);
	begin(reader, reader->scope_context, "scope");
	memset(&reader->scope, 0, sizeof(reader->scope));
	reader->scope_reason = NULL;
}

/* After them; a reason refuses all records of the scope. */
void
tex_otlp_end_scope(TexOtlpReader *reader)
{
	if (reader->reason == NULL)
		reader->take_scope(reader);
	reader->scope_reason = reader->reason;
	MemoryContextSwitchTo(reader->outer);
}

/* Before a record is read; false where it is too long to be, and then it is to be ended at once. */
bool
tex_otlp_begin_record(TexOtlpReader *reader, const char *sent, int len, bool is_log)
{
	TexOtlpEvent *events = reader->record.events;
	TexOtlpLink *links = reader->record.links;

	begin(reader, reader->record_context, NULL);
	memset(&reader->record, 0, sizeof(reader->record));
	reader->record.events = events;
	reader->record.links = links;
	reader->record.is_log = is_log;
	reader->sent.data = sent;
	reader->sent.len = len;
	reader->free_values = reader->kept_block;
	reader->free_count = BLOCK_VALUES;
	if (len > most_of(TEX_OTLP_LENGTH, tex_batch_limits.record_bytes))
		return tex_otlp_refuse(reader, psprintf("longer than %d bytes", most_of(TEX_OTLP_LENGTH, tex_batch_limits.record_bytes)));
	return true;
}

/* After it was read, or as far as it could be. */
void
tex_otlp_end_record(TexOtlpReader *reader)
{
	if (reader->reason == NULL)
		reader->reason = reader->resource_reason;
	if (reader->reason == NULL)
		reader->reason = reader->scope_reason;
	reader->take_record(reader);
	MemoryContextSwitchTo(reader->outer);
}

/* Counts a value, an event or a link of the record; they are more than their bytes in memory. */
static bool
count_value(TexOtlpReader *reader)
{
	int			most = most_of(TEX_OTLP_VALUES, tex_batch_limits.record_values);

	if (++reader->taken_count <= most)
		return true;
	return tex_otlp_refuse(reader, psprintf("more than %d values, events and links", most));
}

/*
 * A new empty value, without a key, at the end of a list, or in none if that is NULL.  NULL where
 * there are too many, with a reason.
 */
TexOtlpValue *
tex_otlp_new_value(TexOtlpReader *reader, TexOtlpList *list)
{
	TexOtlpValue *value;

	if (!count_value(reader))
		return NULL;
	if (reader->free_count == 0)
	{
		reader->free_values = palloc(sizeof(TexOtlpValue) * BLOCK_VALUES);
		reader->free_count = BLOCK_VALUES;
	}
	value = reader->free_values++;
	reader->free_count--;
	value->key.data = "";
	value->key.len = 0;
	value->next = NULL;
	value->type = TEX_OTLP_EMPTY;
	value->moved = false;
	if (list != NULL)
	{
		if (list->last != NULL)
			list->last->next = value;
		else
			list->first = value;
		list->last = value;
	}
	return value;
}

/* A new event of the span, or NULL and a reason. Those before it may move. */
TexOtlpEvent *
tex_otlp_new_event(TexOtlpReader *reader)
{
	TexOtlpRecord *record = &reader->record;

	if (!count_value(reader))
		return NULL;
	if (record->event_count == reader->event_room)
	{
		reader->event_room = Max(reader->event_room * 2, 32);
		record->events = record->events == NULL ?
			MemoryContextAlloc(reader->context, sizeof(TexOtlpEvent) * reader->event_room) :
			repalloc(record->events, sizeof(TexOtlpEvent) * reader->event_room);
	}
	memset(&record->events[record->event_count], 0, sizeof(TexOtlpEvent));
	return &record->events[record->event_count++];
}

/* A new link of the span, or NULL and a reason. Those before it may move. */
TexOtlpLink *
tex_otlp_new_link(TexOtlpReader *reader)
{
	TexOtlpRecord *record = &reader->record;

	if (!count_value(reader))
		return NULL;
	if (record->link_count == reader->link_room)
	{
		reader->link_room = Max(reader->link_room * 2, 8);
		record->links = record->links == NULL ?
			MemoryContextAlloc(reader->context, sizeof(TexOtlpLink) * reader->link_room) :
			repalloc(record->links, sizeof(TexOtlpLink) * reader->link_room);
	}
	memset(&record->links[record->link_count], 0, sizeof(TexOtlpLink));
	return &record->links[record->link_count++];
}

/* ----------------------------------------------------------------
 *		Reasons
 * ----------------------------------------------------------------
 */
/* Notes the first reason to refuse what is being read, with the path of the field; false, to be returned. */
bool
tex_otlp_refuse(TexOtlpReader *reader, const char *why)
{
	StringInfoData reason;

	if (reader->reason != NULL)
		return false;
	initStringInfo(&reason);
	if (reader->list != NULL)
		appendStringInfoString(&reason, reader->list);
	if (reader->list != NULL && reader->place >= 0)
		appendStringInfo(&reason, "[%d]", reader->place);
	if (reader->field != NULL)
		appendStringInfo(&reason, "%s%s", reason.len > 0 ? "." : "", reader->field);
	if (reader->key.len > 0)
		appendStringInfo(&reason, ".%.*s", pg_mbcliplen(reader->key.data, reader->key.len, MAX_KEY_SHOWN),
						 reader->key.data);
	if (reason.len == 0)
		appendStringInfoString(&reason, reader->record.is_log ? "logRecord" : "span");
	appendStringInfo(&reason, ": %s", why);
	reader->reason = reason.data;
	return false;
}

/* A record needs a trace, and a span the id of its own; false and a reason where they are missing. */
bool
tex_otlp_check_ids(TexOtlpReader *reader)
{
	TexOtlpRecord *record = &reader->record;

	reader->list = NULL;
	reader->key.len = 0;
	reader->field = "traceId";
	if (tex_otlp_is_zero(record->trace_id, TEX_TRACE_ID_LEN))
		return tex_otlp_refuse(reader, record->is_log ? "missing: a log record outside of any trace" : "missing");
	reader->field = "spanId";
	if (!record->is_log && tex_otlp_is_zero(record->span_id, TEX_SPAN_ID_LEN))
		return tex_otlp_refuse(reader, "missing");
	reader->field = record->is_log ? "timeUnixNano" : "startTimeUnixNano";
	if (record->time == 0 && record->observed_time == 0)
		return tex_otlp_refuse(reader, "missing");
	reader->field = NULL;
	return true;
}

/* ----------------------------------------------------------------
 *		Strings
 * ----------------------------------------------------------------
 */
/*
 * Appends valid UTF-8 in the database's encoding; "?" where it lacks a character.
 */
void
tex_otlp_append(StringInfo out, const char *data, int len)
{
	unsigned char bytes[MAX_UNICODE_EQUIVALENT_STRING + 1];

	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
	{
		appendBinaryStringInfo(out, data, len);
		return;
	}
	for (const char *p = data; p < data + len; p += pg_utf_mblen((const unsigned char *) p))
	{
		if ((unsigned char) *p < 0x80)
			appendStringInfoChar(out, *p);
		else if (tex_unicode_to_server(utf8_to_unicode((const unsigned char *) p), bytes))
			appendStringInfoString(out, (char *) bytes);
		else
			appendStringInfoChar(out, '?');
	}
}

/* The text of a string that is not fit to be kept as it is; see tex_otlp_clean(). */
static bool
clean_copy(TexOtlpReader *reader, const char *data, int len, TexOtlpString *to)
{
	StringInfoData out;
	int			valid;

	initStringInfo(&out);
	while (len > 0)
	{
		valid = pg_encoding_verifymbstr(PG_UTF8, data, len);
		tex_otlp_append(&out, data, valid);
		data += valid;
		len -= valid;
		if (len == 0)
			break;
		if (*data != '\0')
			return tex_otlp_refuse(reader, "not valid UTF-8");
		tex_otlp_append(&out, REPLACEMENT, REPLACEMENT_LEN);
		data++;
		len--;
	}
	to->data = out.data;
	to->len = out.len;
	return true;
}

/*
 * Makes a string of the body, which should be UTF-8, one that can be stored: in the encoding of
 * the database, and with U+FFFD for each U+0000.  It is the slice itself where nothing has to be
 * changed.  False and a reason where it is not UTF-8, or longer than trace_ext.max_field_size.
 */
bool
tex_otlp_clean(TexOtlpReader *reader, const char *data, int len, TexOtlpString *to)
{
	if (len > tex_max_field_size)
		return tex_otlp_refuse(reader, psprintf("longer than trace_ext.max_field_size (%d bytes)", tex_max_field_size));
	if (pg_encoding_verifymbstr(PG_UTF8, data, len) != len ||
		(GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII))
		return clean_copy(reader, data, len, to);
	to->data = data;
	to->len = len;
	return true;
}
