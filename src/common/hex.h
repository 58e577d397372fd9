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

/* Reads bytes of digits in lower case, as ids of OpenTelemetry are written; false where one is none. */
static inline bool
tex_hex_bytes(const char *text, uint8 *bytes, int n)
{
	for (int i = 0; i < 2 * n; i++)
	{
		int			digit = text[i] >= 'A' && text[i] <= 'F' ? -1 : tex_hex_digit(text[i]);

		if (digit < 0)
			return false;
		bytes[i / 2] = i % 2 == 0 ? digit << 4 : bytes[i / 2] | digit;
	}
	return true;
}

#endif							/* TEX_HEX_H */
