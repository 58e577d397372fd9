/*
 * otlp_sources.c
 *		Resources and scopes, which many spans share, and links: what is kept beside events.
 *
 * A resource is kept once, whoever sends it: its number is a hash of its content, so two clients
 * who bring it at the same time need no agreement, and one of them conflicts.  Events refer to it
 * by that number.  They are inserted with the rights of the extension's owner, in the order of
 * their keys, as batch.c does it and for the same reason.
 *
 * The hash is SHA-256, cut to 63 bits: nobody finds two resources of one number by chance, and who
 * looks for them by force spoils his own data only.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "common/owner.h"
#include "ingest/otlp_attributes.h"
#include "ingest/otlp_sources.h"

/* Columns of the widest of the tables. */
#define MOST_COLUMNS 6

/* A row of one of the tables. */
typedef struct Row
{
	Datum		values[MOST_COLUMNS];
	char		nulls[MOST_COLUMNS + 1];
	uint8		key[2 * (TEX_TRACE_ID_LEN + TEX_SPAN_ID_LEN)];
} Row;

typedef struct Rows
{
	int			count;
	int			room;
	Row		   *rows;
} Rows;

/* A resource or scope that the reader is at. */
typedef struct Source
{
	int64		id;
	Jsonb	   *content;
	bool		is_used;		/* by a record that was taken */
} Source;

struct TexSources
{
	MemoryContext context;
	Source		resource;
	Source		scope;
	Rows		resources;
	Rows		scopes;
	Rows		links;
};

/* The first eight bytes of the SHA-256 of some bytes. */
uint64
tex_otlp_hash(const char *data, int len)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	uint64		result = 0;

	if (hash == NULL || pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) data, len) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a SHA-256 hash");
	pg_cryptohash_free(hash);
	for (int i = 0; i < 8; i++)
		result = result << 8 | digest[i];
	return result;
}

/* Nothing yet; all that is kept is in that memory context. */
TexSources *
tex_sources_begin(MemoryContext context)
{
	TexSources *sources = MemoryContextAllocZero(context, sizeof(TexSources));

	sources->context = context;
	return sources;
}

/* Makes a finished object what the reader is at; returns its number. */
static int64
set_source(Source *source, TexObject *object)
{
	char	   *text;

	source->content = tex_object_end(object);
	text = JsonbToCString(NULL, &source->content->root, VARSIZE(source->content));
	source->id = (int64) (tex_otlp_hash(text, strlen(text)) >> 1);
	source->is_used = false;
	return source->id;
}

/* The number of a resource that was read; it is kept once a record of it is taken. */
int64
tex_sources_resource(TexSources *sources, const TexOtlpResource *resource)
{
	TexObject	object;

	tex_object_begin(&object);
	tex_object_attributes(&object, "attributes", &resource->attributes);
	tex_object_number(&object, "droppedAttributesCount", resource->dropped_attributes);
	tex_object_string(&object, "schemaUrl", resource->schema_url);
	return set_source(&sources->resource, &object);
}

/* The number of a scope that was read; it is kept once a record of it is taken. */
int64
tex_sources_scope(TexSources *sources, const TexOtlpScope *scope)
{
	TexObject	object;

	tex_object_begin(&object);
	tex_object_string(&object, "name", scope->name);
	tex_object_string(&object, "version", scope->version);
	tex_object_attributes(&object, "attributes", &scope->attributes);
	tex_object_number(&object, "droppedAttributesCount", scope->dropped_attributes);
	tex_object_string(&object, "schemaUrl", scope->schema_url);
	return set_source(&sources->scope, &object);
}

/* A new row, whose values are to be made in the context of the sources. */
static Row *
add(Rows *rows, int columns)
{
	Row		   *row;

	if (rows->count == rows->room)
	{
		rows->room = Max(rows->room * 2, 8);
		rows->rows = rows->rows == NULL ? palloc(sizeof(Row) * rows->room) :
			repalloc_huge(rows->rows, sizeof(Row) * rows->room);
	}
	row = &rows->rows[rows->count++];
	memset(row, 0, sizeof(*row));
	memset(row->nulls, ' ', columns);
	return row;
}

/* Keeps a resource or scope at its first record. */
static void
use(Source *source, Rows *rows)
{
	Row		   *row;

	if (source->is_used)
		return;
	row = add(rows, 2);
	row->values[0] = Int64GetDatum(source->id);
	row->values[1] = JsonbPGetDatum(memcpy(palloc(VARSIZE(source->content)), source->content, VARSIZE(source->content)));
	for (int i = 0; i < 8; i++)
		row->key[i] = source->id >> (56 - 8 * i) & 0xFF;
	source->is_used = true;
}

/* An id as a Datum, and into the key of its row. */
static Datum
uuid_of(const uint8 *id, uint8 *key)
{
	memcpy(key, id, UUID_LEN);
	return UUIDPGetDatum(memcpy(palloc(UUID_LEN), id, UUID_LEN));
}

static Datum
span_of(const uint8 *id, uint8 *key)
{
	text	   *hex = palloc(VARHDRSZ + 2 * TEX_SPAN_ID_LEN);

	memcpy(key, id, TEX_SPAN_ID_LEN);
	SET_VARSIZE(hex, VARHDRSZ + 2 * TEX_SPAN_ID_LEN);
	hex_encode((const char *) id, TEX_SPAN_ID_LEN, VARDATA(hex));
	return PointerGetDatum(hex);
}

/* Keeps a link; one that leads nowhere is none. */
static void
use_link(TexSources *sources, const TexOtlpRecord *span, const TexOtlpLink *link)
{
	Row		   *row;
	TexObject	object;

	if (tex_otlp_is_zero(link->trace_id, TEX_TRACE_ID_LEN) || tex_otlp_is_zero(link->span_id, TEX_SPAN_ID_LEN))
		return;
	row = add(&sources->links, 6);
	row->values[0] = uuid_of(span->trace_id, row->key);
	row->values[1] = span_of(span->span_id, row->key + TEX_TRACE_ID_LEN);
	row->values[2] = uuid_of(link->trace_id, row->key + TEX_TRACE_ID_LEN + TEX_SPAN_ID_LEN);
	row->values[3] = span_of(link->span_id, row->key + 2 * TEX_TRACE_ID_LEN + TEX_SPAN_ID_LEN);
	row->values[4] = TimestampTzGetDatum((TimestampTz) (span->time / 1000) -
										 (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
	/* Most have none, and a span may have very many links. */
	if (link->attributes.first == NULL)
	{
		row->nulls[5] = 'n';
		return;
	}
	tex_object_begin(&object);
	tex_object_attributes(&object, "attributes", &link->attributes);
	if (object.members == 0)
		row->nulls[5] = 'n';
	else
		row->values[5] = JsonbPGetDatum(tex_object_end(&object));
}

/* Keeps the resource and scope of a record that was taken, and its links. */
void
tex_sources_use(TexSources *sources, const TexOtlpRecord *record)
{
	MemoryContext old = MemoryContextSwitchTo(sources->context);

	use(&sources->resource, &sources->resources);
	use(&sources->scope, &sources->scopes);
	for (int i = 0; i < record->link_count; i++)
		use_link(sources, record, &record->links[i]);
	MemoryContextSwitchTo(old);
}

/* How many rows there are to store. */
int64
tex_sources_rows(const TexSources *sources)
{
	return (int64) sources->resources.count + sources->scopes.count + sources->links.count;
}

/* For qsort(): by key. */
static int
compare_rows(const void *a, const void *b)
{
	return memcmp(((const Row *) a)->key, ((const Row *) b)->key, sizeof(((const Row *) a)->key));
}

/* Inserts the rows of a table that are not there yet. */
static void
insert(Rows *rows, SPIPlanPtr *plan, const char *command, int columns, Oid *types)
{
	if (rows->count == 0)
		return;
	if (*plan == NULL)
	{
		*plan = SPI_prepare(command, columns, types);
		if (*plan == NULL)
			elog(ERROR, "could not prepare \"%s\"", command);
		SPI_keepplan(*plan);
	}
	qsort(rows->rows, rows->count, sizeof(Row), compare_rows);
	for (int i = 0; i < rows->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i > 0 && compare_rows(&rows->rows[i - 1], &rows->rows[i]) == 0)
			continue;
		if (SPI_execute_plan(*plan, rows->rows[i].values, rows->rows[i].nulls, false, 0) != SPI_OK_INSERT)
			elog(ERROR, "could not run \"%s\"", command);
	}
}

/* Stores what was kept, as the owner of the extension. Needs an active snapshot. */
void
tex_sources_store(TexSources *sources)
{
	static SPIPlanPtr resources = NULL;
	static SPIPlanPtr scopes = NULL;
	static SPIPlanPtr links = NULL;
	Oid			source_types[] = {INT8OID, JSONBOID};
	Oid			link_types[] = {UUIDOID, TEXTOID, UUIDOID, TEXTOID, TIMESTAMPTZOID, JSONBOID};
	TexOwnerContext owner;

	if (sources->resources.count == 0)
		return;
	tex_become_owner(&owner);
	SPI_connect();
	insert(&sources->resources, &resources,
		   "INSERT INTO trace_ext.otlp_resources (id, attributes, dropped_attributes_count, schema_url)"
		   " VALUES ($1, $2 -> 'attributes', ($2 ->> 'droppedAttributesCount')::bigint, $2 ->> 'schemaUrl') ON CONFLICT DO NOTHING",
		   2, source_types);
	insert(&sources->scopes, &scopes,
		   "INSERT INTO trace_ext.otlp_scopes (id, name, version, attributes, dropped_attributes_count, schema_url)"
		   " VALUES ($1, $2 ->> 'name', $2 ->> 'version', $2 -> 'attributes', ($2 ->> 'droppedAttributesCount')::bigint,"
		   " $2 ->> 'schemaUrl') ON CONFLICT DO NOTHING",
		   2, source_types);
	insert(&sources->links, &links,
		   /* Where the span is there already, its trace has to be looked at again. */
		   "WITH new AS (INSERT INTO trace_ext.trace_links (trace_id, span_id, linked_trace_id, linked_span_id, \"timestamp\", attributes)"
		   " VALUES ($1, $2, $3, $4, $5, $6 -> 'attributes') ON CONFLICT DO NOTHING RETURNING trace_id, span_id, \"timestamp\")"
		   " INSERT INTO trace_ext.summary_deltas (trace_id, event_count, error_count, access_count, recompute)"
		   " SELECT n.trace_id, 0, 0, 0, true FROM new n WHERE EXISTS (SELECT FROM trace_ext.events e WHERE e.trace_id = n.trace_id"
		   " AND e.id = trace_ext_internal.otlp_start_id(n.trace_id, n.span_id) AND e.\"timestamp\" = n.\"timestamp\")",
		   6, link_types);
	SPI_finish();
	tex_become_caller(&owner);
}
