// otlp_sdk.js ENDPOINT COUNT
//		The same for Node: two requests lose an update of a stock; COUNT more spans. Before it stand
//		state() and lock() of docs/opentelemetry.md.
const { NodeTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-node');
const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-proto');
const { resourceFromAttributes } = require('@opentelemetry/resources');

const [endpoint, count] = [process.argv[2], Number(process.argv[3])];
const provider = new NodeTracerProvider({
	resource: resourceFromAttributes({ 'service.name': 'shop' }),
	spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: endpoint + '/v1/traces', compression: 'gzip' }),
		{ scheduledDelayMillis: 200, maxQueueSize: 20000 })],
});
provider.register();
const tracer = trace.getTracer('shop');
let stock = 5;

async function buy(n) {
	await tracer.startActiveSpan('buy', { kind: 1 }, async (span) => {
		const seen = stock;
		state('stock', 'Read', seen);
		await new Promise((done) => setTimeout(done, 20 * n));
		const found = stock;
		stock = seen - n;
		state('stock', 'Write', seen - n, found);
		span.end();
	});
}

(async () => {
	await Promise.all([buy(1), buy(2)]);
	for (let i = 0; i < count; i++)
		tracer.startSpan('step ' + i).end();
	await provider.forceFlush();
	await provider.shutdown();
})();
