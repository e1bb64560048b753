"""A portal that misbehaves: ``python -m tests.lab.impostor --listen ADDRESS:PORT --behind ADDRESS:PORT``.

It stands at the portal's address, waiting for it to be free, and passes requests on to the real portal, which listens
elsewhere meanwhile. A line of JSON on its input says how it behaves from then on: {"manner": "slow", "only": "mod=IPSWS",
"delay_s": 2}; each is answered by "ready". Requests whose target contains ``only`` are answered in that manner, all others
as the portal answers them. It ends with its input.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import Callable

WELL = "well"
MANNERS = ("slow", "wrong", "truncated", "hanging", "redirect", "huge", "drip")
REQUEST_BYTES_MAX = 65_536
PASS_LIMIT_S = 5.0
BIND_LIMIT_S = 10.0
HANG_S = 3600.0
HUGE_BYTES = 10_000_000
IPSWS = "mod=IPSWS"  # what the peer's heartbeat asks


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """How requests whose target contains ``only`` are answered. ``delay_s``: before a slow answer, or between two bytes."""

    manner: str = WELL
    only: str = IPSWS
    delay_s: float = 0.2


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


def misbehave(connection: socket.socket, conduct: Conduct, answer: Callable[[], bytes]) -> None:
    """Answer one request in that manner."""
    manner, delay_s = conduct.manner, conduct.delay_s
    if manner == WELL:
        connection.sendall(answer())
    elif manner == "hanging":
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


class Impostor:
    """Serves one request a connection, each by the conduct of that moment."""

    def __init__(self, behind: tuple[str, int]) -> None:
        self.conduct = Conduct()
        self._behind = behind

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # either side may go away at any moment
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request, conduct = read_request(connection), self.conduct
            if request and conduct.only.encode() in request.split(b"\r\n", 1)[0]:
                misbehave(connection, conduct, lambda: answer_of(self._behind, request))
            elif request:
                connection.sendall(answer_of(self._behind, request))

    def accept(self, listener: socket.socket) -> None:
        """For ever."""
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()


def listen(address: tuple[str, int]) -> socket.socket:
    """A listener as soon as the address is free. OSError when it does not become so."""
    end_s = time.monotonic() + BIND_LIMIT_S
    while True:
        try:
            return socket.create_server(address, backlog=128)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > end_s:
                raise
        time.sleep(0.005)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    parser = argparse.ArgumentParser(description="Passes requests on to a portal, and answers some of them badly.")
    parser.add_argument("--listen", type=_address, required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--behind", type=_address, required=True, metavar="ADDRESS:PORT")
    options = parser.parse_args()
    impostor = Impostor(options.behind)
    print("started", flush=True)
    listening = False
    for line in sys.stdin:
        impostor.conduct = Conduct(**json.loads(line))
        if not listening:
            listener = listen(options.listen)
            threading.Thread(target=impostor.accept, args=(listener,), daemon=True).start()
            listening = True
        print("ready", flush=True)


if __name__ == "__main__":
    main()
