/*
 * escape.h
 *		Texts in the languages that pictures and pages are written in.
 */
#ifndef TEX_ESCAPE_H
#define TEX_ESCAPE_H

#include "lib/stringinfo.h"

extern void tex_put_xml(StringInfo out, const char *text);
extern void tex_put_dot(StringInfo out, const char *text);
extern void tex_put_frame(StringInfo out, const char *text);

#endif							/* TEX_ESCAPE_H */
