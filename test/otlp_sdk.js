// otlp_sdk.js ENDPOINT COUNT
//		The same for Node: two requests lose an update of a balance; COUNT more spans.
const { trace } = require('@opentelemetry/api');
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

function state(span, access, value, old) {
	span.addEvent('trace_ext.state', { 'trace_ext.variable': 'stock', 'trace_ext.access': access, 'trace_ext.value': String(value),
		...(old === undefined ? {} : { 'trace_ext.old_value': String(old) }) });
}

async function buy() {
	await tracer.startActiveSpan('buy', { kind: 1 }, async (span) => {
		const seen = stock;
		state(span, 'Read', seen);
		await new Promise((done) => setTimeout(done, 20));
		stock = seen - 1;
		state(span, 'Write', seen - 1, seen);
		span.end();
	});
}

(async () => {
	await Promise.all([buy(), buy()]);
	for (let i = 0; i < count; i++)
		tracer.startSpan('step ' + i).end();
	await provider.forceFlush();
	await provider.shutdown();
})();
