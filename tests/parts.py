"""What tests of several folders share: waiting for a condition, free ports, a Redis of one's own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time
from typing import Any, Callable, TypeVar

import redis

from demo.layout import redis_binary

T = TypeVar("T")
POLL_S = 0.02


def eventually(
    condition: Callable[[], T | None],
    deadline_s: float = 5.0,
    what: Callable[[], object] | str = "condition",
    poll_s: float = POLL_S,
) -> T:
    """The first true value of ``condition``, which is asked once more when the time is over: a busy machine may have
    slept through it. Else AssertionError "not within … s" with ``what``: by these words ``make test`` knows such a wait.
    """
    end_s = time.monotonic() + deadline_s
    while True:
        over = time.monotonic() >= end_s
        if value := condition():
            return value
        if over:
            raise AssertionError(f"not within {deadline_s:g} s: {what() if callable(what) else what}")
        time.sleep(poll_s)


def nothing_for(seconds: float) -> None:
    """A stretch in which nothing may happen; what may not is asserted after it. Its length follows from the timing."""
    time.sleep(seconds)


def timed(action: Callable[[], T]) -> tuple[T, float]:
    """What it gave, and the seconds it took."""
    began_s = time.monotonic()
    return action(), time.monotonic() - began_s


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def reachable(host: str, port: int) -> bool:
    """Whether somebody takes a connection there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), 0.5):
        return True
    return False


def alive(pid: int) -> bool:
    """Whether that process runs; one that has ended and is not yet waited for does not."""
    with contextlib.suppress(FileNotFoundError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


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
        eventually(lambda: reachable(self.host, self.port), 10, "redis-server listens", 0.01)

    def client(self) -> Any:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()  # also one that is frozen
            self._process.wait(10)
            self._process = None
