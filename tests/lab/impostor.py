"""A portal that misbehaves: ``python -m tests.lab.impostor MANNER --listen A:P --behind A:P``.

It stands at the portal's address and passes requests on to the real portal, which listens elsewhere meanwhile. Requests
whose target contains ``--only`` are answered in the given manner, all others as the portal answers them.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import threading
import time
from typing import Callable

MANNERS = ("slow", "wrong", "truncated", "hanging", "redirect", "huge", "drip")
REQUEST_BYTES_MAX = 65_536
PASS_LIMIT_S = 5.0
HANG_S = 3600.0
HUGE_BYTES = 10_000_000
IPSWS = "mod=IPSWS"  # what the peer's heartbeat asks


def answer_of(behind: tuple[str, int], request: bytes) -> bytes:
    """The portal's whole answer, on a connection of its own. OSError when there is none."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    answer = b""
    with socket.create_connection(behind, PASS_LIMIT_S) as portal:
        portal.sendall(b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body)
        while part := portal.recv(65_536):
            answer += part
    return answer


def read_request(connection: socket.socket) -> bytes:
    """Head and body of one request; empty when the client has gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        if not part or len(data) > REQUEST_BYTES_MAX:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        part = connection.recv(65_536)
        if not part:
            return b""
        body += part
    return head + b"\r\n\r\n" + body


def misbehave(connection: socket.socket, manner: str, answer: Callable[[], bytes], delay_s: float) -> None:
    """Answer one request in that manner. ``delay_s``: before a slow answer, and between two bytes of a dripping one."""
    if manner == "hanging":
        time.sleep(HANG_S)
    elif manner == "slow":
        time.sleep(delay_s)
        connection.sendall(answer())
    elif manner == "wrong":
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\nIt works here.")
    elif manner == "redirect":
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nLocation: /ft/live\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    elif manner == "truncated":
        whole = answer()
        connection.sendall(whole[: len(whole) // 2])
    elif manner == "huge":
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % HUGE_BYTES)
        for _ in range(HUGE_BYTES // 10_000):
            connection.sendall(b"x" * 10_000)
    else:
        for byte in answer():
            connection.sendall(bytes((byte,)))
            time.sleep(delay_s)


def serve(connection: socket.socket, behind: tuple[str, int], manner: str, only: str, delay_s: float) -> None:
    """One request, then the end of the connection."""
    with connection, contextlib.suppress(OSError):  # either side may go away at any moment
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = read_request(connection)
        if not request:
            return
        if only.encode() in request.split(b"\r\n", 1)[0]:
            misbehave(connection, manner, lambda: answer_of(behind, request), delay_s)
        else:
            connection.sendall(answer_of(behind, request))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    parser = argparse.ArgumentParser(description="Passes requests on to a portal, and answers some of them badly.")
    parser.add_argument("manner", choices=MANNERS)
    parser.add_argument("--listen", type=_address, required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--behind", type=_address, required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--only", default=IPSWS, help="what the target of a badly answered request contains")
    parser.add_argument("--delay-s", type=float, default=0.2)
    options = parser.parse_args()
    with socket.create_server(options.listen, backlog=128) as listener:
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            arguments = (connection, options.behind, options.manner, options.only, options.delay_s)
            threading.Thread(target=serve, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main()
