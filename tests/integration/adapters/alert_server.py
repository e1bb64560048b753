"""One node's alerting, turned by the test: a real Redis, a real journal, ticks decided by the real core."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from ftplugin.clock import SystemClock
from ftplugin.config import NodeConfig
from ftplugin.core.futures import Now
from ftplugin.core.hysteresis import Memory
from ftplugin.core.terms import Designation, Role
from ftplugin.store.database import Database
from ftplugin.store.journal import SqlJournal
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from tests.core.cases import ripe
from tests.core.ticks import DEFAULTS, Ticks
from workers.alerting import Alerting

from .conftest import RedisProcess, wait_until

LIMIT_S = 60.0  # the machine is shared; a delivery loads a library first


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, source: str, text: str) -> None:
        self.lines.append(f"{source} : {text}")


class MovedClock(SystemClock):
    """The node's clock, ``ahead_s`` later: what waits for its time need not be waited for. The wall clock has its own error."""

    ahead_s = wall_ahead_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.ahead_s

    def wall_s(self) -> float:
        return super().wall_s() + self.wall_ahead_s


class Server:
    """What one node's tick worker has of alerts; ``turn`` is called by the test, as its thread does."""

    def __init__(self, folder: pathlib.Path, me: Designation, redis: RedisProcess, *urls: str, **keys: Any) -> None:
        self.me, self.urls, self.keys, self.folder = me, urls, keys, folder / str(me)
        self.clock, self.log = MovedClock(), Log()
        self.folder.mkdir(exist_ok=True)
        self.runtime = RuntimeStore(connect(redis.url), Keys(str(me)))
        self.database = Database(f"sqlite:///{self.folder / 'ft.sqlite3'}")
        self.database.prepare()
        self.journal = SqlJournal(self.database)
        assert self.runtime.publish("agent", {"boot_id": self.clock.boot_id})
        self.alerting = self.worker()

    def worker(self) -> Alerting:
        """A new one, as after a restart of the tick worker."""
        config = NodeConfig.of(
            {
                "FT_OWN_ADDRESS": DEFAULTS.address_of(self.me),
                "FT_INSTANCE_DIR": str(self.folder),
                "FT_SECRET_KEYS": ["a key of this pair, long enough, of 32"],
                "FT_ALERT_URLS": list(self.urls),
                **self.keys,
            }
        )
        settings = SimpleNamespace(current=lambda: (1, DEFAULTS))
        ports = SimpleNamespace(clock=self.clock, runtime=self.runtime, settings=settings, log=self.log)
        self.alerting = Alerting(
            config=config, targets=config.alert_targets, ports=cast(Any, ports), recent=self.journal.recent
        )
        return self.alerting

    def tick(self, role: Role, *, streaks_full: bool = False, **changes: Any) -> None:
        """A decided tick; ``peer`` and others are called with the Ticks at its moment."""
        t = Ticks(self.me, role)
        t.now_s = self.clock.now_s()
        t.memory = ripe(t) if streaks_full else Memory()
        values = {name: value(t) if callable(value) else value for name, value in changes.items()}
        decision = t.tick(**values)
        view = t.view(**values)
        self.alerting.ticked(Now(view=view, decision=decision, settings=DEFAULTS, stop_by=t.timing, wait_by=t.timing))
        self.alerting.turn()

    def switch(self, switch_id: str, *, rule: str = "F1", kind: str = "promote", outcome: str = "done") -> None:
        """As the switch worker leaves it, in the journal and in Redis."""
        facts = {"switch_id": switch_id, "kind": kind, "rule": rule, "reason": "active peer is dead", "epoch": 7}
        assert self.journal.begin(**facts, actor="")  # type: ignore[arg-type]
        role = Role.ACTIVE if outcome == "done" and kind == "promote" else Role.STANDBY
        assert self.journal.end(switch_id, outcome, role, "detail of it")
        self.publish_switch(switch_id, outcome, kind=kind, rule=rule)

    def publish_switch(self, switch_id: str, outcome: str, **changes: Any) -> None:
        document = {
            "switch_id": switch_id,
            "kind": "promote",
            "rule": "F1",
            "reason": "active peer is dead",
            "epoch": 7,
        }
        document |= {"outcome": outcome, "boot_id": self.clock.boot_id, "updated_s": self.clock.now_s()}
        assert self.runtime.publish("switch", document | changes)

    def turns_until(self, condition: Callable[[], Any], what: str = "") -> None:
        def look() -> Any:
            self.alerting.turn()
            return condition()

        wait_until(look, LIMIT_S, what)

    @property
    def waiting(self) -> list[str]:
        """Headlines of what waits, for a test in which nothing is sent."""
        return [item.message.headline for item in self.alerting.outbox.waiting]

    def idle(self) -> bool:
        return not self.alerting._children and not self.alerting.outbox.waiting

    def close(self) -> None:
        self.alerting.stop()
        self.database.close()
        self.runtime.client.close()
