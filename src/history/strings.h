/*
 * strings.h
 *		Strings by number: equal strings get the same small number.
 */
#ifndef TEX_STRINGS_H
#define TEX_STRINGS_H

typedef struct TexNames TexNames;

/* The number of an absent string. */
#define TEX_NO_NAME (-1)

extern TexNames *tex_names_create(void);
extern int32 tex_names_add(TexNames *names, const char *text, int len);
extern const char *tex_names_text(const TexNames *names, int32 number);
extern int	tex_names_len(const TexNames *names, int32 number);
extern int32 tex_names_count(const TexNames *names);

#endif							/* TEX_STRINGS_H */
