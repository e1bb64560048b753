"""Standby requests between two processes, under each kind of WSGI server; streams do not grow either of them."""

from __future__ import annotations

import http.client
import json
import pathlib
import socket
from collections.abc import Iterator

import pytest

from .pair import CLIENT, ask
from .processes import forget_peak, peak_mib, running
from .site_app import PIECE

STREAM_PIECES = 1200  # 75 MiB each way
GROWTH_MIB_MAX = 40.0  # waitress itself holds up to 16 MiB of an answer (outbuf_high_watermark), on both servers


def upload(pieces: int) -> Iterator[bytes]:
    for _ in range(pieces):
        yield PIECE


@pytest.mark.parametrize("kind", ["waitress", "gunicorn", "gevent"])
def test_streams_cookies_cuts_and_memory(kind: str, tmp_path: pathlib.Path) -> None:
    pytest.importorskip(kind)
    with running(kind, tmp_path) as (pair, active, standby):
        seen = json.loads(ask(pair.two, "/echo", "POST", b"x=1", X_FT_Forward="forged").body)
        assert (seen["by"], seen["client"], seen["body"]) == (pair.one, CLIENT, "x=1")
        session = [c for c in ask(pair.two, "/login/anna").headers.get_all("Set-Cookie") if c.startswith("session")]
        assert json.loads(ask(pair.two, "/echo", Cookie=session[0].partition(";")[0]).body)["user"] == "anna"
        chunked = ask(pair.two, "/swallow", "PUT", upload(40), Transfer_Encoding="chunked")
        assert chunked.text == str(40 * len(PIECE))
        for sized in ("", "?sized"):
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                ask(pair.two, f"/broken/40{sized}")
        warm_up(pair.two)
        before = forget_peak(active), forget_peak(standby)
        assert download(pair.two, STREAM_PIECES) == STREAM_PIECES * len(PIECE)
        length = str(STREAM_PIECES * len(PIECE))
        assert ask(pair.two, "/swallow", "PUT", upload(STREAM_PIECES), Content_Length=length).text == length
        growth = peak_mib(active) - before[0], peak_mib(standby) - before[1]
        assert max(growth) < GROWTH_MIB_MAX, f"{growth} MiB for a stream of {STREAM_PIECES * len(PIECE) >> 20} MiB"


def warm_up(address: str) -> None:
    """Buffers and threads of the WSGI server itself grow with its first long bodies, standby requests or not."""
    assert download(address, 200) == 200 * len(PIECE)
    length = str(200 * len(PIECE))
    assert ask(address, "/swallow", "PUT", upload(200), Content_Length=length).text == length


def download(address: str, pieces: int) -> int:
    """Bytes of a stream, read to its end."""
    connection = http.client.HTTPConnection(address, timeout=60, source_address=(CLIENT, 0))
    connection.request("GET", f"/stream/{pieces}")
    answer, count = connection.getresponse(), 0
    assert answer.status == 200
    while piece := answer.read(1 << 20):
        count += len(piece)
    connection.close()
    return count


def test_a_slow_client_slows_the_active_server_down_and_grows_nothing(tmp_path: pathlib.Path) -> None:
    with running("waitress", tmp_path) as (pair, active, standby):
        warm_up(pair.two)
        before = forget_peak(standby)
        host, _, port = pair.two.rpartition(":")
        with socket.create_connection((host, int(port)), 10) as client:
            client.sendall(f"GET /stream/8000 HTTP/1.1\r\nHost: {pair.two}\r\n\r\n".encode())
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            assert download(pair.two, 200) == 200 * len(PIECE), "others are served meanwhile"
            assert peak_mib(standby) - before < GROWTH_MIB_MAX
        assert ask(pair.two, "/bare").text == "well"
