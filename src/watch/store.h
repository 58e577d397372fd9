/*
 * store.h
 *		Records of the ring become events.
 */
#ifndef TEX_WATCH_STORE_H
#define TEX_WATCH_STORE_H

extern void tex_watch_store_ended(bool committed);

#endif							/* TEX_WATCH_STORE_H */
