/*
 * data_version.h
 *		Whether what can be seen changed.
 */
#ifndef TEX_DATA_VERSION_H
#define TEX_DATA_VERSION_H

#include "executor/tuptable.h"
#include "nodes/bitmapset.h"

extern bool tex_same_row(TupleTableSlot *a, TupleTableSlot *b, const Bitmapset *ignored);

#endif							/* TEX_DATA_VERSION_H */
