# otlp_equal.py
#		Is what export_otlp() gives equal to the bodies that came in?
#
# otlp_equal.py EXPORTED BODY... [-- EXPORTED BODY...]...: reads the bodies (protobuf or JSON, with or without gzip) and the
# exported document with the official generated code, and compares the sets of their spans and log
# records, each with its resource and scope.  Attributes are a set, as they are in OpenTelemetry; a
# NUL or lone surrogate cannot be stored and is U+FFFD.  Prints what is missing and what is too much,
# and exits with 1 if there is any.
import base64
import gzip
import json
import re
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def clean(value):
    """What the parser refuses and ingest_otlp() replaces; ids from hexadecimal digits to base64, as the parser wants them."""
    if isinstance(value, dict):
        return {k: base64.b64encode(bytes.fromhex(v)).decode() if k in ('traceId', 'spanId', 'parentSpanId') else clean(v) for k, v in value.items()}
    if isinstance(value, list):
        return [clean(v) for v in value]
    return re.sub('[\0\ud800-\udfff]', '\ufffd', value) if isinstance(value, str) else value


def from_json(text, exported=False):
    """The two requests that a document may be."""
    document = clean(json.loads(text))
    unknown = set(document) - {'resourceSpans', 'resourceLogs'}
    if unknown:
        raise ValueError(f'unknown members {unknown}')
    return [json_format.ParseDict({k: document[k] for k in [key] if k in document}, cls(), ignore_unknown_fields=not exported)
            for key, cls in (('resourceSpans', ExportTraceServiceRequest), ('resourceLogs', ExportLogsServiceRequest))]


def from_wire(data):
    """Traces and logs have the same outer frame: what one of them cannot be is unknown to it."""
    requests = []
    for cls in (ExportTraceServiceRequest, ExportLogsServiceRequest):
        request = cls()
        try:
            request.ParseFromString(data)
        except Exception:
            continue
        if request.SerializeToString() == data or not requests:
            requests.append(request)
    # Log records read as spans have a trace id of the wrong length.
    return requests


def value(v):
    """AnyValue as what compares: its type, and what it holds."""
    kind = v.WhichOneof('value')
    if kind is None:
        return None
    if kind == 'array_value':
        return (kind, tuple(value(e) for e in v.array_value.values))
    if kind == 'kvlist_value':
        return (kind, attributes(v.kvlist_value.values))
    if kind == 'double_value':
        return (kind, repr(v.double_value))
    if kind == 'string_value':
        return (kind, v.string_value.replace('\0', '\ufffd'))
    return (kind, getattr(v, kind))


def attributes(pairs):
    return tuple(sorted(({p.key: value(p.value) for p in pairs}).items(), key=repr))


def resource(group):
    return (attributes(group.resource.attributes), group.resource.dropped_attributes_count, group.schema_url)


def scope(group):
    return (group.scope.name, group.scope.version, attributes(group.scope.attributes), group.scope.dropped_attributes_count, group.schema_url)


def text(s):
    return s.replace('\0', '\ufffd')


def span(s):
    return ('span', s.trace_id, s.span_id, s.parent_span_id, s.trace_state, s.flags, text(s.name), s.kind, s.start_time_unix_nano, s.end_time_unix_nano, attributes(s.attributes),
            s.dropped_attributes_count, s.dropped_events_count, s.dropped_links_count, s.status.code, s.status.message,
            tuple((e.time_unix_nano, text(e.name), attributes(e.attributes), e.dropped_attributes_count) for e in s.events),
            tuple((l.trace_id, l.span_id, l.trace_state, attributes(l.attributes), l.dropped_attributes_count, l.flags) for l in s.links))


def log(r):
    return ('log', r.trace_id, r.span_id, r.time_unix_nano, r.observed_time_unix_nano, r.severity_number, r.severity_text, text(r.event_name), value(r.body), attributes(r.attributes),
            r.dropped_attributes_count, r.flags)


def records(requests):
    found = set()
    for request in requests:
        for group in getattr(request, 'resource_spans', []):
            found |= {(resource(group), scope(inner), span(s)) for inner in group.scope_spans for s in inner.spans}
        for group in getattr(request, 'resource_logs', []):
            # Those outside of any trace are refused.
            found |= {(resource(group), scope(inner), log(r)) for inner in group.scope_logs for r in inner.log_records if r.trace_id}
    return found


def read(path):
    with open(path, 'rb') as file:
        data = file.read()
    if data[:2] == b'\x1f\x8b':
        data = gzip.decompress(data)
    if data.lstrip(b' \t\r')[:1] == b'{':
        return records(from_json(data.decode()))
    return max((records([r]) for r in from_wire(data)), key=lambda found: sum(len(r[2][1]) == 16 and len(r[2][2]) == 8 for r in found), default=set())


def compare(exported, bodies):
    with open(exported) as file:
        out = records(from_json(file.read(), exported=True))
    came = set().union(*(read(b) for b in bodies))
    for name, some in (('missing', came - out), ('too much', out - came)):
        for record in sorted(some, key=repr)[:5]:
            print(re.sub('(.)\\1{20,}', '\\1\\1...', f'{exported}: {name}: {record}')[:3000])
    return len(came), came != out


def main(arguments):
    pairs = [[]]
    for argument in arguments:
        if argument == '--':
            pairs.append([])
        else:
            pairs[-1].append(argument)
    results = [compare(exported, bodies) for exported, *bodies in pairs]
    print(f'{sum(n for n, _ in results)} records in {sum(len(p) - 1 for p in pairs)} bodies, {sum(different for _, different in results)} not equal')
    sys.exit(any(different for _, different in results) or sum(n for n, _ in results) == 0)


main(sys.argv[1:])
