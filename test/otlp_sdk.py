# otlp_sdk.py ENDPOINT COUNT
#		A program that the SDK of OpenTelemetry watches: two requests at a time take money off an
#		account without a lock, then two with one. COUNT more spans come from a loop. What the exporter
#		could not send it says on its error output.

import sys
import threading

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

endpoint, count = sys.argv[1], int(sys.argv[2])
provider = TracerProvider(resource=Resource.create({"service.name": "bank"}))
provider.add_span_processor(BatchSpanProcessor(
    OTLPSpanExporter(endpoint=endpoint + "/v1/traces", compression=Compression.Gzip), schedule_delay_millis=200, max_queue_size=20000))
tracer = trace.get_tracer("bank", tracer_provider=provider)

balances = {"free": 100, "locked": 100}
lock = threading.Lock()
both_have_read = threading.Barrier(2)


def state(variable, access, value, old=None):
    attributes = {"trace_ext.variable": variable, "trace_ext.access": access, "trace_ext.value": str(value)}
    if old is not None:
        attributes["trace_ext.old_value"] = str(old)
    trace.get_current_span().add_event("trace_ext.state", attributes)


def locked(op):
    trace.get_current_span().add_event("trace_ext.lock", {"trace_ext.lock.id": "accounts", "trace_ext.lock.op": op, "trace_ext.lock.type": "Mutex"})


def withdraw(account, meet):
    old = balances[account]
    state("balance." + account, "Read", old)
    if meet:
        both_have_read.wait()
    balances[account] = old - 10
    state("balance." + account, "Write", old - 10, old)


def unsafe():
    with tracer.start_as_current_span("withdraw", kind=trace.SpanKind.SERVER):
        withdraw("free", True)


def safe():
    with tracer.start_as_current_span("withdraw safely", kind=trace.SpanKind.SERVER):
        with lock:
            locked("acquire")
            withdraw("locked", False)
            locked("release")


for target in (unsafe, unsafe), (safe, safe):
    threads = [threading.Thread(target=t) for t in target]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
for i in range(count):
    with tracer.start_as_current_span("step %d" % i):
        pass
provider.force_flush(60000)
provider.shutdown()
