// otlp_sdk.java ENDPOINT COUNT
//		The same for Java: two requests at a time take of a stock without a lock, then two with one;
//		each asks a database and hands a message on; one fails; COUNT more spans. state() and lock() are
//		put in from docs/opentelemetry.md.
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.common.AttributesBuilder;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.Scope;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

class OtlpSdk {
  static final Map<String, Integer> stocks = new ConcurrentHashMap<>(Map.of("free", 5, "locked", 5));
  static final CountDownLatch bothHaveRead = new CountDownLatch(2);
  static final Object guard = new Object();
  static Tracer tracer;

//DOCS

  static void take(String name, int n, boolean meet) throws InterruptedException {
    int seen = stocks.get(name);
    state("stock." + name, "Read", "" + seen, null);
    if (meet) {
      bothHaveRead.countDown();
      bothHaveRead.await();
      // One after the other, so that no clock can be in doubt about it.
      Thread.sleep(10 * n);
    }
    int found = stocks.put(name, seen - n);
    state("stock." + name, "Write", "" + (seen - n), "" + found);
  }

  static void query(String text) throws InterruptedException {
    Span span = tracer.spanBuilder("SELECT stock").setSpanKind(SpanKind.CLIENT).setAttribute("db.system.name", "postgresql").setAttribute("db.query.text", text).startSpan();
    Thread.sleep(2);
    span.end();
  }

  static void handOn() {
    Span producer = tracer.spanBuilder("send order").setSpanKind(SpanKind.PRODUCER).startSpan();
    producer.end();
    tracer.spanBuilder("receive order").setSpanKind(SpanKind.CONSUMER).setParent(Context.root()).addLink(producer.getSpanContext()).startSpan().end();
  }

  static void serve(String name, int n, boolean locked) {
    Span server = tracer.spanBuilder("POST /buy/{id}").setSpanKind(SpanKind.SERVER).setAttribute("http.request.method", "POST").setAttribute("http.route", "/buy/{id}")
        .setAttribute("url.path", "/buy/7").setAttribute("http.response.status_code", 200L).startSpan();
    try (Scope one = server.makeCurrent()) {
      query("SELECT n FROM stock WHERE id = 7");
      Span child = tracer.spanBuilder("take").startSpan();
      try (Scope two = child.makeCurrent()) {
        if (!locked) take(name, n, true);
        else synchronized (guard) { lock("stocks", "acquire"); take(name, n, false); lock("stocks", "release"); }
      } finally { child.end(); }
      handOn();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    } finally { server.end(); }
  }

  static void both(String name, boolean locked) throws InterruptedException {
    Thread[] threads = {new Thread(() -> serve(name, 1, locked)), new Thread(() -> serve(name, 2, locked))};
    for (Thread thread : threads) thread.start();
    for (Thread thread : threads) thread.join();
  }

  public static void main(String[] args) throws Exception {
    OtlpHttpSpanExporter exporter = OtlpHttpSpanExporter.builder().setEndpoint(args[0] + "/v1/traces").setCompression("gzip").build();
    SdkTracerProvider provider = SdkTracerProvider.builder().setResource(Resource.create(Attributes.builder().put("service.name", "shop-java").build()))
        .addSpanProcessor(BatchSpanProcessor.builder(exporter).setMaxQueueSize(20000).setScheduleDelay(Duration.ofMillis(200)).build()).build();
    tracer = provider.get("shop");
    both("free", false);
    both("locked", true);
    Span failing = tracer.spanBuilder("fail").startSpan();
    failing.recordException(new IllegalStateException("no more of it"));
    failing.setStatus(StatusCode.ERROR, "no more of it");
    failing.end();
    for (int i = 0; i < Integer.parseInt(args[1]); i++) tracer.spanBuilder("step " + i).startSpan().end();
    if (!provider.forceFlush().join(60, TimeUnit.SECONDS).isSuccess()) System.exit(1);
    provider.shutdown().join(60, TimeUnit.SECONDS);
    System.exit(0);
  }
}
