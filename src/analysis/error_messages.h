/*
 * error_messages.h
 *		What errors say of themselves.
 */
#ifndef TEX_ERROR_MESSAGES_H
#define TEX_ERROR_MESSAGES_H

#include "analysis/one_trace.h"
#include "store/trace_reader.h"

extern const char *tex_error_message(TexOneTrace *one, int32 event);
extern TexTraceReader *tex_error_message_reader(void);
extern void tex_read_error_messages(TexOneTrace *one, TexTraceReader *reader, const int32 *errors, int32 n);

#endif							/* TEX_ERROR_MESSAGES_H */
