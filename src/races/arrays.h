/*
 * arrays.h
 *		Arrays with an element an event, a strand or a thread.
 */
#ifndef TEX_ARRAYS_H
#define TEX_ARRAYS_H

#include "utils/memutils.h"

/*
 * An array in the current memory context, whose bytes are all "fill": 0, or 0xff for
 * numbers that are -1 to begin with. Huge, and never empty.
 */
static inline void *
tex_new_array(Size element, int32 n, int fill)
{
	Size		size = element * (Size) Max(n, 1);
	void	   *array = MemoryContextAllocHuge(CurrentMemoryContext, size);

	memset(array, fill, size);
	return array;
}

#endif							/* TEX_ARRAYS_H */
