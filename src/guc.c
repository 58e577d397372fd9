/*
 * guc.c
 *		Settings of trace_ext: one place that defines them all.
 *
 * partition_interval and partitions_ahead are read by SQL functions through
 * current_setting(), so nothing here refers to their variables again.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"
#include "utils/memutils.h"

#include "guc.h"

int			tex_fold_threshold = 2000;
int			tex_max_field_size = 1024 * 1024;
int			tex_max_nesting = 100;

static char *partition_interval;
static int	partitions_ahead;

void
tex_guc_init(void)
{
	DefineCustomIntVariable("trace_ext.fold_threshold",
							"Outstanding deltas after which a writing statement has them folded.",
							"Each statement that appends n deltas does so with probability "
							"n / fold_threshold. 0 leaves folding to fold().",
							&tex_fold_threshold, 2000, 0, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.max_field_size",
							"Longest string that ingest_events() takes in one field.",
							NULL, &tex_max_field_size, 1024 * 1024, 1024, MaxAllocSize / 4,
							PGC_USERSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.max_nesting",
							"Deepest nesting of an event that ingest_events() takes.",
							NULL, &tex_max_nesting, 100, 8, 1000,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("trace_ext.partition_interval",
							   "Length of the partitions that maintain_partitions() makes.",
							   "An interval of whole hours, days or weeks.",
							   &partition_interval, "1 day",
							   PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("trace_ext.partitions_ahead",
							"Number of partitions that maintain_partitions() keeps ready ahead of now.",
							NULL, &partitions_ahead, 3, 0, 1000,
							PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("trace_ext");
}
