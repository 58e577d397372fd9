/*
 * keep_out.h
 *		Workers leave a database that somebody wants for himself.
 */
#ifndef TEX_KEEP_OUT_H
#define TEX_KEEP_OUT_H

extern void tex_keep_out_init(void);

#endif							/* TEX_KEEP_OUT_H */
