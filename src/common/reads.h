/*
 * reads.h
 *		Which relations a query reads, whatever it reads them through.
 */
#ifndef TEX_READS_H
#define TEX_READS_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

/* A collection that is under way; on the stack of who began it, in backend memory. */
typedef struct TexReads
{
	List	   *relations;		/* Oids, each once */
	StringInfoData notices;		/* message and hint of each, ended by zero bytes */
	MemoryContext context;		/* where both grow */
	struct TexReads *outer;		/* what collected when this one began, or NULL */
} TexReads;

extern void tex_reads_init(void);
extern void tex_reads_begin(TexReads *reads);
extern void tex_reads_end(TexReads *reads);
extern bool tex_reads_collecting(void);
extern void tex_note_read(Oid relation);
extern void tex_notice(const char *message, const char *hint);
extern void tex_notices_repeat(const char *notices, Size size);

#endif							/* TEX_READS_H */
