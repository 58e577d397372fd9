/*
 * anomalies.h
 *		What is odd about a trace.
 */
#ifndef TEX_ANOMALIES_H
#define TEX_ANOMALIES_H

#include "analysis/one_trace.h"
#include "analysis/sink.h"

/* Like queries under one event that are too many. */
#define TEX_FEWEST_QUERIES	5

/* A wait for a lock that is worth a word, however long the trace; or if it is so many percent of it. */
#define TEX_LONG_WAIT		INT64CONST(10000)
#define TEX_SHORTEST_WAIT	INT64CONST(1000)
#define TEX_LARGE_WAIT		10

extern void tex_anomaly_rows(TexOneTrace *one, TexSink *sink);
extern void tex_odd_rows(TexHistory *history, const pg_uuid_t *trace_id, TexSink *sink);

#endif							/* TEX_ANOMALIES_H */
