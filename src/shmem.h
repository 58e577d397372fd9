/*
 * shmem.h
 *		Shared memory of the modules that have some.
 */
#ifndef TEX_SHMEM_H
#define TEX_SHMEM_H

extern void tex_shmem_init(void);

#endif
