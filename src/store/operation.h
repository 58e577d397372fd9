/*
 * operation.h
 *		The operation of an event: its name as a template.
 */
#ifndef TEX_OPERATION_H
#define TEX_OPERATION_H

#include "common/event.h"

extern text *tex_operation(TexKind kind, text *name);

#endif							/* TEX_OPERATION_H */
