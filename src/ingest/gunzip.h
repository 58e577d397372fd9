/*
 * gunzip.h
 *		Unpacks bodies that were sent with gzip.
 */
#ifndef TEX_GUNZIP_H
#define TEX_GUNZIP_H

extern PGDLLEXPORT bool tex_is_gzip(const char *data, int len);
extern PGDLLEXPORT char *tex_gunzip(const char *data, int len, int limit, int *unpacked);

#endif							/* TEX_GUNZIP_H */
