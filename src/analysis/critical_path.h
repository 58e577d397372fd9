/*
 * critical_path.h
 *		The chain that decided how long a trace took.
 */
#ifndef TEX_CRITICAL_PATH_H
#define TEX_CRITICAL_PATH_H

#include "analysis/one_trace.h"
#include "analysis/sink.h"

typedef enum TexActivity
{
	TEX_WORK,
	TEX_WAIT_FOR_LOCK,
	TEX_WAIT_FOR_TASK,
	TEX_NETWORK,
	TEX_GAP
} TexActivity;

/* A part of the path: what time went by with. */
typedef struct TexSegment
{
	int32		event;			/* or TEX_NO_EVENT: nothing is known of that time */
	TexActivity activity;
	TimestampTz from;
	TimestampTz to;
} TexSegment;

extern TexSegment *tex_critical_path(const TexOneTrace *one, int32 *n);
extern void tex_critical_path_rows(const TexOneTrace *one, TexSink *sink);

#endif							/* TEX_CRITICAL_PATH_H */
