"""A promotion, step by step (spec 5.5): last probe, lock, epoch, fence, votes, role, portal, services, publish."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Callable, Mapping

from ftplugin.core.diagnosis import stall_limit_s
from ftplugin.core.forced import ENDLESS
from ftplugin.core.lease import clocks_agree, lease_deadline_s, next_epoch
from ftplugin.core.policy import Action
from ftplugin.core.records import RoleRecord
from ftplugin.core.sequence import OnFailure, Step, StepName, promotion
from ftplugin.core.settings import Settings
from ftplugin.core.start import StartWatch
from ftplugin.core.terms import Designation, Phase, Role, ServiceState
from ftplugin.core.timing import Timing
from ftplugin.core.watchdog import Watch
from ftplugin.history.records import MEASURED

from .standing import ordered_meanwhile
from .stopped import TIME_OVER, did_not_stop, has_stopped
from .switch_run import POLL_S, Interrupted, Run, StartFailed, StepFailed, bind_step, need

if TYPE_CHECKING:
    from .execute import SwitchRunner

STATUS_POLL_S = 0.1
FENCING = ("F1", "C3")  # the rules that may run the fence command
ASKED_FOR = ("M1", "M2")  # by an administrator: B1 and F2 are held afterwards (spec 5.1)
READY = "active and ready"
CONFIRMED = "the peer confirmed that it owns nothing"
HANDED, START_FAILED, WATCHDOG = "handed", "start_failed", "watchdog"  # documents for the tick worker, and of it


class Promotion:
    """One promotion under way. Steps before ROLE abort without a trace of ownership; later ones are compensated."""

    def __init__(
        self,
        runner: SwitchRunner,
        run: Run,
        order: Mapping[str, Any],
        settings: Settings | None,
        wait_by: Timing,
        stop_by: Timing,
        me: Designation,
    ) -> None:
        self.runner, self.run, self.order, self.settings, self.me = runner, run, order, settings, me
        self.timing, self.stop_by = wait_by, stop_by
        self.ports = runner.ports
        self.suspect = order.get("action") == Action.PROMOTE.name
        self.confirmed = False
        self.epoch = 0
        self.deadline_s = 0.0
        self.starts: dict[str, tuple[float, float]] = {}  # service -> its start and the waiting in it, seconds
        self.ahead_s: float | None = None  # of the wall clock, when the first lease was counted
        self.moved_s = float("inf")  # when the start under way last moved
        self.locked_everywhere = False  # every voter has given the lock, and that of the peer shows no lease of it
        self.obeyed = False  # the peer has signed that it has no role, and that a service of it did not stop

    def go(self) -> dict[str, Any]:
        self.epoch = next_epoch(self.runner.highest_seen(self.order), self.me)
        calls = self._calls()
        for step in self._sequence():
            if step.name not in calls:
                break
            try:
                self.run.do(step, bind_step(calls[step.name], step))
            except (StepFailed, Interrupted) as error:
                released = self.runner.release(self.epoch, self.timing.fence_s / 4)
                record = self.ports.runtime.read_role() or RoleRecord()
                return self.run.end("aborted", record.role, f"{step.label}: {error} ({released})")
        return self.services_and_publish(self.epoch)

    def _sequence(self) -> tuple[Step, ...]:
        witness = len(self.ports.votes.names()) >= 3
        return promotion(self.timing, self.runner.limits(), suspect=self.suspect, witness=witness)

    def _calls(self) -> dict[StepName, Callable[[Step], str]]:
        """What each step before the services does."""
        return {
            StepName.LAST_PROBE: self._last_probe,
            StepName.LOCK: self._lock,
            StepName.EPOCH: self._begin,
            StepName.FENCE: self._fence,
            StepName.OWN: self._own,
            StepName.ROLE: self._role,
        }

    def _last_probe(self, step: Step) -> str:
        assert self.settings is not None
        certain_s = max(float(self.order.get(name, 0)) for name in ("not_before_s", "certain_s"))
        early_s = certain_s - self.timing.fence_s - self.timing.timeout_s - self.ports.clock.now_s()
        if 0 < early_s <= self.timing.timeout_s:  # no tick fitted in between; the last probe stays the last one
            self.ports.clock.sleep(early_s)
        probe = self.ports.peer.probe(step.limit_s, check_body=self.settings.application_error)
        if probe.good:
            self._heard(good=True, clear=probe.state is not None and probe.state.clear)
            raise StepFailed("the peer answered the last probe")
        until_s = float(self.order.get("not_before_s", 0))
        if probe.state is None:  # a silent peer confirms no fence: it is waited for here, without the lock
            until_s = max(until_s, float(self.order.get("certain_s", 0)) - self.timing.fence_s)
        wait_s = until_s - self.ports.clock.now_s()
        if wait_s > 2 * self.timing.timeout_s:
            raise StepFailed(f"{wait_s:.1f} s too early")
        self.ports.clock.sleep(max(0.0, wait_s))
        return f"bad: {probe.cause}"

    def _heard(self, *, good: bool, clear: bool) -> None:
        """For the tick worker: the peer has spoken since its last bad probe, and what that means for later attempts."""
        clock = self.ports.clock
        word = {"at_s": clock.now_s(), "boot_id": clock.boot_id, "good": good, "clear": clear}
        self.ports.runtime.publish("word", word)

    def _lock(self, step: Step) -> str:
        record = self.runner.check(self.epoch)
        if record.role is Role.ACTIVE and record.deadline_s > self.ports.clock.now_s():
            raise StepFailed("this server is active already")
        if self.run.rule not in ASKED_FOR and (why := ordered_meanwhile(self.ports)):
            raise StepFailed(why)
        answers = self.runner.ask_voters(
            lambda voter: self.ports.votes.lock(voter, self.epoch, self._mark(voter), step.limit_s), step.limit_s
        )
        if why := self.runner.carried(answers, self.me):
            raise StepFailed(why)
        self.locked_everywhere = all(a.ok and (a.voter, a.owner) != (self.me.other, self.me.other) for a in answers)
        return f"epoch {self.epoch}"

    def _mark(self, voter: str) -> str | None:
        """The fingerprint this node has watched standing still long enough, as the tick worker saw it (5.4)."""
        mark, since_s = (self.order.get("marks") or {}).get(voter) or (None, None)
        if mark is None or since_s is None or self.ports.clock.now_s() - float(since_s) < self.timing.watch_s:
            return None
        return str(mark)

    def _begin(self, step: Step) -> str:
        return need(self.run.begin(self.epoch), "the journal cannot be written, so nothing may be promoted")

    def _fence(self, step: Step) -> str:
        heard = self._ask_to_stop(step)
        if self.confirmed:
            self._note_handed()
            return CONFIRMED
        if heard:
            return self._power_off(f"the peer's {heard} answered but did not confirm that it stopped")
        return self._pass_unanswered()

    def _note_handed(self) -> None:
        """The other node has stopped while these services were given up there: for their faults the role moves no more (H1)."""
        clock = self.ports.clock
        if services := list(self.order.get("services") or ()):
            facts = {"services": services, "at_s": clock.now_s(), "boot_id": clock.boot_id}
            self.ports.runtime.publish(HANDED, facts)

    def _power_off(self, why: str) -> str:
        """The fence command, for a peer that has given up its role but cannot stop a service. Only where nobody has been
        active for a streak (F1, C3), not for what an administrator or a failback asks for."""
        fence, peer = self.ports.fence, self.me.other
        if fence is None or not self.obeyed or self.run.rule not in FENCING:
            raise StepFailed(why)
        self.ports.log.report("agent", f"{why}: running the fence command against {peer}, epoch {self.epoch}")
        address = self.settings.address_of(peer) if self.settings is not None else ""

        def look(text: str) -> None:
            """A peer that has stopped after all may take its role back meanwhile, and must not be powered off then."""
            record = self.ports.runtime.read_role()
            if record is not None and record.seen_epoch > self.epoch:
                raise Interrupted(f"epoch {record.seen_epoch} was seen, above {self.epoch}")
            self.run.show("running", str(StepName.FENCE), text)

        try:
            ended = fence.fence(peer, address, self.epoch, why, look)
        except Interrupted as error:
            raise Interrupted(f"the fence command against {peer} was ended: {error}; what it did stays done") from None
        self.ports.log.report("agent", f"fence command against {peer}: {ended.detail}")
        self.runner.check(self.epoch)
        if not ended.done:
            raise StepFailed(f"{why}; the fence command failed: {ended.detail}")
        self.confirmed = True
        return f"{peer} was fenced by the fence command: {ended.detail}"

    def _ask_to_stop(self, step: Step) -> str:
        """Both channels at once; ``confirmed`` by a signed word only (5.5). Which of portal and agent answered."""
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
                if has_stopped(reply.state, self.epoch):
                    return True
                self.obeyed = did_not_stop(reply.state, self.epoch, long=self.order.get("stuck") is True)
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
                        self.obeyed = True
                        return word[1]
                ports.clock.sleep(POLL_S)
            return False

        results = ports.runner.side_by_side(
            [over_http, over_channel], step.limit_s + self.timing.stop_s + 0.1, enough=bool
        )
        if any(results):
            self.confirmed = True
        elif heard:
            self._heard(good=False, clear=False)
        return " and ".join(sorted(set(heard)))

    def _pass_unanswered(self) -> str:
        """F1 alone may pass a silent peer, and only when its lease has certainly ended (I-D), or when it has signed a moment
        ago that it has stopped (P1): then its own voter gives the lock only if it has not taken the role since."""
        if not self.suspect:
            raise StepFailed("the peer did not answer, and this switch needs its confirmed demotion")
        if self.order.get("invited") is True and self.locked_everywhere:
            return "the peer had signed that it stopped, and its own voter has given the lock"
        if self.order.get("endless"):
            raise StepFailed(ENDLESS)
        wait_s = float(self.order.get("passable_s", 0)) - self.ports.clock.now_s()
        if wait_s > self.timing.timeout_s:
            raise StepFailed(f"the peer is silent, but its lease may last {wait_s:.1f} s more")
        self.ports.clock.sleep(max(0.0, wait_s))
        return f"the peer is silent on both channels; {TIME_OVER}"

    def _own(self, step: Step) -> str:
        self.runner.check(self.epoch)
        self.ahead_s = self.ports.clock.wall_s() - self.ports.clock.now_s()
        self.deadline_s = self._first_deadline_s()
        if self.deadline_s <= self.ports.clock.now_s():
            raise StepFailed("this server has lost its LAN meanwhile")
        answers = self.runner.ask_voters(
            lambda v: self.ports.votes.own(v, self.epoch, self._mark(v), self.confirmed, step.limit_s), step.limit_s
        )
        if why := self.runner.carried(answers, self.me):
            raise StepFailed(why)
        return "votes taken"

    def _first_deadline_s(self) -> float:
        """The first lease, counted from before the votes are asked and capped by the last contact (I-D)."""
        clock = self.ports.clock
        document = self.ports.runtime.fetch("contact") or {}
        known = document.get("contact_s") if document.get("boot_id") == clock.boot_id else None
        connected_s = None if known is None else float(known)
        return lease_deadline_s(
            before_s=clock.now_s(), timing=self.stop_by, connected_s=connected_s, portal_s=None, peer_heard=False
        )

    def _role(self, step: Step) -> str:
        clock = self.ports.clock
        if not clocks_agree(self.ahead_s, clock.wall_s(), clock.now_s()):
            raise StepFailed("a clock of this server made a step since the votes were taken: it may have stood still")
        record = RoleRecord(
            role=Role.ACTIVE,
            phase=Phase.STARTING,
            epoch=self.epoch,
            boot_id=clock.boot_id,
            deadline_s=self.deadline_s,
            progress_s=clock.now_s(),
            since_wall_s=clock.wall_s(),
            wall_ahead_s=self.ahead_s,
        )
        return need(self.ports.runtime.write_role(record), "a higher epoch was seen meanwhile")

    # --- after the role: services in order, verified -------------------------------------------------------------

    def services_and_publish(self, epoch: int, *, resumed: bool = False) -> dict[str, Any]:
        """Promote every service; a failure demotes again under a new epoch and says which service is where.

        resumed: after a crash, so that its durations say nothing.
        """
        self.epoch = epoch
        spared = self._spared()
        for step in promotion(self.timing, self.runner.limits(), suspect=False):
            try:
                if step.name is StepName.PORTAL:
                    self.runner.attempt(self.run, step, bind_step(self._portal, step))
                elif step.name is StepName.SERVICE:
                    self.run.do(step, bind_step(self._start, step))
                elif step.name is StepName.PUBLISH:
                    self.run.do(step, bind_step(self._publish, step))
            except (StepFailed, Interrupted) as error:
                if step.on_failure is OnFailure.RECORD or (isinstance(error, StepFailed) and step.service in spared):
                    continue
                return self._compensate(step, error)
        self.ports.runtime.forget(START_FAILED)
        self.ports.log.report("IPS startup", f"SWITCH THIS SERVER TO PRIMARY, {self.run.rule}: {self.run.reason}")
        if not resumed:
            self._measured()
        if self.run.rule in ASKED_FOR:  # before it counts as done: a crash in between must not lose the hold
            self.ports.journal.set_manual_hold(True)
        return self.run.end("done", Role.ACTIVE, "resumed after a crash; active and ready" if resumed else READY)

    def _measured(self) -> None:
        """Keep what this promotion took, for the page to show beside what was expected (spec 6)."""
        clock = self.ports.clock
        heard_s = self.order.get("heard_active_s") if self.order.get("boot_id") == clock.boot_id else None
        delay_s = None if heard_s is None else round(clock.now_s() - float(heard_s), 2)
        switch_s = round(clock.now_s() - self.run.started_s, 2)
        starts = {name: list(took) for name, took in self.starts.items()}
        facts = {"switch_id": self.run.switch_id, "rule": self.run.rule, "wall_s": clock.wall_s()}
        self.ports.log.event(MEASURED, **facts, switch_s=switch_s, delay_s=delay_s, starts=starts)
        since = "" if delay_s is None else f", {delay_s:.1f} s after the other server was last heard as active"
        told = "".join(f"; {name} {took[0]:.1f} s" for name, took in self.starts.items())
        self.ports.log.report("agent", f"measured: {self.run.rule} took {switch_s:.1f} s{since}{told}")

    def _spared(self) -> set[str]:
        """Services that may fail to start, since else all would stop and nobody be active; the watchdog goes on trying: given
        up here, or on the other one when that last spoke; and beside a silent one, what did not come up here before."""
        known = self._noted(WATCHDOG).get("watch")
        before = () if self.confirmed else self._noted(START_FAILED).get("services") or ()
        return {*Watch.from_json(known).given_up, *map(str, self.order.get("services") or ()), *map(str, before)}

    def _noted(self, name: str) -> Mapping[str, Any]:
        """A document of the own Redis, if it was written in this boot."""
        document = self.ports.runtime.fetch(name) or {}
        return document if document.get("boot_id") == self.ports.clock.boot_id else {}

    def _portal(self, step: Step) -> str:
        probe = self.ports.peer.probe_own(step.limit_s)
        if probe.state is None or probe.state.role is not Role.ACTIVE:
            raise StepFailed(f"the own portal does not say ACTIVE ({probe.cause})")
        return "the own portal says ACTIVE"

    def _start(self, step: Step) -> str:
        """Ask one service to own, then wait until it does; progress is published, a higher epoch ends it at once."""
        ports, service = self.ports, self.runner.service(step.service)
        started_s = ports.clock.now_s()
        record = self._still_ours()
        reading = service.promote(self.epoch, record.deadline_s - started_s)
        start = StartWatch(started_s)
        self.moved_s = started_s
        while reading.state is not ServiceState.ACTIVE:
            if reading.state in (ServiceState.DEAD, ServiceState.STANDBY) and ports.clock.now_s() - started_s > 1.0:
                raise StartFailed(f"{service.name} is {reading.state}: {reading.detail}")
            moved = start.moved(reading, ports.clock.now_s())
            if ports.clock.now_s() - started_s > step.limit_s + start.waited_s:
                raise StartFailed(
                    f"{service.name} not started in {step.limit_s:.0f} s ({reading.progress}/{reading.total}): {reading.detail}"
                )
            if moved:
                self.moved_s = ports.clock.now_s()
                ports.runtime.set_progress(self.epoch, Phase.STARTING, ports.clock.now_s())
                told = f"{reading.progress}/{reading.total} {reading.detail}".strip()
                self.run.show("running", step.label, told, reading)
            ports.clock.sleep(STATUS_POLL_S)
            self._still_ours()
            reading = service.status()
        waited_s = round(start.waited_s, 1)
        self.starts[service.name] = (round(ports.clock.now_s() - started_s, 2), waited_s)
        return f"{service.name} is active" + (f", {waited_s:g} s of its start waiting" if waited_s else "")

    def _still_ours(self) -> RoleRecord:
        record = self.runner.check(self.epoch)
        if record.role is not Role.ACTIVE or record.epoch != self.epoch:
            raise Interrupted(f"the role is now {record.role} under epoch {record.epoch}")
        if record.deadline_s <= self.ports.clock.now_s():
            raise Interrupted("the lease has run out")
        return record

    def _publish(self, step: Step) -> str:
        need(
            self.ports.runtime.set_progress(self.epoch, Phase.READY, self.ports.clock.now_s()),
            "the phase was not written",
        )
        record, clock = self.ports.runtime.read_role(), self.ports.clock
        if record is not None and (record.role, record.epoch) == (Role.ACTIVE, self.epoch):
            # a wipe before the agent has looked must not cost the role
            self.ports.journal.save_lease(self.epoch, record.deadline_s, clock.boot_id)
        return "ready"

    def _compensate(self, step: Step, error: Exception) -> dict[str, Any]:
        where = ", ".join(f"{s.name}: {s.status().state}" for s in self.ports.services)
        result = self.run.end("failed", Role.STANDBY, f"{step.label}: {error}; demoting again ({where})")
        again = self.runner.new_run("demote", {"rule": self.run.rule, "reason": f"undo: {error}"})
        epoch = next_epoch(self.runner.highest_seen({}), self.me)
        if self._did_not_start(error):
            failed = sorted({*(self._noted(START_FAILED).get("services") or ()), step.service})
            facts = {"epoch": epoch, "boot_id": self.ports.clock.boot_id, "services": failed}
            self.ports.runtime.publish(START_FAILED, facts)
        self.runner.demote_now(again, epoch, self.timing, self.ports.runtime.read_role())
        return result

    def _did_not_start(self, error: Exception) -> bool:
        """By the service's own fault, not broken off by a higher epoch, a lost lease or Redis. L1 interrupts one that stalls."""
        still_s = self.ports.clock.now_s() - self.moved_s if isinstance(error, Interrupted) else 0.0
        return isinstance(error, StartFailed) or still_s > stall_limit_s(self.stop_by)
