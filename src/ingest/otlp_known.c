/*
 * otlp_known.c
 *		Attributes of OpenTelemetry that mean something here, of the conventions of now and before.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "ingest/otlp_known.h"

#define KNOWN(name) {name, sizeof(name) - 1}

const TexOtlpString tex_known_names[ATTR_COUNT] = {
	[ATTR_METHOD] = KNOWN("http.request.method"),
	[ATTR_OLD_METHOD] = KNOWN("http.method"),
	[ATTR_ROUTE] = KNOWN("http.route"),
	[ATTR_PATH] = KNOWN("url.path"),
	[ATTR_TARGET] = KNOWN("http.target"),
	[ATTR_FULL_URL] = KNOWN("url.full"),
	[ATTR_OLD_URL] = KNOWN("http.url"),
	[ATTR_RESPONSE_STATUS] = KNOWN("http.response.status_code"),
	[ATTR_OLD_RESPONSE_STATUS] = KNOWN("http.status_code"),
	[ATTR_DB_SYSTEM] = KNOWN("db.system.name"),
	[ATTR_OLD_DB_SYSTEM] = KNOWN("db.system"),
	[ATTR_DB_TEXT] = KNOWN("db.query.text"),
	[ATTR_OLD_DB_TEXT] = KNOWN("db.statement"),
	[ATTR_DB_NAMESPACE] = KNOWN("db.namespace"),
	[ATTR_OLD_DB_NAME] = KNOWN("db.name"),
	[ATTR_DB_ROWS] = KNOWN("db.response.returned_rows"),
	[ATTR_CODE_FILE] = KNOWN("code.file.path"),
	[ATTR_OLD_CODE_FILE] = KNOWN("code.filepath"),
	[ATTR_CODE_LINE] = KNOWN("code.line.number"),
	[ATTR_OLD_CODE_LINE] = KNOWN("code.lineno"),
	[ATTR_ERROR_TYPE] = KNOWN("error.type"),
	[ATTR_EXCEPTION_TYPE] = KNOWN("exception.type"),
	[ATTR_EXCEPTION_MESSAGE] = KNOWN("exception.message"),
	[ATTR_EXCEPTION_STACK] = KNOWN("exception.stacktrace"),
	[ATTR_EVENT_NAME] = KNOWN("event.name"),
	[ATTR_VARIABLE] = KNOWN("trace_ext.variable"),
	[ATTR_ACCESS] = KNOWN("trace_ext.access"),
	[ATTR_VALUE] = KNOWN("trace_ext.value"),
	[ATTR_OLD_VALUE] = KNOWN("trace_ext.old_value"),
	[ATTR_LOCK_ID] = KNOWN("trace_ext.lock.id"),
	[ATTR_LOCK_OP] = KNOWN("trace_ext.lock.op"),
	[ATTR_LOCK_TYPE] = KNOWN("trace_ext.lock.type"),
	[ATTR_SERVICE_NAME] = KNOWN("service.name"),
	[ATTR_SERVICE_INSTANCE] = KNOWN("service.instance.id"),
	[ATTR_POD_NAME] = KNOWN("k8s.pod.name"),
	[ATTR_HOST_NAME] = KNOWN("host.name"),
	[ATTR_PROCESS_ID] = KNOWN("process.pid"),
	[ATTR_ENVIRONMENT] = KNOWN("deployment.environment.name"),
	[ATTR_OLD_ENVIRONMENT] = KNOWN("deployment.environment")
};

/* Looks for the known ones; of two of one name the last one counts, as in what is kept. */
void
tex_find_known(const TexOtlpList *attributes, TexFound *found)
{
	memset(found, 0, sizeof(*found));
	for (TexOtlpValue *v = attributes->first; v != NULL; v = v->next)
	{
		for (int i = 0; i < ATTR_COUNT; i++)
		{
			if (tex_known_names[i].len == v->key.len &&
				memcmp(tex_known_names[i].data, v->key.data, v->key.len) == 0)
			{
				found->of[i] = v;
				break;
			}
		}
	}
}

/* The attribute of the new convention, else that of the old. */
TexOtlpValue *
tex_either(TexFound *found, TexKnown now, TexKnown before)
{
	return found->of[now] != NULL ? found->of[now] : found->of[before];
}

/* A string that is not empty? */
bool
tex_has_text(const TexOtlpValue *value)
{
	return value != NULL && value->type == TEX_OTLP_STRING && value->string.len > 0;
}

/* A scalar as text; what is none is empty. */
TexOtlpString
tex_text_of(const TexOtlpValue *value)
{
	TexOtlpString text = {"", 0};

	if (value == NULL)
		return text;
	switch (value->type)
	{
		case TEX_OTLP_STRING:
			return value->string;
		case TEX_OTLP_INT:
			text.data = psprintf(INT64_FORMAT, value->integer);
			break;
		case TEX_OTLP_BOOL:
			text.data = value->boolean ? "true" : "false";
			break;
		case TEX_OTLP_DOUBLE:
			text.data = DatumGetCString(DirectFunctionCall1(float8out, Float8GetDatum(value->number)));
			break;
		default:
			break;
	}
	text.len = strlen(text.data);
	return text;
}

/* A whole number, however it was sent. */
bool
tex_number_of(const TexOtlpValue *value, int64 *number)
{
	if (value == NULL)
		return false;
	if (value->type == TEX_OTLP_INT)
	{
		*number = value->integer;
		return true;
	}
	if (value->type != TEX_OTLP_STRING || value->string.len == 0 || value->string.len > 9)
		return false;
	*number = 0;
	for (int i = 0; i < value->string.len; i++)
	{
		if (value->string.data[i] < '0' || value->string.data[i] > '9')
			return false;
		*number = *number * 10 + value->string.data[i] - '0';
	}
	return true;
}

/*
 * A string that a column or field now holds word for word need not be kept twice.  That is done
 * only where the kind of the event tells the name of the attribute that it was.
 */
void
tex_mark_moved(TexOtlpValue *value)
{
	if (value != NULL && value->type == TEX_OTLP_STRING)
		value->moved = true;
}
