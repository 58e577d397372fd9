/*
 * list_base.h
 *		Traces as the base has them that pass a filter, newest first.
 */
#ifndef TEX_LIST_BASE_H
#define TEX_LIST_BASE_H

#include "store/list_filter.h"
#include "store/variable.h"

/* The columns of summary_base, in the order of tex_summary_add_row(). */
#define TEX_LIST_COLUMNS \
	"trace_id, event_count, error_count, access_count, first_timestamp, " \
	"last_timestamp, started_at, ended_at, services, root_timestamp, root_id, root_name, root_service"

/* A walk of the base; in the memory context it was opened in, and an SPI connection. */
typedef struct TexListBase TexListBase;

extern TexListBase *tex_list_base_open(const TexListFilter *filter, TexVariable *variable);
extern TexSummary *tex_list_base_peek(TexListBase *base);
extern void tex_list_base_move_on(TexListBase *base);
extern TexSummarySet *tex_list_base_fetched(TexListBase *base);
extern void tex_list_base_close(TexListBase *base);

extern TexSummary *tex_list_read_row(TexSummarySet *set, int n);
extern int64 tex_list_base_count(const TexListFilter *filter, TexVariable *variable, Datum without);

#endif							/* TEX_LIST_BASE_H */
