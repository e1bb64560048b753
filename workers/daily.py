"""The daily restart as the tick worker carries it out (spec 6): announces, restarts, and says how it went.

``core.daily`` plans; this thread reads the clocks for it. The document ``daily`` carries the announcement into this
node's signed state, and the round's memory over a restart of the worker.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ftplugin.core.daily import Do, Memory, Moment, Part, Step, Times, plan
from ftplugin.core.futures import Now
from ftplugin.core.records import RoleRecord
from ftplugin.core.settings import Settings
from ftplugin.core.timing import Timing
from ftplugin.core.view import ClusterView
from ftplugin.local_time import local_zone
from ftplugin.state import DAILY

from .portal_watch import PortalControl
from .ports import Ports
from .services_restart import RESULT, longest_s, order_of

POLL_S = 0.2
NEWS_S = 2.0  # an announced end that moves by less is the same
SOURCE = "daily restart"


class Daily:
    """``turn`` is called every ``period_s`` seconds, ``ticked`` after each tick."""

    period_s = 1.0

    def __init__(
        self,
        ports: Ports,
        portal: PortalControl | None,
        zone: Callable[[], datetime.tzinfo] = local_zone,
    ) -> None:
        """portal: None when FT_PORTAL is empty. zone: this node's local time."""
        self._ports, self._portal, self._zone = ports, portal, zone
        self._parts = tuple(
            part for part, there in ((Part.PORTAL, portal is not None), (Part.SERVICES, bool(ports.services))) if there
        )
        self._memory: Memory | None = None
        self._last: ClusterView | None = None
        self._until_s = self._peer_until_s = 0.0
        self._part: Part | None = None
        self._result: dict[str, Any] = {}
        self._said = ""
        self._restarting_services = False

    def ticked(self, last: Now) -> None:
        self._last = last.view

    @property
    def restarts_services(self) -> bool:
        """The services are being restarted on purpose: the watchdog neither counts nor acts."""
        return self._restarting_services

    def turn(self) -> None:
        """One look at the clock; a restart takes as long as it takes, in this thread."""
        settings = self._ports.settings.current()[1]
        if self._memory is None and not self._remember():
            return
        before = self._memory or Memory()
        memory, step = plan(before, self._moment(settings), settings)
        if step.do is Do.ANNOUNCE:
            self._announce(memory, step, settings)
            return
        self._memory = memory
        if step.do is Do.RESTART and step.part is not None:
            self._restart(step.part, step, settings)
            return
        if memory.announced_s is None and self._until_s:
            self._until_s, self._part = 0.0, None
        if memory != before or self._peer_news():
            self._publish()
        if step.do in (Do.WAIT, Do.SKIP):
            self._say(step.sentence)
        if step.do is Do.SKIP:
            self._ports.log.event("daily_restart", part=step.part, ok=False, skipped=True, detail=step.sentence)

    def _peer_news(self) -> bool:
        """Whether the other server's announcement has changed; one that falls silent keeps what it said last."""
        view = self._last
        if view is None or view.peer is None or view.peer.state is None:
            return False
        left_s = view.peer.state.restarting_s
        until_s = view.peer.started_s + left_s if left_s > 0 else 0.0
        if abs(until_s - self._peer_until_s) < NEWS_S:
            return False
        self._peer_until_s = until_s
        return True

    def _remember(self) -> bool:
        """Take up the round that this worker's predecessor was in; False while the node's Redis does not answer."""
        if self._ports.runtime.read_role() is None:
            return False
        known = self._ports.runtime.fetch(DAILY) or {}
        same = known.get("boot_id") == self._ports.clock.boot_id
        self._memory = Memory.from_json(known.get("memory") if same else None)
        self._result = dict(known.get("result") or {})
        if known.get("until_s"):
            self._publish()  # a restart that died with the worker is announced no longer
        return True

    def _moment(self, settings: Settings) -> Moment:
        clock, view = self._ports.clock, self._last
        now_s = clock.now_s()
        fresh = view is not None and now_s - view.now_s <= Timing.of(settings).stale_s
        return Moment(
            now_s=now_s,
            wall_s=clock.wall_s(),
            zone=self._zone(),
            view=view if fresh else None,
            parts=self._parts,
        )

    # --- announcing -----------------------------------------------------------------------------------------------

    def _announce(self, memory: Memory, step: Step, settings: Settings) -> None:
        """Counts as made only once it is stored: what the other server cannot read keeps nobody apart."""
        assert step.part is not None
        self._part = step.part
        self._until_s = self._ports.clock.now_s() + Times.of(settings).window_s + self._limit_s(step.part, settings)
        before, self._memory = self._memory, memory
        if self._publish():
            # counted from after it is stored: only a probe sent later proves that the other server could have read it
            self._memory = replace(memory, announced_s=self._ports.clock.now_s())
            self._say(step.sentence)
        else:
            self._until_s, self._part = 0.0, None
            self._memory = replace(before or Memory(), waits="the node's own Redis does not answer", waiting=step.part)

    def _limit_s(self, part: Part, settings: Settings) -> float:
        """How long a restart of this part may take, in seconds."""
        if part is Part.PORTAL:
            return Times.of(settings).portal_limit_s
        return longest_s(self._ports.services)

    def _publish(self) -> bool:
        clock = self._ports.clock
        return self._ports.runtime.publish(
            DAILY,
            {
                "boot_id": clock.boot_id,
                "until_s": self._until_s,
                "peer_until_s": self._peer_until_s,
                "part": self._part,
                "memory": (self._memory or Memory()).to_json(),
                "result": self._result,
            },
        )

    # --- restarting -----------------------------------------------------------------------------------------------

    def _restart(self, part: Part, step: Step, settings: Settings) -> None:
        clock = self._ports.clock
        self._until_s = clock.now_s() + self._limit_s(part, settings)
        if not self._publish():  # a worker that dies in it must not do it twice
            self._over(part, "the node's own Redis does not answer", 0.0)
            return
        self._say(step.sentence)
        began_s = clock.now_s()
        if part is Part.PORTAL:
            assert self._portal is not None
            problem = self._portal.restart(self._limit_s(part, settings)).problem
        else:
            problem = self._services()
        self._over(part, problem, clock.now_s() - began_s)

    def _services(self) -> str:
        """Order it from the switch worker and wait for its word; "" when all went well, else what did not."""
        ports = self._ports
        record = ports.runtime.read_role() or RoleRecord()
        order = order_of(record, ports.clock.boot_id, ports.clock.now_s())
        end_s = ports.clock.now_s() + longest_s(ports.services)
        self._restarting_services = True
        try:
            if not ports.dispatch.switch(order):
                return "the switch queue did not take the order"
            while ports.clock.now_s() < end_s:
                found = ports.runtime.fetch(RESULT) or {}
                if found.get("boot_id") == ports.clock.boot_id and found.get("ordered_s") == order["ordered_s"]:
                    return "" if found.get("outcome") == "done" else f"{found.get('outcome')}: {found.get('detail')}"
                ports.clock.sleep(POLL_S)
            return "the switch worker did not say how it ended"
        finally:
            self._restarting_services = False

    def _over(self, part: Part, problem: str, took_s: float) -> None:
        ports = self._ports
        self._until_s, self._part = 0.0, None
        self._memory = replace(self._memory or Memory(), failed=bool(problem), announced_s=None)
        self._result = {
            "part": part,
            "ok": not problem,
            "detail": problem,
            "duration_s": round(took_s, 1),
            "at_wall_s": ports.clock.wall_s(),
        }
        self._publish()
        self._say(
            f"{part} {'not restarted' if problem else 'restarted'}, {took_s:.1f} s{': ' if problem else ''}{problem}"
        )
        facts = {"ok": not problem, "skipped": False, "detail": problem, "duration_s": round(took_s, 3)}
        ports.log.event("daily_restart", part=part, **facts)
        if problem:
            ports.log.event("alarm", text=f"the daily restart of the {part} has failed: {problem}")

    def _say(self, sentence: str) -> None:
        """In FT_REPORT, when it changes."""
        if sentence != self._said:
            self._said = sentence
            self._ports.log.report(SOURCE, sentence)
