/*
 * quota.h
 *		How many events a role may send in a second: trace_ext.ingest_quota.
 */
#ifndef TEX_QUOTA_H
#define TEX_QUOTA_H

extern Size tex_quota_size(void);
extern void tex_quota_attach(void);
extern void tex_quota_take(int64 events, int64 *wait);
extern void tex_quota_add(int64 events);

#endif							/* TEX_QUOTA_H */
