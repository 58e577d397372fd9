/*
 * deltas.h
 *		Deltas of summaries and counts, written by triggers.
 */
#ifndef TEX_DELTAS_H
#define TEX_DELTAS_H

extern void tex_deltas_init(void);

#endif							/* TEX_DELTAS_H */
