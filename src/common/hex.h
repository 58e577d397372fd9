/*
 * hex.h
 *		Hexadecimal digits.
 */
#ifndef TEX_HEX_H
#define TEX_HEX_H

/* The value of a digit, or -1. */
static inline int
tex_hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
		c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The value of the four digits of a \u escape, or -1 where they are none, or not that many. */
static inline int
tex_hex4(const char *p, const char *end)
{
	int			code = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		int			digit = tex_hex_digit(p[i]);

		if (digit < 0)
			return -1;
		code = code * 16 + digit;
	}
	return code;
}

#endif							/* TEX_HEX_H */
