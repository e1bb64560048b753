"""A Redis and the workers of one node as processes, for the tests beside this file."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any, Callable

import redis

from demo.layout import redis_binary
from tests.parts import eventually, free_port

ROOT = pathlib.Path(__file__).parents[3]
KEY = "a key of the pair, long enough"


def wait_for(what: str, condition: Callable[[], Any], limit_s: float) -> Any:
    """As ``eventually``, with what is waited for in front."""
    return eventually(condition, limit_s, what)


class NodeProcesses:
    """One node: its Redis and the programs of ``workers`` with the fake agent. ``close`` ends every process."""

    def __init__(self, folder: pathlib.Path, program: str = "tests.integration.celery.fake_node") -> None:
        self.folder, self.port, self._program = folder, free_port(), program
        self.url = f"redis://:secret@127.0.0.1:{self.port}/0"
        self.client = redis.Redis(
            port=self.port, password="secret", socket_timeout=1, socket_connect_timeout=1, decode_responses=True
        )
        self.environ: dict[str, str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self.redis: subprocess.Popen[bytes] | None = None

    def set(self, **settings: Any) -> None:
        temporary = self.folder / "settings.new"
        temporary.write_text(json.dumps({"vip_address": "10.0.0.100"} | settings))  # with a VIP every task comes each T
        temporary.replace(self.folder / "settings.json")

    def start_redis(self) -> float:
        """Start Redis and return the moment it answers (monotonic clock)."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        options += ["--requirepass", "secret"]
        self.redis = self._spawn([redis_binary(), *options, "--dir", str(self.folder)], "redis.log")
        wait_for("Redis answers", self._pings, 5)
        return time.monotonic()

    def _pings(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def start(self, *arguments: str, log: str = "") -> subprocess.Popen[bytes]:
        return self._spawn([sys.executable, "-m", self._program, *arguments], log or f"{arguments[0]}.log")

    def start_celery(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._spawn([sys.executable, "-m", "celery", "-A", "workers", *arguments], f"{arguments[0]}.log")

    def _spawn(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        environ = (
            dict(os.environ)
            | self.environ
            | {
                "FT_REDIS_URL": self.url,
                "FT_INSTANCE_DIR": str(self.folder),
                "FT_SECRET_KEYS": json.dumps([KEY]),
                "FT_OWN_ADDRESS": "127.0.0.1:18001",
                "FT_WATCHDOG_INTERVAL_S": "1.0",
            }
        )
        nothing = subprocess.DEVNULL
        with (self.folder / log).open("ab") as file:
            process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=file, stderr=file, stdin=nothing)
        self._processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes] | None) -> None:
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait(5)

    def close(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(5)
        self.client.close()

    def log(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""

    def calls(self, name: str) -> list[dict[str, Any]]:
        """What the agent was told, oldest first."""
        path = self.folder / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if call["call"] == name]

    def times(self, name: str, since_s: float = 0.0) -> list[float]:
        return [call["at_s"] for call in self.calls(name) if call["at_s"] >= since_s]
