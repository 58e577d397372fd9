SELECT count(*) FROM trace_ext.events;
