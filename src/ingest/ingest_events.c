/*
 * ingest_events.c
 *		ingest_events(): stores a batch of events as clients post them.
 *
 * Here a batch is read, event by event; batch.c stores it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "ingest/batch.h"
#include "ingest/event_json.h"
#include "ingest/json_scan.h"
#include "ingest/redaction.h"

PG_FUNCTION_INFO_V1(tex_ingest_jsonb);
PG_FUNCTION_INFO_V1(tex_ingest_text);

/* The text of a UUID, or NULL for what is none. */
static const char *
uuid_only(const char *text)
{
	pg_uuid_t	uuid;

	return text != NULL && tex_parse_uuid(text, strlen(text), &uuid) ? text : NULL;
}

/*
 * Notes a refused event that could not be read, where rules are enabled: nothing of it that could tell
 * anything, so not the path in the reason either, which is made of the client's words.
 */
static void
refuse_unread(TexBatch *batch, const char *reason, const char *id, const char *trace_id)
{
	const char *why = reason;

	for (const char *p = reason; (p = strstr(p, ": ")) != NULL; p += 2)
		why = p + 2;
	tex_batch_refuse(batch, psprintf("event: %s", why), uuid_only(id), uuid_only(trace_id), TEX_WITHHELD, strlen(TEX_WITHHELD));
}

/* Reads an event within the limits, and adds or refuses it as the rules leave it. */
static void
take_redacted(TexBatch *batch, TexRedaction *redaction, JsonbContainer *event)
{
	JsonbContainer *redacted = tex_redact_event(redaction, event);
	TexEventRow row;
	char	   *reason = tex_event_from_json(redacted, &row);
	char	   *text;

	if (reason == NULL)
	{
		tex_batch_add(batch, &row);
		return;
	}
	text = JsonbToCString(NULL, redacted, 0);
	tex_batch_refuse(batch, tex_redact_loose(redaction, reason), tex_event_text(redacted, "id"),
					 tex_event_text(redacted, "trace_id"), text, strlen(text));
}

/* Reads one event of a text. */
static void
read_text_event(TexBatch *batch, TexRedaction *redaction, const char *event, int len)
{
	TexScannedEvent scanned;
	TexEventRow row;
	char	   *reason;

	tex_scan_event(event, len, &scanned);
	if (redaction != NULL)
	{
		if (scanned.event != NULL)
			take_redacted(batch, redaction, &scanned.event->root);
		else
			refuse_unread(batch, scanned.reason, scanned.id, scanned.trace_id);
		return;
	}
	reason = scanned.event == NULL ? scanned.reason :
		tex_event_from_json(&scanned.event->root, &row);
	if (reason == NULL)
		tex_batch_add(batch, &row);
	else
		tex_batch_refuse(batch, reason, scanned.id, scanned.trace_id, event, len);
}

/* Reads a batch of JSON text; the memory of an event is given back before the next. */
static void
read_text_batch(TexBatch *batch, text *input)
{
	TexRedaction *redaction = tex_redaction();
	TexBatchText text_batch;
	const char *event;
	int			len;

	tex_batch_open(&text_batch, VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
	while (tex_batch_next(&text_batch, &event, &len))
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (tex_batch_pass_over(batch, 1, 0))
			continue;
		old = MemoryContextSwitchTo(batch->event_context);
		tex_batch_next_record(batch);
		read_text_event(batch, redaction, event, len);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch->event_context);
	}
}

/* Reads one element of the array. A refused one is written out again, for its text is not at hand. */
static void
read_jsonb_event(TexBatch *batch, TexRedaction *redaction, JsonbValue *v)
{
	JsonbContainer *event = v->type == jbvBinary ? v->val.binary.data : NULL;
	TexEventRow row;
	char	   *reason;

	if (event == NULL || !JsonContainerIsObject(event))
		reason = "event: not an object";
	else
		reason = tex_check_event(event);
	if (redaction != NULL)
	{
		if (reason == NULL)
			take_redacted(batch, redaction, event);
		else
			refuse_unread(batch, reason, NULL, NULL);
		return;
	}
	if (reason == NULL)
		reason = tex_event_from_json(event, &row);
	if (reason == NULL)
		tex_batch_add(batch, &row);
	else
	{
		bool		is_object = event != NULL && JsonContainerIsObject(event);
		Jsonb	   *whole = JsonbValueToJsonb(v);
		char	   *text = JsonbToCString(NULL, &whole->root, VARSIZE(whole));

		tex_batch_refuse(batch, reason, is_object ? tex_event_text(event, "id") : NULL,
						 is_object ? tex_event_text(event, "trace_id") : NULL, text, strlen(text));
	}
}

/* The array of events of a batch; throws for what is none, as the door for text does. */
static JsonbContainer *
find_events(Jsonb *input)
{
	JsonbValue *v;

	if (JB_ROOT_IS_ARRAY(input) && !JB_ROOT_IS_SCALAR(input))
		return &input->root;
	if (!JB_ROOT_IS_OBJECT(input))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("this is not a batch of events"),
				 errdetail("It is neither an object nor an array."),
				 errhint("Send {\"events\": [...]} or an array of events.")));
	v = getKeyJsonValueFromContainer(&input->root, "events", strlen("events"), NULL);
	if (v == NULL || v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("this is not a batch of events"),
				 v == NULL ? errdetail("The object has no \"events\".") :
				 errdetail("\"events\" is not an array."),
				 errhint("Send {\"events\": [...]} or an array of events.")));
	return v->val.binary.data;
}

/* Reads a batch that PostgreSQL has already parsed. The limits are the same, the reasons too. */
static void
read_jsonb_batch(TexBatch *batch, Jsonb *input)
{
	JsonbIterator *iterator = JsonbIteratorInit(find_events(input));
	TexRedaction *redaction = tex_redaction();
	JsonbValue	v;

	JsonbIteratorNext(&iterator, &v, true);
	while (JsonbIteratorNext(&iterator, &v, true) == WJB_ELEM)
	{
		MemoryContext old = MemoryContextSwitchTo(batch->event_context);

		CHECK_FOR_INTERRUPTS();
		tex_batch_next_record(batch);
		read_jsonb_event(batch, redaction, &v);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch->event_context);
	}
}

/*
 * ingest_events(jsonb) returns record
 */
Datum
tex_ingest_jsonb(PG_FUNCTION_ARGS)
{
	TexBatch   *batch = tex_batch_begin();

	read_jsonb_batch(batch, PG_GETARG_JSONB_P(0));
	tex_batch_was_read(batch);
	return tex_batch_finish(fcinfo, batch);
}

/*
 * ingest_events(text) returns record
 */
Datum
tex_ingest_text(PG_FUNCTION_ARGS)
{
	TexBatch   *batch = tex_batch_begin();

	read_text_batch(batch, PG_GETARG_TEXT_PP(0));
	tex_batch_was_read(batch);
	return tex_batch_finish(fcinfo, batch);
}
