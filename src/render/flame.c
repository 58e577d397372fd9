/*
 * flame.c
 *		Where the time went: flame_svg().
 *
 * A box is a frame (frames.h), as wide as the time in it and in all below it, below
 * the box in which it was.  The widest of a box's parts come first.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "analysis/words.h"
#include "races/arrays.h"
#include "render/escape.h"
#include "render/frames.h"
#include "render/svg.h"
#include "render/trace_picture.h"

PG_FUNCTION_INFO_V1(tex_flame_svg);

#define WIDTH		1000
#define MARGIN		16
#define ROW			21
#define BOX			20
#define NARROWEST	0.7			/* what is less wide is not drawn */
#define NARROWEST_IN_PAGE 4		/* ... as a page has other things to say */
#define TOP			66			/* of the first box; on a page there is a heading already */
#define TOP_IN_PAGE	34

typedef struct Flame
{
	TexSvg	   *svg;
	TexFrames  *frames;
	double		top;
	double	   *left;			/* of each frame: where its box begins; negative: it has none */
	int32		hidden;
	int32		deepest;
} Flame;

/* For qsort_arg(): the longest first, else by name. */
static int
compare_totals(const void *a, const void *b, void *arg)
{
	const TexFrames *frames = arg;
	const TexFrame *x = &frames->frames[*(const int32 *) a];
	const TexFrame *y = &frames->frames[*(const int32 *) b];

	CHECK_FOR_INTERRUPTS();
	if (x->total != y->total)
		return x->total > y->total ? -1 : 1;
	return strcmp(tex_strings_text(frames->names, x->name), tex_strings_text(frames->names, y->name));
}

/* How wide a frame's box is. */
static double
width_of(const Flame *flame, int32 frame)
{
	return flame->frames->total == 0 ? 0 :
		(WIDTH - 2.0 * MARGIN) * flame->frames->frames[frame].total / flame->frames->total;
}

/* Gives the frames of a list their places, from "x" on. */
static void
place(Flame *flame, int32 first, double x)
{
	int32		n = 0;
	int32	   *list;

	for (int32 at = first; at != TEX_NO_FRAME; at = flame->frames->frames[at].next)
		n++;
	list = tex_new_array(sizeof(int32), n, 0);
	n = 0;
	for (int32 at = first; at != TEX_NO_FRAME; at = flame->frames->frames[at].next)
		list[n++] = at;
	qsort_arg(list, n, sizeof(int32), compare_totals, flame->frames);
	for (int32 i = 0; i < n; i++)
	{
		double		width = width_of(flame, list[i]);

		flame->left[list[i]] = width < (flame->svg->in_page ? NARROWEST_IN_PAGE : NARROWEST) ? -1 : x;
		x += width;
	}
	pfree(list);
}

/* The box of a frame, with its name as far as there is room, and all there is to say for who points at it. */
static void
put_box(Flame *flame, int32 number)
{
	const TexFrame *frame = &flame->frames->frames[number];
	StringInfo	body = &flame->svg->body;
	double		width = width_of(flame, number);
	double		y = flame->top + frame->depth * ROW;
	const char *name = tex_strings_text(flame->frames->names, frame->name);

	appendStringInfoString(body, "<g><title>");
	tex_put_clean(body, name);
	appendStringInfo(body, "&#10;%s, %.3g %% of all", tex_usecs_words(frame->total), 100.0 * frame->total / flame->frames->total);
	if (frame->count > 0)
		appendStringInfo(body, "&#10;%s of its own, %lld time%s", tex_usecs_words(frame->self), (long long) frame->count, frame->count == 1 ? "" : "s");
	appendStringInfoString(body, "</title>\n");
	tex_svg_rect(flame->svg, flame->left[number], y, width, BOX, 2, psprintf("s%d pale", frame->service % TEX_COLORS));
	if (width > 30)
		tex_svg_text(flame->svg, flame->left[number] + 4, y + 14, width - 8, TEX_SMALL, TEX_START, frame->count == 0 ? "h" : "name", name);
	appendStringInfoString(body, "</g>\n");
	flame->deepest = Max(flame->deepest, frame->depth);
}

/* Draws stacks. */
void
tex_flame_picture(StringInfo out, TexFrames *frames, bool in_page)
{
	Flame		flame = {.svg = tex_svg_begin(WIDTH, in_page),.frames = frames,.top = in_page ? TOP_IN_PAGE : TOP};
	double		y;

	tex_frames_total(frames);
	flame.left = tex_new_array(sizeof(double), frames->n, 0);
	for (int32 i = 0; i < frames->n; i++)
		flame.left[i] = -1;
	if (!in_page)
		tex_svg_text(flame.svg, MARGIN, 28, WIDTH - 2 * MARGIN, TEX_HEADING, TEX_START, "h", "Where the time went");
	tex_svg_text(flame.svg, MARGIN, flame.top - 14, WIDTH - 2 * MARGIN, TEX_SMALL, TEX_START, "dim",
				 frames->total == 0 ? "Nothing here says how long it took." :
				 psprintf("%s in all; a box is as wide as the time in it, what it called is below it; what ran at the same time is added up",
						  tex_usecs_words(frames->total)));
	place(&flame, frames->first_root, MARGIN);
	for (int32 i = 0; i < frames->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (flame.left[i] < 0)
		{
			flame.hidden++;
			continue;
		}
		put_box(&flame, i);
		place(&flame, frames->frames[i].first_child, flame.left[i]);
	}
	y = flame.top + (flame.deepest + 1) * ROW;
	if (flame.hidden > 0 && frames->total > 0)
	{
		y += 16;
		tex_svg_text(flame.svg, MARGIN, y, WIDTH - 2 * MARGIN, TEX_SMALL, TEX_START, "dim",
					 psprintf("%d more %s too narrow to be drawn: folded() has all", flame.hidden, flame.hidden == 1 ? "is" : "are"));
	}
	tex_svg_end(flame.svg, out, y + 14, "Where the time went",
				"Boxes as wide as the time in them, each below what called it.");
}

/* flame_svg(trace_ids uuid[]); NULL where none of them is stored. */
Datum
tex_flame_svg(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	TexFrames  *frames;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	frames = tex_frames_create();
	if (tex_each_trace(fcinfo, 0, tex_frames_add, frames) == 0)
		PG_RETURN_NULL();
	initStringInfo(&out);
	tex_flame_picture(&out, frames, false);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
