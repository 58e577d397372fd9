/*
 * anomalies.h
 *		What is odd about a trace.
 */
#ifndef TEX_ANOMALIES_H
#define TEX_ANOMALIES_H

#include "analysis/one_trace.h"
#include "analysis/sink.h"

/* Who looks at many traces finds what is slow in all of them at once. */
typedef enum TexWhichAnomalies
{
	TEX_ALL_ANOMALIES,
	TEX_ANOMALIES_BUT_SLOW
} TexWhichAnomalies;

extern void tex_anomaly_rows(TexOneTrace *one, TexWhichAnomalies what, TexSink *sink);

#endif							/* TEX_ANOMALIES_H */
