/*
 * choice.h
 *		Which bars of a long trace are drawn, and in which colours.
 */
#ifndef TEX_CHOICE_H
#define TEX_CHOICE_H

#include "render/spans.h"

/* Of each bar whether it is drawn. */
typedef struct TexChoice
{
	bool	   *drawn;
	int32		n;				/* how many are */
} TexChoice;

extern TexChoice tex_choose_bars(const TexSpans *spans, int32 most);
extern int *tex_service_colors(const TexSpans *spans);
extern char *tex_span_remark(const TexSpans *spans, int32 span);

/* The colour of a bar: the number of a class. */
static inline int
tex_color_of(const TexSpans *spans, const int *colors, int32 span)
{
	int32		service = tex_span_event(spans, span)->service;

	return service == TEX_NO_NAME ? 0 : colors[service];
}

#endif							/* TEX_CHOICE_H */
