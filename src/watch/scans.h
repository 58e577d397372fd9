/*
 * scans.h
 *		Rows that scans of watched tables return.
 */
#ifndef TEX_WATCH_SCANS_H
#define TEX_WATCH_SCANS_H

extern void tex_scans_init(void);
extern void tex_scans_forget(int level);
extern void tex_scans_move_up(int level);

#endif							/* TEX_WATCH_SCANS_H */
