/*
 * guc_checks.h
 *		Which values settings take: hooks for guc.c, each with an error's detail and hint.
 */
#ifndef TEX_GUC_CHECKS_H
#define TEX_GUC_CHECKS_H

#include "utils/guc.h"

extern bool tex_check_retention_age(char **value, void **extra, GucSource source);
extern bool tex_check_partition_interval(char **value, void **extra, GucSource source);
extern bool tex_check_partition_reach(char **value, void **extra, GucSource source);
extern bool tex_check_baseline_window(char **value, void **extra, GucSource source);
extern bool tex_check_global_locks(char **value, void **extra, GucSource source);
extern bool tex_check_trusted_functions(char **value, void **extra, GucSource source);
extern bool tex_check_otlp_listen(char **value, void **extra, GucSource source);
extern bool tex_check_ingest_quota(int *value, void **extra, GucSource source);

#endif							/* TEX_GUC_CHECKS_H */
