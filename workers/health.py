"""Health checks of the node, made beside the ticks and published as the document ``health`` (spec 3, IPSWS).

A service in standby is healthy: it runs and owns nothing (spec 5.5). A dead one, and one that does not answer, is not.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Callable

from ftplugin.clock import SystemClock
from ftplugin.core.terms import ServiceState

from .ports import ServicePort

if TYPE_CHECKING:
    from .node import Node

PERIOD_S_MIN, PERIOD_S_MAX = 2.0, 15.0
CHECK_LIMIT_S = 3.0
DISK_FREE_BYTES_MIN = 50 * 1024 * 1024
NO_ANSWER = f"no answer within {CHECK_LIMIT_S:g} s"


class Health:
    """Runs every check side by side, each with its limit, and publishes the outcome."""

    def __init__(self, node: Node) -> None:
        self._node, self._clock = node, SystemClock()

    def period_s(self) -> float:
        """About T, between 2 and 15 s."""
        return min(PERIOD_S_MAX, max(PERIOD_S_MIN, self._node.settings().interval_s))

    def check(self) -> None:
        """Publish {ok, checked_s, boot_id, failed}; ``checked_s`` is CLOCK_BOOTTIME from before the checks."""
        checked_s = self._clock.now_s()
        checks = self._checks()
        runner = self._node.parts.runner
        assert runner is not None, "health is checked by the tick worker, which has a runner"
        outcomes = runner.side_by_side([call for _, call in checks], CHECK_LIMIT_S)
        failed = []
        for (name, _), problem in zip(checks, outcomes, strict=True):
            if problem != "":
                failed.append(f"{name}: {NO_ANSWER if problem is None else problem}")
        document = {"ok": not failed, "checked_s": checked_s, "boot_id": self._clock.boot_id, "failed": failed}
        self._node.parts.runtime.publish("health", document)

    def _checks(self) -> list[tuple[str, Callable[[], str]]]:
        parts = self._node.parts
        checks: list[tuple[str, Callable[[], str]]] = [("database", parts.check_database), ("disk", self._disk)]
        return checks + [(f"service {service.name}", _status_of(service)) for service in parts.services]

    def _disk(self) -> str:
        folder = self._node.config.instance_dir
        free = shutil.disk_usage(folder).free
        if free >= DISK_FREE_BYTES_MIN:
            return ""
        return f"{free // 1_048_576} MiB free in {folder}, at least {DISK_FREE_BYTES_MIN // 1_048_576} MiB are needed"


def _status_of(service: ServicePort) -> Callable[[], str]:
    def call() -> str:
        reading = service.status()
        if reading.state in (ServiceState.DEAD, ServiceState.UNKNOWN):
            return f"{reading.state}{': ' + reading.detail if reading.detail else ''}"
        return ""

    return call
