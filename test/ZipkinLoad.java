// ZipkinLoad.java
//		Reads documents by the decoder of Zipkin's server. Of each: how many traces, spans,
//		annotations, parents and microseconds.

import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import zipkin2.Span;
import zipkin2.codec.SpanBytesDecoder;

public class ZipkinLoad {
	public static void main(String[] names) throws Exception {
		for (String name : names) {
			List<Span> spans = SpanBytesDecoder.JSON_V2.decodeList(Files.readAllBytes(Paths.get(name)));
			Set<String> traces = new HashSet<>();
			long annotations = 0, parents = 0, duration = 0;
			for (Span span : spans) {
				traces.add(span.traceId());
				annotations += span.annotations().size();
				parents += span.parentId() == null ? 0 : 1;
				duration += span.durationAsLong();
			}
			System.out.println(traces.size() + " " + spans.size() + " " + annotations + " " + parents + " " + duration);
		}
	}
}
