/*
 * computed.h
 *		Which columns a statement computes from themselves.
 */
#ifndef TEX_WATCH_COMPUTED_H
#define TEX_WATCH_COMPUTED_H

#include "nodes/plannodes.h"

extern List *tex_computed_columns(const PlannedStmt *plan);

#endif							/* TEX_WATCH_COMPUTED_H */
