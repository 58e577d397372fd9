/*
 * export_otlp.c
 *		Traces as OTLP/JSON: what came in goes out equal.
 *
 * {"resourceSpans": [...], "resourceLogs": [...]}, each where there are such.  Spans of one
 * resource and scope stand together, whichever trace they are of, so each group has a buffer of
 * its own until all traces are there.  What OpenTelemetry takes for the same as missing is
 * missing: empty strings and lists, zeros.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "exchange/outgoing.h"

typedef struct GroupKey
{
	int32		resource;		/* places */
	int32		scope;
	int32		is_log;
} GroupKey;

typedef struct Group
{
	GroupKey	key;
	const TexOutSource *resource;
	const TexOutSource *scope;
	StringInfo	records;		/* the elements of an array */
} Group;

typedef struct OtlpState
{
	HTAB	   *groups;
} OtlpState;

static void
begin_otlp(TexOutDocument *document)
{
	HASHCTL		ctl = {.keysize = sizeof(GroupKey),.entrysize = sizeof(Group),.hcxt = document->context};
	OtlpState  *state = palloc(sizeof(OtlpState));

	state->groups = hash_create("groups of OTLP", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	document->state = state;
}

/* Where the records of a resource and scope are collected. */
static StringInfo
group_of(TexOutDocument *document, const TexOutSource *resource, const TexOutSource *scope, bool is_log)
{
	OtlpState  *state = document->state;
	GroupKey	key = {resource->place, scope->place, is_log};
	bool		found;
	Group	   *group = hash_search(state->groups, &key, HASH_ENTER, &found);

	if (!found)
	{
		MemoryContext old = MemoryContextSwitchTo(document->context);

		group->resource = resource;
		group->scope = scope;
		group->records = makeStringInfo();
		MemoryContextSwitchTo(old);
	}
	return group->records;
}

/* Attributes; none are left out. */
static void
write_attributes(StringInfo out, const TexOutList *attributes)
{
	if (attributes->n == 0)
		return;
	tex_doc_key(out, "attributes");
	tex_doc_open(out, '[');
	for (int i = 0; i < attributes->n; i++)
	{
		tex_doc_open(out, '{');
		tex_doc_key(out, "key");
		tex_doc_string(out, attributes->items[i].key);
		tex_doc_key(out, "value");
		tex_doc_any_value(out, &attributes->items[i].value);
		tex_doc_close(out, '}');
	}
	tex_doc_close(out, ']');
}

/* An id; zeros are none. */
static void
write_id(StringInfo out, const char *key, const uint8 *id, int len)
{
	if (tex_otlp_is_zero(id, len))
		return;
	tex_doc_key(out, key);
	tex_doc_hex(out, id, len);
}

/* The events of a span. */
static void
write_points(StringInfo out, const TexOutSpan *span)
{
	if (span->npoints == 0)
		return;
	tex_doc_key(out, "events");
	tex_doc_open(out, '[');
	for (int i = 0; i < span->npoints; i++)
	{
		const TexOutPoint *point = &span->points[i];

		tex_doc_open(out, '{');
		tex_doc_member_time(out, "timeUnixNano", point->time);
		tex_doc_member(out, "name", point->name);
		write_attributes(out, &point->attributes);
		tex_doc_member_int(out, "droppedAttributesCount", point->dropped_attributes);
		tex_doc_close(out, '}');
	}
	tex_doc_close(out, ']');
}

/* Its links. */
static void
write_links(StringInfo out, const TexOutSpan *span)
{
	if (span->nlinks == 0)
		return;
	tex_doc_key(out, "links");
	tex_doc_open(out, '[');
	for (int i = 0; i < span->nlinks; i++)
	{
		const TexOutLink *link = &span->links[i];

		tex_doc_open(out, '{');
		tex_doc_member(out, "traceId", link->trace_id);
		tex_doc_member(out, "spanId", link->span_id);
		tex_doc_member(out, "traceState", link->trace_state);
		write_attributes(out, &link->attributes);
		tex_doc_member_int(out, "droppedAttributesCount", link->dropped_attributes);
		tex_doc_member_int(out, "flags", link->flags);
		tex_doc_close(out, '}');
	}
	tex_doc_close(out, ']');
}

static void
write_span(StringInfo out, const TexOutTrace *trace, const TexOutSpan *span)
{
	tex_doc_open(out, '{');
	write_id(out, "traceId", trace->trace_id, TEX_TRACE_ID_LEN);
	write_id(out, "spanId", span->span_id, TEX_SPAN_ID_LEN);
	tex_doc_member(out, "traceState", span->trace_state);
	write_id(out, "parentSpanId", span->parent_id, TEX_SPAN_ID_LEN);
	tex_doc_member_int(out, "flags", span->flags);
	tex_doc_member(out, "name", span->name);
	tex_doc_member_int(out, "kind", span->kind);
	tex_doc_member_time(out, "startTimeUnixNano", span->start);
	tex_doc_member_time(out, "endTimeUnixNano", span->end);
	write_attributes(out, &span->attributes);
	tex_doc_member_int(out, "droppedAttributesCount", span->dropped_attributes);
	write_points(out, span);
	tex_doc_member_int(out, "droppedEventsCount", span->dropped_events);
	write_links(out, span);
	tex_doc_member_int(out, "droppedLinksCount", span->dropped_links);
	tex_doc_key(out, "status");
	tex_doc_open(out, '{');
	tex_doc_member(out, "message", span->status_message);
	tex_doc_member_int(out, "code", span->status_code);
	tex_doc_close(out, '}');
	tex_doc_close(out, '}');
}

static void
write_log(StringInfo out, const TexOutTrace *trace, const TexOutLog *log)
{
	tex_doc_open(out, '{');
	tex_doc_member_time(out, "timeUnixNano", log->time);
	tex_doc_member_time(out, "observedTimeUnixNano", log->observed_time);
	tex_doc_member_int(out, "severityNumber", log->severity_number);
	tex_doc_member(out, "severityText", log->severity_text);
	if (log->body != NULL)
	{
		tex_doc_key(out, "body");
		tex_doc_any_value(out, log->body);
	}
	write_attributes(out, &log->attributes);
	tex_doc_member_int(out, "droppedAttributesCount", log->dropped_attributes);
	tex_doc_member_int(out, "flags", log->flags);
	write_id(out, "traceId", trace->trace_id, TEX_TRACE_ID_LEN);
	write_id(out, "spanId", log->span_id, TEX_SPAN_ID_LEN);
	tex_doc_member(out, "eventName", log->name);
	tex_doc_close(out, '}');
}

/* Adds the records of a trace to their groups. */
static void
add_otlp(TexOutDocument *document, const TexOutTrace *trace)
{
	for (int i = 0; i < trace->nspans; i++)
		write_span(group_of(document, trace->spans[i].resource, trace->spans[i].scope, false), trace, &trace->spans[i]);
	for (int i = 0; i < trace->nlogs; i++)
		write_log(group_of(document, trace->logs[i].resource, trace->logs[i].scope, true), trace, &trace->logs[i]);
}

/* For qsort(): spans before logs, by resource, by scope. */
static int
compare_groups(const void *a, const void *b)
{
	const Group *x = *(Group *const *) a;
	const Group *y = *(Group *const *) b;

	if (x->key.is_log != y->key.is_log)
		return x->key.is_log - y->key.is_log;
	if (x->key.resource != y->key.resource)
		return x->key.resource < y->key.resource ? -1 : 1;
	return x->key.scope < y->key.scope ? -1 : x->key.scope > y->key.scope;
}

/* Begins the group of a resource. */
static void
open_resource(StringInfo out, const Group *group)
{
	tex_doc_open(out, '{');
	tex_doc_key(out, "resource");
	tex_doc_open(out, '{');
	write_attributes(out, &group->resource->attributes);
	tex_doc_member_int(out, "droppedAttributesCount", group->resource->dropped_attributes);
	tex_doc_close(out, '}');
	tex_doc_key(out, group->key.is_log ? "scopeLogs" : "scopeSpans");
	tex_doc_open(out, '[');
}

static void
close_resource(StringInfo out, const Group *group)
{
	tex_doc_close(out, ']');
	tex_doc_member(out, "schemaUrl", group->resource->schema_url);
	tex_doc_close(out, '}');
}

/* The group of a scope, whose buffer is given back. */
static void
write_scope(StringInfo out, Group *group)
{
	tex_doc_open(out, '{');
	tex_doc_key(out, "scope");
	tex_doc_open(out, '{');
	tex_doc_member(out, "name", group->scope->name);
	tex_doc_member(out, "version", group->scope->version);
	write_attributes(out, &group->scope->attributes);
	tex_doc_member_int(out, "droppedAttributesCount", group->scope->dropped_attributes);
	tex_doc_close(out, '}');
	tex_doc_key(out, group->key.is_log ? "logRecords" : "spans");
	tex_doc_open(out, '[');
	appendBinaryStringInfo(out, group->records->data, group->records->len);
	pfree(group->records->data);
	tex_doc_close(out, ']');
	tex_doc_member(out, "schemaUrl", group->scope->schema_url);
	tex_doc_close(out, '}');
}

/* Writes the groups; of an empty document, that there are no spans. */
static void
end_otlp(TexOutDocument *document)
{
	OtlpState  *state = document->state;
	StringInfo	out = document->out;
	int			n = hash_get_num_entries(state->groups);
	Group	  **groups = palloc(sizeof(Group *) * Max(n, 1));
	HASH_SEQ_STATUS all;
	Group	   *group;

	n = 0;
	hash_seq_init(&all, state->groups);
	while ((group = hash_seq_search(&all)) != NULL)
		groups[n++] = group;
	qsort(groups, n, sizeof(Group *), compare_groups);

	tex_doc_open(out, '{');
	if (n == 0)
	{
		tex_doc_key(out, "resourceSpans");
		tex_doc_literal(out, "[]");
	}
	for (int i = 0; i < n; i++)
	{
		bool		new_list = i == 0 || groups[i - 1]->key.is_log != groups[i]->key.is_log;
		bool		new_resource = new_list || groups[i - 1]->key.resource != groups[i]->key.resource;

		if (new_resource && i > 0)
			close_resource(out, groups[i - 1]);
		if (new_list && i > 0)
			tex_doc_close(out, ']');
		if (new_list)
		{
			tex_doc_key(out, groups[i]->key.is_log ? "resourceLogs" : "resourceSpans");
			tex_doc_open(out, '[');
		}
		if (new_resource)
			open_resource(out, groups[i]);
		write_scope(out, groups[i]);
	}
	if (n > 0)
	{
		close_resource(out, groups[n - 1]);
		tex_doc_close(out, ']');
	}
	tex_doc_close(out, '}');
}

const TexOutFormat tex_format_otlp = {true, begin_otlp, add_otlp, end_otlp};
