/*
 * restore.h
 *		Lets a restored dump define partitions of events, and workers wait for it.
 */
#ifndef TEX_RESTORE_H
#define TEX_RESTORE_H

extern void tex_note_restorer(void);

#endif							/* TEX_RESTORE_H */
