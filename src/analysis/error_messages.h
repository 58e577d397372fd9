/*
 * error_messages.h
 *		What errors say of themselves.
 */
#ifndef TEX_ERROR_MESSAGES_H
#define TEX_ERROR_MESSAGES_H

#include "analysis/one_trace.h"

extern const char *tex_error_message(TexOneTrace *one, int32 event);

#endif							/* TEX_ERROR_MESSAGES_H */
