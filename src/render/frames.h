/*
 * frames.h
 *		Stacks of frames, added up over traces.
 */
#ifndef TEX_FRAMES_H
#define TEX_FRAMES_H

#include "history/strings.h"
#include "render/spans.h"

#define TEX_NO_FRAME (-1)

/* A service, or what was done in it, below the frame in which it was. */
typedef struct TexFrame
{
	int32		parent;			/* always smaller, or TEX_NO_FRAME */
	int32		name;			/* of the frames */
	int32		depth;
	int32		service;		/* a number for each service, from 0 on */
	int32		first_child;
	int32		next;			/* of its parent's children */
	int64		count;			/* bars that are added up in it */
	int64		self;			/* how long nothing below it went on, in microseconds */
	int64		total;			/* ... and with all below it, once tex_frames_total() was called */
} TexFrame;

typedef struct TexFrames
{
	MemoryContext context;
	TexStrings *names;
	struct HTAB *index;
	TexFrame   *frames;
	int32		n;
	int32		room;
	int32		first_root;
	int32		services;		/* how many names of them there are */
	struct HTAB *service_index;
	int64		total;			/* of all */
	int64		left_out;		/* bars that are counted in the frame above them, as they are too many or too deep */
} TexFrames;

extern TexFrames *tex_frames_create(void);
extern void tex_frames_add(const TexSpans *spans, void *frames);
extern void tex_frames_total(TexFrames *frames);
extern void tex_flame_picture(StringInfo out, TexFrames *frames, bool in_page);

#endif							/* TEX_FRAMES_H */
