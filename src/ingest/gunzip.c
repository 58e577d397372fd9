/*
 * gunzip.c
 *		Unpacks bodies that were sent with gzip.
 *
 * Memory grows with what was unpacked, not with what the body says of itself, and never beyond
 * the limit: a bomb is refused while it is unpacked.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "ingest/gunzip.h"

#ifdef TEX_HAVE_ZLIB
#include <zlib.h>
#endif

/* The window of gzip, and that it is gzip. */
#define WINDOW_BITS (15 + 16)

/* Do the bytes begin as those of gzip do? */
bool
tex_is_gzip(const char *data, int len)
{
	return len >= 2 && (unsigned char) data[0] == 0x1F && (unsigned char) data[1] == 0x8B;
}

#ifdef TEX_HAVE_ZLIB

/* zlib's memory is that of the call, so an error needs no clean-up. */
static void *
allocate(void *opaque, unsigned int items, unsigned int size)
{
	return palloc_extended((Size) items * size, MCXT_ALLOC_NO_OOM);
}

static void
release(void *opaque, void *address)
{
	pfree(address);
}

/* Throws for what is not gzip. */
static void
not_gzip(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("the body cannot be unpacked"),
			 errdetail("%s", detail)));
}

/* Makes room for more, up to one byte beyond the limit, which says that it is passed. */
static char *
grow(char *buffer, int limit, int used, int *room)
{
	if (used > limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the body is longer than trace_ext.otlp_max_size (%d bytes) when it is unpacked", limit)));
	*room = (int) Min((int64) *room * 2, (int64) limit + 1);
	return (char *) repalloc(buffer - VARHDRSZ, VARHDRSZ + *room) + VARHDRSZ;
}

/*
 * Unpacks gzip, of one or more members, in the current memory context, which has VARHDRSZ bytes
 * for the caller before what is returned.  Throws where it is damaged, cut off, or longer than the
 * limit.
 */
char *
tex_gunzip(const char *data, int len, int limit, int *unpacked)
{
	z_stream	stream = {.next_in = (Bytef *) data,.avail_in = len,.zalloc = allocate,.zfree = release};
	int			room = Min(65536, limit + 1);
	char	   *buffer = (char *) palloc(VARHDRSZ + room) + VARHDRSZ;
	int			used = 0;
	int			result;

	if (inflateInit2(&stream, WINDOW_BITS) != Z_OK)
		not_gzip("zlib could not be set up.");
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (used == room)
			buffer = grow(buffer, limit, used, &room);
		stream.next_out = (Bytef *) buffer + used;
		stream.avail_out = room - used;
		result = inflate(&stream, Z_NO_FLUSH);
		used = room - stream.avail_out;
		if (result == Z_STREAM_END && stream.avail_in > 0)
			result = inflateReset(&stream);
		else if (result == Z_OK && stream.avail_in == 0 && stream.avail_out > 0)
			not_gzip("It is cut off.");
		if (result != Z_OK && result != Z_STREAM_END && !(result == Z_BUF_ERROR && stream.avail_out == 0))
			not_gzip(result == Z_BUF_ERROR ? "It is cut off." : "It is not valid gzip.");
	} while (result != Z_STREAM_END);
	inflateEnd(&stream);
	if (used > limit)
		(void) grow(buffer, limit, used, &room);
	*unpacked = used;
	return buffer;
}

#else

char *
tex_gunzip(const char *data, int len, int limit, int *unpacked)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("bodies of gzip are not supported by this build"),
			 errhint("Build trace_ext where zlib.h is, or send bodies without gzip.")));
	return NULL;				/* keep the compiler quiet */
}

#endif
