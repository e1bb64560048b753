"""A load client: ``python -m tests.bench.load ADDRESS TARGET CONNECTIONS SECONDS`` prints one JSON object.

Each kept connection sends its next request when the answer to the last one is complete. One thread around epoll, in a
process of its own, so that the client takes no time from the server's interpreter.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

READ_BYTES = 65_536
LIMIT_S = 5.0


@dataclass
class Exchange:
    """One connection and its open request."""

    sock: socket.socket
    started_s: float = 0.0
    received: bytearray = field(default_factory=bytearray)


def complete(received: bytearray) -> bytes | None:
    """The body once the answer is whole. Raises ValueError for anything but status 200 with a length."""
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return None
    lines = bytes(head).lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), None)
    if b" 200 " not in lines[0] or length is None:
        raise ValueError(f"unexpected answer: {bytes(head[:200])!r}")
    return bytes(body) if len(body) >= length else None


def run(host: str, port: int, target: str, connections: int, seconds: float) -> dict[str, float | str]:
    """Requests a second and the 99th percentile of their time in ms."""
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    took_s: list[float] = []
    body = b""
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            sock = socket.create_connection((host, port), LIMIT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(sock, selectors.EVENT_READ, Exchange(sock))
        start_s = time.perf_counter()
        for key in selector.get_map().values():
            _send(key.data, request)
        while (now_s := time.perf_counter()) - start_s < seconds:
            ready = selector.select(LIMIT_S)
            if not ready:
                raise TimeoutError(f"no answer within {LIMIT_S:g} s")
            for key, _ in ready:
                exchange = key.data
                data = exchange.sock.recv(READ_BYTES)
                if not data:
                    raise ConnectionError("the server closed a connection")
                exchange.received += data
                said = complete(exchange.received)
                if said is not None:
                    body = said
                    took_s.append(time.perf_counter() - exchange.started_s)
                    exchange.received.clear()
                    _send(exchange, request)
        elapsed_s = now_s - start_s
        for key in list(selector.get_map().values()):
            key.data.sock.close()
    took_s.sort()
    p99_ms = 1000 * took_s[min(len(took_s) - 1, int(0.99 * len(took_s)))]
    return {"per_s": len(took_s) / elapsed_s, "p99_ms": p99_ms, "body": body.decode()}


def _send(exchange: Exchange, request: bytes) -> None:
    exchange.started_s = time.perf_counter()
    exchange.sock.sendall(request)


if __name__ == "__main__":
    where, _, number = sys.argv[1].rpartition(":")
    print(json.dumps(run(where, int(number), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
