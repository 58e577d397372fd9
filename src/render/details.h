/*
 * details.h
 *		All there is to say of events, as text.
 */
#ifndef TEX_DETAILS_H
#define TEX_DETAILS_H

#include "render/spans.h"

extern char **tex_event_details(const TexSpans *spans, const int32 *events, int32 n);

#endif							/* TEX_DETAILS_H */
