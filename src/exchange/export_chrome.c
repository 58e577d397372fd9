/*
 * export_chrome.c
 *		Traces in the Trace Event Format, which ui.perfetto.dev and chrome://tracing load.
 *
 * A resource is a process, and in it each thread of each trace is a thread; spans whose client
 * named no thread, as those of OpenTelemetry, share one.  Slices of a thread must nest, so spans are
 * taken by start, the longer one first, and one that overlaps what is open is written as begin
 * and end of an asynchronous one, which may.  What went from one thread to another, a call or a
 * message, is a flow from a slice to a slice.
 *
 * Times are whole microseconds, start and end rounded down alike, so that what was nested stays so; args have
 * the nanoseconds.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "exchange/outgoing.h"

/* Which spans of a trace have been given what. */
typedef struct Slice
{
	int			span;
	int64		start;			/* microseconds */
	int64		end;
	int			pid;
	int			tid;
	bool		is_async;		/* begin and end of its own, as it would not nest */
} Slice;

/* A thread of the trace that is written. */
typedef struct Thread
{
	int			pid;
	TexOtlpString name;
	int			tid;
	int			top;			/* the open slice in which others lie, or -1 */
} Thread;

typedef struct ChromeState
{
	Bitmapset  *named;			/* processes whose name is written */
	int			threads;		/* numbers given */
	int64		flows;
} ChromeState;

/* What is needed to write one trace. */
typedef struct Layout
{
	const TexOutTrace *trace;
	Slice	   *slices;			/* by start, the longer one first */
	int		   *slice_of;		/* of each span */
	Thread	   *threads;
	int			nthreads;
	int		   *outer;			/* of each slice: that in which it lies, or -1 */
} Layout;

static void
begin_chrome(TexOutDocument *document)
{
	document->state = palloc0(sizeof(ChromeState));
	tex_doc_open(document->out, '{');
	tex_doc_key(document->out, "displayTimeUnit");
	tex_doc_word(document->out, "ms");
	tex_doc_key(document->out, "traceEvents");
	tex_doc_open(document->out, '[');
}

/* ----------------------------------------------------------------
 *		Where spans go
 * ----------------------------------------------------------------
 */
/* For qsort(): by start, the longer one first. */
static int
compare_slices(const void *a, const void *b)
{
	const Slice *x = a;
	const Slice *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->end != y->end)
		return x->end > y->end ? -1 : 1;
	return x->span - y->span;
}

/* The threads are few: those of a trace. */
static Thread *
thread_of(Layout *layout, ChromeState *state, HTAB *table, int pid, TexOtlpString name)
{
	struct Key
	{
		int			pid;
		uint32		hash;
	}			key = {pid, name.len == 0 ? 0 : hash_bytes((const unsigned char *) name.data, name.len)};
	struct Found
	{
		struct Key	key;
		int			place;
	}		   *entry;
	bool		found;

	/* Names of one hash share a thread, in which all is well as what overlaps is asynchronous. */
	entry = hash_search(table, &key, HASH_ENTER, &found);
	if (!found)
	{
		entry->place = layout->nthreads++;
		layout->threads[entry->place] = (Thread) {pid, name, ++state->threads, -1};
	}
	return &layout->threads[entry->place];
}

/* Gives each span its thread, and finds those that do not nest in it. */
static void
lay_out(Layout *layout, ChromeState *state)
{
	const TexOutTrace *trace = layout->trace;
	HASHCTL		ctl = {.keysize = 8,.entrysize = 12,.hcxt = CurrentMemoryContext};
	HTAB	   *table = hash_create("threads of a trace", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	layout->slices = palloc(sizeof(Slice) * Max(trace->nspans, 1));
	layout->slice_of = palloc(sizeof(int) * Max(trace->nspans, 1));
	layout->outer = palloc(sizeof(int) * Max(trace->nspans, 1));
	layout->threads = palloc(sizeof(Thread) * Max(trace->nspans, 1));
	for (int i = 0; i < trace->nspans; i++)
		layout->slices[i] = (Slice) {
			.span = i,.start = trace->spans[i].start / 1000,
			.end = Max(trace->spans[i].end, trace->spans[i].start) / 1000,.pid = trace->spans[i].resource->place + 1
		};
	qsort(layout->slices, trace->nspans, sizeof(Slice), compare_slices);
	for (int i = 0; i < trace->nspans; i++)
	{
		Slice	   *slice = &layout->slices[i];
		Thread	   *thread = thread_of(layout, state, table, slice->pid, trace->spans[slice->span].thread);

		CHECK_FOR_INTERRUPTS();
		layout->slice_of[slice->span] = i;
		slice->tid = thread->tid;
		while (thread->top >= 0 && layout->slices[thread->top].end <= slice->start)
			thread->top = layout->outer[thread->top];
		slice->is_async = thread->top >= 0 && layout->slices[thread->top].end < slice->end;
		layout->outer[i] = thread->top;
		if (!slice->is_async)
			thread->top = i;
	}
	hash_destroy(table);
}

/* ----------------------------------------------------------------
 *		Rows
 * ----------------------------------------------------------------
 */
/* Begins an event of the format; args and the end of it are to follow. */
static void
open_event(StringInfo out, const char *phase, TexOtlpString name, const char *category, int pid, int tid)
{
	tex_doc_open(out, '{');
	tex_doc_key(out, "ph");
	tex_doc_word(out, phase);
	tex_doc_key(out, "name");
	tex_doc_string(out, name);
	if (category != NULL)
	{
		tex_doc_key(out, "cat");
		tex_doc_word(out, category);
	}
	tex_doc_key(out, "pid");
	tex_doc_int(out, pid);
	tex_doc_key(out, "tid");
	tex_doc_int(out, tid);
}

static void
write_ts(StringInfo out, int64 ts)
{
	tex_doc_key(out, "ts");
	tex_doc_int(out, ts);
}

/* The name of a process or a thread. */
static void
write_name(StringInfo out, const char *what, int pid, int tid, TexOtlpString name)
{
	open_event(out, "M", tex_string(what), NULL, pid, tid);
	tex_doc_key(out, "args");
	tex_doc_open(out, '{');
	tex_doc_key(out, "name");
	tex_doc_string(out, name);
	tex_doc_close(out, '}');
	tex_doc_close(out, '}');
}

/* Names of the threads of a trace, and of processes that are met for the first time. */
static void
write_names(TexOutDocument *document, const Layout *layout)
{
	ChromeState *state = document->state;
	StringInfo	out = document->out;

	for (int i = 0; i < layout->nthreads; i++)
	{
		Thread	   *thread = &layout->threads[i];
		const char *of_trace = psprintf("trace %02x%02x%02x%02x", layout->trace->trace_id[0], layout->trace->trace_id[1],
										layout->trace->trace_id[2], layout->trace->trace_id[3]);

		write_name(out, "thread_name", thread->pid, thread->tid,
				   tex_string(psprintf("%.*s%s%s", thread->name.len, thread->name.data, thread->name.len > 0 ? ", " : "", of_trace)));
	}
	for (int i = 0; i < layout->trace->nspans; i++)
	{
		const TexOutSource *resource = layout->trace->spans[i].resource;
		TexOtlpString instance;
		MemoryContext old;

		if (bms_is_member(resource->place, state->named))
			continue;
		old = MemoryContextSwitchTo(document->context);
		state->named = bms_add_member(state->named, resource->place);
		MemoryContextSwitchTo(old);
		instance = tex_out_find_text(&resource->attributes, "service.instance.id");
		write_name(out, "process_name", resource->place + 1, 0,
				   tex_string(psprintf("%.*s%s%.*s", resource->service.len, resource->service.data, instance.len > 0 ? " " : "",
									   instance.len, instance.data)));
	}
}

/* Attributes as members; of one name jsonb keeps the last. */
static void
write_members(StringInfo out, const TexOutList *attributes)
{
	for (int i = 0; i < attributes->n; i++)
	{
		tex_doc_string(out, attributes->items[i].key);
		appendStringInfoChar(out, ':');
		tex_doc_plain(out, &attributes->items[i].value);
	}
}

/* Ids, what went wrong, and attributes. */
static void
write_args(StringInfo out, const TexOutTrace *trace, const TexOutSpan *span)
{
	tex_doc_key(out, "args");
	tex_doc_open(out, '{');
	write_members(out, &span->attributes);
	tex_doc_key(out, "trace_id");
	tex_doc_hex(out, trace->trace_id, TEX_TRACE_ID_LEN);
	tex_doc_key(out, "span_id");
	tex_doc_hex(out, span->span_id, TEX_SPAN_ID_LEN);
	if (!tex_otlp_is_zero(span->parent_id, TEX_SPAN_ID_LEN))
	{
		tex_doc_key(out, "parent_span_id");
		tex_doc_hex(out, span->parent_id, TEX_SPAN_ID_LEN);
	}
	tex_doc_member_time(out, "start_ns", span->start);
	tex_doc_member_time(out, "end_ns", span->end);
	if (span->status_code == TEX_STATUS_ERROR)
	{
		tex_doc_key(out, "error");
		tex_doc_string(out, span->status_message.len > 0 ? span->status_message : tex_string("true"));
	}
	tex_doc_close(out, '}');
}

/* A span: one event where it nests, two where it does not. */
static void
write_slice(StringInfo out, const TexOutTrace *trace, const Slice *slice)
{
	const TexOutSpan *span = &trace->spans[slice->span];

	open_event(out, slice->is_async ? "b" : "X", span->name, "span", slice->pid, slice->tid);
	write_ts(out, slice->start);
	if (slice->is_async)
	{
		tex_doc_key(out, "id");
		tex_doc_hex(out, span->span_id, TEX_SPAN_ID_LEN);
	}
	else
	{
		tex_doc_key(out, "dur");
		tex_doc_int(out, slice->end - slice->start);
	}
	write_args(out, trace, span);
	tex_doc_close(out, '}');
	if (!slice->is_async)
		return;
	open_event(out, "e", span->name, "span", slice->pid, slice->tid);
	write_ts(out, slice->end);
	tex_doc_key(out, "id");
	tex_doc_hex(out, span->span_id, TEX_SPAN_ID_LEN);
	tex_doc_close(out, '}');
}

/* What happened at a moment. */
static void
write_instant(StringInfo out, const Slice *slice, uint64 time, TexOtlpString name, const TexOutList *attributes)
{
	open_event(out, "i", name, "event", slice->pid, slice->tid);
	write_ts(out, time / 1000);
	tex_doc_key(out, "s");
	tex_doc_word(out, "t");
	tex_doc_key(out, "args");
	tex_doc_open(out, '{');
	write_members(out, attributes);
	tex_doc_close(out, '}');
	tex_doc_close(out, '}');
}

/* One end of a flow. */
static void
write_flow_end(StringInfo out, const char *phase, const Slice *slice, int64 ts, int64 number)
{
	open_event(out, phase, tex_string("message"), "flow", slice->pid, slice->tid);
	write_ts(out, ts);
	tex_doc_key(out, "id");
	tex_doc_int(out, number);
	if (phase[0] == 'f')
	{
		tex_doc_key(out, "bp");
		tex_doc_word(out, "e");
	}
	tex_doc_close(out, '}');
}

/* From the slice of the parent to that of a child in another thread: within the parent, whatever clocks say. */
static void
write_flow(TexOutDocument *document, const Slice *parent, const Slice *child)
{
	ChromeState *state = document->state;

	if (parent->is_async || child->is_async || parent->tid == child->tid)
		return;
	state->flows++;
	write_flow_end(document->out, "s", parent, Max(Min(child->start, parent->end), parent->start), state->flows);
	write_flow_end(document->out, "f", child, child->start, state->flows);
}

/* All of a span. */
static void
write_span(TexOutDocument *document, const Layout *layout, const TexOutIndex *index, int place, int *const *logs_of)
{
	const TexOutTrace *trace = layout->trace;
	const TexOutSpan *span = &trace->spans[place];
	const Slice *slice = &layout->slices[layout->slice_of[place]];
	int			parent = tex_out_index_find(index, span->parent_id);

	write_slice(document->out, trace, slice);
	for (int i = 0; i < span->npoints; i++)
		write_instant(document->out, slice, span->points[i].time == 0 ? span->start : span->points[i].time, span->points[i].name, &span->points[i].attributes);
	for (const int *log = logs_of[place]; log != NULL && *log >= 0; log++)
	{
		TexOutList	fields = tex_out_log_fields(&trace->logs[*log]);

		write_instant(document->out, slice, tex_out_log_time(&trace->logs[*log]), trace->logs[*log].name, &fields);
	}
	if (parent >= 0)
		write_flow(document, &layout->slices[layout->slice_of[parent]], slice);
}

static void
add_chrome(TexOutDocument *document, const TexOutTrace *trace)
{
	Layout		layout = {.trace = trace};
	TexOutIndex *index = tex_out_index(trace);
	int		  **logs_of = tex_out_logs_of(trace);

	lay_out(&layout, document->state);
	write_names(document, &layout);
	for (int i = 0; i < trace->nspans; i++)
		write_span(document, &layout, index, layout.slices[i].span, logs_of);
}

static void
end_chrome(TexOutDocument *document)
{
	tex_doc_close(document->out, ']');
	tex_doc_close(document->out, '}');
}

const TexOutFormat tex_format_chrome = {false, begin_chrome, add_chrome, end_chrome};
