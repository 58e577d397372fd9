/*
 * guc.h
 *		Settings of trace_ext.
 */
#ifndef TEX_GUC_H
#define TEX_GUC_H

extern int	tex_fold_threshold;
extern int	tex_max_field_size;
extern int	tex_max_nesting;

extern void tex_guc_init(void);

#endif							/* TEX_GUC_H */
