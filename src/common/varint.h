/*
 * varint.h
 *		Numbers in as few bytes as they need: seven bits a byte, the lowest first, the highest bit set on all but the last.
 */
#ifndef TEX_VARINT_H
#define TEX_VARINT_H

/* A number of 64 bits takes up to so many bytes. */
#define TEX_VARINT_SIZE 10

/* How many bytes a number takes. */
static inline int
tex_varint_length(uint64 value)
{
	int			length = 1;

	while ((value >>= 7) != 0)
		length++;
	return length;
}

/* Writes a number; returns where the next byte goes. */
static inline uint8 *
tex_put_varint(uint8 *to, uint64 value)
{
	for (; value >= 0x80; value >>= 7)
		*to++ = (uint8) (value | 0x80);
	*to++ = (uint8) value;
	return to;
}

/* Reads a number, and moves *next behind it; false where it does not end. */
static inline bool
tex_get_varint(const uint8 **next, const uint8 *end, uint64 *value)
{
	*value = 0;
	for (int shift = 0; shift < 64 && *next < end; shift += 7)
	{
		uint8		byte = *(*next)++;

		*value |= (uint64) (byte & 0x7F) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

/* A signed number as one that is small where it is near zero. */
static inline uint64
tex_zigzag(int64 value)
{
	return ((uint64) value << 1) ^ (value < 0 ? ~UINT64CONST(0) : 0);
}

static inline int64
tex_unzigzag(uint64 value)
{
	return (int64) ((value >> 1) ^ (~(value & 1) + 1));
}

#endif							/* TEX_VARINT_H */
