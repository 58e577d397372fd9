// Requests as OpenTelemetry sees them: the instrumentation of pg comments what is asked in them.
// Loaded before pg is.

const { NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');
const { trace } = require('@opentelemetry/api');
const { registerInstrumentations } = require('@opentelemetry/instrumentation');
const { PgInstrumentation } = require('@opentelemetry/instrumentation-pg');

new NodeTracerProvider().register();
// Without a span around them statements would each be a trace of its own.
registerInstrumentations({ instrumentations: [new PgInstrumentation({ addSqlCommenterCommentToQueries: true, requireParentSpan: true })] });

// Runs it as a request of its own trace.
const traced = (work) => (amount) => (row, think) => trace.getTracer('bank').startActiveSpan('withdraw', { root: true }, async (span) => {
  await work(row, amount, think);
  span.end();
  return { trace: span.spanContext().traceId };
});

module.exports = { traced };
