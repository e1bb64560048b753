"""Two portals with a Redis database and settings of their own, and a pen that writes what their agents would write."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftplugin.clock import SystemClock
from ftplugin.config import NodeConfig
from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Role
from ftplugin.state import CACHE_S
from ftplugin.store.database import Database
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from ftplugin.store.settings_store import SettingsStore

KEY = "test-key-of-32-characters-long-ok"
LEASE_S = 3600.0
CLIENT = "127.0.0.9"  # the address that the tests ask from
SETTINGS = {"enabled": True, "interval_s": 30.0, "timeout_s": 10.0, "threshold": 5}


def portal_config(number: int, address: str, redis_port: int, folder: Path, **changes: Any) -> dict[str, Any]:
    """``app.config`` of server ``number``, whose address is ``host:port``."""
    return {
        "SECRET_KEY": "the same on both",
        "FT_OWN_ADDRESS": address,
        "FT_REDIS_URL": f"redis://127.0.0.1:{redis_port}/{number}",
        "FT_INSTANCE_DIR": str(folder / f"server{number}"),
        "FT_SECRET_KEYS": [KEY],
        **changes,
    }


@dataclass
class Pen:
    """Writes what the agent of one server would write."""

    number: int
    config: Mapping[str, Any]
    runtime: RuntimeStore = field(init=False)
    clock: SystemClock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        self.runtime = RuntimeStore(connect(self.config["FT_REDIS_URL"]), Keys(""))

    def settings(self, server1: str, server2: str, **changes: Any) -> None:
        """Save the settings in this server's database."""
        node = NodeConfig.of(self.config)
        database = Database(node.database_url)
        database.prepare(10.0)
        store = SettingsStore(database, node.own_address)
        values = SETTINGS | {"server1_address": server1, "server2_address": server2} | changes
        store.save(values, "test", override_reason="a test")
        database.close()

    def role(self, role: Role, *, epoch: int = 2, lease_s: float = LEASE_S) -> None:
        deadline_s = self.clock.now_s() + lease_s if role is Role.ACTIVE else 0.0
        record = RoleRecord(
            role=role, epoch=epoch, boot_id=self.clock.boot_id, deadline_s=deadline_s, clear=role is not Role.ACTIVE
        )
        self.runtime.client.delete(self.runtime.keys.role)
        assert self.runtime.write_role(record)
        self.settle()

    def heard(self, role: Role | None, *, epoch: int = 2, age_s: float = 0.0, **state: Any) -> None:
        """The last tick, ``age_s`` ago, and what it heard of the other server; None: its probe was bad."""
        now_s, other = self.clock.now_s(), f"server{3 - self.number}"
        lease_left_s = LEASE_S if role is Role.ACTIVE else 0.0
        said = {"designation": other, "role": role, "phase": "ready", "epoch": epoch, "lease_left_s": lease_left_s}
        peer = {"cause": "ok" if role else "timeout", "state": said | state if role else None, "ended_s": now_s - age_s}
        agent = {"tick_s": now_s - age_s, "boot_id": self.clock.boot_id, "healthy": True, "eligible": True}
        assert self.runtime.publish_many({"view": {"peer": peer, "now_s": now_s - age_s}, "agent": agent})
        self.settle()

    def settle(self) -> None:
        """Wait until no portal has what was before in its memory (50 ms)."""
        time.sleep(CACHE_S + 0.01)


@dataclass
class Pair:
    """The two portals: their addresses (``host:port``) and pens."""

    one: str
    two: str
    pen1: Pen
    pen2: Pen

    def one_is_active(self) -> None:
        """server1 is active, server2 standby, and each has heard so a moment ago."""
        self.pen1.role(Role.ACTIVE)
        self.pen1.heard(Role.STANDBY)
        self.pen2.role(Role.STANDBY)
        self.pen2.heard(Role.ACTIVE)


@dataclass(frozen=True)
class Reply:
    """One answer; ``headers`` as http.client has them."""

    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(address: str, target: str, method: str = "GET", body: Any = None, **headers: str) -> Reply:
    """One request on a connection of its own; names of ``headers`` have _ for -."""
    connection = http.client.HTTPConnection(address, timeout=30, source_address=(CLIENT, 0))
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, sent, encode_chunked="Transfer_Encoding" in headers)
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()
