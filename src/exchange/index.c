/*
 * index.c
 *		The spans of a trace by their ids, and the log records of each.
 *
 * Formats that know spans only have log records as something that happened in a span.
 */
#include "postgres.h"

#include "utils/hsearch.h"

#include "exchange/outgoing.h"

typedef struct Entry
{
	uint8		id[TEX_SPAN_ID_LEN];
	int			place;
} Entry;

struct TexOutIndex
{
	HTAB	   *table;
};

/* Of two spans of one id the first one is found. */
TexOutIndex *
tex_out_index(const TexOutTrace *trace)
{
	HASHCTL		ctl = {.keysize = TEX_SPAN_ID_LEN,.entrysize = sizeof(Entry),.hcxt = CurrentMemoryContext};
	TexOutIndex *index = palloc(sizeof(TexOutIndex));

	index->table = hash_create("spans of a trace", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < trace->nspans; i++)
	{
		bool		found;
		Entry	   *entry = hash_search(index->table, trace->spans[i].span_id, HASH_ENTER, &found);

		if (!found)
			entry->place = i;
	}
	return index;
}

/* The place of a span, or -1. */
int
tex_out_index_find(const TexOutIndex *index, const uint8 *span_id)
{
	Entry	   *entry = hash_search(index->table, span_id, HASH_FIND, NULL);

	return entry == NULL ? -1 : entry->place;
}

/*
 * Of each span, the places of its log records, ended by -1; NULL where it has none.  One that
 * names no span of the trace goes with the first.
 */
int **
tex_out_logs_of(const TexOutTrace *trace)
{
	int		  **lists = palloc0(sizeof(int *) * Max(trace->nspans, 1));
	int		   *counts = palloc0(sizeof(int) * Max(trace->nspans, 1));
	int		   *owner = palloc(sizeof(int) * Max(trace->nlogs, 1));
	TexOutIndex *index;

	if (trace->nspans == 0 || trace->nlogs == 0)
		return lists;
	index = tex_out_index(trace);
	for (int i = 0; i < trace->nlogs; i++)
	{
		owner[i] = Max(tex_out_index_find(index, trace->logs[i].span_id), 0);
		counts[owner[i]]++;
	}
	for (int i = 0; i < trace->nspans; i++)
	{
		if (counts[i] > 0)
			lists[i] = palloc(sizeof(int) * (counts[i] + 1));
		if (lists[i] != NULL)
			lists[i][counts[i]] = -1;
		counts[i] = 0;
	}
	for (int i = 0; i < trace->nlogs; i++)
		lists[owner[i]][counts[owner[i]]++] = i;
	return lists;
}

/* What a log record says, for formats that have it as something that happened in a span. */
TexOutList
tex_out_log_fields(const TexOutLog *log)
{
	TexOutList	fields = {0};

	if (log->body != NULL && log->body->json.type != jbvNull)
		tex_out_add(&fields, tex_string("message"))->value = *log->body;
	tex_out_add_text(&fields, "severity", log->severity_text);
	for (int i = 0; i < log->attributes.n; i++)
		*tex_out_add(&fields, log->attributes.items[i].key) = log->attributes.items[i];
	tex_out_drop_repeated(&fields);
	return fields;
}

/* When that was; one that does not say was observed some time. */
uint64
tex_out_log_time(const TexOutLog *log)
{
	return log->time == 0 ? log->observed_time : log->time;
}

/*
 * Log records may come before their spans.  A trace that has no span gets one that lasts as long
 * as they do, under the id that the first of them names.
 */
void
tex_out_stand_in(TexOutTrace *trace)
{
	TexOutSpan *span;

	if (trace->nspans > 0 || trace->nlogs == 0)
		return;
	span = tex_out_new_span(trace);
	memcpy(span->span_id, trace->logs[0].span_id, TEX_SPAN_ID_LEN);
	if (tex_otlp_is_zero(span->span_id, TEX_SPAN_ID_LEN))
		memset(span->span_id, 0xFF, TEX_SPAN_ID_LEN);
	span->name = tex_string("(span not stored)");
	span->start = PG_UINT64_MAX;
	for (int i = 0; i < trace->nlogs; i++)
	{
		uint64		time = tex_out_log_time(&trace->logs[i]);

		span->start = Min(span->start, time);
		span->end = Max(span->end, time);
	}
	span->resource = trace->logs[0].resource;
	span->scope = trace->logs[0].scope;
}
