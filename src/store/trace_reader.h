/*
 * trace_reader.h
 *		The events of one trace after another, read by the keys of their partitions.
 */
#ifndef TEX_TRACE_READER_H
#define TEX_TRACE_READER_H

#include "utils/uuid.h"

/* Reads in the snapshot it was made in. */
typedef struct TexTraceReader TexTraceReader;

/*
 * Called for each event, with the columns that were asked for in their order, in a memory
 * context that lasts for the event, as the values do.
 */
typedef void (*TexEventCallback) (const Datum *values, const bool *isnull, void *arg);

extern TexTraceReader *tex_trace_reader_create(const char *const *columns, int count);
extern void tex_trace_reader_run(TexTraceReader *reader, const pg_uuid_t *trace_id,
								 TexEventCallback each, void *arg);
extern void tex_trace_reader_run_event(TexTraceReader *reader, const pg_uuid_t *trace_id, const pg_uuid_t *id,
									   TexEventCallback each, void *arg);

#endif							/* TEX_TRACE_READER_H */
