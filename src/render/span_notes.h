/*
 * span_notes.h
 *		What is noted at the bars of a trace: messages and races.  tex_spans_load() does it.
 */
#ifndef TEX_SPAN_NOTES_H
#define TEX_SPAN_NOTES_H

#include "render/spans.h"

extern void tex_spans_load_links(TexSpans *spans);
extern void tex_spans_note_races(TexSpans *spans);

#endif							/* TEX_SPAN_NOTES_H */
