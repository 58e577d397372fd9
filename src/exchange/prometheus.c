/*
 * prometheus.c
 *		Labels as Prometheus writes them.
 *
 * There are many of them in a scrape, and in SQL they were most of what it cost.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "exchange/json_out.h"

PG_FUNCTION_INFO_V1(tex_metric_labels);

/* Between quotes: a backslash, a quote and a newline are escaped, all else is as it is. */
static void
append_value(StringInfo out, TexOtlpString value)
{
	appendStringInfoChar(out, '"');
	for (int i = 0; i < value.len; i++)
	{
		if (value.data[i] == '\n')
			appendStringInfoString(out, "\\n");
		else
		{
			if (value.data[i] == '\\' || value.data[i] == '"')
				appendStringInfoChar(out, '\\');
			appendStringInfoChar(out, value.data[i]);
		}
	}
	appendStringInfoChar(out, '"');
}

/* metric_labels(labels jsonb) returns text: {name="value",...}; nothing for none. Names are ours. */
Datum
tex_metric_labels(PG_FUNCTION_ARGS)
{
	Jsonb	   *labels = PG_GETARG_JSONB_P(0);
	JsonbIterator *it = JsonbIteratorInit(&labels->root);
	JsonbIteratorToken token;
	TexOutValue value = {.is_marked = false};
	StringInfoData out;

	initStringInfo(&out);
	while ((token = JsonbIteratorNext(&it, &value.json, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			appendStringInfoChar(&out, out.len == 0 ? '{' : ',');
			appendBinaryStringInfo(&out, value.json.val.string.val, value.json.val.string.len);
			appendStringInfoChar(&out, '=');
		}
		else if (token == WJB_VALUE)
			append_value(&out, value.json.type == jbvNull ? tex_string("") : tex_plain_text(&value));
	}
	if (out.len > 0)
		appendStringInfoChar(&out, '}');
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
