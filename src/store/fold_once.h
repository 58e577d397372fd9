/*
 * fold_once.h
 *		A background worker that folds once.
 */
#ifndef TEX_FOLD_ONCE_H
#define TEX_FOLD_ONCE_H

extern void tex_folder_start(void);
extern void tex_vacuum_if_large(const char *table);
extern PGDLLEXPORT void tex_folder_main(Datum argument);

#endif							/* TEX_FOLD_ONCE_H */
