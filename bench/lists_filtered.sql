SELECT * FROM trace_ext.list_traces(:arguments);
