/*
 * cells.h
 *		Lines of text for a terminal, made column by column.
 */
#ifndef TEX_CELLS_H
#define TEX_CELLS_H

#include "analysis/sink.h"
#include "lib/stringinfo.h"

/* What lines are drawn with: strings of a known width. */
typedef struct TexGlyphs
{
	const char *inner;			/* branches of a tree, three columns each */
	const char *last;
	const char *beside;
	const char *deep;			/* before the depth of what is deeper than is drawn */
	const char *point;			/* one column each: what happened at a moment */
	const char *cut;			/* there is more of it */
	const char *to;				/* to another trace */
	const char *from;
	const char *moment;			/* a bar of no length */
	const char *light;			/* what is beyond */
	const char *eighths[9];		/* of a bar's last column; [8]: all of it */
	const char *sparks[8];
} TexGlyphs;

/* A unit of time in which all of a picture is. */
typedef struct TexUnit
{
	const char *name;
	double		usecs;
	int			digits;			/* behind the point */
} TexUnit;

typedef enum TexInk
{
	TEX_INK_NONE,
	TEX_INK_STRONG,
	TEX_INK_FAINT,
	TEX_INK_ALARM,
	TEX_INK_FIRST				/* and the colours from there on */
} TexInk;

typedef struct TexCells
{
	const TexGlyphs *glyphs;
	const TexUnit *unit;
	bool		color;
	bool		plain;			/* of what clients sent, only ASCII is shown */
	StringInfoData line;
	int			column;			/* where the line is */
} TexCells;

extern const TexGlyphs *tex_glyphs(void);
extern int	tex_width(const char *text);
extern void tex_cells_begin(TexCells *cells, int64 usecs, bool color);
extern TexInk tex_ink_of(const char *name);
extern void tex_cells_clip(const TexCells *cells, StringInfo to, const char *text, int width);
extern void tex_cells_put(TexCells *cells, TexInk ink, const char *text, int width);
extern void tex_cells_pad(TexCells *cells, int column);
extern int	tex_cells_moment(int width, int64 all, int64 at);
extern void tex_cells_bar(TexCells *cells, int width, int64 all, int64 from, int64 to, int64 inside, TexInk ink);
extern void tex_cells_end(TexCells *cells, TexSink *sink);
extern char *tex_cells_usecs(const TexCells *cells, int64 usecs);
extern char *tex_cells_number(const TexCells *cells, int64 usecs, int digits);
extern int64 tex_cells_least(const TexCells *cells, int digits);

#endif							/* TEX_CELLS_H */
