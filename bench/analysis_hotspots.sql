SELECT * FROM trace_ext.system_hotspots(10);
