/*
 * launcher.h
 *		Finds the databases that have the extension and starts their workers.
 */
#ifndef TEX_LAUNCHER_H
#define TEX_LAUNCHER_H

extern void tex_launcher_init(void);
extern PGDLLEXPORT void tex_launcher_main(Datum argument);

#endif							/* TEX_LAUNCHER_H */
