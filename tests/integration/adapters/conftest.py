"""Real parts for the adapters' tests: a Redis process, hostile servers on real sockets, one settings object."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import threading
import time
from typing import Any, Callable, Iterator

import pytest

from ftplugin import protocol
from ftplugin.clock import SystemClock
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, Role
from ftplugin.core.view import NodeState
from tests.parts import RedisProcess, free_port, nothing_for  # noqa: F401 - for the tests beside this file
from tests.parts import eventually as wait_until  # noqa: F401

KEYS = ("a key of this pair, long enough",)
OWN, PEER = Designation.SERVER1, Designation.SERVER2


@pytest.fixture
def make_redis(tmp_path: pathlib.Path) -> Iterator[Callable[..., RedisProcess]]:
    made: list[RedisProcess] = []

    def make(*options: str, **places: Any) -> RedisProcess:
        made.append(RedisProcess(tmp_path, *options, **places))
        return made[-1]

    yield make
    for process in made:
        process.kill()


@pytest.fixture
def redis_process(make_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return make_redis()


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


def settings_with(**changes: Any) -> Settings:
    values: dict[str, Any] = {"server1_address": "127.0.0.1", "server2_address": "127.0.0.2", "enabled": True}
    values |= {"interval_s": 1.0, "timeout_s": 1.0, "threshold": 3, "service_stop_s": 0.5, "rtt_ms": 100}
    return Settings(**{**values, **changes})


def state_of(designation: Designation = PEER, **changes: Any) -> NodeState:
    values: dict[str, Any] = {"role": Role.STANDBY, "agent_age_s": 0.1, "wall_clock_s": time.time(), "version": "0.1.0"}
    return NodeState(designation=designation, **{**values, **changes})


def ask_in(request: bytes) -> str:
    """Nonce of a request's X-FT-Ask header."""
    for line in request.decode("latin-1").split("\r\n"):
        if line.lower().startswith("x-ft-ask:"):
            return protocol.read_ask(KEYS, line.split(":", 1)[1].strip())[1]
    return ""


def answer(body: bytes = b"IPSWS=OK", *, status: str = "200 OK", headers: dict[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def signed(request: bytes, state: NodeState | None = None, challenge: str = "challenge-1") -> dict[str, str]:
    header = protocol.make_state(KEYS, state or state_of(), ask_in(request), challenge)
    return {protocol.STATE_HEADER: header}


Handler = Callable[[socket.socket, bytes, int], bool | None]


class Server:
    """A raw TCP server: ``handler(connection, request, number of the request)`` does what it likes.

    The connection is read on while the handler returns True. ``requests`` and ``connections`` say what came in.
    """

    def __init__(self, handler: Handler, host: str = "127.0.0.1", backlog: int = 16) -> None:
        self.handler, self.requests, self.connections, self.sent = handler, [], 0, 0  # type: ignore[var-annotated]
        self.over = threading.Event()
        self._listener = socket.create_server((host, 0), backlog=backlog)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                request = b""
                while b"\r\n\r\n" not in request:
                    part = connection.recv(65_536)
                    if not part:
                        connection.close()
                        return
                    request += part
                self.requests.append(request)
                if not self.handler(connection, request, len(self.requests)):
                    connection.close()
                    return

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(handler: Handler, **options: Any) -> Server:
        made.append(Server(handler, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@contextlib.contextmanager
def black_hole(host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, int]]:
    """An address whose SYNs get no answer: a listener whose backlog is full."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(0)
    place = listener.getsockname()
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(place)
        fillers.append(filler)
    probe = socket.socket()
    probe.settimeout(0.2)
    try:
        with pytest.raises(TimeoutError):
            probe.connect(place)
        yield place
    finally:
        for sock in (*fillers, probe, listener):
            sock.close()
