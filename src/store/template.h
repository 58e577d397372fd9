/*
 * template.h
 *		What an operation is made in: a text of bounded length, on the stack.
 */
#ifndef TEX_TEMPLATE_H
#define TEX_TEMPLATE_H

/* Operations are keys of rollups: at most this many bytes. */
#define TEX_OPERATION_BYTES 200

typedef struct TexTemplate
{
	int			len;
	bool		full;			/* something did not fit: nothing is added any more */
	char		text[TEX_OPERATION_BYTES];
} TexTemplate;

/* Adds all of it, or nothing where it does not fit. */
static inline bool
tex_template_add(TexTemplate *out, const char *text, size_t len)
{
	if (out->full || len > (size_t) (TEX_OPERATION_BYTES - out->len))
	{
		out->full = true;
		return false;
	}
	memcpy(out->text + out->len, text, len);
	out->len += (int) len;
	return true;
}

extern void tex_template_add_clipped(TexTemplate *out, const char *text, size_t len);
extern void tex_query_template(TexTemplate *out, const char *query, size_t len);

#endif							/* TEX_TEMPLATE_H */
