/*
 * sources.c
 *		Resources and scopes on their way out.
 *
 * What came by OpenTelemetry has them in otlp_resources and otlp_scopes, each of which is read
 * once a document, with the caller's rights.  Other events say in their columns where they ran:
 * that becomes a resource, one for all that say the same.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "exchange/outgoing.h"
#include "ingest/otlp_sources.h"

/* In a hash table by id; what is handed out must not move. */
typedef struct Entry
{
	int64		id;
	TexOutSource *source;
} Entry;

struct TexOutSources
{
	MemoryContext context;
	HTAB	   *resources;
	HTAB	   *scopes;
};

static HTAB *
make_table(void)
{
	HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(Entry),.hcxt = CurrentMemoryContext};

	return hash_create("sources of a document", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* None yet, in the current memory context, in which they stay. */
TexOutSources *
tex_out_sources(void)
{
	TexOutSources *sources = palloc(sizeof(TexOutSources));

	sources->context = CurrentMemoryContext;
	sources->resources = make_table();
	sources->scopes = make_table();
	return sources;
}

/* One of a table; NULL where it is not known yet. */
static TexOutSource *
look_up(HTAB *table, int64 id)
{
	Entry	   *entry = hash_search(table, &id, HASH_FIND, NULL);

	return entry == NULL ? NULL : entry->source;
}

/* A new one. */
static TexOutSource *
add(HTAB *table, int64 id)
{
	bool		found;
	Entry	   *entry = hash_search(table, &id, HASH_ENTER, &found);

	entry->source = palloc0(sizeof(TexOutSource));
	entry->source->id = id;
	entry->source->place = hash_get_num_entries(table) - 1;
	return entry->source;
}

/* A column of the row that was read, copied to the current memory context; nothing for NULL. */
static TexOtlpString
text_column(int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);

	return tex_string(isnull ? "" : TextDatumGetCString(value));
}

/*
 * Fills in a resource or scope as it is stored; columns: attributes, dropped_attributes_count,
 * schema_url, name, version.  False where it is gone.
 */
static bool
read_source(TexOutSource *source, const char *query, MemoryContext context)
{
	Oid			types[] = {INT8OID};
	Datum		args[] = {Int64GetDatum(source->id)};
	MemoryContext old;
	Datum		value;
	bool		isnull;

	if (SPI_execute_with_args(query, 1, types, args, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read a resource or scope");
	if (SPI_processed == 0)
		return false;
	old = MemoryContextSwitchTo(context);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
	{
		Jsonb	   *attributes = DatumGetJsonbPCopy(value);

		if (JB_ROOT_IS_OBJECT(attributes))
			tex_out_add_members(&source->attributes, &attributes->root, true);
	}
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
	source->dropped_attributes = isnull ? 0 : Max(0, Min(DatumGetInt64(value), (int64) PG_UINT32_MAX));
	source->schema_url = text_column(3);
	source->name = text_column(4);
	source->version = text_column(5);
	MemoryContextSwitchTo(old);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/* What the columns of an event say of where it ran. */
static void
describe_row(TexOutList *attributes, const TexOutRow *row)
{
	tex_out_add_text(attributes, "service.name", row->service);
	tex_out_add_text(attributes, "service.instance.id", row->instance);
	tex_out_add_text(attributes, "deployment.environment.name", row->environment);
	if (row->process >= 0)
		tex_out_add_int(attributes, "process.pid", row->process);
}

/* The number of the resource that the columns of an event make. */
static int64
id_of_row(const TexOutRow *row)
{
	StringInfoData content;
	TexOutList	attributes = {0};
	int64		id;

	initStringInfo(&content);
	describe_row(&attributes, row);
	for (int i = 0; i < attributes.n; i++)
	{
		tex_doc_string(&content, attributes.items[i].key);
		tex_doc_plain(&content, &attributes.items[i].value);
	}
	id = (int64) (tex_otlp_hash(content.data, content.len) >> 1);
	pfree(content.data);
	return id;
}

/* The same strings, for as long as the document lives. */
static TexOtlpString
keep(TexOtlpString string)
{
	return (TexOtlpString) {pnstrdup(string.data, string.len), string.len};
}

/*
 * The resource of an event: by its number, or where the event has none (0), or it is gone, by
 * what the columns say.
 */
TexOutSource *
tex_out_resource(TexOutSources *sources, int64 id, const TexOutRow *row)
{
	TexOutSource *source;
	MemoryContext old;
	bool		is_stored = id != 0;

	if (!is_stored)
		id = id_of_row(row);
	source = look_up(sources->resources, id);
	if (source != NULL)
		return source;
	old = MemoryContextSwitchTo(sources->context);
	source = add(sources->resources, id);
	if (!is_stored ||
		!read_source(source, "SELECT attributes, dropped_attributes_count, schema_url, NULL, NULL FROM trace_ext.otlp_resources "
					 "WHERE id OPERATOR(pg_catalog.=) $1", sources->context))
	{
		TexOutRow	kept = {.process = row->process};

		kept.service = keep(row->service);
		kept.instance = keep(row->instance);
		kept.environment = keep(row->environment);
		describe_row(&source->attributes, &kept);
	}
	source->service = tex_out_find_text(&source->attributes, "service.name");
	MemoryContextSwitchTo(old);
	return source;
}

/* A scope by its number; one that is gone, or 0, is empty. */
TexOutSource *
tex_out_scope(TexOutSources *sources, int64 id)
{
	TexOutSource *source = look_up(sources->scopes, id);
	MemoryContext old;

	if (source != NULL)
		return source;
	old = MemoryContextSwitchTo(sources->context);
	source = add(sources->scopes, id);
	if (id != 0)
		(void) read_source(source, "SELECT attributes, dropped_attributes_count, schema_url, name, version FROM trace_ext.otlp_scopes "
						   "WHERE id OPERATOR(pg_catalog.=) $1", sources->context);
	MemoryContextSwitchTo(old);
	return source;
}
