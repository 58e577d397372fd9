/*
 * fold.h
 *		Who may fold, and when.
 */
#ifndef TEX_FOLD_H
#define TEX_FOLD_H

extern bool tex_fold_is_free(void);

#endif							/* TEX_FOLD_H */
