/*
 * values.h
 *		Names of variables, and values of rows as text.
 */
#ifndef TEX_WATCH_VALUES_H
#define TEX_WATCH_VALUES_H

#include "lib/stringinfo.h"

#include "watch/collect.h"

extern bool tex_watch_row_name(StringInfo name, const TexWatch *watch, const Datum *values, const bool *isnull);
extern void tex_watch_variable(StringInfo variable, const StringInfo row, const TexWatchColumn *column);
extern void tex_watch_value(TexWatchValue *to, const TexWatch *watch, const TexWatchColumn *column,
							const char *variable, Datum value, bool isnull);

#endif							/* TEX_WATCH_VALUES_H */
