"""A real node-local Redis and a real portal for the tests of the web part."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis
from flask import Flask
from waitress import create_server

from ftplugin import FaultTolerance, Portal
from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Role
from tests.parts import RedisProcess, free_port  # noqa: F401 - the tests beside this file take them from here

KEY = "test-key-of-32-characters-long-ok"
OWN, PEER = "127.0.0.11", "127.0.0.12"


@pytest.fixture
def redis_process(tmp_path: pathlib.Path) -> Iterator[RedisProcess]:
    server = RedisProcess(tmp_path)
    yield server
    server.kill()


@dataclass
class Site:
    """A portal under test with the shortcuts of an agent: it writes what the real agent writes."""

    app: Flask
    portal: Portal
    redis: RedisProcess
    permissions: list[str]
    fault_tolerance: FaultTolerance

    @property
    def client(self) -> Any:
        return self.app.test_client()

    def role(self, role: Role, *, epoch: int = 2, lease_s: float = 30.0, **changes: Any) -> RoleRecord:
        clock = self.portal.clock
        record = RoleRecord(
            role=role,
            epoch=epoch,
            boot_id=clock.boot_id,
            deadline_s=clock.now_s() + lease_s if role is Role.ACTIVE else 0.0,
            clear=role is not Role.ACTIVE,
        )
        record = replace(record, **changes)
        assert self.portal.runtime.write_role(record)
        time.sleep(0.06)  # the portal may keep what it read for 50 ms
        return record

    def agent(self, *, age_s: float = 0.0, **changes: Any) -> None:
        clock = self.portal.clock
        document = {
            "tick_s": clock.now_s() - age_s,
            "boot_id": clock.boot_id,
            "healthy": True,
            "eligible": True,
            "enabled": True,
            "stance": "",
            "switches": 0,
            "manual_hold": False,
            "settings_revision": 1,
        }
        assert self.portal.runtime.publish("agent", document | changes)

    def health(self, ok: bool = True, *, age_s: float = 0.0, failed: tuple[str, ...] = ()) -> None:
        clock = self.portal.clock
        document = {"ok": ok, "checked_s": clock.now_s() - age_s, "boot_id": clock.boot_id, "failed": list(failed)}
        assert self.portal.runtime.publish("health", document)

    def peer(
        self, role: Role = Role.STANDBY, cause: str = "ok", lease_left_s: float = 20.0, phase: str = "ready"
    ) -> None:
        state = {"designation": "server2", "role": str(role), "phase": phase, "lease_left_s": lease_left_s}
        view = {
            "peer": {"cause": cause, "state": state if cause == "ok" else None},
            "vip": {"destination": "self", "peer_state": None},
            "lan": {"carrier": "yes", "reference": "yes"},
        }
        assert self.portal.runtime.publish("view", view)

    def orders(self) -> int:
        """How many orders wait for the switch worker."""
        return int(redis.Redis(port=self.redis.port).llen(self.portal.keys.queue("switch")))

    def configure(self, **values: Any) -> int:
        base = {"server1_address": OWN, "server2_address": PEER, "enabled": True}
        return self.portal.settings.save(base | values, "test", None, "test")

    def log(self) -> str:
        days = self.portal.report.days()
        return self.portal.report.read(days[0]) if days else ""


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(redis_process: RedisProcess, tmp_path: pathlib.Path) -> Iterator[MakeSite]:
    made: list[Portal] = []

    def make(*, authorize: Any = "all", **config: Any) -> Site:
        app = Flask("portal")
        app.config.update(
            SECRET_KEY="portal-secret",
            FT_OWN_ADDRESS=OWN,
            FT_REDIS_URL=redis_process.url,
            FT_INSTANCE_DIR=str(tmp_path / "instance"),
            FT_SECRET_KEYS=[KEY],
            FT_LEGACY_URLS=True,
        )
        app.config.update(config)
        asked: list[str] = []

        def allow(permission: str) -> bool:
            asked.append(permission)
            return True

        mounted = FaultTolerance(app, authorize=allow if authorize == "all" else authorize)
        portal = app.extensions["ftplugin"]
        made.append(portal)
        return Site(app, portal, redis_process, asked, mounted)

    yield make
    for portal in made:
        portal.close()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A configured portal that lets everybody in."""
    found = make_site()
    found.configure()
    return found


@pytest.fixture
def served(site: Site) -> Iterator[tuple[Site, str, int]]:
    """The portal under waitress: (site, host, port)."""
    server = create_server(site.app, host="127.0.0.1", port=0, threads=4, ident=None)

    def serve() -> None:
        with contextlib.suppress(OSError):  # its socket is closed under it at the end
            server.run()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield site, "127.0.0.1", server.effective_port
    server.close()
    server.task_dispatcher.shutdown()


@pytest.fixture
def make_app(redis_process: RedisProcess, tmp_path: pathlib.Path) -> Iterator[Any]:
    """A bare portal, configured, into which a test mounts the plugin itself."""
    made: list[Flask] = []

    def make(**config: Any) -> Flask:
        app = Flask(f"portal{len(made)}", template_folder=str(tmp_path / "templates"))
        app.config.update(
            SECRET_KEY="portal-secret",
            FT_OWN_ADDRESS=OWN,
            FT_REDIS_URL=redis_process.url,
            FT_INSTANCE_DIR=str(tmp_path / f"instance{len(made)}"),
            FT_SECRET_KEYS=[KEY],
        )
        app.config.update(config)
        made.append(app)
        return app

    yield make
    for app in made:
        if "ftplugin" in app.extensions:
            app.extensions["ftplugin"].close()
