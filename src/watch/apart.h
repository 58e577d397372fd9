/*
 * apart.h
 *		Which traces of sessions cannot be in a finding, as far as the accesses tell that went through
 *		this process.
 */
#ifndef TEX_WATCH_APART_H
#define TEX_WATCH_APART_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* A trace, until the next batch begins. */
typedef struct TexApartTrace TexApartTrace;

extern void tex_apart_begin(void);
extern void tex_apart_forget(void);
extern TexApartTrace *tex_apart_statement(const pg_uuid_t *trace, bool own, TimestampTz began);
extern void tex_apart_access(TexApartTrace *trace, const char *variable, int len, bool writes,
							 TimestampTz began, TimestampTz visible_at);
extern void tex_apart_lock(TexApartTrace *trace);

#endif							/* TEX_WATCH_APART_H */
