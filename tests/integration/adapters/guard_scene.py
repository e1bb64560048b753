"""A guard in this process with real Redis and control APIs, and services that remember when they let go."""

from __future__ import annotations

import json
import pathlib
import socket
import threading
import time
from typing import Any, Callable, Self, Sequence

from ftplugin.clock import SystemClock
from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Role
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from workers.adapters.plain_redis import PlainRedis
from workers.adapters.services import build
from workers.guard import Guard, GuardStore, LeaseFile

from .conftest import RedisProcess, Server, answer, wait_until

CLOCK = SystemClock()
STOP_S, POLL_S = 0.1, 0.1
START_S = 1.5  # of a command that outlives the lease


class Owner:
    """A service that is active until it is demoted, and remembers when that was."""

    def __init__(self, state: str = "active", stop_s: float = STOP_S, order: list[Any] | None = None) -> None:
        self.state, self.stop_s, self.epoch, self.order = state, stop_s, 4, order if order is not None else []
        self.free_s: float | None = None
        self.stopping_s = 0.0

    def __call__(self, connection: socket.socket, request: bytes, number: int) -> bool:
        if self.state == "stopping" and time.monotonic() - self.stopping_s >= self.stop_s:
            self.state, self.free_s = "standby", CLOCK.now_s()
        if b"POST /demote" in request:
            self.epoch = json.loads(request.partition(b"\r\n\r\n")[2])["epoch"]
            if self.state == "active":
                self.order.append(self)
                self.state, self.stopping_s = "stopping", time.monotonic()
        connection.sendall(answer(json.dumps({"state": self.state}).encode()))
        return True


class Scene:
    def __init__(self, redis_process: RedisProcess, folder: pathlib.Path, serve: Callable[..., Server]) -> None:
        self.redis, self.folder, self.serve = redis_process, folder, serve
        self.store = RuntimeStore(connect(redis_process.url), Keys())
        self.lines: list[str] = []
        self.guards: list[tuple[Guard, threading.Thread]] = []

    def role(self, role: Role = Role.ACTIVE, left_s: float = 0.8, **more: Any) -> float:
        deadline_s = CLOCK.now_s() + left_s
        record = RoleRecord(role=role, **{"epoch": 4, "boot_id": CLOCK.boot_id, "deadline_s": deadline_s, **more})
        assert self.store.write_role(record)
        return deadline_s

    def start(self, *owners: Owner, stop_limit_s: float = 1.0) -> Guard:
        tables = [
            {"name": f"s{i}", "kind": "http", "url": self.serve(owner).url, "stop_limit_s": stop_limit_s}
            for i, owner in enumerate(owners)
        ]
        return self.watch(build(tables))

    def guard(self, services: Sequence[Any]) -> Guard:
        return Guard(
            store=lambda limit_s: GuardStore(PlainRedis(self.redis.url), Keys(), limit_s),
            services=services,
            clock=CLOCK,
            lease_file=LeaseFile(self.folder / "guard.lease"),
            report=lambda source, text: self.lines.append(f"{source} : {text}"),
        )

    def watch(self, services: Sequence[Any]) -> Guard:
        guard = self.guard(services)
        thread = threading.Thread(target=guard.run, daemon=True)
        self.guards.append((guard, thread))
        thread.start()
        return guard

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        for guard, thread in self.guards:
            guard.stop()
            thread.join(5)
        self.guards.clear()


def freed(owner: Owner) -> float:
    wait_until(lambda: owner.state == "standby", 6, "the service owns nothing")
    assert owner.free_s is not None
    return owner.free_s
