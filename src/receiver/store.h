/*
 * store.h
 *		Bodies are stored.
 */
#ifndef TEX_RECEIVER_STORE_H
#define TEX_RECEIVER_STORE_H

#include "receiver/request.h"

extern void tex_store_init(void);
extern int	tex_store_bodies(TexRequest **requests, int n, volatile sig_atomic_t *give_up);

#endif							/* TEX_RECEIVER_STORE_H */
