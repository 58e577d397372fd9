/*
 * summary.h
 *		What is kept of a trace, and how two parts of it are merged.
 */
#ifndef TEX_SUMMARY_H
#define TEX_SUMMARY_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

typedef struct TexSummary
{
	pg_uuid_t	trace_id;
	int64		event_count;
	int64		error_count;
	int64		access_count;
	bool		recompute;		/* the rest cannot be told but from events */
	bool		has_times;
	TimestampTz first_timestamp;
	TimestampTz last_timestamp;
	int			service_count;
	int			service_room;
	text	  **services;		/* ascending, each once */
	bool		has_root;
	TimestampTz root_timestamp;
	pg_uuid_t	root_id;
	text	   *root_name;		/* may be NULL */
	text	   *root_service;	/* may be NULL */
} TexSummary;

/* summary_base has these columns, summary_deltas begins with them. */
#define TEX_SUMMARY_COLUMNS 11

/* A set of summaries by trace id, all in one memory context. */
typedef struct TexSummarySet TexSummarySet;

extern TexSummarySet *tex_summaries_create(MemoryContext context);
extern TexSummary *tex_summaries_get(TexSummarySet *set, const pg_uuid_t *trace_id);
extern TexSummary *tex_summaries_find(TexSummarySet *set, const pg_uuid_t *trace_id);
extern int	tex_summaries_count(TexSummarySet *set);
extern TexSummary **tex_summaries_all(TexSummarySet *set);

extern void tex_summary_add_times(TexSummary *s, TimestampTz first, TimestampTz last);
extern void tex_summary_add_service(TexSummarySet *set, TexSummary *s, text *service);
extern void tex_summary_add_services(TexSummarySet *set, TexSummary *s, Datum array);
extern void tex_summary_add_root(TexSummarySet *set, TexSummary *s,
								 TimestampTz timestamp, const pg_uuid_t *id,
								 text *name, text *service);
extern TexSummary *tex_summary_add_row(TexSummarySet *set, const Datum *values, const bool *isnull);
extern Datum tex_summary_services(const TexSummary *s);
extern bool tex_add_text(text ***texts, int *count, int *room, text *t, MemoryContext context);

#endif							/* TEX_SUMMARY_H */
