/*
 * frames.c
 *		Stacks of frames, added up over traces: folded().
 *
 * A stack is what was going on around a moment: the service of the root, the root, what
 * it called, and so on; where another service takes over it is a frame as well.  Equal
 * stacks are one, with the sum of their own time: of a bar the time in which none of
 * its children went on.  Where children overlap, their times add up to more than what
 * they are in.
 *
 * What is deeper than MOST_DEPTH, and what comes when there are MOST_FRAMES, is counted
 * in the frame above it: the sums stay right.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "common/reads.h"
#include "races/arrays.h"
#include "render/escape.h"
#include "render/frames.h"
#include "render/text.h"
#include "render/trace_picture.h"

PG_FUNCTION_INFO_V1(tex_folded);

#define MOST_DEPTH	100
#define MOST_FRAMES 20000

typedef struct FrameKey
{
	int32		parent;
	int32		name;
	int32		service;		/* of a frame that is a service: TEX_NO_NAME */
} FrameKey;

typedef struct FrameEntry
{
	FrameKey	key;
	int32		number;
} FrameEntry;

/* A table in a memory context. */
static HTAB *
make_table(MemoryContext context, Size key)
{
	HASHCTL		ctl = {.keysize = key,.entrysize = key + sizeof(int32),.hcxt = context};

	return hash_create("frames", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* No stacks yet; what is added lives in the current memory context. */
TexFrames *
tex_frames_create(void)
{
	TexFrames  *frames = palloc0(sizeof(TexFrames));

	frames->context = CurrentMemoryContext;
	frames->names = tex_strings_create();
	frames->index = make_table(CurrentMemoryContext, sizeof(FrameKey));
	frames->service_index = make_table(CurrentMemoryContext, sizeof(int32));
	frames->first_root = TEX_NO_FRAME;
	return frames;
}

/* The number of a service, by its name. */
static int32
service_number(TexFrames *frames, int32 name)
{
	bool		found;
	int32	   *entry = hash_search(frames->service_index, &name, HASH_ENTER, &found);

	if (!found)
		entry[1] = frames->services++;
	return entry[1];
}

/* A new frame, below another one or a root. */
static int32
new_frame(TexFrames *frames, int32 parent, int32 name, int32 service)
{
	TexFrame   *frame;
	int32	   *list = parent == TEX_NO_FRAME ? &frames->first_root : &frames->frames[parent].first_child;

	if (frames->n == frames->room)
	{
		int32		below = parent;

		frames->room = Max(256, frames->room * 2);
		frames->frames = frames->frames ? repalloc_huge(frames->frames, sizeof(TexFrame) * (Size) frames->room) :
			MemoryContextAllocHuge(frames->context, sizeof(TexFrame) * (Size) frames->room);
		list = below == TEX_NO_FRAME ? &frames->first_root : &frames->frames[below].first_child;
	}
	frame = &frames->frames[frames->n];
	*frame = (TexFrame) {.parent = parent,.name = name,.service = service,.first_child = TEX_NO_FRAME,.next = *list,
	.depth = parent == TEX_NO_FRAME ? 0 : frames->frames[parent].depth + 1};
	*list = frames->n;
	return frames->n++;
}

/* The frame of a name below another one; that one, if there are too many. */
static int32
enter(TexFrames *frames, int32 parent, const char *text, int32 service, bool is_service)
{
	FrameKey	key = {parent, tex_strings_add(frames->names, text, strlen(text)), is_service ? TEX_NO_NAME : service};
	FrameEntry *entry;
	bool		found;

	if (parent != TEX_NO_FRAME && (frames->n >= MOST_FRAMES || frames->frames[parent].depth >= MOST_DEPTH))
	{
		entry = hash_search(frames->index, &key, HASH_FIND, NULL);
		return entry ? entry->number : parent;
	}
	entry = hash_search(frames->index, &key, HASH_ENTER, &found);
	if (!found)
		entry->number = new_frame(frames, parent, key.name, service);
	return entry->number;
}

/* A name as a frame has it: clean, and never empty. */
static char *
frame_name(const char *name, const char *unless)
{
	char	   *clean = tex_clean_label(name);

	return clean[0] != '\0' ? clean : pstrdup(unless);
}

/* Adds the stacks of a trace; "frames" is TexFrames. */
void
tex_frames_add(const TexSpans *spans, void *arg)
{
	TexFrames  *frames = arg;
	int32	   *frame_of = tex_new_array(sizeof(int32), spans->n, 0);

	for (int32 i = 0; i < spans->n; i++)
	{
		const TexSpan *bar = &spans->spans[i];
		int32		parent = bar->parent == TEX_NO_SPAN ? TEX_NO_FRAME : frame_of[bar->parent];
		char	   *service = frame_name(tex_span_service(spans, i), "(no service)");
		char	   *label = frame_name(tex_span_label(spans, i), "(no name)");
		int32		number = service_number(frames, tex_strings_add(frames->names, service, strlen(service)));

		CHECK_FOR_INTERRUPTS();
		if (parent == TEX_NO_FRAME || frames->frames[parent].service != number)
			parent = enter(frames, parent, service, number, true);
		frame_of[i] = enter(frames, parent, label, number, false);
		frames->left_out += frame_of[i] == parent;
		frames->frames[frame_of[i]].self += bar->self;
		frames->frames[frame_of[i]].count++;
		pfree(label);
		pfree(service);
	}
	pfree(frame_of);
}

/* Adds up, from the leaves on. */
void
tex_frames_total(TexFrames *frames)
{
	frames->total = 0;
	for (int32 i = 0; i < frames->n; i++)
		frames->frames[i].total = frames->frames[i].self;
	for (int32 i = frames->n - 1; i >= 0; i--)
	{
		const TexFrame *frame = &frames->frames[i];

		if (frame->parent == TEX_NO_FRAME)
			frames->total = tex_usecs_plus(frames->total, frame->total);
		else
			frames->frames[frame->parent].total = tex_usecs_plus(frames->frames[frame->parent].total, frame->total);
	}
}

/* "svc;a;b N". */
static void
put_stack(StringInfo out, const TexFrames *frames, int32 number)
{
	int32		stack[2 * MOST_DEPTH];
	int			height = 0;

	for (int32 at = number; at != TEX_NO_FRAME; at = frames->frames[at].parent)
		stack[height++] = at;
	while (height > 0)
	{
		tex_put_frame(out, tex_strings_text(frames->names, frames->frames[stack[--height]].name));
		if (height > 0)
			appendStringInfoChar(out, ';');
	}
	appendStringInfo(out, " %lld\n", (long long) frames->frames[number].self);
}

/* folded(trace_ids uuid[]); NULL where none of them is stored. */
Datum
tex_folded(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	TexFrames  *frames;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	frames = tex_frames_create();
	if (tex_each_trace(fcinfo, 0, tex_frames_add, frames) == 0)
		PG_RETURN_NULL();
	initStringInfo(&out);
	for (int32 i = 0; i < frames->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (frames->frames[i].self > 0)
			put_stack(&out, frames, i);
	}
	if (frames->left_out > 0)
		tex_notice(psprintf("%lld calls are counted where they were made: they are deeper than %d, or there are more than %d different stacks",
							(long long) frames->left_out, MOST_DEPTH, MOST_FRAMES), "Ask for fewer traces.");
	/* psql adds the last end of a line. */
	if (out.len > 0)
		out.data[--out.len] = '\0';
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
