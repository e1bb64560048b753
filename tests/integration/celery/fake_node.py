"""The start programs of ``workers`` with an agent that only writes down what it is told to do.

Real: Celery, Redis, processes, locks, threads. The agent's calls are lines of ``calls.jsonl`` in the instance folder,
its settings are read from ``settings.json`` there.
"""

from __future__ import annotations

import json
import pathlib
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

from ftplugin.config import NodeConfig
from ftplugin.core.settings import Settings, parse
from ftplugin.protocol import check_demote
from ftplugin.core.terms import Designation
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from workers.node import Parts
from workers.ports import DispatchPort
from workers.programs import main


class Notes:
    """Appends lines that the test reads."""

    runtime: RuntimeStore

    def __init__(self, path: pathlib.Path) -> None:
        self._path, self._lock = path, threading.Lock()

    def add(self, call: str, **facts: Any) -> None:
        with self._lock, self._path.open("a") as file:
            file.write(json.dumps({"call": call, "at_s": time.monotonic(), **facts}) + "\n")

    def report(self, source: str, text: str) -> None:
        self.add("report", source=source, text=text)

    def event(self, name: str, **facts: Any) -> None:
        if name == "refused":
            self.runtime.count_refused(facts["cause"])
        self.add("event", name=name, **facts)


class FileSettings:
    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def current(self) -> tuple[int, Settings]:
        return 1, parse(json.loads(self._path.read_text()))


class FakeAgent:
    def __init__(self, config: NodeConfig, notes: Notes, settings: FileSettings, dispatch: DispatchPort) -> None:
        self._config, self._notes, self._settings, self._dispatch = config, notes, settings, dispatch
        self._order_may_end = config.instance_dir / "order-may-end"
        self._hang = config.instance_dir / "hang"

    def tick(self, *, early: bool = False) -> Any:
        self._notes.add("early tick" if early else "tick", wall_s=time.time())
        while self._hang.exists():
            time.sleep(0.05)
        time.sleep(self._tick_s())
        again = self._config.instance_dir / "again"
        return SimpleNamespace(again_in_s=float(again.read_text())) if again.exists() else None

    def _tick_s(self) -> float:
        """What a tick and a probe of the VIP take, as the file ``tick_s`` says; nothing without it."""
        file = self._config.instance_dir / "tick_s"
        return float(file.read_text()) if file.exists() else 0.0

    def probe_vip(self) -> None:
        self._notes.add("probe_vip")
        time.sleep(self._tick_s())

    def watch_services(self) -> None:
        self._notes.add("watch_services")

    def renew_lease(self) -> None:
        self._notes.add("renew_lease")

    def renew_period_s(self) -> float:
        return self._settings.current()[1].interval_s

    def run_order(self, order: dict[str, Any]) -> dict[str, Any]:
        self._notes.add("run_order", order=order)
        self._dispatch.progress("fence peer", "asking server2")
        deadline_s = time.monotonic() + 20
        while not self._order_may_end.exists() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        return {"outcome": "done"}

    def handle_demote(self, sender: Any, epoch: Any, nonce: Any, signature: Any) -> None:
        check_demote(self._config.secret_keys, Designation.SERVER1, sender, epoch, nonce, signature)
        self._notes.add("demote", epoch=epoch)

    def recover(self) -> None:
        self._notes.add("recover")


class SideBySide:
    def side_by_side(self, calls: Any, limit_s: float) -> list[Any]:
        return [call() for call in calls]


def make_parts(config: NodeConfig, role: str, dispatch: DispatchPort) -> Parts:
    notes = Notes(config.instance_dir / "calls.jsonl")
    notes.runtime = RuntimeStore(connect(config.redis_url), Keys(config.prefix))
    settings = FileSettings(config.instance_dir / "settings.json")
    dead = config.instance_dir / "service-dead"
    service = SimpleNamespace(
        name="cti",
        status_limit_s=1.0,
        status=lambda: SimpleNamespace(state="dead" if dead.exists() else "standby", detail="gone"),
    )
    return Parts(
        agent=FakeAgent(config, notes, settings, dispatch),
        runtime=notes.runtime,
        settings=lambda: settings.current()[1],
        log=notes,
        runner=SideBySide(),
        services=[service],
        check_database=lambda: "",
    )


if __name__ == "__main__":
    sys.exit(main(make_parts=make_parts))
