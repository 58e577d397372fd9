# otlp_official.py
#		Writes requests of OpenTelemetry at random, encoded by the official generated code.
#
# otlp_official.py SEED COUNT DIR [all]: for each number the body in protobuf, n.bin, and the same in
# JSON as OTLP has it, n.json; and spans.csv with what each span is: trace, span, parent, start in
# nanoseconds, duration, name, and how many events and links it has.  With "all", requests and queries
# as well, whose events have other names than their spans.
import base64
import csv
import json
import math
import random
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

STRINGS = ['', 'a', 'ü€😀', 'select 1', '/a/b?c', '"quoted"', 'two\nlines', '850', '{"a": [1, 2]}', '@bytes', 'x' * 500, '\u200b', '\ufffd']


def any_value(value, depth=0):
    kind = random.randrange(6 if depth > 3 else 8)
    if kind == 0:
        value.string_value = random.choice(STRINGS)
    elif kind == 1:
        value.int_value = random.choice([0, 1, -1, 2**63 - 1, -2**63, random.randrange(-10**6, 10**6)])
    elif kind == 2:
        value.double_value = random.choice([0.0, -0.0, 5.0, 0.1, 1e300, 5e-324, math.nan, math.inf, -math.inf, random.random()])
    elif kind == 3:
        value.bool_value = random.random() < 0.5
    elif kind == 4:
        value.bytes_value = random.randbytes(random.randrange(20))
    elif kind == 6:
        value.array_value.SetInParent()
        for _ in range(random.randrange(4)):
            any_value(value.array_value.values.add(), depth + 1)
    elif kind == 7:
        value.kvlist_value.SetInParent()
        pairs(value.kvlist_value.values, ['a', 'b', '@pairs', ''], depth + 1)


def pairs(to, keys, depth=0):
    for key in random.sample(keys, random.randrange(len(keys) + 1)):
        pair = to.add()
        pair.key = key
        any_value(pair.value, depth)


def resource(group):
    pairs(group.resource.attributes, ['service.name', 'service.instance.id', 'host.name', 'process.pid', 'x'])
    # Longer names of services, instances and hosts are refused.
    for attribute in [a for a in group.resource.attributes if a.key != 'x' and len(json_format.MessageToJson(a.value)) > 400]:
        attribute.value.string_value = 'long'
    group.resource.dropped_attributes_count = random.randrange(3)
    group.schema_url = random.choice(['', 'https://schema.example/1'])


def scope(group):
    group.scope.name = random.choice(['', 'lib', 'other'])
    group.scope.version = random.choice(['', '1.0'])
    pairs(group.scope.attributes, ['x', 'y'])


def span(s, table):
    start = 1795785303594975307 + random.randrange(10**10)
    s.trace_id = random.randbytes(16)
    s.span_id = random.randbytes(8)
    if random.random() < 0.7:
        s.parent_span_id = random.randbytes(8)
    s.trace_state = random.choice(['', 'a=1'])
    s.flags = random.choice([0, 1, 257, 769, 2**32 - 1])
    s.name = random.choice(STRINGS)
    s.kind = random.choice([0, 1, 4, 5] if len(sys.argv) < 5 else range(6))
    s.start_time_unix_nano = start
    s.end_time_unix_nano = start + random.randrange(10**9)
    pairs(s.attributes, ['a', 'b', 'thread.id', 'code.function.name', 'x'] if len(sys.argv) < 5 else ['a', 'thread.id', 'x', 'http.request.method', 'http.status_code', 'http.route', 'url.full', 'db.system', 'db.query.text', 'db.statement'])
    s.dropped_attributes_count = random.randrange(3)
    for _ in range(random.randrange(4)):
        e = s.events.add()
        e.time_unix_nano = start + random.randrange(10**9)
        e.name = random.choice(['exception', 'other', ''])
        pairs(e.attributes, ['exception.type', 'exception.message', 'exception.stacktrace', 'x'])
        e.dropped_attributes_count = random.randrange(2)
    for _ in range(random.randrange(3)):
        link = s.links.add()
        link.trace_id = random.randbytes(16)
        link.span_id = random.randbytes(8)
        pairs(link.attributes, ['a', 'b'])
        link.flags = random.choice([0, 257])
    s.status.code = random.randrange(2)
    s.status.message = random.choice(['', 'm'])
    table.writerow([s.trace_id.hex(), s.span_id.hex(), s.parent_span_id.hex(), start, s.end_time_unix_nano - start, s.name, len(s.events), len(s.links)])


def log_record(r):
    r.trace_id = random.randbytes(16)
    r.span_id = random.randbytes(8)
    r.time_unix_nano = random.choice([0, 1795785303594975307])
    r.observed_time_unix_nano = 1795785303594975308
    r.severity_number = random.randrange(25)
    r.severity_text = random.choice(['', 'WARN'])
    r.event_name = random.choice(['', 'exception', 'started'])
    if random.random() < 0.8:
        any_value(r.body)
    pairs(r.attributes, ['exception.type', 'exception.stacktrace', 'event.name', 'x'])
    r.flags = random.randrange(2)


def to_otlp_json(value):
    """The official JSON has ids in base64 and enums by name; that of OTLP has them in hexadecimal digits, and as numbers."""
    if isinstance(value, dict):
        return {k: base64.b64decode(v).hex() if k in ('traceId', 'spanId', 'parentSpanId') else to_otlp_json(v) for k, v in value.items()}
    return [to_otlp_json(v) for v in value] if isinstance(value, list) else value


def main(seed, count, folder):
    random.seed(seed)
    with open(f'{folder}/spans.csv', 'w', newline='') as file:
        table = csv.writer(file)
        for n in range(count):
            request = ExportLogsServiceRequest() if n % 3 == 0 else ExportTraceServiceRequest()
            for _ in range(random.randrange(3)):
                group = (request.resource_logs if n % 3 == 0 else request.resource_spans).add()
                resource(group)
                for _ in range(random.randrange(3)):
                    inner = (group.scope_logs if n % 3 == 0 else group.scope_spans).add()
                    scope(inner)
                    for _ in range(random.randrange(6)):
                        if n % 3 == 0:
                            log_record(inner.log_records.add())
                        else:
                            span(inner.spans.add(), table)
            with open(f'{folder}/{n}.bin', 'wb') as body:
                body.write(request.SerializeToString())
            with open(f'{folder}/{n}.json', 'w') as body:
                body.write(json.dumps(to_otlp_json(json_format.MessageToDict(request, use_integers_for_enums=True)), ensure_ascii=random.random() < 0.5))


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
