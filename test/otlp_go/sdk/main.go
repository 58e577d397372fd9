// main.go ENDPOINT COUNT
//		A program that the SDK of OpenTelemetry for Go watches: two requests at a time take of a stock
//		without a lock, then two with one. Each asks a database and hands a message on; one fails. COUNT
//		more spans come from a loop. state() and lock() are those of docs/opentelemetry.md (docs.go).
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

var (
	stocks  = map[string]int{"free": 5, "locked": 5}
	mutex   sync.Mutex
	barrier sync.WaitGroup
	tracer  trace.Tracer
)

// Takes n of one stock; two callers that meet have both read before either writes.
func take(ctx context.Context, name string, n int, meet bool) {
	mutex.Lock()
	seen := stocks[name]
	mutex.Unlock()
	state(ctx, "stock."+name, "Read", strconv.Itoa(seen), "")
	if meet {
		barrier.Done()
		barrier.Wait()
		// One after the other, so that no clock can be in doubt about it.
		time.Sleep(time.Duration(n) * 10 * time.Millisecond)
	}
	mutex.Lock()
	found := stocks[name]
	stocks[name] = seen - n
	mutex.Unlock()
	state(ctx, "stock."+name, "Write", strconv.Itoa(seen-n), strconv.Itoa(found))
}

// A query of a database, by a client of it.
func query(ctx context.Context, text string) {
	_, span := tracer.Start(ctx, "SELECT stock", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("db.system.name", "postgresql"), attribute.String("db.query.text", text)))
	time.Sleep(2 * time.Millisecond)
	span.End()
}

// A message to another part of the service, in a trace of its own, which has a link to this one.
func hand_on(ctx context.Context) {
	_, producer := tracer.Start(ctx, "send order", trace.WithSpanKind(trace.SpanKindProducer))
	producer.End()
	_, consumer := tracer.Start(context.Background(), "receive order", trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(trace.Link{SpanContext: producer.SpanContext()}))
	consumer.End()
}

func serve(name string, n int, meet bool, locked *sync.Mutex) {
	ctx, span := tracer.Start(context.Background(), "POST /buy/{id}", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", "POST"), attribute.String("http.route", "/buy/{id}"), attribute.String("url.path", "/buy/7"),
		attribute.Int("http.response.status_code", http.StatusOK)))
	defer span.End()
	query(ctx, "SELECT n FROM stock WHERE id = 7")
	inner, child := tracer.Start(ctx, "take")
	if locked != nil {
		locked.Lock()
		lock(inner, "stocks", "acquire")
	}
	take(inner, name, n, meet)
	if locked != nil {
		lock(inner, "stocks", "release")
		locked.Unlock()
	}
	child.End()
	hand_on(ctx)
}

// Two at once, which wait for each other where there is no lock.
func both(name string, meet bool, locked *sync.Mutex) {
	var all sync.WaitGroup
	barrier.Add(2)
	for n := 1; n <= 2; n++ {
		all.Add(1)
		go func() { defer all.Done(); serve(name, n, meet, locked) }()
	}
	all.Wait()
}

func main() {
	ctx := context.Background()
	count, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(os.Args[1]+"/v1/traces"), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	if err != nil {
		log.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(20000), sdktrace.WithBatchTimeout(200*time.Millisecond)),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop-go"))))
	otel.SetTracerProvider(provider)
	tracer = otel.Tracer("shop")

	both("free", true, nil)
	both("locked", false, &sync.Mutex{})
	_, failing := tracer.Start(ctx, "fail")
	failing.RecordError(errors.New("no more of it"))
	failing.SetStatus(codes.Error, "no more of it")
	failing.End()
	for i := 0; i < count; i++ {
		_, span := tracer.Start(ctx, fmt.Sprintf("step %d", i))
		span.End()
	}
	if err := provider.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
