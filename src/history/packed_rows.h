/*
 * packed_rows.h
 *		Rows of tex_load_query on their way from a node (pack_rows.c) to its router (unpack_rows.c).
 *
 * Through a foreign table an event is some 450 bytes of text in 18 columns, each of which is read by an input
 * function; that was most of what races cost on a router.  Nearly all of it has been said before: a trace has one id, its
 * events few names, places and threads, and their parents are events that came just before.  So a node sends the
 * rows in chunks.  In a chunk each string and id is written once and then named by its number; times
 * are differences, numbers take as many bytes as they need, and of attributes come those that
 * somebody looks at.  A chunk is base64, as what a call answers is text.
 *
 * A chunk has rows, column by column in the order of tex_load_query.
 *
 *		number			as common/varint.h has it; a signed one zigzag
 *		string			number 0: NULL; 1: a new one, its length and its bytes; else 2 + its place among those
 *		other value		number 0: NULL; else as the function says that writes it
 *
 * A router and its nodes are of one version and one encoding (add_node() sees to it), so there is no other form.
 */
#ifndef TEX_PACKED_ROWS_H
#define TEX_PACKED_ROWS_H

#include "utils/uuid.h"

/* How a string begins. */
enum
{
	TEX_STRING_NULL, TEX_STRING_NEW,
	TEX_STRING_KNOWN			/* and all after it: which one */
};

/* What an attribute is. */
enum
{
	TEX_ATTRIBUTE_NULL, TEX_ATTRIBUTE_FALSE, TEX_ATTRIBUTE_TRUE,
	TEX_ATTRIBUTE_NUMBER,		/* and all after it: a string follows */
	TEX_ATTRIBUTE_STRING, TEX_ATTRIBUTE_JSON
};

/* The attributes that a history reads; trace_rows.c asserts that it reads no other. */
#define TEX_SENT_ATTRIBUTES 17
extern const char *const tex_sent_attributes[TEX_SENT_ATTRIBUTES];
extern bool tex_attribute_is_sent(const char *key);

/* Takes a row, as tex_load_query has them. What it is given and what it allocates is gone after it. */
typedef void (*TexPackedCallback) (const Datum *values, const bool *isnull, void *arg);

extern bool tex_rows_come_packed(void);
extern void tex_query_nodes(const pg_uuid_t *ids, int n, TexPackedCallback each, void *arg);

#endif							/* TEX_PACKED_ROWS_H */
