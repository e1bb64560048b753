"""The simulated portal under its controller, watched and restarted daily by the real ``PortalWatch`` and ``Daily``."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading
from workers.daily import Daily
from workers.portal_watch import PortalControl, PortalWatch

if TYPE_CHECKING:
    from workers.agent import Agent

    from .kernel import Process
    from .world import Node, World

STOP_S = 0.2
WATCH_PERIOD_S = 1.0


class SimPortal:
    """Controller of the portal's process. ``world.portal_start_s``: from its start until it answers."""

    name = "portal"
    start_limit_s, stop_limit_s, status_limit_s = 20.0, 1.0, 1.0

    def __init__(self, node: Node) -> None:
        self.node, self.world = node, node.world

    def demote(self, epoch: int) -> ServiceReading:
        self.world.tell(f"{self.node.designation} portal is stopped")
        self.node.kill("portal", None)
        self.node.portal_begun_s = None
        self.world.kernel.sleep(STOP_S)
        return self.status()

    def promote(self, epoch: int, lease_left_s: float) -> ServiceReading:
        node, begun_s = self.node, self.world.now
        node.portal_begun_s, boots = begun_s, node.boots

        def up() -> None:
            if node.up and node.boots == boots and node.portal_begun_s == begun_s:
                self.world.tell(f"{node.designation} portal is up")
                node.start("portal")

        self.world.kernel.at(begun_s + (self.world.portal_start_s or 0.0), up)
        return self.status()

    def status(self) -> ServiceReading:
        self.world.kernel.check()
        if self.node.processes["portal"].alive:
            return ServiceReading(name=self.name, state=ServiceState.ACTIVE)
        begun = self.node.portal_begun_s is not None
        return ServiceReading(name=self.name, state=ServiceState.STARTING if begun else ServiceState.STANDBY)

    def restart(self, own: bool) -> ServiceReading:
        return self.demote(0)

    def renew(self, epoch: int, lease_left_s: float, limit_s: float = 0.0) -> None:
        """A portal has no lease."""


def look_after_portal(world: World, node: Node, process: Process, agent: Agent) -> None:
    """The threads of the tick worker that watch the portal and keep the daily restart; its local time is UTC."""
    ports: Any = agent.ports
    control = PortalControl(SimPortal(node), clock=ports.clock, lan=ports.lan)
    watch = PortalWatch(control, config=node.config, ports=ports)
    daily = Daily(ports, control, zone=lambda: datetime.UTC)
    agent.on_tick = daily.ticked
    agent.restarting = lambda: daily.restarts_services
    world.kernel.spawn(process, lambda: world._every(watch.turn, lambda: WATCH_PERIOD_S))
    world.kernel.spawn(process, lambda: world._every(daily.turn, lambda: daily.period_s))
