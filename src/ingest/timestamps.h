/*
 * timestamps.h
 *		Reads the timestamps of clients.
 */
#ifndef TEX_TIMESTAMPS_H
#define TEX_TIMESTAMPS_H

#include "datatype/timestamp.h"

extern bool tex_parse_timestamp(const char *text, int len, TimestampTz *timestamp, int *nanoseconds);

#endif							/* TEX_TIMESTAMPS_H */
