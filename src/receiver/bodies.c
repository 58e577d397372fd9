/*
 * bodies.c
 *		The bytes of bodies, from when they come until they are stored.
 *
 * Most bodies are short and stay in memory.  What is longer than MOST_IN_MEMORY, or comes while all
 * bodies together have their share of memory, goes on in a file: 48 MB may wait, while the process
 * has 64 MB for everything.  The file has blocks, of which each body has its own, and no name: it
 * is deleted as soon as it is opened, so it goes with the process, however that ends.  Of a body
 * that is there, the last bytes are in memory, so that who sends a byte at a time does not cause a
 * write for each.
 *
 * Called from callbacks of libmicrohttpd as well, so nothing here throws, and memory is malloc()ed.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "common/file_utils.h"
#include "miscadmin.h"
#include "storage/fd.h"

#include "receiver/request.h"

/* A body, and all of them, in memory; what the last bytes of a body in the file may take is beside that. */
#define MOST_IN_MEMORY (1024 * 1024)
#define ALL_IN_MEMORY (4 * 1024 * 1024)
#define TAIL 4096

/* The first memory of a body whose length is not known. */
#define FIRST_ROOM 16384

#define BLOCK 65536
#define BLOCKS (TEX_MOST_BODIES / BLOCK)
#define BODY_BLOCKS (TEX_MOST_BODY / BLOCK)

static int	file = -1;
static bool block_taken[BLOCKS];
static int	blocks_taken = 0;

/* Memory of all bodies that are not in the file. */
static size_t in_memory = 0;

/* What all bodies have: the file's blocks count whole. */
static size_t
buffered(void)
{
	return in_memory + (size_t) blocks_taken * BLOCK;
}

static void
show_buffered(void)
{
	pg_atomic_write_u64(&tex_receiver->buffered, buffered());
}

/*
 * Called once: makes the directory of the server's temporary files, where it would be made at its
 * first use.  What is left there after a crash is taken away when the server starts.
 */
void
tex_bodies_start(void)
{
	(void) mkdir("base/" PG_TEMP_FILES_DIR, pg_dir_create_mode);
}

/* Opens the file, in the data directory, which is where this process is; false where it cannot be had. */
static bool
open_file(void)
{
	char		path[MAXPGPATH];

	if (file >= 0)
		return true;
	snprintf(path, sizeof(path), "base/%s/%s%d.otlp", PG_TEMP_FILES_DIR, PG_TEMP_FILE_PREFIX, MyProcPid);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, pg_file_create_mode);
	if (file >= 0)
		(void) unlink(path);
	return file >= 0;
}

/* Another block for a body; false where there is none. */
static bool
take_block(TexBytes *bytes)
{
	if (bytes->block_count == BODY_BLOCKS || buffered() + BLOCK > TEX_MOST_BODIES)
		return false;
	for (int i = 0; i < BLOCKS; i++)
	{
		if (block_taken[i])
			continue;
		block_taken[i] = true;
		blocks_taken++;
		bytes->blocks[bytes->block_count++] = i;
		return true;
	}
	return false;
}

/* Writes what comes next of a body to its blocks. */
static TexKeep
write_blocks(TexBytes *bytes, size_t at, const char *part, size_t len)
{
	while (len > 0)
	{
		size_t		within = at % BLOCK;
		ssize_t		written;

		if (at / BLOCK == (size_t) bytes->block_count && !take_block(bytes))
			return TEX_FULL;
		written = pwrite(file, part, Min(len, BLOCK - within), (off_t) bytes->blocks[at / BLOCK] * BLOCK + within);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return TEX_NO_ROOM;
		part += written;
		at += written;
		len -= written;
	}
	return TEX_KEPT;
}

/* Writes to the file what is in memory of a body. */
static TexKeep
write_kept(TexBytes *bytes)
{
	TexKeep		result = write_blocks(bytes, bytes->len - bytes->kept, bytes->data + VARHDRSZ, bytes->kept);

	if (result == TEX_KEPT)
		bytes->kept = 0;
	return result;
}

/* Has a body go on in the file. */
static TexKeep
move_to_file(TexBytes *bytes)
{
	TexKeep		result;
	char	   *tail;

	if (!open_file() || (bytes->blocks = malloc(BODY_BLOCKS * sizeof(uint16))) == NULL)
		return TEX_NO_ROOM;
	/* Its memory is free when it is there; else more than all may have would be needed for a moment. */
	in_memory -= bytes->room;
	result = write_kept(bytes);
	if (result != TEX_KEPT)
	{
		in_memory += bytes->room;
		return result;
	}
	tail = malloc(TAIL);
	free(bytes->data);
	bytes->data = tail;
	bytes->room = 0;
	return tail != NULL ? TEX_KEPT : TEX_NO_ROOM;
}

/* Keeps a part of a body that is in the file. */
static TexKeep
keep_in_file(TexBytes *bytes, const char *part, size_t len)
{
	TexKeep		result;

	if (VARHDRSZ + bytes->kept + len <= TAIL)
	{
		memcpy(bytes->data + VARHDRSZ + bytes->kept, part, len);
		bytes->kept += len;
		bytes->len += len;
		return TEX_KEPT;
	}
	result = write_kept(bytes);
	if (result == TEX_KEPT)
		result = write_blocks(bytes, bytes->len, part, len);
	if (result == TEX_KEPT)
		bytes->len += len;
	return result;
}

/* Makes room in memory for more of a body; false where it has to go to the file. */
static bool
make_room(TexBytes *bytes, size_t len, size_t expected)
{
	size_t		needed = VARHDRSZ + bytes->len + len;
	size_t		room = Max(Max(needed, 2 * bytes->room), FIRST_ROOM);
	char	   *data;

	if (needed <= bytes->room)
		return true;
	/* More than was announced is not sent. */
	if (expected >= bytes->len + len)
		room = Min(room, VARHDRSZ + expected);
	if (Max(needed, expected) > MOST_IN_MEMORY || in_memory - bytes->room + room > ALL_IN_MEMORY ||
		buffered() - bytes->room + room > TEX_MOST_BODIES)
		return false;
	data = realloc(bytes->data, room);
	if (data == NULL)
		return false;
	in_memory += room - bytes->room;
	bytes->data = data;
	bytes->room = room;
	return true;
}

/*
 * Keeps a part of a body, which is "expected" long; 0: that is not known.  What is not kept ends
 * the body: it is to be freed.
 */
TexKeep
tex_bytes_keep(TexBytes *bytes, const char *part, size_t len, size_t expected)
{
	TexKeep		result = TEX_KEPT;

	if (len > TEX_MOST_BODY - bytes->len)
		return TEX_TOO_LARGE;
	if (bytes->blocks == NULL && make_room(bytes, len, expected))
	{
		memcpy(bytes->data + VARHDRSZ + bytes->len, part, len);
		bytes->len += len;
		bytes->kept += len;
	}
	else
	{
		if (bytes->blocks == NULL)
			result = move_to_file(bytes);
		if (result == TEX_KEPT)
			result = keep_in_file(bytes, part, len);
	}
	show_buffered();
	return result;
}

/* Copies a body to where there is room for all of it; false where the file cannot be read, with errno set. */
bool
tex_bytes_load(const TexBytes *bytes, char *to)
{
	size_t		in_file = bytes->len - bytes->kept;

	memcpy(to + in_file, bytes->data + VARHDRSZ, bytes->kept);
	for (size_t at = 0; at < in_file;)
	{
		size_t		within = at % BLOCK;
		ssize_t		n = pread(file, to + at, Min(in_file - at, BLOCK - within), (off_t) bytes->blocks[at / BLOCK] * BLOCK + within);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			if (n == 0)
				errno = EIO;
			return false;
		}
		at += n;
	}
	return true;
}

/* Gives a body back; called as soon as nobody needs it. */
void
tex_bytes_free(TexBytes *bytes)
{
	for (int i = 0; i < bytes->block_count; i++)
		block_taken[bytes->blocks[i]] = false;
	blocks_taken -= bytes->block_count;
	/* Where that fails the file only keeps its room on disk. */
	if (bytes->block_count > 0 && blocks_taken == 0 && ftruncate(file, 0) != 0)
		errno = 0;
	free(bytes->blocks);
	free(bytes->data);
	in_memory -= bytes->room;
	memset(bytes, 0, sizeof(*bytes));
	show_buffered();
}
