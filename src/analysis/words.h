/*
 * words.h
 *		Events in words, as people read them.
 */
#ifndef TEX_WORDS_H
#define TEX_WORDS_H

#include "lib/stringinfo.h"

#include "analysis/one_trace.h"

extern const char *tex_event_verb(const TexOneTrace *one, int32 event);
extern void tex_say_event(StringInfo text, const TexOneTrace *one, int32 event);
extern void tex_say_usecs(StringInfo text, int64 usecs);
extern char *tex_take_string(StringInfo text);
extern char *tex_event_words(const TexOneTrace *one, int32 event);
extern char *tex_usecs_words(int64 usecs);
extern char *tex_trace_words(const TexOneTrace *one, int32 trace);

#endif							/* TEX_WORDS_H */
