"""Step four of a tick: the switch sequences of ``core/sequence.py``, carried out step by step, each with its limit.

Everything here may run twice (a crash, a late message): each step is safe to repeat, and every step asks whether a
higher epoch has been seen meanwhile. One switch runs at a time on a node; a demotion interrupts a running promotion.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from typing import Any, Callable, Mapping, Sequence

from ftplugin.core.lease import lease_deadline_s, next_epoch
from ftplugin.core.policy import Action
from ftplugin.core.records import OpenSwitch, RoleRecord, StepResult
from ftplugin.core.sequence import OnFailure, ServiceLimits, Step, StepName, demotion, promotion
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, Phase, Role, ServiceState
from ftplugin.core.timing import Timing
from ftplugin.core.view import NodeState

from .ports import Ports, ServicePort, Vote

POLL_S = 0.05
STATUS_POLL_S = 0.1


class Interrupted(Exception):
    """A higher epoch was seen; the running switch gives way."""


class StepFailed(Exception):
    """A step could not be done; the message says which component and why."""


class Run:
    """One running switch: journal, page document and log of its steps."""

    def __init__(self, ports: Ports, *, switch_id: str, kind: str, rule: str, reason: str, actor: str) -> None:
        self.ports, self.switch_id, self.kind, self.rule = ports, switch_id, kind, rule
        self.reason, self.actor = reason, actor
        self.epoch = 0
        self.begun = False
        self.steps: list[StepResult] = []
        self.started_s = ports.clock.now_s()

    def begin(self, epoch: int) -> bool:
        """Write the switch and its epoch durably, with the steps done so far."""
        self.epoch = epoch
        self.begun = self.ports.journal.begin(
            switch_id=self.switch_id, kind=self.kind, rule=self.rule, reason=self.reason, epoch=epoch, actor=self.actor
        )
        for index, result in enumerate(self.steps):
            self.ports.journal.step(self.switch_id, index, result)
        return self.begun

    def do(self, step: Step, call: Callable[[], str]) -> StepResult:
        """Run one step; its result is journalled whatever happens. Raises StepFailed or Interrupted as the call does."""
        index = len(self.steps)
        self.steps.append(StepResult(step=step.label, outcome="running"))
        self.show("running", step.label)
        began_s = self.ports.clock.now_s()
        outcome, detail = "failed", ""
        try:
            detail = call()
            outcome = "ok"
        except (StepFailed, Interrupted) as error:
            detail = str(error)
            raise
        finally:
            duration_s = self.ports.clock.now_s() - began_s
            self.steps[index] = StepResult(step=step.label, outcome=outcome, duration_s=round(duration_s, 3), detail=detail)
            if self.begun:
                self.ports.journal.step(self.switch_id, index, self.steps[index])
        return self.steps[index]

    def show(self, outcome: str, step: str = "", detail: str = "") -> None:
        """Publish the state of the switch for page, tick worker and Flower."""
        clock = self.ports.clock
        document = {
            "switch_id": self.switch_id,
            "kind": self.kind,
            "rule": self.rule,
            "reason": self.reason,
            "actor": self.actor,
            "epoch": self.epoch,
            "outcome": outcome,
            "step": step,
            "detail": detail,
            "steps": [
                {"step": s.step, "outcome": s.outcome, "duration_s": s.duration_s, "detail": s.detail} for s in self.steps
            ],
            "boot_id": clock.boot_id,
            "updated_s": clock.now_s(),
            "at_wall_s": clock.wall_s(),
        }
        self.ports.runtime.publish("switch", document)
        self.ports.dispatch.progress(step or outcome, detail)

    def end(self, outcome: str, role: Role, detail: str) -> dict[str, Any]:
        if self.begun:
            self.ports.journal.end(self.switch_id, outcome, role, detail)
        self.show(outcome, detail=detail)
        took_s = self.ports.clock.now_s() - self.started_s
        self.ports.log.report("agent", f"{self.rule} {self.kind} {outcome} after {took_s:.2f} s, epoch {self.epoch}: {detail}")
        return {"outcome": outcome, "detail": detail, "epoch": self.epoch, "switch_id": self.switch_id}


class SwitchRunner:
    """Carries out promotions, demotions and re-assertions on this node."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._busy = threading.Lock()

    # --- shared pieces ------------------------------------------------------------------------------------------

    def _limits(self) -> list[ServiceLimits]:
        return [
            ServiceLimits(name=s.name, start_limit_s=s.start_limit_s, stop_limit_s=s.stop_limit_s) for s in self.ports.services
        ]

    def _service(self, name: str) -> ServicePort:
        return next(s for s in self.ports.services if s.name == name)

    def _highest_seen(self, order: Mapping[str, Any]) -> int:
        record = self.ports.runtime.read_role() or RoleRecord()
        return max(self.ports.journal.epoch(), record.epoch, record.seen_epoch, int(order.get("seen_epoch", 0)))

    def _check(self, epoch: int) -> RoleRecord:
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

    def _ask_voters(self, call: Callable[[str], Vote], limit_s: float) -> list[Vote]:
        """In fixed order without a witness, stopping at the first refusal; side by side with one (5.4)."""
        names = list(self.ports.votes.names())
        if len(names) < 3:
            answers: list[Vote] = []
            for name in names:
                answers.append(call(name))
                if answers[-1].ok is False:
                    break
            return answers
        results = self.ports.runner.side_by_side([_bind(call, n) for n in names], limit_s + 0.1)
        return [r or Vote(voter=n, ok=None, detail="no answer") for n, r in zip(names, results, strict=True)]

    def _carried(self, answers: Sequence[Vote], designation: Designation) -> str:
        """Empty when the votes carry the request, else why not: a majority with a witness; else the own voter, and no
        refusal of a reachable one."""
        said = ", ".join(f"{a.voter} {'yes' if a.ok else 'no' if a.ok is False else 'silent'} {a.detail}".strip() for a in answers)
        if len(list(self.ports.votes.names())) >= 3:
            return "" if sum(a.ok is True for a in answers) >= 2 else f"no majority of voters: {said}"
        own = next((a for a in answers if a.voter == designation), None)
        refused = any(a.ok is False for a in answers)
        return "" if own is not None and own.ok and not refused else f"voters refused: {said}"

    def _release(self, epoch: int, limit_s: float) -> str:
        names = list(self.ports.votes.names())
        results = self.ports.runner.side_by_side(
            [_bind(lambda n: self.ports.votes.release(n, epoch, limit_s), name) for name in names], limit_s + 0.1
        )
        return ", ".join(f"{n} {'released' if r and r.ok else 'not reached'}" for n, r in zip(names, results, strict=True))

    # --- promotion ----------------------------------------------------------------------------------------------

    def promote(self, order: Mapping[str, Any], settings: Settings, timing: Timing, designation: Designation) -> dict[str, Any]:
        """Run a promotion. ``order``: switch_id, rule, reason, actor, action, not_before_s, passable_s, marks, seen_epoch."""
        run = self._run("promote", order)
        if not self._take_turn(0.0):
            return {"outcome": "refused", "detail": "another switch is running on this server", "switch_id": run.switch_id}
        try:
            promotion_run = _Promotion(self, run, order, settings, timing, designation)
            return promotion_run.go()
        finally:
            self._busy.release()

    def _run(self, kind: str, order: Mapping[str, Any]) -> Run:
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
        epoch = commanded or next_epoch(self._highest_seen(order), designation)
        self.ports.runtime.see_epoch(epoch)  # a running promotion gives way at its next step
        run = self._run("demote", order)
        if not self._take_turn(2 * timing.stop_s + 10.0):
            return {"outcome": "refused", "detail": "another switch does not end", "switch_id": run.switch_id, "clear": False}
        try:
            record = self.ports.runtime.read_role()
            if record is not None and record.role is not Role.ACTIVE and record.clear:
                return {"outcome": "done", "detail": "owns nothing already", "epoch": epoch, "clear": True}
            return self._demote_now(run, epoch, timing, record)
        finally:
            self._busy.release()

    def _demote_now(self, run: Run, epoch: int, timing: Timing, before: RoleRecord | None) -> dict[str, Any]:
        ports = self.ports
        failed: list[str] = []
        record = RoleRecord(
            role=Role.STANDBY if before is None or before.role is not Role.UNDECIDED else Role.UNDECIDED,
            phase=Phase.STOPPING,
            epoch=epoch,
            boot_id=ports.clock.boot_id,
            since_wall_s=ports.clock.wall_s(),
        )
        for step in demotion(timing, self._limits()):
            if step.name is StepName.EPOCH:
                self._try(run, step, lambda: _need(run.begin(epoch), "the journal cannot be written; demoting all the same"))
            elif step.name is StepName.ROLE:
                self._try(run, step, lambda: _need(ports.runtime.write_role(record), "the role record was not written"))
            elif step.name is StepName.SERVICE:
                service = self._service(step.service)
                if not self._try(run, step, lambda s=service: self._stop(s, epoch)):  # type: ignore[misc]
                    failed.append(service.name)
            elif step.name is StepName.RELEASE and not failed:
                self._try(run, step, lambda: self._release(epoch, step.limit_s))
            elif step.name is StepName.PUBLISH:
                done = replace(record, phase=Phase.READY, clear=not failed)
                self._try(run, step, lambda: _need(ports.runtime.write_role(done), "the role record was not written"))
        detail = f"not stopped: {', '.join(failed)}; the peer must not start before it is fenced" if failed else "every service is standby"
        result = run.end("failed" if failed else "done", Role.STANDBY, detail)
        return {**result, "clear": not failed}

    def _try(self, run: Run, step: Step, call: Callable[[], str]) -> bool:
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
        run = self._run("reassert", order)
        if not self._take_turn(0.0):
            return {"outcome": "refused", "detail": "another switch is running on this server", "switch_id": run.switch_id}
        try:
            record = self.ports.runtime.read_role()
            if record is None or record.role is not Role.ACTIVE or record.deadline_s <= self.ports.clock.now_s():
                return {"outcome": "refused", "detail": "this server is no longer active", "switch_id": run.switch_id}
            epoch = next_epoch(self._highest_seen(order), designation)
            if not run.begin(epoch):
                return run.end("refused", Role.ACTIVE, "the journal cannot be written")
            for name in self.ports.votes.names():
                self.ports.votes.renew(name, epoch, timing.network_s)
            if not self.ports.runtime.write_role(replace(record, epoch=epoch)):
                return run.end("aborted", Role.ACTIVE, "the role changed meanwhile")
            lease_left_s = record.deadline_s - self.ports.clock.now_s()
            said = [s.promote(epoch, lease_left_s) for s in self.ports.services]
            return run.end("done", Role.ACTIVE, ", ".join(f"{r.name} {r.state}" for r in said) or "no services")
        finally:
            self._busy.release()

    def recover(self, timing: Timing, designation: Designation) -> None:
        """At start: resume or undo what a crash left open (I-G), and make sure that a node that is not active owns nothing."""
        ports = self.ports
        for switch in ports.journal.unfinished():
            record = ports.runtime.read_role() or RoleRecord()
            valid = record.boot_id == ports.clock.boot_id and record.deadline_s > ports.clock.now_s()
            if switch.kind != "demote" and record.role is Role.ACTIVE and record.epoch == switch.epoch and valid:
                self._resume(switch, record, timing, designation)
            else:
                ports.journal.end(switch.switch_id, "undone", record.role, "interrupted by a crash, undone at start")
                ports.log.report("agent", f"{switch.rule} {switch.kind}, epoch {switch.epoch}, was interrupted by a crash: undone")
        record = ports.runtime.read_role() or RoleRecord()
        if record.role is not Role.ACTIVE and not record.clear:
            order = {"rule": "recover", "reason": "a server that starts owns nothing", "epoch": max(2, self._highest_seen({}))}
            self.demote(order, timing, designation)

    def _resume(self, switch: OpenSwitch, record: RoleRecord, timing: Timing, designation: Designation) -> None:
        order = {"switch_id": switch.switch_id, "rule": switch.rule, "reason": "resumed after a crash"}
        run = self._run("promote", order)
        run.epoch, run.begun, run.steps = switch.epoch, True, list(switch.steps)
        if not self._take_turn(0.0):
            return
        try:
            _Promotion(self, run, order, None, timing, designation).services_and_publish(record.epoch)
        finally:
            self._busy.release()


class _Promotion:
    """One promotion under way. Steps before ROLE abort without a trace of ownership; later ones are compensated."""

    def __init__(
        self, runner: SwitchRunner, run: Run, order: Mapping[str, Any], settings: Settings | None, timing: Timing, me: Designation
    ) -> None:
        self.runner, self.run, self.order, self.settings, self.timing, self.me = runner, run, order, settings, timing, me
        self.ports = runner.ports
        self.suspect = order.get("action") == Action.PROMOTE.name
        self.confirmed = False
        self.epoch = 0
        self.deadline_s = 0.0

    def go(self) -> dict[str, Any]:
        self.epoch = next_epoch(self.runner._highest_seen(self.order), self.me)
        action = Action.PROMOTE if self.suspect else Action.PROMOTE_CONFIRMED
        calls: dict[StepName, Callable[[Step], str]] = {
            StepName.LAST_PROBE: self._last_probe,
            StepName.LOCK: self._lock,
            StepName.EPOCH: self._begin,
            StepName.FENCE: self._fence,
            StepName.OWN: self._own,
            StepName.ROLE: self._role,
        }
        for step in promotion(action, self.timing, self.runner._limits(), suspect=self.suspect):
            if step.name not in calls:
                break
            try:
                self.run.do(step, _bind_step(calls[step.name], step))
            except (StepFailed, Interrupted) as error:
                released = self.runner._release(self.epoch, self.timing.fence_s / 4)
                record = self.ports.runtime.read_role() or RoleRecord()
                return self.run.end("aborted", record.role, f"{step.label}: {error} ({released})")
        return self.services_and_publish(self.epoch)

    def _last_probe(self, step: Step) -> str:
        assert self.settings is not None
        probe = self.ports.peer.probe(step.limit_s, check_body=self.settings.application_error)
        if probe.good:
            raise StepFailed("the peer answered the last probe")
        wait_s = float(self.order.get("not_before_s", 0)) - self.ports.clock.now_s()
        if wait_s > 2 * self.timing.timeout_s:
            raise StepFailed(f"{wait_s:.1f} s too early")
        self.ports.clock.sleep(max(0.0, wait_s))
        return f"bad: {probe.cause}"

    def _lock(self, step: Step) -> str:
        self.runner._check(self.epoch)
        answers = self.runner._ask_voters(
            lambda voter: self.ports.votes.lock(voter, self.epoch, self._mark(voter), step.limit_s), step.limit_s
        )
        if why := self.runner._carried(answers, self.me):
            raise StepFailed(why)
        return f"epoch {self.epoch}"

    def _mark(self, voter: str) -> str | None:
        """The fingerprint this node has watched standing still long enough, as the tick worker saw it (5.4)."""
        mark, since_s = (self.order.get("marks") or {}).get(voter) or (None, None)
        if mark is None or since_s is None or self.ports.clock.now_s() - float(since_s) < self.timing.watch_s:
            return None
        return str(mark)

    def _begin(self, step: Step) -> str:
        return _need(self.run.begin(self.epoch), "the journal cannot be written, so nothing may be promoted")

    def _fence(self, step: Step) -> str:
        """Both channels at once; confirmed by a signed word only (5.5)."""
        ports, start_s = self.ports, self.ports.clock.now_s()
        heard: list[str] = []
        nonce = uuid.uuid4().hex

        def left_s() -> float:
            stop_s = self.timing.stop_s if heard else 0.0
            return start_s + step.limit_s + stop_s - ports.clock.now_s()

        def over_http() -> bool:
            reply = ports.peer.command("demote", {"epoch": self.epoch}, step.limit_s)
            while reply.answered and reply.state is not None:
                heard.append("portal")
                if _stopped(reply.state, self.epoch):
                    return True
                if left_s() <= 0:
                    return False
                ports.clock.sleep(POLL_S)
                reply = ports.peer.state(max(0.05, min(step.limit_s, left_s())))
            return False

        def over_channel() -> bool:
            if not ports.channel.demote(self.epoch, nonce, step.limit_s):
                return False
            while left_s() > 0:
                word = ports.channel.word(nonce)
                if word is not None:
                    heard.append("agent")
                    if word[0] >= self.epoch:
                        return word[1]
                ports.clock.sleep(POLL_S)
            return False

        results = ports.runner.side_by_side([over_http, over_channel], step.limit_s + self.timing.stop_s + 0.1, enough=bool)
        if any(results):
            self.confirmed = True
            return "the peer confirmed that it owns nothing"
        if heard:
            raise StepFailed(f"the peer's {' and '.join(sorted(set(heard)))} answered but did not confirm that it stopped")
        return self._pass_unanswered()

    def _pass_unanswered(self) -> str:
        """F1 alone may pass a silent peer, and only when its lease has certainly ended (I-D)."""
        if not self.suspect:
            raise StepFailed("the peer did not answer, and this switch needs its confirmed demotion")
        wait_s = float(self.order.get("passable_s", 0)) - self.ports.clock.now_s()
        if wait_s > self.timing.timeout_s:
            raise StepFailed(f"the peer is silent, but its lease may last {wait_s:.1f} s more")
        self.ports.clock.sleep(max(0.0, wait_s))
        return "the peer is silent on both channels and its lease has ended"

    def _own(self, step: Step) -> str:
        self.runner._check(self.epoch)
        self.deadline_s = self._first_deadline_s()
        if self.deadline_s <= self.ports.clock.now_s():
            raise StepFailed("this server has lost its LAN meanwhile")
        answers = self.runner._ask_voters(
            lambda v: self.ports.votes.own(v, self.epoch, self._mark(v), self.confirmed, step.limit_s), step.limit_s
        )
        if why := self.runner._carried(answers, self.me):
            raise StepFailed(why)
        return "votes taken"

    def _first_deadline_s(self) -> float:
        """The first lease, counted from before the votes are asked and capped by the last contact (I-D)."""
        clock = self.ports.clock
        document = self.ports.runtime.fetch("contact") or {}
        known = document.get("contact_s") if document.get("boot_id") == clock.boot_id else None
        connected_s = None if known is None else float(known)
        return lease_deadline_s(
            before_s=clock.now_s(), timing=self.timing, connected_s=connected_s, portal_s=None, peer_heard=False
        )

    def _role(self, step: Step) -> str:
        clock = self.ports.clock
        record = RoleRecord(
            role=Role.ACTIVE,
            phase=Phase.STARTING,
            epoch=self.epoch,
            boot_id=clock.boot_id,
            deadline_s=self.deadline_s,
            progress_s=clock.now_s(),
            since_wall_s=clock.wall_s(),
        )
        return _need(self.ports.runtime.write_role(record), "a higher epoch was seen meanwhile")

    # --- after the role: services in order, verified -------------------------------------------------------------

    def services_and_publish(self, epoch: int) -> dict[str, Any]:
        """Promote every service; a failure demotes again under a new epoch and says which service is where."""
        self.epoch = epoch
        for step in promotion(Action.PROMOTE_CONFIRMED, self.timing, self.runner._limits(), suspect=False):
            try:
                if step.name is StepName.PORTAL:
                    self.runner._try(self.run, step, _bind_step(self._portal, step))
                elif step.name is StepName.SERVICE:
                    self.run.do(step, _bind_step(self._start, step))
                elif step.name is StepName.PUBLISH:
                    self.run.do(step, _bind_step(self._publish, step))
            except (StepFailed, Interrupted) as error:
                if step.on_failure is OnFailure.RECORD:
                    continue
                return self._compensate(step, error)
        self.ports.log.report("IPS startup", f"SWITCH THIS SERVER TO PRIMARY, {self.run.rule}: {self.run.reason}")
        return self.run.end("done", Role.ACTIVE, "active and ready")

    def _portal(self, step: Step) -> str:
        probe = self.ports.peer.probe_own(step.limit_s)
        if probe.state is None or probe.state.role is not Role.ACTIVE:
            raise StepFailed(f"the own portal does not say ACTIVE ({probe.cause})")
        return "the own portal says ACTIVE"

    def _start(self, step: Step) -> str:
        """Ask one service to own, then wait until it does; progress is published, a higher epoch ends it at once."""
        ports, service = self.ports, self.runner._service(step.service)
        started_s = ports.clock.now_s()
        record = self._still_ours()
        reading = service.promote(self.epoch, record.deadline_s - started_s)
        seen: tuple[int, ServiceState] | None = None
        while reading.state is not ServiceState.ACTIVE:
            if reading.state in (ServiceState.DEAD, ServiceState.STANDBY) and ports.clock.now_s() - started_s > 1.0:
                raise StepFailed(f"{service.name} is {reading.state}: {reading.detail}")
            if ports.clock.now_s() - started_s > step.limit_s:
                raise StepFailed(f"{service.name} not started in {step.limit_s:.0f} s ({reading.progress}/{reading.total}): {reading.detail}")
            if (reading.progress, reading.state) != seen:
                seen = (reading.progress, reading.state)
                ports.runtime.set_progress(self.epoch, Phase.STARTING, ports.clock.now_s())
                self.run.show("running", step.label, f"{reading.progress}/{reading.total} {reading.detail}".strip())
            ports.clock.sleep(STATUS_POLL_S)
            self._still_ours()
            reading = service.status()
        return f"{service.name} is active"

    def _still_ours(self) -> RoleRecord:
        record = self.runner._check(self.epoch)
        if record.role is not Role.ACTIVE or record.epoch != self.epoch:
            raise Interrupted(f"the role is now {record.role} under epoch {record.epoch}")
        if record.deadline_s <= self.ports.clock.now_s():
            raise Interrupted("the lease has run out")
        return record

    def _publish(self, step: Step) -> str:
        _need(self.ports.runtime.set_progress(self.epoch, Phase.READY, self.ports.clock.now_s()), "the phase was not written")
        return "ready"

    def _compensate(self, step: Step, error: Exception) -> dict[str, Any]:
        where = ", ".join(f"{s.name}: {s.status().state}" for s in self.ports.services)
        result = self.run.end("failed", Role.STANDBY, f"{step.label}: {error}; demoting again ({where})")
        again = self.runner._run("demote", {"rule": self.run.rule, "reason": f"undo: {error}"})
        epoch = next_epoch(self.runner._highest_seen({}), self.me)
        self.runner._demote_now(again, epoch, self.timing, self.ports.runtime.read_role())
        return result


def _stopped(state: NodeState, epoch: int) -> bool:
    return state.seen_epoch >= epoch and state.clear and state.role is not Role.ACTIVE


def _need(done: bool, otherwise: str) -> str:
    if not done:
        raise StepFailed(otherwise)
    return ""


def _bind(call: Callable[[str], Any], name: str) -> Callable[[], Any]:
    return lambda: call(name)


def _bind_step(call: Callable[[Step], str], step: Step) -> Callable[[], str]:
    return lambda: call(step)
