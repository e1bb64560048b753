"""Slow-loris and oversized requests at a served portal: the heartbeat is answered all the same."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from ftplugin import protocol
from ftplugin.core.terms import Designation
from ftplugin.http_client import HttpClient

from .conftest import KEY, Site

Served = tuple[Site, str, int]
DRIPS = {
    "head": b"GET /ft/monitor?mod=FT HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "command": b"POST /ft/node/command HTTP/1.1\r\nHost: x\r\nContent-Length: 19000\r\n\r\n{",
    "pairing": b"POST /ft/node/pair HTTP/1.1\r\nHost: x\r\nContent-Length: 8000\r\n\r\n{",
    "chunks": b"POST /ft/node/command HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
}


@pytest.mark.parametrize("what", sorted(DRIPS))
def test_connections_that_never_finish_their_request_delay_no_heartbeat(served: Served, what: str) -> None:
    _, host, port = served
    with contextlib.ExitStack() as open_ones:
        for _ in range(40):
            connection = open_ones.enter_context(socket.create_connection((host, port), 5))
            connection.sendall(DRIPS[what])
        for _ in range(5):
            began_s = time.monotonic()
            ask = {protocol.ASK_HEADER: protocol.make_ask([KEY], Designation.SERVER2, protocol.new_nonce())}
            answer = HttpClient().ask(
                "GET", f"http://{host}:{port}", "/ft/monitor?mod=IPSWS", limit_s=5, headers=ask, keep=False
            )
            assert answer.status == 200 and protocol.STATE_HEADER.lower() in answer.headers
            assert time.monotonic() - began_s < 2.0


@pytest.mark.parametrize("path", ["/ft/node/command", "/ft/node/pair"])
def test_an_oversized_body_is_refused_with_its_cause(served: Served, path: str) -> None:
    site, host, port = served
    body = b'{"v": 1, "x": "' + b"x" * 3_000_000 + b'"}'
    answer = HttpClient().ask("POST", f"http://{host}:{port}", path, limit_s=20, body=body, keep=False)
    assert answer.status in (400, 404) and len(answer.body) < 500
    assert site.orders() == 0
