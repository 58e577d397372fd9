/*
 * bucket.h
 *		In which partition by HASH of one uuid column a value is.
 *
 * As PostgreSQL says, of which a test assures itself by satisfies_hash_partition().
 */
#ifndef TEX_BUCKET_H
#define TEX_BUCKET_H

#include "catalog/partition.h"
#include "common/hashfn.h"
#include "utils/fmgrprotos.h"
#include "utils/uuid.h"

/* The remainder of a partition, of "buckets" of them. */
static inline int
tex_bucket_of(const pg_uuid_t *id, int buckets)
{
	uint64		hash = DatumGetUInt64(DirectFunctionCall2(uuid_hash_extended, UUIDPGetDatum(id),
														  UInt64GetDatum(HASH_PARTITION_SEED)));

	return (int) (hash_combine64(0, hash) % (uint64) buckets);
}

#endif							/* TEX_BUCKET_H */
