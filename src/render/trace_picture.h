/*
 * trace_picture.h
 *		A trace as a picture.
 */
#ifndef TEX_TRACE_PICTURE_H
#define TEX_TRACE_PICTURE_H

#include "fmgr.h"
#include "lib/stringinfo.h"

#include "render/spans.h"

/* Called for each trace that was asked for and is stored. */
typedef void (*TexTraceCallback) (const TexSpans *spans, void *arg);

extern int	tex_each_trace(FunctionCallInfo fcinfo, int wanted, TexTraceCallback each, void *arg);
extern char *tex_trace_title(const TexSpans *spans);
extern char *tex_trace_facts(const TexSpans *spans);

#endif							/* TEX_TRACE_PICTURE_H */
