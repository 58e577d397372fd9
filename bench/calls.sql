SELECT count(*) FROM trace_ext.service_calls;
