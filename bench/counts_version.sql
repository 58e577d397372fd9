SELECT trace_ext.data_version();
