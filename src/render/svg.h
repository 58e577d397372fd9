/*
 * svg.h
 *		Pictures: what is common to all of them.
 */
#ifndef TEX_SVG_H
#define TEX_SVG_H

#include "lib/stringinfo.h"

/* Sizes of letters, in pixels. */
#define TEX_TEXT		12
#define TEX_SMALL		11
#define TEX_HEADING		16

/* How many colours services have, before they are used again. */
#define TEX_COLORS		7

typedef enum TexAnchor
{
	TEX_START,
	TEX_MIDDLE,
	TEX_END
} TexAnchor;

/* A picture that is being drawn: elements first, what is around them when its height is known. */
typedef struct TexSvg
{
	StringInfoData body;
	double		width;
	bool		in_page;		/* the page has the style */
} TexSvg;

extern TexSvg *tex_svg_begin(double width, bool in_page);
extern void tex_svg_end(TexSvg *svg, StringInfo out, double height, const char *title, const char *description);
extern void tex_svg_rect(TexSvg *svg, double x, double y, double width, double height, double radius, const char *class);
extern void tex_svg_line(TexSvg *svg, double x1, double y1, double x2, double y2, const char *class);
extern double tex_svg_text(TexSvg *svg, double x, double y, double room, int size, TexAnchor anchor,
						   const char *class, const char *text);
extern double tex_svg_wrapped(TexSvg *svg, double x, double y, double room, int size, int most_lines,
							  const char *class, const char *text);
extern double tex_svg_axis(TexSvg *svg, double x, double width, double y, double down_to, int64 from, int64 to);
extern int64 tex_axis_step(int64 span, int steps);
extern void tex_put_number(StringInfo out, double number);
extern void tex_put_clean(StringInfo out, const char *text);
extern double tex_text_width(const char *text, int len, int size);

extern const char *const tex_picture_style;

#endif							/* TEX_SVG_H */
