# otlp_sdk.py ENDPOINT COUNT
#		A program that the SDK of OpenTelemetry watches: two requests at a time take money off an
#		account without a lock, then two with one. COUNT more spans come from a loop. What the exporter
#		could not send it says on its error output. Before it stand the functions state() and lock() of
#		docs/opentelemetry.md, with what these import.

import sys
import threading
import time

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
guard = threading.Lock()
each_write = threading.Lock()
both_have_read = threading.Barrier(2)


def withdraw(account, amount, meet):
    old = balances[account]
    state("balance." + account, "Read", old)
    if meet:
        both_have_read.wait()
        # One after the other, so that no clock can be in doubt about it.
        time.sleep(amount / 1000)
    with each_write:
        found = balances[account]
        balances[account] = old - amount
    state("balance." + account, "Write", old - amount, found)


def unsafe(amount):
    with tracer.start_as_current_span("withdraw", kind=trace.SpanKind.SERVER):
        withdraw("free", amount, True)


def safe(amount):
    with tracer.start_as_current_span("withdraw safely", kind=trace.SpanKind.SERVER):
        with guard:
            lock("accounts", "acquire")
            withdraw("locked", amount, False)
            lock("accounts", "release")


for target in unsafe, safe:
    threads = [threading.Thread(target=target, args=(amount,)) for amount in (10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
for i in range(count):
    with tracer.start_as_current_span("step %d" % i):
        pass
provider.force_flush(60000)
provider.shutdown()
