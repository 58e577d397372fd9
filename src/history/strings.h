/*
 * strings.h
 *		Strings by number: equal strings get the same small number.
 */
#ifndef TEX_STRINGS_H
#define TEX_STRINGS_H

typedef struct TexStrings TexStrings;

/* The number of an absent string. */
#define TEX_NO_NAME (-1)

extern TexStrings *tex_strings_create(void);
extern int32 tex_strings_add(TexStrings *names, const char *text, int len);
extern const char *tex_strings_text(const TexStrings *names, int32 number);
extern int	tex_strings_len(const TexStrings *names, int32 number);
extern int32 tex_strings_count(const TexStrings *names);

#endif							/* TEX_STRINGS_H */
