/*
 * otlp_sources.h
 *		Resources and scopes, which many spans share, and links: what is kept beside events.
 */
#ifndef TEX_OTLP_SOURCES_H
#define TEX_OTLP_SOURCES_H

#include "ingest/otlp.h"

typedef struct TexSources TexSources;

extern uint64 tex_otlp_hash(const char *data, int len);

extern TexSources *tex_sources_begin(MemoryContext context);
extern int64 tex_sources_resource(TexSources *sources, const TexOtlpResource *resource);
extern int64 tex_sources_scope(TexSources *sources, const TexOtlpScope *scope);
extern void tex_sources_use(TexSources *sources, const TexOtlpRecord *record);
extern int64 tex_sources_rows(const TexSources *sources);
extern void tex_sources_store(TexSources *sources);

#endif							/* TEX_OTLP_SOURCES_H */
