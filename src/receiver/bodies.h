/*
 * bodies.h
 *		The bytes of bodies, from when they come until they are stored.
 */
#ifndef TEX_RECEIVER_BODIES_H
#define TEX_RECEIVER_BODIES_H

/* Of one body; all zero where there is none. */
typedef struct TexBytes
{
	size_t		len;
	char	   *data;			/* the last "kept" bytes of it, after VARHDRSZ bytes for whom it is handed to */
	size_t		kept;
	size_t		room;			/* with these; 0: no memory yet */
	uint16	   *blocks;			/* of the file, which has what comes before; NULL: all is in memory */
	int			block_count;
} TexBytes;

typedef enum TexKeep
{
	TEX_KEPT,
	TEX_TOO_LARGE,				/* longer than a body may be */
	TEX_FULL,					/* other bodies have all that may be had */
	TEX_NO_ROOM					/* memory or the disk does not have it */
} TexKeep;

extern void tex_bodies_start(void);
extern TexKeep tex_bytes_keep(TexBytes *bytes, const char *part, size_t len, size_t expected);
extern bool tex_bytes_load(const TexBytes *bytes, char *to);
extern void tex_bytes_free(TexBytes *bytes);

#endif							/* TEX_RECEIVER_BODIES_H */
