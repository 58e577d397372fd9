/*
 * computed.h
 *		Which columns a statement computes from themselves.
 */
#ifndef TEX_WATCH_COMPUTED_H
#define TEX_WATCH_COMPUTED_H

#include "nodes/plannodes.h"

/* A column that a statement computes from itself. */
typedef struct TexComputed
{
	Oid			relation;		/* that the statement names, or a partition */
	AttrNumber	attribute;
} TexComputed;

extern List *tex_computed_columns(const PlannedStmt *plan);
extern bool tex_is_computed(const List *computed, Oid relation, AttrNumber attribute, const char *name);

#endif							/* TEX_WATCH_COMPUTED_H */
