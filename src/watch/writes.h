/*
 * writes.h
 *		The row trigger of watched tables.
 */
#ifndef TEX_WATCH_WRITES_H
#define TEX_WATCH_WRITES_H

extern bool tex_is_watch_function(Oid function);

#endif							/* TEX_WATCH_WRITES_H */
