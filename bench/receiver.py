# receiver.py send PORT json|protobuf ROUND BODIES		prints spans a second
# receiver.py sink PORT									reads requests and parses their JSON
#
# 4 clients, processes each with one connection, send BODIES bodies of 512 spans: 64 traces of 8
# spans with the attributes of a request.

import http.client
import http.server
import json
import multiprocessing
import socketserver
import struct
import sys
import time

CLIENTS, SPANS = 4, 512
START = 1767225600000000000


def spans_of(client, body, turn):
    for i in range(SPANS):
        trace = "%08x%08x%08x%08x" % (int(turn), client + 1, body + 1, i // 8)
        span = "%04x%04x%08x" % (client + 1, body + 1, i + 1)
        parent = "" if i % 8 == 0 else "%04x%04x%08x" % (client + 1, body + 1, i // 8 * 8 + 1)
        start = START + (body * SPANS + i) * 1000000
        yield trace, span, parent, "step %d" % (i % 8), start, start + 900000, [("code.line.number", i), ("app.user", "user %d" % (i % 50)), ("app.note", "x" * 40)]


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def as_protobuf(spans):
    body = []
    for trace, span, parent, name, start, end, attributes in spans:
        one = field(1, bytes.fromhex(trace)) + field(2, bytes.fromhex(span)) + (field(4, bytes.fromhex(parent)) if parent else b"") + field(5, name.encode())
        one += b"\x30\x01\x39" + struct.pack("<Q", start) + b"\x41" + struct.pack("<Q", end)
        for key, value in attributes:
            any_value = b"\x18" + varint(value) if isinstance(value, int) else field(1, value.encode())
            one += field(9, field(1, key.encode()) + field(2, any_value))
        body.append(field(2, one))
    resource = field(1, field(1, field(1, b"service.name") + field(2, field(1, b"bench"))))
    return field(1, resource + field(2, b"".join(body)))


def as_json(spans):
    return json.dumps({"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "bench"}}]}, "scopeSpans": [{"spans": [
        {"traceId": trace, "spanId": span, "parentSpanId": parent, "name": name, "kind": 1, "startTimeUnixNano": str(start), "endTimeUnixNano": str(end),
         "attributes": [{"key": k, "value": {"intValue": v} if isinstance(v, int) else {"stringValue": v}} for k, v in attributes]}
        for trace, span, parent, name, start, end, attributes in spans]}]}]}, separators=(",", ":")).encode()


def client(number, port, encoding, turn, count, ready, go):
    encode = as_json if encoding == "json" else as_protobuf
    bodies = [encode(spans_of(number, i, turn)) for i in range(count)]
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    ready.release()
    go.wait()
    for body in bodies:
        connection.request("POST", "/v1/traces", body, {"Content-Type": "application/json" if encoding == "json" else "application/x-protobuf"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit("status %d" % answer.status)


def send(port, encoding, turn, count):
    ready, go = multiprocessing.Semaphore(0), multiprocessing.Event()
    clients = [multiprocessing.Process(target=client, args=(i, port, encoding, turn, count, ready, go)) for i in range(CLIENTS)]
    for one in clients:
        one.start()
    for one in clients:
        ready.acquire()
    begin = time.monotonic()
    go.set()
    for one in clients:
        one.join()
    if any(one.exitcode for one in clients):
        raise SystemExit("a client failed")
    print("%.0f" % (CLIENTS * count * SPANS / (time.monotonic() - begin)))


class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


if sys.argv[1] == "send":
    send(int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
else:
    Server(("127.0.0.1", int(sys.argv[2])), Sink).serve_forever()
