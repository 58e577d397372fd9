/*
 * vclock.h
 *		Vector clocks: the value and its algebra (vclock.c), operators of SQL
 *		(vclock_ops.c), reading and writing (vclock_io.c).
 */
#ifndef TEX_VCLOCK_H
#define TEX_VCLOCK_H

#include "fmgr.h"
#include "utils/jsonb.h"

/* A name's length is stored in one byte. */
#define TEX_VCLOCK_MAX_NAME			255
#define TEX_VCLOCK_MAX_COMPONENTS	4096

/* Opaque: read it with an iterator, make it with tex_vclock_build(). */
typedef struct varlena TexVclock;

#define DatumGetTexVclockP(datum)	((TexVclock *) PG_DETOAST_DATUM_PACKED(datum))
#define PG_GETARG_TEX_VCLOCK_P(n)	DatumGetTexVclockP(PG_GETARG_DATUM(n))

/* A component; the name is text of the database's encoding, not terminated. */
typedef struct TexVclockComponent
{
	const char *name;
	int			len;
	int64		count;
} TexVclockComponent;

/* Components in the order they came, while a clock is read; starts as zeros. */
typedef struct TexVclockList
{
	TexVclockComponent *items;
	int			n;
	int			room;
} TexVclockList;

/* Why a clock was refused; the message alone names the problem. */
typedef struct TexVclockProblem
{
	int			sqlstate;
	const char *message;
	const char *detail;
} TexVclockProblem;

/* The order of two clocks, a set of bits: somewhere less, somewhere greater. */
typedef enum TexVclockOrder
{
	TEX_VCLOCK_EQUAL = 0,
	TEX_VCLOCK_BEFORE = 1,
	TEX_VCLOCK_AFTER = 2,
	TEX_VCLOCK_CONCURRENT = 3
} TexVclockOrder;

typedef struct TexVclockIter
{
	const uint8 *next;
	const uint8 *end;
} TexVclockIter;

/* vclock.c */
extern TexVclock *tex_vclock_build(TexVclockComponent *components, int n,
								   const char **reason);
extern TexVclock *tex_vclock_build_checked(TexVclockComponent *components, int n,
										   TexVclockProblem *problem);
extern void tex_vclock_iterate(TexVclockIter *iter, const TexVclock *clock);
extern bool tex_vclock_next(TexVclockIter *iter, TexVclockComponent *component);
extern int64 tex_vclock_count(const TexVclock *clock, const char *name, int len);
extern TexVclockOrder tex_vclock_order(const TexVclock *a, const TexVclock *b);
extern int	tex_vclock_total_order(const TexVclock *a, const TexVclock *b);
extern TexVclock *tex_vclock_join(const TexVclock *a, const TexVclock *b);
extern bool tex_vclock_append(TexVclockList *list,
							  const TexVclockComponent *component,
							  TexVclockProblem *problem);
extern void tex_vclock_report_too_many(void);
extern char *tex_vclock_clip(const char *text, int len);

/* vclock_io.c */
extern TexVclock *tex_vclock_from_container(JsonbContainer *container,
											const char **reason);

#endif							/* TEX_VCLOCK_H */
