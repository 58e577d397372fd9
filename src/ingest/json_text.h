/*
 * json_text.h
 *		Where things end in a text of JSON, told by brackets and quotes only.
 */
#ifndef TEX_JSON_TEXT_H
#define TEX_JSON_TEXT_H

/* White space of JSON (RFC 8259). */
static inline const char *
tex_json_skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

/* What an escape of one letter stands for; '\0' where there is none of that letter. */
static inline char
tex_json_unescape(char letter)
{
	static const char *const letters = "\"\\/bfnrt";
	static const char *const meant = "\"\\/\b\f\n\r\t";
	const char *at = letter == '\0' ? NULL : strchr(letters, letter);

	return at == NULL ? '\0' : meant[at - letters];
}

extern const char *tex_json_string_end(const char *p, const char *end);
extern const char *tex_json_value_end(const char *p, const char *end, const char **why);

#endif							/* TEX_JSON_TEXT_H */
