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

PG_FUNCTION_INFO_V1(tex_ingest_jsonb);
PG_FUNCTION_INFO_V1(tex_ingest_text);

/* Reads a batch of JSON text; the memory of an event is given back before the next. */
static void
read_text_batch(TexBatch *batch, text *input)
{
	TexBatchText text_batch;
	const char *event;
	int			len;

	tex_batch_open(&text_batch, VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
	while (tex_batch_next(&text_batch, &event, &len))
	{
		MemoryContext old = MemoryContextSwitchTo(batch->event_context);
		TexScannedEvent scanned;
		TexEventRow row;
		char	   *reason;

		CHECK_FOR_INTERRUPTS();
		batch->position++;
		tex_scan_event(event, len, &scanned);
		reason = scanned.event == NULL ? scanned.reason :
			tex_event_from_json(&scanned.event->root, &row);
		if (reason == NULL)
			tex_batch_add(batch, &row);
		else
			tex_batch_refuse(batch, reason, scanned.id, scanned.trace_id, event, len);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch->event_context);
	}
}

/* Reads one element of the array. A refused one is written out again, for its text is not at hand. */
static void
read_jsonb_event(TexBatch *batch, JsonbValue *v)
{
	JsonbContainer *event = v->type == jbvBinary ? v->val.binary.data : NULL;
	TexEventRow row;
	char	   *reason;

	if (event == NULL || !JsonContainerIsObject(event))
		reason = "event: not an object";
	else
	{
		reason = tex_check_event(event);
		if (reason == NULL)
			reason = tex_event_from_json(event, &row);
	}
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
	JsonbValue	v;

	JsonbIteratorNext(&iterator, &v, true);
	while (JsonbIteratorNext(&iterator, &v, true) == WJB_ELEM)
	{
		MemoryContext old = MemoryContextSwitchTo(batch->event_context);

		CHECK_FOR_INTERRUPTS();
		batch->position++;
		read_jsonb_event(batch, &v);
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
	tex_batch_take_quota(batch);
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
	tex_batch_take_quota(batch);
	return tex_batch_finish(fcinfo, batch);
}
