SELECT v FROM trace_ext.cached('SELECT v FROM bench.payload WHERE k = 1') AS t(v text);
