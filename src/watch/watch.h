/*
 * watch.h
 *		Watched tables, for the one who loads the library.
 */
#ifndef TEX_WATCH_H
#define TEX_WATCH_H

extern void tex_watch_init(void);

#endif							/* TEX_WATCH_H */
