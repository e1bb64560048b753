"""The other kinds of FT_HEALTH against real sockets, disks and programs."""

from __future__ import annotations

import http.server
import pathlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ftplugin.health.checks import CheckState
from tests.integration.web.conftest import free_port

from .conftest import AxlProcess, outcome


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that answers no connect: its queue is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"127.0.0.1:{server.getsockname()[1]}"


def tcp(*addresses: str, **more: object) -> dict[str, object]:
    return {"name": "cti", "kind": "tcp", "addresses": list(addresses)} | more


def test_tcp_is_well_when_every_address_takes_a_connection(listening: str) -> None:
    found = outcome(tcp(listening, listening.replace("127.0.0.1", "localhost")))
    assert (found.state, found.detail) == (CheckState.OK, "")


def test_tcp_names_the_address_that_refuses(listening: str) -> None:
    closed = f"127.0.0.1:{free_port()}"
    found = outcome(tcp(listening, closed))
    assert (found.state, found.detail) == (CheckState.FAILED, f"{closed}: connection refused")


def test_one_silent_address_takes_the_limit_once_and_hides_no_other(listening: str, silent: str) -> None:
    closed, began_s = f"127.0.0.1:{free_port()}", time.monotonic()
    found = outcome(tcp(silent, silent, listening, closed, timeout_s=1))
    assert found.state is CheckState.FAILED and "within 1 s" in found.detail
    assert time.monotonic() - began_s < 4.0


def test_with_need_any_one_address_is_enough_and_the_others_are_degraded(listening: str) -> None:
    closed = f"127.0.0.1:{free_port()}"
    found = outcome(tcp(listening, closed, need="any"))
    assert (found.state, found.detail) == (CheckState.DEGRADED, f"{closed}: connection refused")
    assert outcome(tcp(closed, need="any")).state is CheckState.FAILED


def test_a_name_that_nobody_knows_is_failed() -> None:
    found = outcome(tcp("nobody.invalid:80"))
    assert found.state is CheckState.FAILED and found.detail


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = {"/ok": (200, b"all is well"), "/gone": (410, b"gone")}.get(self.path, (404, b""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def pages() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "more", "says"),
    [
        ("/ok", {}, ""),
        ("/ok", {"text": "is well"}, ""),
        ("/gone", {"status": 410}, ""),
        ("/gone", {}, "answers HTTP 410, not 200"),
        ("/ok", {"text": "is ill"}, "answers HTTP 200 without the text 'is ill'"),
    ],
)
def test_http_looks_at_status_and_text(pages: str, path: str, more: dict[str, object], says: str) -> None:
    found = outcome({"name": "wiki", "kind": "http", "url": pages + path} | more)
    assert (found.state is CheckState.OK, found.detail) == (not says, says)


def test_https_is_verified_as_axl_is(axl: AxlProcess) -> None:
    table = {"name": "wiki", "kind": "http", "url": axl.url + "/", "status": 404}
    assert outcome(table | {"ca_file": str(axl.ca_file)}).state is CheckState.OK
    assert "is not trusted" in outcome(table).detail


def test_disk_asks_for_room(tmp_path: pathlib.Path) -> None:
    table = {"name": "spool", "kind": "disk", "path": str(tmp_path)}
    assert outcome(table).state is CheckState.OK
    assert "at least 10000000 MiB are needed" in outcome(table | {"free_mb_min": 10_000_000}).detail
    assert outcome(table | {"path": str(tmp_path / "no")}).detail.endswith("No such file or directory")


def test_database_that_refuses_is_failed_without_its_password() -> None:
    url = f"postgresql+psycopg://user:s3cret@127.0.0.1:{free_port()}/crm"
    found = outcome({"name": "crm", "kind": "database", "url": url})
    assert found.state is CheckState.FAILED and found.detail and "s3cret" not in found.detail


@pytest.mark.parametrize(
    ("code", "state", "detail"),
    [(0, "ok", ""), (1, "degraded", "WARNING - 1"), (2, "failed", "WARNING - 2"), (3, "failed", "WARNING - 3")],
)
def test_a_monitoring_plugin_speaks_by_its_exit_code(code: int, state: str, detail: str) -> None:
    program = f"import sys; print('WARNING - {code}'); sys.exit({code})"
    found = outcome({"name": "ntp", "kind": "command", "command": [sys.executable, "-c", program]})
    assert (str(found.state), found.detail) == (state, detail)


def test_a_program_that_hangs_or_is_missing_is_failed(tmp_path: pathlib.Path) -> None:
    hung = outcome({"name": "a", "kind": "command", "command": ["/bin/sleep", "60"], "timeout_s": 0.5})
    assert hung.state is CheckState.FAILED and "0.5 s" in hung.detail
    missing = outcome({"name": "b", "kind": "command", "command": [str(tmp_path / "none")]})
    assert missing.state is CheckState.FAILED and "cannot be run" in missing.detail
