"""Health checks of the node, made beside the ticks and published as the document ``health`` (spec 3, IPSWS).

Database, disk, every service, and the checks of FT_HEALTH, each at its own pace with its own limit
(``ftplugin.health.checks``). A service in standby is healthy: it runs and owns nothing (spec 5.5). A dead one, and one that
does not answer, is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from ftplugin.clock import SystemClock
from ftplugin.core.terms import ProbeCause, ServiceState
from ftplugin.health.checks import Check, Checker, document
from ftplugin.health.reading import PORTAL_HEALTH, shared_failed
from ftplugin.health.tables import FREE_MB_MIN_DEFAULT, SERVICE_PREFIX, service_timeout_s
from ftplugin.state import health_period_s

from .adapters.checks import build
from .adapters.checks.local import room
from .ports import ServicePort

if TYPE_CHECKING:
    from ftplugin.core.futures import Now

    from .node import Node

SOURCE = "health"


class Health:
    """``turn`` is called again after ``wait_s`` seconds, or when ``wake`` is called: a check has ended, or is wanted now."""

    def __init__(self, node: Node) -> None:
        self._node, self._clock = node, SystemClock()
        checks = self._checks()
        self.wake: Callable[[], None] = lambda: None  # set by who calls ``turn``
        self._checker = Checker(lambda: checks, self._clock.now_s, lambda: self.wake())
        self._wanted_s: float | None = None

    def wait_s(self) -> float:
        return self._checker.wait_s(self._period_s())

    def turn(self) -> None:
        """Publish the document (``checks.document``) when every check has an outcome, and start what is due."""
        self._checker.turn(self._period_s(), newer_than_s=self._wanted_s)
        if self._checker.complete:
            self._publish()
        for text in self._checker.changes():
            self._node.parts.log.report(SOURCE, text)

    def ticked(self, last: Now) -> None:
        """The other server's checks fail: look again at once at what this one has, since what both miss is no reason to
        switch (spec 9), and this one's outcomes may be a whole period old."""
        peer = last.view.peer
        if peer is not None and peer.cause is ProbeCause.BODY:
            self._wanted_s = peer.started_s
            self.wake()

    def _period_s(self) -> float:
        return health_period_s(self._node.settings().interval_s)

    def _publish(self) -> None:
        runtime, clock = self._node.parts.runtime, self._clock
        of_portal = shared_failed(
            runtime.fetch(PORTAL_HEALTH), period_s=self._period_s(), boot_id=clock.boot_id, now_s=clock.now_s()
        )
        found = document(self._checker.records, checked_s=clock.now_s(), boot_id=clock.boot_id, also_shared=of_portal)
        runtime.publish("health", found)

    def _checks(self) -> list[Check]:
        parts, folder = self._node.parts, str(self._node.config.instance_dir)
        own = [
            Check(name="database", call=parts.check_database),
            Check(name="disk", call=lambda: room(folder, FREE_MB_MIN_DEFAULT)),
        ]
        return (
            own
            + [_of_service(service) for service in parts.services]
            + build(self._node.config.health, parts.runtime.fetch_many)
        )


def _of_service(service: ServicePort) -> Check:
    limit_s = service_timeout_s(service.status_limit_s)
    return Check(name=SERVICE_PREFIX + service.name, call=_status_of(service), timeout_s=limit_s)


def _status_of(service: ServicePort) -> Callable[[], str]:
    def call() -> str:
        reading = service.status()
        if reading.state in (ServiceState.DEAD, ServiceState.UNKNOWN):
            return f"{reading.state}{': ' + reading.detail if reading.detail else ''}"
        return ""

    return call
