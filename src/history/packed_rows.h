/*
 * packed_rows.h
 *		Rows of tex_load_query on their way from a node to its router.
 */
#ifndef TEX_PACKED_ROWS_H
#define TEX_PACKED_ROWS_H

#include "utils/uuid.h"

/* Takes a row, as tex_load_query has them. What it is given and what it allocates is gone after it. */
typedef void (*TexPackedCallback) (const Datum *values, const bool *isnull, void *arg);

extern bool tex_attribute_is_sent(const char *key);
extern bool tex_rows_come_packed(void);
extern void tex_query_nodes(const pg_uuid_t *ids, int n, TexPackedCallback each, void *arg);

#endif							/* TEX_PACKED_ROWS_H */
