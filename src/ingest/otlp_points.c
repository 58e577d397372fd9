/*
 * otlp_points.c
 *		What happened in a span: accesses, locks, errors and others, which are events of the span or
 *		log records.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "ingest/json_scan.h"
#include "ingest/otlp_rows.h"

/* As in the constraints of the table. */
#define MAX_VARIABLE 1024

/* Of what a client sent, a reason shows so much. */
#define MAX_SHOWN 60

/* What a client sent, cut to what fits a message. */
static char *
shown(TexOtlpString text)
{
	int			clipped = pg_mbcliplen(text.data, text.len, MAX_SHOWN);

	return psprintf("\"%.*s%s\"", clipped, text.data, clipped < text.len ? "..." : "");
}

/* Where in the code: of the event itself, else of its span, which may be NULL. */
static void
add_location(TexOtlpMap *map, TexFound *own, TexFound *span)
{
	TexFound   *found = tex_either(own, ATTR_CODE_FILE, ATTR_OLD_CODE_FILE) != NULL || span == NULL ? own : span;
	TexOtlpString file = tex_text_of(tex_either(found, ATTR_CODE_FILE, ATTR_OLD_CODE_FILE));
	TexOtlpString line = tex_text_of(tex_either(found, ATTR_CODE_LINE, ATTR_OLD_CODE_LINE));
	TexOtlpString location;

	if (file.len == 0)
		return;
	location.data = psprintf("%.*s%s%.*s", file.len, file.data, line.len > 0 ? ":" : "", line.len, line.data);
	location.len = strlen(location.data);
	tex_object_string(&map->object, "location", location);
}

/* A value of a variable: JSON text, else what it is. */
static void
add_json(TexOtlpMap *map, const char *field, TexOtlpValue *value)
{
	JsonbValue *json;
	Jsonb	   *whole;
	char	   *spelling;

	if (value == NULL)
		return;
	json = value->type != TEX_OTLP_STRING ? NULL : tex_scan_value(value->string.data, value->string.len);
	if (json == NULL)
	{
		tex_object_value(&map->object, field, value);
		return;
	}
	tex_object_jsonb(&map->object, field, json);
	whole = JsonbValueToJsonb(json);
	spelling = JsonbToCString(NULL, &whole->root, VARSIZE(whole));
	if (tex_otlp_equal(value->string, spelling))
		tex_mark_moved(value);
}

/* An access of a variable. */
static bool
map_state(TexOtlpMap *map, TexFound *found, TexFound *span)
{
	TexOtlpString variable = tex_text_of(found->of[ATTR_VARIABLE]);
	TexOtlpString access = tex_text_of(found->of[ATTR_ACCESS]);

	if (variable.len == 0)
		return tex_row_refuse(map, ATTR_VARIABLE, "missing");
	if (variable.len > MAX_VARIABLE)
		return tex_row_refuse(map, ATTR_VARIABLE, psprintf("longer than %d bytes", MAX_VARIABLE));
	if (access.len == 0)
		return tex_row_refuse(map, ATTR_ACCESS, "missing");
	if (!tex_is_access_type(access.data, access.len))
		return tex_row_refuse(map, ATTR_ACCESS,
								psprintf("unknown access type %s, not one of " TEX_ACCESS_TYPES,
										 shown(access)));
	tex_row_set_text(&map->row, COL_NAME, variable);
	tex_object_string(&map->object, "access_type", access);
	tex_mark_moved(found->of[ATTR_VARIABLE]);
	tex_mark_moved(found->of[ATTR_ACCESS]);
	add_json(map, "old_value", found->of[ATTR_OLD_VALUE]);
	add_json(map, "new_value", found->of[ATTR_VALUE]);
	add_location(map, found, span);
	return true;
}

/* A lock that is taken or given back. */
static bool
map_lock(TexOtlpMap *map, TexFound *found, TexFound *span, TexKind *kind)
{
	TexOtlpString lock = tex_text_of(found->of[ATTR_LOCK_ID]);
	TexOtlpString op = tex_text_of(found->of[ATTR_LOCK_OP]);

	if (lock.len == 0)
		return tex_row_refuse(map, ATTR_LOCK_ID, "missing");
	if (op.len == 0)
		return tex_row_refuse(map, ATTR_LOCK_OP, "missing");
	if (tex_otlp_equal(op, "acquire"))
		*kind = TEX_LOCK_ACQUIRE;
	else if (tex_otlp_equal(op, "release"))
		*kind = TEX_LOCK_RELEASE;
	else
		return tex_row_refuse(map, ATTR_LOCK_OP, psprintf("unknown operation %s, not acquire or release", shown(op)));
	tex_row_set_text(&map->row, COL_NAME, lock);
	tex_mark_moved(found->of[ATTR_LOCK_ID]);
	tex_mark_moved(found->of[ATTR_LOCK_OP]);
	if (tex_has_text(found->of[ATTR_LOCK_TYPE]))
	{
		tex_object_string(&map->object, "lock_type", found->of[ATTR_LOCK_TYPE]->string);
		tex_mark_moved(found->of[ATTR_LOCK_TYPE]);
	}
	add_location(map, found, span);
	return true;
}

/* The lines of a stack trace, which joined give it back. */
static void
add_stack(TexOtlpMap *map, TexOtlpString stack)
{
	const char *line = stack.data;
	const char *end = stack.data + stack.len;
	JsonbValue	v;

	tex_object_open(&map->object, "stack_trace", true);
	for (;;)
	{
		const char *newline = memchr(line, '\n', end - line);

		v.type = jbvString;
		v.val.string.val = unconstify(char *, line);
		v.val.string.len = (newline == NULL ? end : newline) - line;
		pushJsonbValue(&map->object.state, WJB_ELEM, &v);
		if (newline == NULL)
			break;
		line = newline + 1;
	}
	tex_object_close(&map->object, true);
}

/* An exception. */
static void
map_exception(TexOtlpMap *map, TexFound *found)
{
	tex_row_set_text(&map->row, COL_NAME, tex_text_of(found->of[ATTR_EXCEPTION_TYPE]));
	if (tex_has_text(found->of[ATTR_EXCEPTION_TYPE]))
		tex_mark_moved(found->of[ATTR_EXCEPTION_TYPE]);
	if (tex_has_text(found->of[ATTR_EXCEPTION_MESSAGE]))
	{
		tex_object_string(&map->object, "message", found->of[ATTR_EXCEPTION_MESSAGE]->string);
		tex_mark_moved(found->of[ATTR_EXCEPTION_MESSAGE]);
	}
	if (tex_has_text(found->of[ATTR_EXCEPTION_STACK]))
	{
		add_stack(map, found->of[ATTR_EXCEPTION_STACK]->string);
		tex_mark_moved(found->of[ATTR_EXCEPTION_STACK]);
	}
}

/* Sets kind, name and fields by the name of an event or log record; false and a reason where it cannot be that. */
bool
tex_otlp_map_point(TexOtlpMap *map, TexOtlpString name, TexFound *found, TexFound *span, TexKind *kind)
{
	if (tex_otlp_equal(name, "trace_ext.state"))
	{
		*kind = TEX_STATE_CHANGE;
		return map_state(map, found, span);
	}
	if (tex_otlp_equal(name, "trace_ext.lock"))
		return map_lock(map, found, span, kind);
	if (tex_otlp_equal(name, "exception"))
	{
		*kind = TEX_ERROR;
		map_exception(map, found);
		return true;
	}
	*kind = TEX_CUSTOM;
	tex_row_set_text(&map->row, COL_NAME, name);
	return true;
}
