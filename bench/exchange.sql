SELECT count(*) FROM trace_ext.prometheus_metrics();
