"""The plugin under WSGI servers with threads, with processes, and with greenlets."""

from __future__ import annotations

import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import RedisProcess, free_port

ADMIN = "/ft/admin/"
PROGRAM = """
import os
from flask import Flask
from ftplugin import FaultTolerance

def create_app():
    app = Flask("portal")
    app.config.update(
        SECRET_KEY="portal-secret", FT_OWN_ADDRESS="127.0.0.11", FT_REDIS_URL=os.environ["TEST_REDIS"],
        FT_INSTANCE_DIR=os.environ["TEST_FOLDER"], FT_SECRET_KEYS=["test-key-of-32-characters-long-ok"],
    )
    app.add_url_rule("/pid", "pid", lambda: str(os.getpid()))
    FaultTolerance(app, authorize=lambda permission: True)
    return app
"""
GEVENT = """
from gevent import monkey
monkey.patch_all()
import sys
from gevent.pywsgi import WSGIServer
from portal_program import create_app
WSGIServer(("127.0.0.1", int(sys.argv[1])), create_app(), log=None).serve_forever()
"""


@pytest.fixture
def served_by(redis_process: RedisProcess, tmp_path: pathlib.Path) -> Iterator[Any]:
    started: list[subprocess.Popen[bytes]] = []
    (tmp_path / "portal_program.py").write_text(PROGRAM)
    (tmp_path / "gevent_program.py").write_text(textwrap.dedent(GEVENT))

    def start(*arguments: str) -> int:
        port = free_port()
        root = str(pathlib.Path(__file__).parents[3])
        environ = os.environ | {
            "TEST_REDIS": redis_process.url,
            "TEST_FOLDER": str(tmp_path / "served"),
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}",
        }
        command = [sys.executable, *(part.format(port=port) for part in arguments)]
        started.append(subprocess.Popen(command, env=environ, cwd=tmp_path, start_new_session=True))
        end_s = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return port
            except OSError:
                assert time.monotonic() < end_s and started[-1].poll() is None, "the server did not start"
                time.sleep(0.05)

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def ask(port: int, path: str, **values: Any) -> tuple[int, str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(values.pop("method", "GET"), path, **values)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), answer.headers
    connection.close()
    return found


def use_by_hand(port: int) -> None:
    """What an administrator does: look, save, pause; each request may meet another process."""
    page = ask(port, ADMIN + "settings")
    assert page[0] == 200
    cookie = page[2]["Set-Cookie"].partition(";")[0]
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page[1])[1]
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
    body = f"csrf_token={token}&reason=works&minutes=5"
    done = ask(port, ADMIN + "pause", method="POST", body=body, headers=headers)
    assert done[0] == 302, done
    for _ in range(12):
        code, text, _headers = ask(port, ADMIN)
        assert code == 200 and "works" in text, "every process shows the pause"
        assert ask(port, "/ft/monitor?mod=FT")[:2] == (200, "STANDBY")


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["each loads", "forked"])
def test_gunicorn_with_several_processes_and_threads(served_by: Any, preload: list[str]) -> None:
    bind = ["-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "4", "--log-level", "error"]
    port = served_by(*bind, *preload, "portal_program:create_app()")
    end_s = time.monotonic() + 20
    pids: set[str] = set()
    while len(pids) < 2:
        assert time.monotonic() < end_s, "only one process ever answered"
        pids.add(ask(port, "/pid")[1])
    use_by_hand(port)


def test_gevents_own_server(served_by: Any) -> None:
    pytest.importorskip("gevent")
    use_by_hand(served_by("gevent_program.py", "{port}"))
