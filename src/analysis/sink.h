/*
 * sink.h
 *		Where the rows of a function of this room go: to its caller, or into a document.
 */
#ifndef TEX_SINK_H
#define TEX_SINK_H

#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/jsonb.h"

#define TEX_MOST_COLUMNS 16

/* A document that is being made, in a memory context of its own. */
typedef struct TexDocument
{
	MemoryContext context;
	JsonbParseState *state;
} TexDocument;

typedef struct TexSink
{
	TupleDesc	desc;
	Tuplestorestate *store;		/* of the caller, or NULL */
	bool		own_store;		/* ... or its own, of which nobody is told that it is cut */
	struct TexDocument *document;	/* where they become an array, or NULL */
	int64		n;				/* rows taken */
	int64		most;			/* that are to be taken */
	int			column;			/* of the row that is being made: the next one */
	Datum		values[TEX_MOST_COLUMNS];
	bool		isnull[TEX_MOST_COLUMNS];
} TexSink;

extern TexSink *tex_sink_to_caller(FunctionCallInfo fcinfo, int64 most);
extern TexSink *tex_sink_to_document(TexDocument *document, const char *function, int64 most);

extern TexSink *tex_sink_to_store(const char *function, int64 most);

extern TexDocument *tex_document_begin(void);
extern void tex_document_key(TexDocument *document, const char *key);
extern void tex_document_value(TexDocument *document, Oid type, Datum value);
extern void tex_document_text(TexDocument *document, const char *text);
extern void tex_document_element(TexDocument *document, const char *text);
extern void tex_document_push(TexDocument *document, JsonbIteratorToken token);
extern void tex_document_tuples(TexDocument *document, TupleDesc desc, Tuplestorestate *store);
extern Datum tex_document_end(TexDocument *document);

extern int64 tex_most_rows(FunctionCallInfo fcinfo, int argument, int64 unless_given);

extern void tex_sink_datum(TexSink *sink, Datum value);
extern void tex_sink_null(TexSink *sink);
extern void tex_sink_text(TexSink *sink, const char *text);
extern void tex_sink_enum(TexSink *sink, const char *label);
extern void tex_sink_int(TexSink *sink, int32 value);
extern void tex_sink_bigint(TexSink *sink, int64 value);
extern void tex_sink_number(TexSink *sink, double value);
extern void tex_sink_usecs(TexSink *sink, int64 usecs);
extern void tex_sink_end_row(TexSink *sink);
extern void tex_sink_end(TexSink *sink, int64 all, const char *of_what);

static inline bool
tex_sink_is_full(const TexSink *sink)
{
	return sink->n >= sink->most;
}

#endif							/* TEX_SINK_H */
