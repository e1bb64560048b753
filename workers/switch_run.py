"""One running switch, whatever its kind: its steps go to the journal, the page and Flower as they happen."""

from __future__ import annotations

from typing import Any, Callable

from ftplugin.core.records import StepResult
from ftplugin.core.sequence import Step
from ftplugin.core.terms import Role
from ftplugin.core.view import ServiceReading
from ftplugin.report import bound

from .ports import Ports

POLL_S = 0.05


class Interrupted(Exception):
    """A higher epoch was seen; the running switch gives way."""


class StepFailed(Exception):
    """A step could not be done; the message says which component and why."""


class StartFailed(StepFailed):
    """A service had its time and did not come up: trying again here is no better than letting the other server try."""


class Run:
    """One running switch: journal, page document and log of its steps."""

    def __init__(self, ports: Ports, *, switch_id: str, kind: str, rule: str, reason: str, actor: str) -> None:
        self.ports, self.switch_id, self.kind, self.rule = ports, switch_id, kind, rule
        self.reason, self.actor = reason, actor
        self.epoch = 0
        self.begun = False
        self.steps: list[StepResult] = []
        self.started_s = self.step_began_s = ports.clock.now_s()

    def facts(self) -> dict[str, Any]:
        """Of this switch, for structured lines of the log."""
        return {"switch_id": self.switch_id, "kind": self.kind, "rule": self.rule, "epoch": self.epoch or None}

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
        began_s = self.step_began_s = self.ports.clock.now_s()
        self.show("running", step.label)
        outcome, detail = "failed", ""
        try:
            detail = call()
            outcome = "ok"
        except (StepFailed, Interrupted) as error:
            detail = str(error)
            raise
        finally:
            duration_s = self.ports.clock.now_s() - began_s
            self.steps[index] = StepResult(
                step=step.label, outcome=outcome, duration_s=round(duration_s, 3), detail=detail
            )
            if self.begun:
                self.ports.journal.step(self.switch_id, index, self.steps[index])
        return self.steps[index]

    def show(self, outcome: str, step: str = "", detail: str = "", reading: ServiceReading | None = None) -> None:
        """Publish the state of the switch for page, tick worker and Flower; ``reading``: of the service that starts."""
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
            "began_s": self.started_s,
            "step_began_s": self.step_began_s,
            "service": {} if reading is None else service_facts(reading),
            "detail": detail,
            "steps": [
                {"step": s.step, "outcome": s.outcome, "duration_s": s.duration_s, "detail": s.detail}
                for s in self.steps
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
        with bound(lambda: {**self.facts(), "outcome": outcome, "took_s": round(took_s, 3)}):
            self.ports.log.report(
                "agent", f"{self.rule} {self.kind} {outcome} after {took_s:.2f} s, epoch {self.epoch}: {detail}"
            )
        steps = [f"{s.step}: {s.outcome}, {s.duration_s:.2f} s" for s in self.steps]  # for Flower, one line each
        return {
            "outcome": outcome,
            "detail": detail,
            "epoch": self.epoch,
            "switch_id": self.switch_id,
            "steps": steps,
        }


def service_facts(reading: ServiceReading) -> dict[str, Any]:
    """A service for page and command line."""
    counted = {"progress": reading.progress, "total": reading.total}
    return {"name": reading.name, "state": reading.state, **counted, "detail": reading.detail}


def need(done: bool, otherwise: str) -> str:
    if not done:
        raise StepFailed(otherwise)
    return ""


def bind(call: Callable[[str], Any], name: str) -> Callable[[], Any]:
    return lambda: call(name)


def bind_step(call: Callable[[Step], str], step: Step) -> Callable[[], str]:
    return lambda: call(step)
