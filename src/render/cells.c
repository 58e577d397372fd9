/*
 * cells.c
 *		Lines of text for a terminal, made column by column.
 *
 * Columns are counted as they are shown; colours take none.  What is put is clean
 * (text.c) and is cut where there is no room for it.
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#include "render/cells.h"
#include "render/text.h"

static const TexGlyphs utf8_glyphs = {
	.inner = "├─ ",.last = "└─ ",.beside = "│  ",.deep = "⋯",
	.point = "·",.cut = "…",.to = "→",.from = "←",.moment = "▏",.light = "░",
	.eighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"},
	.sparks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
};

/* Half a column or more is one. */
static const TexGlyphs ascii_glyphs = {
	.inner = "|- ",.last = "`- ",.beside = "|  ",.deep = ">",
	.point = "*",.cut = "~",.to = ">",.from = "<",.moment = "|",.light = ":",
	.eighths = {"", "|", "|", "|", "#", "#", "#", "#", "#"},
	.sparks = {"_", ".", ":", "-", "=", "+", "*", "#"},
};

/* The first unit in which a trace is less than a number long. */
static const struct
{
	int64		less_than;
	TexUnit		unit;
}			units[] =
{
	{INT64CONST(1000), {"us", 1, 0}},
	{INT64CONST(10000000), {"ms", 1e3, 2}},
	{INT64CONST(600000000), {"s", 1e6, 2}},
	{INT64CONST(36000000000), {"min", 6e7, 2}},
	{INT64CONST(864000000000), {"h", 3.6e9, 2}},
	{PG_INT64_MAX, {"days", 8.64e10, 2}},
};

/* By ink; what has no colour of its own takes one of those at the end by its name. */
static const char *const inks[] = {
	[TEX_INK_STRONG] = "1", [TEX_INK_FAINT] = "2", [TEX_INK_ALARM] = "1;31",
	[TEX_INK_FIRST] = "36", "32", "35", "34", "33", "96", "92", "95"
};

/* Whether both ends of the line to the client have the glyphs. */
static bool
has_utf8(void)
{
	return GetDatabaseEncoding() == PG_UTF8 && pg_get_client_encoding() == PG_UTF8;
}

/* What to draw with. */
const TexGlyphs *
tex_glyphs(void)
{
	return has_utf8() ? &utf8_glyphs : &ascii_glyphs;
}

/* How many columns a text takes. */
int
tex_width(const char *text)
{
	return tex_display_width(text, strlen(text));
}

/* Begins a picture of something that took some time. */
void
tex_cells_begin(TexCells *cells, int64 usecs, bool color)
{
	int			i = 0;

	while (i < (int) lengthof(units) - 1 && usecs >= units[i].less_than)
		i++;
	cells->unit = &units[i].unit;
	cells->glyphs = tex_glyphs();
	cells->color = color;
	/* A client that has not the characters of the database would get an error for them. */
	cells->plain = GetDatabaseEncoding() == PG_SQL_ASCII ||
		(pg_get_client_encoding() != GetDatabaseEncoding() && pg_get_client_encoding() != PG_UTF8);
	cells->column = 0;
	initStringInfo(&cells->line);
}

/* The colour of a name: the same one each time. */
TexInk
tex_ink_of(const char *name)
{
	return TEX_INK_FIRST + hash_bytes((const unsigned char *) name, strlen(name)) % (lengthof(inks) - TEX_INK_FIRST);
}

/* The text with a question mark for each character beyond ASCII. */
static char *
make_plain(const char *text)
{
	StringInfoData plain;

	initStringInfo(&plain);
	for (const char *at = text; *at; at += pg_mblen(at))
		appendStringInfoChar(&plain, (*at & 0x80) ? '?' : *at);
	return plain.data;
}

/* Adds clean text, cut at a number of columns; the last one says so. */
static int
put_clipped(const TexCells *cells, StringInfo to, const char *text, int width)
{
	const char *shown = cells->plain ? make_plain(text) : text;
	int			len = strlen(shown);
	int			taken;
	int			bytes = tex_clip_width(shown, len, Max(0, width), &taken);

	if (bytes < len && width > 0)
	{
		bytes = tex_clip_width(shown, len, width - 1, &taken);
		appendBinaryStringInfo(to, shown, bytes);
		appendStringInfoString(to, cells->glyphs->cut);
		return taken + 1;
	}
	appendBinaryStringInfo(to, shown, bytes);
	return taken;
}

/* Adds what a client sent, cleaned and cut at a number of columns. */
void
tex_cells_clip(const TexCells *cells, StringInfo to, const char *text, int width)
{
	StringInfoData clean;

	initStringInfo(&clean);
	tex_clean(&clean, text, strlen(text), TEX_LONGEST_LABEL);
	put_clipped(cells, to, clean.data, width);
	pfree(clean.data);
}

/* Puts what is drawn, in a colour; it takes no columns of its own. */
static void
begin_ink(TexCells *cells, TexInk ink)
{
	if (cells->color && ink != TEX_INK_NONE)
		appendStringInfo(&cells->line, "\033[%sm", inks[ink]);
}

static void
end_ink(TexCells *cells, TexInk ink)
{
	if (cells->color && ink != TEX_INK_NONE)
		appendStringInfoString(&cells->line, "\033[0m");
}

/* Adds clean text to the line, in at most some columns. */
void
tex_cells_put(TexCells *cells, TexInk ink, const char *text, int width)
{
	if (text[0] == '\0' || width <= 0)
		return;
	begin_ink(cells, ink);
	cells->column += put_clipped(cells, &cells->line, text, width);
	end_ink(cells, ink);
}

/* Blanks up to a column. */
void
tex_cells_pad(TexCells *cells, int column)
{
	if (column <= cells->column)
		return;
	appendStringInfoSpaces(&cells->line, column - cells->column);
	cells->column = column;
}

/* Where a time is, in eighths of a column. */
static int
eighths_of(int width, int64 all, int64 at)
{
	double		part = all > 0 ? (double) at / all : 0;

	return (int) rint(Min(1.0, Max(0.0, part)) * width * 8);
}

/* In which column of a width a moment is. */
int
tex_cells_moment(int width, int64 all, int64 at)
{
	return Min(width - 1, eighths_of(width, all, at) / 8);
}

/*
 * Adds a bar, from one time to another of all the time that fills a width; after "inside" it is
 * drawn light.  Blocks fill a column from the left, so a bar begins at the nearest column
 * and ends to the eighth; one that is shorter than a column has that length in the
 * column in which it begins.
 */
void
tex_cells_bar(TexCells *cells, int width, int64 all, int64 from, int64 to, int64 inside, TexInk ink)
{
	int			start = eighths_of(width, all, from);
	int			end = eighths_of(width, all, to);
	int			light = (eighths_of(width, all, inside) + 4) / 8;
	int			begin = (start + 4) / 8;
	int			length = end - begin * 8;

	if (end - start < 8 || length <= 0)
	{
		begin = tex_cells_moment(width, all, from);
		length = Min(8, Max(1, end - start));
	}
	tex_cells_pad(cells, cells->column + begin);
	begin_ink(cells, ink);
	for (; length > 0; length -= 8, begin++)
	{
		bool		is_light = inside < to && begin >= light && length >= 8;

		appendStringInfoString(&cells->line, to == from ? cells->glyphs->moment :
							   is_light ? cells->glyphs->light : cells->glyphs->eighths[Min(8, length)]);
		cells->column++;
	}
	end_ink(cells, ink);
}

/* The line is complete; blanks at its end go. */
void
tex_cells_end(TexCells *cells, TexSink *sink)
{
	while (cells->line.len > 0 && cells->line.data[cells->line.len - 1] == ' ')
		cells->line.data[--cells->line.len] = '\0';
	tex_sink_text(sink, cells->line.data);
	tex_sink_end_row(sink);
	resetStringInfo(&cells->line);
	cells->column = 0;
}

/* A time in the unit of the picture, without that. */
char *
tex_cells_number(const TexCells *cells, int64 usecs, int digits)
{
	return psprintf("%.*f", cells->unit->digits == 0 ? 0 : digits, usecs / cells->unit->usecs);
}

/* The longest time that would be shown as 0. */
int64
tex_cells_least(const TexCells *cells, int digits)
{
	return (int64) (cells->unit->usecs * pow(10, cells->unit->digits == 0 ? 0 : -digits) / 2);
}

/* The same with the unit; what would be shown as zero is said to be less. */
char *
tex_cells_usecs(const TexCells *cells, int64 usecs)
{
	const TexUnit *unit = cells->unit;
	double		least = pow(10, -unit->digits);

	if (usecs > 0 && usecs / unit->usecs < least / 2)
		return psprintf("<%.*f %s", unit->digits, least, unit->name);
	return psprintf("%s %s", tex_cells_number(cells, usecs, unit->digits), unit->name);
}
