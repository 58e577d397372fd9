/*
 * writes.h
 *		Which relations transactions write, as far as cached results depend on them.
 */
#ifndef TEX_CACHE_WRITES_H
#define TEX_CACHE_WRITES_H

#include "datatype/timestamp.h"

extern void tex_cache_writes_init(void);

extern bool tex_i_wrote(Oid relation);
extern TimestampTz tex_last_write(void);

#endif							/* TEX_CACHE_WRITES_H */
