/*
 * record.h
 *		What a committed transaction puts into the ring: numbers, texts and ids one after the
 *		other, as collect.c writes and store.c reads them, in one process memory each.
 */
#ifndef TEX_WATCH_RECORD_H
#define TEX_WATCH_RECORD_H

#include "lib/stringinfo.h"

/* Where the time stands by which everybody sees the transaction. */
#define TEX_RECORD_VISIBLE_AT sizeof(int64)

/* Where the id of a prepared transaction stands; 0: it has committed. */
#define TEX_RECORD_PREPARED (2 * sizeof(int64))

/* Whose trace a statement belongs to. */
enum
{
	TEX_RECORD_OF_SESSION, TEX_RECORD_TRACED, TEX_RECORD_OF_TRANSACTION
};

/* A record that is being read. */
typedef struct TexRecordReader
{
	const char *next;
} TexRecordReader;

static inline void
tex_put_bytes(StringInfo to, const void *bytes, int len)
{
	/* By hand: most are numbers, and a transaction has dozens. */
	if (unlikely(to->len + len >= to->maxlen))
		enlargeStringInfo(to, len);
	memcpy(to->data + to->len, bytes, len);
	to->len += len;
}

static inline void
tex_put_int(StringInfo to, int64 number)
{
	tex_put_bytes(to, &number, sizeof(number));
}

static inline void
tex_set_int(StringInfo to, int at, int64 number)
{
	memcpy(to->data + at, &number, sizeof(number));
}

static inline void
tex_put_text(StringInfo to, const char *text, int len)
{
	tex_put_int(to, len);
	if (len > 0)
		tex_put_bytes(to, text, len);
}

static inline const void *
tex_get_bytes(TexRecordReader *from, int len)
{
	const char *bytes = from->next;

	from->next += len;
	return bytes;
}

static inline int64
tex_get_int(TexRecordReader *from)
{
	int64		number;

	memcpy(&number, tex_get_bytes(from, sizeof(number)), sizeof(number));
	return number;
}

static inline const char *
tex_get_text(TexRecordReader *from, int *len)
{
	*len = (int) tex_get_int(from);
	return tex_get_bytes(from, *len);
}

#endif							/* TEX_WATCH_RECORD_H */
