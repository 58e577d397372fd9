/*
 * trace_tree.h
 *		A trace as a tree.
 */
#ifndef TEX_TRACE_TREE_H
#define TEX_TRACE_TREE_H

#include "analysis/one_trace.h"
#include "analysis/sink.h"

/* Columns that more than one function begins a row with. */
extern void tex_sink_event(TexSink *sink, const TexOneTrace *one, int32 event);
extern int32 *tex_by_start(const TexOneTrace *one);
extern void tex_tree_rows(const TexOneTrace *one, const int32 *parent, TexSink *sink);

#endif							/* TEX_TRACE_TREE_H */
