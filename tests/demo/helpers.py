"""Starts one process of the demo and ends it again."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import socket
import subprocess
import sys
from typing import Any, Iterator

from tests.parts import eventually, reachable

ROOT = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def running(
    module: str, port: int, *arguments: str, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", module, "--listen", f"127.0.0.1:{port}", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL)
    try:
        eventually(lambda: reachable("127.0.0.1", port), 10, f"{module} listens")
        yield process
    finally:
        process.kill()
        process.wait(5)


class Client:
    """A client of the call manager."""

    def __init__(self, port: int, node: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 3)
        self.file = self.socket.makefile("rb")
        if node:
            assert self.call(op="hello", node=node)["ok"]

    def call(self, **request: Any) -> dict[str, Any]:
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self.file.readline())
        return answer

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def order(port: int, path: str, body: dict[str, Any] | None = None, token: str = "") -> tuple[int, dict[str, Any]]:
    """One order to a CTI server: (status, answer)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        method = "GET" if path == "/status" else "POST"
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
