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

/*
 * The job finds what is slow in many traces at once (look_through.c), and keeps nothing of what is told
 * of one trace only: a parent that may be on its way, clocks, and times without an event.
 */
typedef enum TexWhichAnomalies
{
	TEX_ALL_ANOMALIES,
	TEX_ANOMALIES_KEPT
} TexWhichAnomalies;

/* Whether a wait for a lock, in microseconds, is worth a word: of so many percent of its trace. */
static inline bool
tex_waited_long(int64 usecs, double percent)
{
	return usecs >= 10000 || (usecs >= 1000 && percent >= 10);
}

extern void tex_anomaly_rows(TexOneTrace *one, TexWhichAnomalies what, TexSink *sink);

#endif							/* TEX_ANOMALIES_H */
