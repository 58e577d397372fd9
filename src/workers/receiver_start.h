/*
 * receiver_start.h
 *		The launcher starts the receiver.
 */
#ifndef TEX_RECEIVER_START_H
#define TEX_RECEIVER_START_H

extern long tex_receiver_keep(void);

#endif							/* TEX_RECEIVER_START_H */
