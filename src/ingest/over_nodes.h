/*
 * over_nodes.h
 *		A batch whose events are on nodes.
 */
#ifndef TEX_OVER_NODES_H
#define TEX_OVER_NODES_H

#include "access/tupdesc.h"
#include "executor/spi.h"
#include "utils/tuplestore.h"

/* The rows of a batch that are of one partition. */
typedef struct TexNodeRows
{
	char	   *node;
	Tuplestorestate *store;
	int64		rows;
} TexNodeRows;

extern TexNodeRows *tex_rows_of_nodes(TupleDesc desc, Tuplestorestate *all, int trace_id, int timestamp, int *n);
extern uint64 tex_insert_again(const TexNodeRows *rows, TupleDesc desc, const char *name);
extern void tex_waited_too_long(const TexNodeRows *rows);

#endif							/* TEX_OVER_NODES_H */
