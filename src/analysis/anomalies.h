/*
 * anomalies.h
 *		What is odd about a trace.
 */
#ifndef TEX_ANOMALIES_H
#define TEX_ANOMALIES_H

#include "analysis/one_trace.h"
#include "analysis/sink.h"

extern void tex_anomaly_rows(TexOneTrace *one, TexSink *sink);

#endif							/* TEX_ANOMALIES_H */
