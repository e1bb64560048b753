"""Slow-loris at the node API, both ways: requests that never end, and answers that nobody fetches. The heartbeat goes on.

What comes with log-in pages and pairing is in ``tests/integration/web/test_slow_clients.py``.
"""

from __future__ import annotations

import contextlib
import socket
import time

from ftplugin import protocol
from ftplugin.core.terms import Designation
from ftplugin.http_client import HttpClient

from ..web.conftest import KEY
from ..web.test_slow_clients import Served

CLIENTS = 40


def asked() -> str:
    return protocol.make_ask([KEY], Designation.SERVER2, protocol.new_nonce())


def heartbeats_are_answered(host: str, port: int) -> None:
    for _ in range(3):
        began_s = time.monotonic()
        headers = {protocol.ASK_HEADER: asked()}
        answer = HttpClient().ask(
            "GET", f"http://{host}:{port}", "/ft/monitor?mod=IPSWS", limit_s=10, headers=headers, keep=False
        )
        assert answer.status == 200 and protocol.STATE_HEADER.lower() in answer.headers
        assert time.monotonic() - began_s < 5.0


def test_questions_that_never_end_hold_no_thread_even_when_signed(served: Served) -> None:
    _, host, port = served
    starts = (
        "POST /ft/node/content/tree HTTP/1.1\r\nHost: x\r\nX-FT-Ask: {}\r\nContent-Length: 1900000\r\n\r\n{{",
        "GET /ft/node/log?what=page HTTP/1.1\r\nHost: x\r\nX-FT-Ask: {}\r\n",
        "GET /ft/node/settings HTTP/1.1\r\nX-FT-Ask: {}",
        "POST /ft/node/command HTTP/1.1\r\nHost: x\r\nX-FT-Ask: {}\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    )
    with contextlib.ExitStack() as stack:
        open_ones = []
        for start in starts:
            for _ in range(CLIENTS // len(starts)):
                connection = stack.enter_context(socket.create_connection((host, port), 10))
                connection.sendall(start.format(asked()).encode())
                open_ones.append(connection)
        heartbeats_are_answered(host, port)
        for connection in open_ones:  # another drop each: that keeps them from being idle
            with contextlib.suppress(OSError):
                connection.sendall(b"x")
        heartbeats_are_answered(host, port)


def test_large_answers_that_nobody_fetches_hold_no_thread(served: Served) -> None:
    site_, host, port = served
    for _ in range(3_000):
        site_.portal.report.line("agent", "x" * 150)
    day = site_.portal.report.days()[0]
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(10)
            connection.connect((host, int(port)))
            head = f"GET /ft/node/log?what=raw&offset=0&day={day} HTTP/1.1\r\nHost: x\r\nX-FT-Ask: {asked()}\r\n\r\n"
            connection.sendall(head.encode())
            assert connection.recv(1) == b"H", "the answer has begun; the rest stays where it is"
        heartbeats_are_answered(host, port)
