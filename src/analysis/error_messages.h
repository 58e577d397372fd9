/*
 * error_messages.h
 *		What errors say of themselves.
 */
#ifndef TEX_ERROR_MESSAGES_H
#define TEX_ERROR_MESSAGES_H

#include "analysis/one_trace.h"

extern char **tex_error_messages(const TexOneTrace *one, const int32 *errors, int32 n, int32 longest);

#endif							/* TEX_ERROR_MESSAGES_H */
