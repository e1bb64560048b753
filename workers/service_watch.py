"""The watchdog of one node's services: looks, restarts, gives up, and says so (W1, spec 6)."""

from __future__ import annotations

from typing import Any, Mapping

from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Role, ServiceState
from ftplugin.core.view import ServiceReading
from ftplugin.core.watchdog import Limits, Trouble, Watch, WatchAction, watch

from .node_role import NodeRole
from .ownership import DOCUMENT as SERVICES
from .ownership import services_document
from .promotion import WATCHDOG

STATUS_LIMIT_S = 2.0  # of all services, unless one has a longer one
TURN_S = 1.0  # how long a restart may wait for its turn, before it stops what is left
SETTLED = (ServiceState.STANDBY, ServiceState.DEAD)


class ServiceWatcher(NodeRole):
    """Called by its own task, and by a tick that finds something wrong."""

    _watch_resumed = False

    def watch_services(self) -> None:
        """W1: look at every service; a dead one is restarted in its role, one that owns without a role is demoted."""
        if not self._watching.acquire(blocking=False):
            return  # the tick and the watchdog's own task may come at the same time
        try:
            self.resume_watch()
            self._watch_services()
        finally:
            self._watching.release()

    def _watch_services(self) -> None:
        services = self.ports.services
        if not services:
            readings: list[ServiceReading | None] = []
        else:
            limit_s = max(STATUS_LIMIT_S, *(s.status_limit_s for s in services))
            readings = self.ports.runner.side_by_side([s.status for s in services], limit_s)
        self.services = tuple(r for r in readings if r is not None)
        record = self.ports.runtime.read_role()
        alarms = self.ownership.look(self.services)
        todo: tuple[WatchAction, ...] = ()
        # a wiped record says nothing about the role; the next tick writes it again (5.4)
        wiped = record is not None and record.epoch == 0 and self.record.epoch != 0
        if record is not None and not wiped and len(self.services) == len(services):
            todo = self._judge(record)
        self.stuck = self._stuck(record)
        shown = services_document(self.services, alarms)
        self.ports.runtime.publish(SERVICES, {name: row | self._trouble(name) for name, row in shown.items()})
        for item in todo:
            if record is not None:
                self._heal(item, record)

    def _judge(self, record: RoleRecord) -> tuple[WatchAction, ...]:
        config, before = self.config, self._watch
        self._watch, todo = watch(
            before,
            now_s=self.ports.clock.now_s(),
            record=record,
            switching=self.switching() or self.restarting(),
            services=self.services,
            limits=Limits(
                restarts_max=config.watchdog_restarts_max,
                window_s=config.watchdog_window_s,
                silent_s=config.watchdog_silent_s,
            ),
            peer_given_up=self._peer_given_up(),
            settle_s={service.name: service.stop_limit_s + TURN_S for service in self.ports.services},
        )
        if self._watch.troubles != before.troubles:
            self._keep_watch()
        return todo

    def _keep_watch(self) -> None:
        """For a restarted worker, and for the switch worker: what was given up must not keep a node from its role."""
        document = {"boot_id": self.ports.clock.boot_id, "watch": self._watch.to_json()}
        self.published[WATCHDOG] = document  # written again after a wipe
        self.ports.runtime.publish(WATCHDOG, document)

    def resume_watch(self) -> None:
        """Take up what the worker knew before its restart, if the host did not reboot. Before the first tick says which
        services were given up: one "none" would end their faults for the other server (H1)."""
        if not self._watch_resumed:
            self._take_up(self.ports.runtime.fetch(WATCHDOG) or {})

    def _take_up(self, document: Mapping[str, Any]) -> None:
        before, self._watch_resumed = self._watch_resumed, True  # tick and watchdog both begin with it
        if not before and document.get("boot_id") == self.ports.clock.boot_id:
            self._watch = Watch.from_json(document.get("watch"))

    def _peer_given_up(self) -> tuple[str, ...] | None:
        """What the active peer has given up, as it said at the last tick; None when it is not heard or not active."""
        heard, stale_s = self.peer_said, self.settings()[2].stale_s
        if heard is None or self.ports.clock.now_s() - heard[0] > stale_s or not heard[1].is_active:
            return None
        return heard[1].given_up

    def _stuck(self, record: RoleRecord | None) -> tuple[str, ...]:
        if record is None or record.role is Role.ACTIVE or self.restarting():
            return ()
        wrong = [reading for reading in self.services if reading.state not in SETTLED]
        return tuple(f"{r.name} is {r.state}" + (f" ({r.detail})" if r.detail else "") for r in wrong)

    def _trouble(self, name: str) -> dict[str, Any]:
        trouble = self._watch.of(name)
        if trouble == Trouble(well_s=trouble.well_s):
            return {}
        next_s = {"next_try_s": trouble.next_s} if trouble.given_up else {}
        silent_s = {"silent_since_s": trouble.silent_s} if trouble.silent_s is not None else {}
        return {"given_up": trouble.given_up, "restarts": len(trouble.restarts_s), **next_s, **silent_s}

    def _heal(self, item: WatchAction, record: RoleRecord) -> None:
        if item.kind == "clear":
            self.ports.runtime.set_clear(record.epoch, True)
            return
        self.ports.log.report("watchdog", item.sentence)
        if item.kind == "restart":
            silent = self._watch.of(item.service).silent_s is not None
            order = {"kind": "restart", "service": item.service, "epoch": record.epoch, "rule": "W1", "silent": silent}
            self.ports.dispatch.switch(order)
        elif item.kind == "demote":
            self.dispatch({"kind": "demote", "rule": "W1", "reason": item.sentence})
