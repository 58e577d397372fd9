/*
 * text.h
 *		What clients sent, as it may be shown: on one line, without anything that a
 *		terminal, a page or a picture would obey.
 */
#ifndef TEX_RENDER_TEXT_H
#define TEX_RENDER_TEXT_H

#include "lib/stringinfo.h"

/* A name is looked at up to that many bytes, unless more are asked for. */
#define TEX_LONGEST_LABEL 400

extern void tex_clean(StringInfo line, const char *text, int len, int most);
extern char *tex_clean_label(const char *text);
extern int	tex_display_width(const char *text, int len);
extern int	tex_clip_width(const char *text, int len, int width, int *taken);

#endif							/* TEX_RENDER_TEXT_H */
