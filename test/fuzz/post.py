"""
post.py PORT
    Posts to a receiver what "fuzz -w" writes to its standard input, and says how many got which answer.
    Status 1 where one gets another answer than one of a body, or none.
"""
import socket
import struct
import sys

DOORS = {
    b"p": [("/v1/traces", "application/x-protobuf"), ("/v1/logs", "application/x-protobuf")],
    b"j": [("/v1/traces", "application/json"), ("/v1/logs", "application/json")],
    b"e": [("/events", "application/json")],
}
EXPECTED = (200, 400, 413)


def chunked(body):
    parts = [body[i:i + 997] for i in range(0, len(body), 997)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def request(kind, body, number):
    path, content_type = DOORS[kind][number % len(DOORS[kind])]
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    if body[:2] == b"\x1f\x8b":
        head += "Content-Encoding: gzip\r\n"
    if number % 7 == 0:
        return (head + "Transfer-Encoding: chunked\r\n\r\n").encode() + chunked(body)
    return (head + f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def answer(stream):
    """Its status; 0 where the connection ended."""
    line = stream.readline()
    length = 0
    while (header := stream.readline()).strip():
        if header.lower().startswith(b"content-length:"):
            length = int(header.split(b":")[1])
    stream.read(length)
    return int(line.split()[1]) if line else 0


def main():
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
    stream = connection.makefile("rb")
    counts = {}
    number = 0
    while len(head := sys.stdin.buffer.read(5)) == 5:
        body = sys.stdin.buffer.read(struct.unpack("<I", head[:4])[0])
        connection.sendall(request(head[4:], body, number))
        status = answer(stream)
        counts[status] = counts.get(status, 0) + 1
        if status not in EXPECTED:
            print(f"input {number} from the first on was answered with {status}: {body[:200]!r}")
            return 1
        number += 1
    print(f"{number} bodies were answered:", ", ".join(f"{n} with {status}" for status, n in sorted(counts.items())))
    return 0


sys.exit(main())
