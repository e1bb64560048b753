"""Step four of a tick: the switch sequences of ``core/sequence.py``, carried out step by step, each with its limit.

Everything here may run twice (a crash, a late message): each step is safe to repeat, and every step asks whether a
higher epoch has been seen meanwhile. One switch runs at a time on a node; a demotion interrupts a running promotion.
"""

from __future__ import annotations

import threading
import uuid
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Callable, Iterator, Mapping, Sequence

from ftplugin.core.lease import next_epoch
from ftplugin.core.records import OpenSwitch, RoleRecord
from ftplugin.core.sequence import ServiceLimits, Step, StepName, demotion
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, Phase, Role, ServiceState
from ftplugin.core.timing import Timing
from ftplugin.report import bound

from .ports import Ports, ServicePort, Vote
from .promotion import Promotion
from .switch_run import POLL_S, Interrupted, Run, StepFailed, bind, need


class SwitchRunner:
    """Carries out promotions, demotions and re-assertions on this node."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._busy = threading.Lock()
        self._own: set[str] = set()  # switches of this process: no crash has interrupted them

    # --- shared pieces ------------------------------------------------------------------------------------------

    def limits(self) -> list[ServiceLimits]:
        return [
            ServiceLimits(name=s.name, start_limit_s=s.start_limit_s, stop_limit_s=s.stop_limit_s)
            for s in self.ports.services
        ]

    def service(self, name: str) -> ServicePort:
        return next(s for s in self.ports.services if s.name == name)

    def highest_seen(self, order: Mapping[str, Any]) -> int:
        record = self.ports.runtime.read_role() or RoleRecord()
        return max(self.ports.journal.epoch(), record.epoch, record.seen_epoch, int(order.get("seen_epoch", 0)))

    def check(self, epoch: int) -> RoleRecord:
        """The role record, unless somebody commanded a higher epoch. Raises Interrupted or StepFailed."""
        record = self.ports.runtime.read_role()
        if record is None:
            raise StepFailed("the node's own Redis does not answer")
        if record.seen_epoch > epoch:
            raise Interrupted(f"epoch {record.seen_epoch} was seen, above {epoch}")
        return record

    def _take_turn(self, limit_s: float) -> bool:
        """One switch at a time. Polls, since the holder may be interrupted and end soon."""
        deadline_s = self.ports.clock.now_s() + limit_s
        while not self._busy.acquire(blocking=False):
            if self.ports.clock.now_s() >= deadline_s:
                return False
            self.ports.clock.sleep(POLL_S)
        return True

    @contextmanager
    def turn(self, limit_s: float) -> Iterator[bool]:
        """Hold the turn of the one switch at a time; False when it did not come within ``limit_s`` seconds."""
        mine = self._take_turn(limit_s)
        try:
            yield mine
        finally:
            if mine:
                self._busy.release()

    def ask_voters(self, call: Callable[[str], Vote], limit_s: float) -> list[Vote]:
        """In fixed order without a witness, stopping at the first refusal; side by side with one (5.4)."""
        names = list(self.ports.votes.names())
        if len(names) < 3:
            answers: list[Vote] = []
            for name in names:
                answers.append(call(name))
                if answers[-1].ok is False:
                    break
            return answers
        granted: list[bool] = []

        def enough(vote: Vote) -> bool:
            granted.append(vote.ok is True)
            return sum(granted) >= 2

        results = self.ports.runner.side_by_side([bind(call, n) for n in names], limit_s + 0.1, enough=enough)
        return [r or Vote(voter=n, ok=None, detail="no answer") for n, r in zip(names, results, strict=True)]

    def carried(self, answers: Sequence[Vote], designation: Designation) -> str:
        """Empty when the votes carry the request, else why not: a majority with a witness; else the own voter, and no
        refusal of a reachable one."""
        said = ", ".join(
            f"{a.voter} {'yes' if a.ok else 'no' if a.ok is False else 'silent'} {a.detail}".strip() for a in answers
        )
        if len(list(self.ports.votes.names())) >= 3:
            return "" if sum(a.ok is True for a in answers) >= 2 else f"no majority of voters: {said}"
        own = next((a for a in answers if a.voter == designation), None)
        refused = any(a.ok is False for a in answers)
        return "" if own is not None and own.ok and not refused else f"voters refused: {said}"

    def release(self, epoch: int, limit_s: float) -> str:
        names = list(self.ports.votes.names())
        results = self.ports.runner.side_by_side(
            [bind(lambda n: self.ports.votes.release(n, epoch, limit_s), name) for name in names], limit_s + 0.1
        )
        return ", ".join(
            f"{n} {'released' if r and r.ok else 'not reached'}" for n, r in zip(names, results, strict=True)
        )

    # --- promotion ----------------------------------------------------------------------------------------------

    def promote(
        self,
        order: Mapping[str, Any],
        settings: Settings,
        wait_by: Timing,
        stop_by: Timing,
        designation: Designation,
        how: type[Promotion] = Promotion,
    ) -> dict[str, Any]:
        """Run a promotion. ``order``: switch_id, rule, reason, actor, action, marks, seen_epoch, not_before_s, certain_s,
        passable_s.

        wait_by: timing to wait by; stop_by: timing of the lease that the new active node takes. how: M2 has its own.
        """
        run = self.new_run("promote", order)
        if not self._take_turn(wait_by.fence_s):  # one command of a restart may hold it: refused, F1 would lose a whole T
            return {
                "outcome": "refused",
                "detail": "another switch is running on this server",
                "switch_id": run.switch_id,
            }
        try:
            self._own.add(run.switch_id)
            with bound(run.facts):
                return how(self, run, order, settings, wait_by, stop_by, designation).go()
        finally:
            self._busy.release()

    def new_run(self, kind: str, order: Mapping[str, Any]) -> Run:
        return Run(
            self.ports,
            switch_id=str(order.get("switch_id") or uuid.uuid4()),
            kind=kind,
            rule=str(order.get("rule", "")),
            reason=str(order.get("reason", "")),
            actor=str(order.get("actor", "")),
        )

    # --- demotion -----------------------------------------------------------------------------------------------

    def demote(self, order: Mapping[str, Any], timing: Timing, designation: Designation) -> dict[str, Any]:
        """Run a demotion. ``order`` may carry the commanded ``epoch``; else a new own one is taken (I-E)."""
        commanded = int(order.get("epoch", 0) or 0)
        epoch = commanded or next_epoch(self.highest_seen(order), designation)
        self.ports.runtime.see_epoch(epoch)  # a running promotion gives way at its next step
        run = self.new_run("demote", order)
        if not self._take_turn(2 * timing.stop_s + 10.0):
            return {
                "outcome": "refused",
                "detail": "another switch does not end",
                "switch_id": run.switch_id,
                "clear": False,
            }
        try:
            record = self.ports.runtime.read_role()
            if record is not None and record.role is not Role.ACTIVE and record.clear:
                return {"outcome": "done", "detail": "owns nothing already", "epoch": epoch, "clear": True}
            return self.demote_now(run, epoch, timing, record)
        finally:
            self._busy.release()

    def demote_now(self, run: Run, epoch: int, timing: Timing, before: RoleRecord | None) -> dict[str, Any]:
        ports = self.ports
        self._own.add(run.switch_id)
        failed: list[str] = []
        record = RoleRecord(
            role=Role.STANDBY if before is None or before.role is not Role.UNDECIDED else Role.UNDECIDED,
            phase=Phase.STOPPING,
            epoch=epoch,
            boot_id=ports.clock.boot_id,
            since_wall_s=ports.clock.wall_s(),
        )
        for step in demotion(timing, self.limits()):
            if step.name is StepName.EPOCH:
                self.attempt(
                    run, step, lambda: need(run.begin(epoch), "the journal cannot be written; demoting all the same")
                )
            elif step.name is StepName.ROLE:
                self.attempt(
                    run, step, lambda: need(ports.runtime.write_role(record), "the role record was not written")
                )
            elif step.name is StepName.SERVICE:
                service = self.service(step.service)
                if not self.attempt(run, step, lambda s=service: self._stop(s, epoch)):  # type: ignore[misc]
                    failed.append(service.name)
            elif step.name is StepName.RELEASE and not failed:
                self.attempt(run, step, lambda: self.release(epoch, step.limit_s))
            elif step.name is StepName.PUBLISH:
                done = replace(record, phase=Phase.READY, clear=not failed)
                if not self.attempt(
                    run, step, lambda: need(ports.runtime.write_role(done), "the role record was not written")
                ):
                    failed.append("role record")  # it may still read active: nothing may be signed as stopped
        detail = (
            f"not stopped: {', '.join(failed)}; the peer must not start before it is fenced"
            if failed
            else "every service is standby"
        )
        result = run.end("failed" if failed else "done", Role.STANDBY, detail)
        return {**result, "clear": not failed}

    def attempt(self, run: Run, step: Step, call: Callable[[], str]) -> bool:
        try:
            run.do(step, call)
            return True
        except (StepFailed, Interrupted):
            return False

    def _stop(self, service: ServicePort, epoch: int) -> str:
        """Demote one service; it must say that it owns nothing. A dead one owns nothing either."""
        reading = service.demote(epoch)
        if reading.state not in (ServiceState.STANDBY, ServiceState.DEAD):
            raise StepFailed(f"{service.name} is {reading.state} after its stop limit: {reading.detail}")
        return f"{service.name} is {reading.state}"

    # --- re-assertion, recovery ---------------------------------------------------------------------------------

    def reassert(self, order: Mapping[str, Any], timing: Timing, designation: Designation) -> dict[str, Any]:
        """X1: the survivor takes a new epoch above the other's and hands it to voters and services."""
        run = self.new_run("reassert", order)
        if not self._take_turn(0.0):
            return {
                "outcome": "refused",
                "detail": "another switch is running on this server",
                "switch_id": run.switch_id,
            }
        try:
            self._own.add(run.switch_id)
            record = self.ports.runtime.read_role()
            if record is None or record.role is not Role.ACTIVE or record.deadline_s <= self.ports.clock.now_s():
                return {"outcome": "refused", "detail": "this server is no longer active", "switch_id": run.switch_id}
            if not self._majority_is_mine(timing, designation):
                return {"outcome": "refused", "detail": "a majority of voters is not held", "switch_id": run.switch_id}
            epoch = next_epoch(self.highest_seen(order), designation)
            if not run.begin(epoch):
                return run.end("refused", Role.ACTIVE, "the journal cannot be written")
            limit_s = min(timing.network_s, timing.lease_s / 3)
            self.ask_voters(lambda name: self.ports.votes.renew(name, epoch, limit_s), limit_s)
            record = self.ports.runtime.read_role() or record  # renewed while a silent voter was asked
            owned = record.role is Role.ACTIVE and self.ports.runtime.write_role(replace(record, epoch=epoch))
            if not owned:
                return run.end("aborted", record.role, "the role changed meanwhile")
            lease_left_s = record.deadline_s - self.ports.clock.now_s()
            said = [s.promote(epoch, lease_left_s) for s in self.ports.services]
            return run.end("done", Role.ACTIVE, ", ".join(f"{r.name} {r.state}" for r in said) or "no services")
        finally:
            self._busy.release()

    def _majority_is_mine(self, timing: Timing, designation: Designation) -> bool:
        """With a witness a survivor that holds no majority may not overwrite the votes of the one that does (5.4)."""
        names = list(self.ports.votes.names())
        if len(names) < 3:
            return True
        ask = [bind(lambda n: self.ports.votes.reading(n, timing.network_s), name) for name in names]
        readings = self.ports.runner.side_by_side(ask, timing.network_s + 0.1)
        return len([r for r in readings if r is not None and r.owner == designation]) >= 2

    def restart(self, service: ServicePort, epoch: int, *, silent: bool = False) -> dict[str, Any]:
        """W1: restart one service in the role that this node has when its turn comes, not the one it had when asked.

        silent: it has not answered for long; then it is stopped first, and started only when it has certainly stopped.
        """
        if not self._take_turn(1.0):
            return {"outcome": "refused", "detail": "a switch is running"}
        try:
            record = self.ports.runtime.read_role()
            if record is None or record.epoch != epoch:
                return {"outcome": "refused", "detail": "the role changed meanwhile"}
            owns = self.owns(epoch)
            if not owns and record.role is Role.ACTIVE:
                return {"outcome": "refused", "detail": "the lease has run out"}
            reading = service.status()
            if reading.state is ServiceState.DEAD or (silent and reading.state is ServiceState.UNKNOWN):
                reading = service.restart(owns)
            if reading.state is ServiceState.UNKNOWN:
                return {"outcome": "failed", "detail": f"{service.name} does not answer: {reading.detail}"}
            if owns and self.owns(epoch):
                left_s = record.deadline_s - self.ports.clock.now_s()
                reading = service.promote(epoch, left_s)
            elif owns:
                reading = service.demote(epoch)
            return {"outcome": "done", "detail": f"{service.name} is {reading.state}"}
        finally:
            self._busy.release()

    def owns(self, epoch: int) -> bool:
        """Whether this node is active under ``epoch`` and its lease, and nobody commanded a higher one."""
        record = self.ports.runtime.read_role()
        if record is None or record.role is not Role.ACTIVE or record.epoch != epoch or record.seen_epoch > epoch:
            return False
        return record.deadline_s > self.ports.clock.now_s()

    def recover(self, timing: Timing, designation: Designation) -> None:
        """At start: resume or undo what a crash left open (I-G), and make sure that a node that is not active owns nothing. An
        order that waited for this start may be carried out beside it: that one is left alone."""
        ports = self.ports
        for switch in [s for s in ports.journal.unfinished() if s.switch_id not in self._own]:
            record = ports.runtime.read_role() or RoleRecord()
            valid = record.boot_id == ports.clock.boot_id and record.deadline_s > ports.clock.now_s()
            if switch.kind != "demote" and record.role is Role.ACTIVE and record.epoch == switch.epoch and valid:
                self._resume(switch, record, timing, designation)
            else:
                how = "undone at start" if switch.kind != "demote" else "what is left of it follows"
                ports.journal.end(switch.switch_id, "undone", record.role, f"interrupted by a crash, {how}")
                undone = {"switch_id": switch.switch_id, "kind": switch.kind, "rule": switch.rule}
                with bound(lambda: {**undone, "epoch": switch.epoch}):
                    text = f"{switch.rule} {switch.kind}, epoch {switch.epoch}, was interrupted by a crash: {how}"
                    ports.log.report("agent", text)
        shown = ports.runtime.fetch("switch") or {}
        died = shown.get("outcome") == "running" and shown.get("switch_id") not in self._own
        if died and not ports.journal.unfinished():  # else the page shows it for ever
            ended = {"outcome": "ended", "step": "", "detail": "the switch worker died in it, see the journal"}
            ports.runtime.publish("switch", {**shown, **ended})
        with self.turn(0.0) as free:  # else somebody switches already, and looks after the services
            record = ports.runtime.read_role() or RoleRecord()
            if free and record.role is not Role.ACTIVE and not record.clear:
                order = {"rule": "recover", "reason": "a server that starts owns nothing"}
                self.demote_now(self.new_run("demote", order), max(2, self.highest_seen({})), timing, record)

    def _resume(self, switch: OpenSwitch, record: RoleRecord, timing: Timing, designation: Designation) -> None:
        order = {"switch_id": switch.switch_id, "rule": switch.rule, "reason": "resumed after a crash"}
        run = self.new_run("promote", order)
        run.epoch, run.begun, run.steps = switch.epoch, True, list(switch.steps)
        if not self._take_turn(0.0):
            return
        try:
            promotion = Promotion(self, run, order, None, timing, timing, designation)
            with bound(run.facts):
                promotion.services_and_publish(record.epoch, resumed=True)
        finally:
            self._busy.release()
