/*
 * waterfall.h
 *		The lines of waterfall(): which there are (waterfall_rows.c) and how they are
 *		drawn (waterfall.c).
 */
#ifndef TEX_WATERFALL_H
#define TEX_WATERFALL_H

#include "nodes/pg_list.h"

#include "render/cells.h"
#include "render/spans.h"

#define TEX_VALUE_WIDTH		24	/* columns of a value */
#define TEX_STEP_WIDTH		28	/* ... of a name within a sentence */

/* A line to be, or one and the notes below it. */
typedef struct TexWaterfallRow
{
	int32		span;			/* the bar, or the one of which it says something */
	const TexMark *mark;		/* NULL: the bar itself */
	bool		is_bar;			/* neither a mark nor what is left out */
	char	   *branches;		/* before the label */
	char	   *below;			/* ... in the lines below it */
	const char *verb;			/* before the label, of an access: what it did; or NULL */
	char	   *label;
	char	   *value;			/* after the label, when that is cut; or NULL */
	char	   *took;			/* how long, or NULL */
	List	   *notes;			/* strings; the first ones beside the bar, if there is room */
} TexWaterfallRow;

typedef struct TexWaterfall
{
	const TexSpans *spans;
	TexCells	cells;			/* glyphs, colour, and the line that is drawn */
	TexSink    *sink;
	bool		accesses;
	int			width;
	int			service_width;
	int			label_width;
	int			bar_width;
	int			took_width;
	int			notes_width;
	int			most_levels;	/* of the tree that are drawn */
	bool	   *shown;			/* of each bar */
	int32	   *last_shown;		/* of each bar: its last child that is shown */
	int32	   *left_out;		/* of each bar: how many bars below it are not, not counted at one that is shown */
	bool	   *more;			/* by depth: comes there another line of the same list? */
	TexWaterfallRow *rows;
	int32		nrows;
	int32		rows_room;
	int32		nmarks;			/* marks that are shown */
	int64		marks_left_out;
	int32		last_service;	/* that was written in its column; -2: none yet */
} TexWaterfall;

extern void tex_waterfall_rows(TexWaterfall *w);
extern char *tex_waterfall_clip(const TexWaterfall *w, const char *text, int width);
extern const char *tex_waterfall_trace(const TexWaterfall *w, int32 event);

#endif							/* TEX_WATERFALL_H */
