/*
 * page.h
 *		Pages: what is common to all of them.
 */
#ifndef TEX_PAGE_H
#define TEX_PAGE_H

#include "lib/stringinfo.h"

extern void tex_page_begin(StringInfo out, const char *title, const char *facts);
extern void tex_page_end(StringInfo out);
extern void tex_page_section(StringInfo out, const char *heading);
extern void tex_page_text(StringInfo out, const char *tag, const char *text);
extern void tex_page_cell(StringInfo out, const char *text);
extern uint64 tex_page_table(StringInfo out, const char *query, int nargs, Oid *types, Datum *values, const char *unless);

#endif							/* TEX_PAGE_H */
