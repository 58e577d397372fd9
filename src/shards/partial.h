/*
 * partial.h
 *		Whether answers of this session lack what is on nodes that are down.
 */
#ifndef TEX_PARTIAL_H
#define TEX_PARTIAL_H

extern void tex_partial_init(void);
extern uint64 tex_partial_answers(void);

#endif							/* TEX_PARTIAL_H */
