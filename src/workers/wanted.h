/*
 * wanted.h
 *		Which commands want a database for themselves.
 */
#ifndef TEX_WANTED_H
#define TEX_WANTED_H

#include "nodes/nodes.h"
#include "tcop/utility.h"

extern Oid	tex_database_wanted_by(Node *stmt, ProcessUtilityContext context);

#endif							/* TEX_WANTED_H */
