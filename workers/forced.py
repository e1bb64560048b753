"""A forced takeover, step by step (M2): lock, epoch, fence, wait, fence again, votes, role, portal, services, publish.

The rules are in ``ftplugin/core/forced.py``. An unanswered fence is passed only when the other server's lease has
certainly ended, or on the administrator's checked word; one that is answered but not confirmed never is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable

from ftplugin.core.forced import ENDLESS
from ftplugin.core.sequence import Step, StepName, forced

from .promotion import CONFIRMED, Promotion
from .stopped import TIME_OVER, has_stopped
from .switch_run import StepFailed, bind

LOOK_S = 1.0  # between two looks at the other server while it is waited for


class ForcedPromotion(Promotion):
    """One forced takeover under way. ``order`` also has: certain_s, silent, endless, waived (``core.forced.Forced``)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.suspect = False
        self.certain_s = float(self.order["certain_s"])
        self.waived = bool(self.order["waived"])
        self._spoke_s: float | None = None
        self._waited = False

    def _sequence(self) -> tuple[Step, ...]:
        wait_s = 0.0 if self.waived else max(0.0, self.certain_s - self.ports.clock.now_s())
        return forced(self.timing, self.runner.limits(), wait_s=wait_s)

    def _calls(self) -> dict[StepName, Callable[[Step], str]]:
        return {**super()._calls(), StepName.WAIT: self._wait, StepName.AGAIN: self._again}

    def _mark(self, voter: str) -> str | None:
        """Without a wait, the vote must at least be the one that was read when the order began: a living owner moves it."""
        if not self.waived:
            return super()._mark(voter)
        mark, _ = (self.order.get("marks") or {}).get(voter) or (None, None)
        return None if mark is None else str(mark)

    def _fence(self, step: Step) -> str:
        heard = self._ask_to_stop(step)
        if self.confirmed:
            return CONFIRMED
        if heard:
            self._spoke()
            return f"the peer's {heard} answered; it has not stopped yet"
        if not self.order.get("silent"):  # it was heard when the order began: its lease may have begun then
            self.certain_s = max(self.certain_s, self._settled_s(self.ports.clock.now_s()))
        return "no answer on either channel"

    def _spoke(self) -> None:
        """It is alive, whatever the administrator believes: the wait counts again."""
        self._spoke_s = self.ports.clock.now_s()
        self.waived = False

    def _settled_s(self, since_s: float) -> float:
        return since_s + self.timing.hold_s + self.timing.lan_gap_s

    def _wait(self, step: Step) -> str:
        """Until the lease of a server that confirmed nothing has certainly ended (I-D); ends sooner when it is heard."""
        if self.confirmed:
            return "not needed"
        if self.waived:
            return f"left out: {self.run.actor} says that the other server is switched off or cut off"
        if self.order.get("endless"):
            raise StepFailed(ENDLESS)
        while (left_s := self.certain_s - self.ports.clock.now_s()) > 0:
            self._waited = True
            self.runner.check(self.epoch)
            self.run.show("running", step.label, f"{left_s:.0f} s until the other server has certainly stopped")
            began_s = self.ports.clock.now_s()
            if heard := self._look():
                return heard
            looked_s = self.ports.clock.now_s() - began_s
            self.ports.clock.sleep(max(0.0, min(LOOK_S - looked_s, self.certain_s - self.ports.clock.now_s())))
        return f"the other server is silent; {TIME_OVER}"

    def _look(self) -> str:
        """What ends the wait sooner; raises StepFailed when the votes show that waiting is in vain."""
        limit_s = min(self.timing.network_s, LOOK_S)
        calls: list[Callable[[], Any]] = [lambda: self.ports.peer.state(limit_s)]
        calls += [bind(lambda name: self.ports.votes.reading(name, limit_s), n) for n in self.ports.votes.names()]
        reply, *readings = self.ports.runner.side_by_side(calls, limit_s + 0.1)
        if reply is not None and reply.state is not None:
            self._spoke()
            if has_stopped(reply.state, self.epoch):
                self.confirmed = True
                return CONFIRMED
            return "" if reply.state.seen_epoch >= self.epoch else "the other server is heard again"
        moved = [r.voter for r in readings if r is not None and self._moved(r.voter, r.owner, r.mark)]
        still = [r for r in readings if r is not None and r.mark is not None and r.voter not in moved]
        if moved and (len(readings) < 3 or len(still) < 2):
            raise StepFailed(f"the other server renewed its vote at {' and '.join(moved)} meanwhile: it is alive")
        return ""

    def _moved(self, voter: str, owner: str, mark: str | None) -> bool:
        known, _ = (self.order.get("marks") or {}).get(voter) or (None, None)
        if mark is None or known is None or owner != self.me.other:
            return False
        return str(mark).split("|")[0] != str(known).split("|")[0]

    def _again(self, step: Step) -> str:
        """It may have come back during a wait: asked once more, before anything is owned here. Its voter too, which could
        not be locked while it was away: if that one refuses, a living server is not stopped for nothing."""
        if not self._waited:
            return "not needed"
        self._lock(replace(step, limit_s=self.timing.network_s))
        heard = "" if self.confirmed else self._ask_to_stop(step)
        if self.confirmed:
            return CONFIRMED
        if heard:
            raise StepFailed(f"the other server's {heard} answered but did not confirm that it stopped; switch it off")
        until_s = self.certain_s if self._spoke_s is None else max(self.certain_s, self._settled_s(self._spoke_s))
        left_s = until_s - self.ports.clock.now_s()
        if left_s > 0:
            raise StepFailed(f"the other server spoke and is silent again; its lease may last {left_s:.0f} s more")
        return f"the peer is silent on both channels; {TIME_OVER}"
