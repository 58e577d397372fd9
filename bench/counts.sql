SELECT trace_ext.count_events();
