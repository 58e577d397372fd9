/*
 * make_way.h
 *		Workers leave a database that somebody wants for himself.
 */
#ifndef TEX_MAKE_WAY_H
#define TEX_MAKE_WAY_H

extern void tex_make_way_init(void);

#endif							/* TEX_MAKE_WAY_H */
