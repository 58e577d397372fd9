/*
 * called_from.h
 *		Which function runs a statement, and in which line.
 */
#ifndef TEX_WATCH_CALLED_FROM_H
#define TEX_WATCH_CALLED_FROM_H

extern char *tex_called_from(void);

#endif							/* TEX_WATCH_CALLED_FROM_H */
