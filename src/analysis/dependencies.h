/*
 * dependencies.h
 *		Which service called which in a trace.
 */
#ifndef TEX_DEPENDENCIES_H
#define TEX_DEPENDENCIES_H

#include "analysis/one_trace.h"
#include "analysis/sink.h"

extern void tex_dependency_rows(const TexOneTrace *one, TexSink *sink);

#endif							/* TEX_DEPENDENCIES_H */
