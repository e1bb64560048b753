"""Text scenarios on the simulated site: what happens when, and what must then be true.

    # The first comment line is the story in one sentence.
    settings T=1 t=1 N=3 witness=no failback=off vip_test=on vip_follows=yes
    at 0 boot both
    by 8 active server1
    at 20 lan_cut server1 for 10
    from 24 to 30 never owns both
    at end active server2, switches 2

``by`` and ``at end`` check at that moment; ``from … to`` checks every 50 ms. A scenario runs once for each of its
``seeds``, which move the phases of the ticks; every invariant of the simulator holds all the while. ``keep seed=N``
runs that random seed of ``tests.sim.run`` again. All times are seconds. ``scenarios/README.md`` lists the words.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ftplugin.core.decision import Decision
from ftplugin.core.records import RoleRecord
from ftplugin.core.rules import check
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, Phase, ProbeCause
from ftplugin.core.view import Probe

from . import faults
from .invariants import Invariants, Violation
from .kernel import Process
from .ports import SimService
from .run import REVIEW_S, run_seed
from .world import PROCESSES, S1, S2, Node, Service, World

SEEDS = (1, 2, 3)
NODE_FAULTS = (
    "lan_cut",
    "link_cut",
    "one_way",
    "witness_cut",
    "freeze_node",
    "pause_host",
    "freeze_worker_and_redis",
    "redis_wipe",
)
SERVICE_WORDS = ("service_dead", "service_breaks", "service_flaps", "service_sticks", "service_stalls", "service_hangs")
SITE_FAULTS = ("witness_down", "witness_wipe", "gateway_reboot")


class ScriptError(ValueError):
    """A line that cannot be read: names file and line."""


class ScriptFailure(AssertionError):
    """An expectation does not hold, or an invariant broke."""


@dataclass
class Scenario:
    """One parsed file. ``lines``: (line number, words)."""

    name: str
    title: str
    lines: list[tuple[int, list[str]]] = field(default_factory=list)
    seeds: tuple[int, ...] = SEEDS


def load(path: Path) -> Scenario:
    """Read a scenario file; its words are checked when it runs."""
    scenario = Scenario(path.stem, "")
    for number, text in enumerate(path.read_text().splitlines(), 1):
        text = text.strip()
        if text.startswith("#"):
            scenario.title = scenario.title or text.lstrip("# ")
            continue
        words = shlex.split(text.replace(",", " , "), comments=True)
        if words[:1] == ["seeds"]:
            first, _, last = words[1].partition("-")
            scenario.seeds = tuple(range(int(first), int(last or first) + 1))
        elif words:
            scenario.lines.append((number, words))
    return scenario


class Watching(Invariants):
    """Invariants that also remember what each node decided."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[Designation, Decision] = {}
        self.acted: set[tuple[str, Designation]] = set()
        self.alarms: set[tuple[str, Designation]] = set()

    def on_decision(self, node: Node, decision: Any) -> None:
        self.last[node.designation] = decision
        if decision.actions:
            self.acted.add((decision.rule, node.designation))
        self.alarms |= {(text, node.designation) for text in decision.alarms}
        super().on_decision(node, decision)


class ScriptWorld(World):
    """A site whose workers can be crashed at a step, and whose health checks can miss a third party."""

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed, Watching())
        self.crash_at: dict[Designation, tuple[str, float]] = {}
        self.link_cut_at: dict[Designation, tuple[str, float]] = {}
        self.checks_fail: set[Designation] = set()
        self.monitor_wrong: set[Designation] = set()
        self.monitor_hangs: set[Designation] = set()

    def launch(self, node: Node, name: str, process: Process) -> None:
        super().launch(node, name, process)
        if name not in ("tick", "switch"):
            return
        ports = node.agents[name].ports
        peer: Any = ports.peer
        probe, probe_own = peer.probe, peer.probe_own
        peer.probe = lambda limit_s, *, check_body: self._checked(
            probe(limit_s, check_body=check_body), node.designation.other, check_body, limit_s
        )
        peer.probe_own = lambda limit_s: self._checked(probe_own(limit_s), node.designation, True, limit_s)
        if name == "switch":
            dispatch: Any = ports.dispatch
            dispatch.progress = lambda step, detail: self._step(node, process, step)

    def _checked(self, answer: Probe, asked: Designation, check_body: bool, limit_s: float) -> Probe:
        if asked in self.monitor_hangs and answer.state is not None:
            self.kernel.sleep(max(0.0, limit_s - (answer.ended_s - answer.started_s)))
            return replace(answer, cause=ProbeCause.TIMEOUT, state=None, ended_s=answer.started_s + limit_s)
        if asked in self.monitor_wrong and answer.state is not None:
            return replace(answer, cause=ProbeCause.STATUS, state=None)
        sick = check_body and answer.good and asked in self.checks_fail
        return replace(answer, cause=ProbeCause.BODY) if sick else answer

    def miss(self, node: Node, name: str, lasts: float, *, once: bool = False) -> None:
        """A check of something that both nodes share fails on ``node``, as its health document then says. once: the
        checks stand still after that, and the document grows old."""
        until = self.now + lasts

        def publish() -> None:
            if self.now >= until:
                node.redis.documents.pop("health", None)
                return
            found = {"shared_failed": [name], "boot_id": node.boot_id, "checked_s": node.now_s()}
            node.redis.documents["health"] = found
            if not once:
                self.kernel.at(min(until, self.now + 2.0), publish)

        publish()

    def _step(self, node: Node, process: Process, step: str) -> None:
        wanted, back_s = self.crash_at.get(node.designation, ("", 0.0))
        if wanted and step.startswith(wanted):
            del self.crash_at[node.designation]
            self.tell(f"{node.designation} switch worker is killed at the step {step!r}")
            node.kill("switch", back_s)
        wanted, lasts_s = self.link_cut_at.get(node.designation, ("", 0.0))
        if wanted and step.startswith(wanted):
            del self.link_cut_at[node.designation]
            self.tell(f"{node.designation} loses the link at the step {step!r}")
            faults.link_cut(self, node, lasts_s)
        self.kernel.check()


def run(scenario: Scenario, seed: int) -> list[str]:
    """Run one scenario under one seed; its story. Raises ScriptFailure with line, expectation and story."""
    if scenario.lines and scenario.lines[0][1][0] == "keep":
        return _kept(scenario)
    options = _options(scenario)
    kept = Service.start_s, SimService.start_limit_s
    Service.start_s = float(options.pop("service_start", kept[0]))
    SimService.start_limit_s = max(kept[1], Service.start_s + 20)
    try:
        return _Run(scenario, options, seed).go()
    finally:
        Service.start_s, SimService.start_limit_s = kept


def _kept(scenario: Scenario) -> list[str]:
    number, words = scenario.lines[0]
    name, _, value = words[1].partition("=")
    if name != "seed" or not value.isdigit() or len(scenario.lines) > 1:
        raise ScriptError(f"{scenario.name}:{number}: 'keep seed=N' stands alone")
    result = run_seed(int(value))
    if result.violation:
        raise ScriptFailure("\n".join([f"{scenario.name}: seed {value}: {result.violation}", *result.story[-60:]]))
    return result.story


def _options(scenario: Scenario) -> dict[str, str]:
    options: dict[str, str] = {}
    for _, words in scenario.lines:
        if words[0] == "settings":
            options |= dict(word.split("=", 1) for word in words[1:])
    return options


def _on(text: str) -> bool:
    if text not in ("on", "off", "yes", "no"):
        raise ScriptError(f"{text!r} must be on or off")
    return text in ("on", "yes")


def settings_of(options: dict[str, str]) -> Settings:
    """Settings from the words of a ``settings`` line; ``vip_follows`` is left for the balancer."""
    o = dict(options)
    o.pop("vip_follows", None)
    vip = _on(o.pop("vip", "off")) or o.get("vip_test") in ("on", "yes") or "vip_follows" in options
    settings = Settings(
        server1_address="10.0.0.1",
        server2_address="10.0.0.2",
        enabled=_on(o.pop("mode", "on")),
        interval_s=float(o.pop("T", 1)),
        timeout_s=float(o.pop("t", 1)),
        threshold=int(o.pop("N", 3)),
        suspect_interval_s=float(o.pop("suspect", 0)),
        witness="10.0.0.3:2011" if _on(o.pop("witness", "no")) else "",
        failback=_on(o.pop("failback", "off")),
        failback_stable_s=float(o.pop("stable", 0)),
        failback_hours=o.pop("hours", ""),
        vip_address="10.0.0.100" if vip else "",
        vip_test=_on(o.pop("vip_test", "off")),
        application_error=_on(o.pop("application_error", "off")),
        service_stop_s=float(o.pop("stop", 0.3)),
        flap_budget=int(o.pop("budget", 1000)),
        flap_window_s=float(o.pop("flap_window", 3600)),
        rtt_ms=20,
        portal_restart_s=float(o.pop("portal_restart", 1)),
        daily_restart=o.pop("daily", ""),
        release_delay_s=0.0,
        lan_references=("10.0.0.254",),
    )
    if o:
        raise ScriptError(f"unknown settings: {', '.join(o)}")
    refused = [f"{p.field} {p.message}" for p in check(settings) if p.severity == "error"]
    if refused:  # as the page refuses them: under a lease that is not positive every invariant would mislead
        raise ScriptError(f"the product refuses these settings: {'; '.join(refused)}")
    return settings


class _Run:
    """One run: every line becomes a wake-up of the simulated time."""

    def __init__(self, scenario: Scenario, options: dict[str, str], seed: int) -> None:
        self.scenario, self.options, self.seed = scenario, options, seed
        limits = {name: float(options.pop(name)) for name in ("restarts", "window", "silent") if name in options}
        fencing, fence_takes_s = options.pop("fence", ""), float(options.pop("fence_takes", 1))
        portal_start = options.pop("portal_start", "")
        self.world = ScriptWorld(settings_of(options), seed)
        for designation, node in self.world.nodes.items():
            node.fences, node.fence_takes_s = fencing in (str(designation), "both"), fence_takes_s
            node.config = replace(
                node.config,
                watchdog_restarts_max=int(limits.get("restarts", 1000)),
                watchdog_window_s=limits.get("window", 600.0),
                watchdog_silent_s=limits.get("silent", 600.0),
            )
        self.world.portal_start_s = float(portal_start) if portal_start else None
        self.world.vip_to = S1
        self.seen: Watching = self.world.invariants
        self.end = 0.0
        self.line = 0

    def go(self) -> list[str]:
        at_end: list[tuple[int, list[str]]] = []
        for number, words in self.scenario.lines:
            try:
                self._schedule(number, words, at_end)
            except (ValueError, IndexError, KeyError, AttributeError) as error:
                raise ScriptError(f"{self.scenario.name}:{number}: {' '.join(words)}: {error}") from error
        self._every(REVIEW_S, self.seen.sample)
        if _on(self.options.get("vip_follows", "no")):
            self._every(self.world.settings.interval_s / 2, self._follow)
        try:
            self.world.kernel.run(self.end)
            for number, words in at_end:
                self._expect(number, words)
        except Violation as error:
            raise ScriptFailure(self._report(str(error))) from None
        finally:
            self.world.kernel.close()
        if self.seen.violation:
            raise ScriptFailure(self._report(self.seen.violation))
        return self.world.story

    def _every(self, period_s: float, call: Callable[[], None]) -> None:
        def again() -> None:
            call()
            self.world.kernel.at(self.world.now + period_s, again)

        self.world.kernel.at(0.0, again)

    def _follow(self) -> None:
        """The balancer polls mod=FT."""
        active = [n for n in self._active() if self.world.linked("balancer", n.designation)]
        if len(active) == 1:
            self.world.vip_to = active[0].designation

    def _schedule(self, number: int, words: list[str], at_end: list[tuple[int, list[str]]]) -> None:
        match words:
            case ["settings", *_]:
                return
            case ["until", when]:
                self.end = float(when)
            case ["at", "end", *rest]:
                at_end.append((number, rest))
            case ["by", when, *rest]:
                self._at(float(when), lambda: self._expect(number, rest))
            case ["at", when, *rest]:
                self._at(float(when), lambda: self._act(rest))
            case ["from", start, "to", stop, ("always" | "never") as how, *rest]:
                moment = float(start)
                while moment <= float(stop):
                    self._at(moment, lambda: self._expect(number, rest, how == "always"))
                    moment += REVIEW_S
            case _:
                raise ScriptError("starts with none of settings, seeds, at, by, from, until, keep")

    def _at(self, when: float, call: Callable[[], None]) -> None:
        self.end = max(self.end, when)
        self.world.kernel.at(when, call)

    # --- what happens -------------------------------------------------------------------------------------------

    def _nodes(self, text: str) -> list[Node]:
        if text == "both":
            return list(self.world.nodes.values())
        return [self.world.nodes[Designation(text)]]

    def _act(self, words: list[str]) -> None:
        world = self.world
        world.tell("DO " + " ".join(words))
        lasts = float(words[words.index("for") + 1]) if "for" in words else None
        name, rest = words[0], words[1:]
        if name in NODE_FAULTS:
            for node in self._nodes(rest[0]):
                getattr(faults, name)(world, node, lasts or 0.0)
        elif name in SERVICE_WORDS:
            for node in self._nodes(rest[0]):
                getattr(faults, name)(world, node, lasts or 1e9)
        elif name in SITE_FAULTS:
            getattr(faults, name)(world, world.nodes[S1], lasts or 0.0)
        elif name in ("loss", "delay"):
            before = getattr(world, name)
            setattr(world, name, float(rest[0]))
            world.kernel.at(world.now + (lasts or 1e9), lambda: setattr(world, name, before))
        elif name == "cut":
            faults._cut(world, [(rest[0], rest[1])], lasts or 1e9)
        elif name == "vip":
            world.vip_to = None if rest[0] == "nobody" else Designation(rest[0])
        else:
            for node in self._nodes(rest[0]):
                self._act_on(node, name, rest, lasts)

    def _act_on(self, node: Node, name: str, rest: list[str], lasts: float | None) -> None:
        world = self.world
        if name == "boot":
            node.boot()
        elif name == "crash":
            node.crash()
            if lasts is not None:
                world.kernel.at(world.now + lasts, node.boot)
        elif name == "kill":
            for process in _processes(rest[1]):
                node.kill(process, lasts)
        elif name == "freeze":
            faults._freeze(world, node, _processes(rest[1]), lasts or 1e9)
        elif name == "clock":
            node.wall_offset += float(rest[1])
        elif name == "pause":
            node.disk.standing["pause"] = node.redis.documents["pause"] = {"owner": rest[1], "reason": rest[2]}
        elif name == "pause_pair":
            world.order_for_both(node, "pause", reason=rest[1])
        elif name == "resume_pair":
            world.order_for_both(node, "resume")
        elif name == "unpause":
            node.disk.standing.pop("pause", None)
        elif name == "mode":
            node.mode = _on(rest[1])
        elif name == "database_locked":
            node.database_locked_until = world.now + (lasts or 1e9)
        elif name == "recover":
            world.kernel.spawn(node.processes["switch"], node.agents["switch"].recover)
        elif name == "redis_saves":
            node.save_redis()
        elif name == "redis_old_file":
            node.restart_redis_with_file()
        elif name == "acknowledge":
            node.redis.documents["ack_freeze"] = {"actor": "admin", "at_s": node.now_s(), "boot_id": node.boot_id}
        elif name == "release_hold":
            node.disk.hold = False
        elif name == "switchover":
            expected = [str(n.designation) for n in self._active()]
            asked = self._nodes(rest[rest.index("at") + 1])[0] if "at" in rest else node
            order = {
                "kind": "manual",
                "target": str(node.designation),
                "expected_active": (expected or [""])[0],
                "actor": "admin",
            }
            world.send(asked, "switch", (order,))
        elif name == "force":
            world.force(node, checked="checked" in rest)
        elif name == "crash_at":
            world.crash_at[node.designation] = (rest[1], lasts if lasts is not None else faults.RESTART_S)
        elif name == "link_cut_at":
            world.link_cut_at[node.designation] = (rest[1], lasts or 0.0)
        elif name == "drain":
            node.disk.standing["drain"] = {"owner": "admin", "reason": ""}
        elif name == "service_mended":
            node.dead_until = node.breaks_until = node.sticks_until = node.stalls_until = -1e9
        elif name == "third_party":
            world.miss(node, rest[1], lasts or 1e9, once="once" in rest)
        elif name in ("checks_fail", "monitor_wrong", "monitor_hangs"):
            these = getattr(world, name)
            these.add(node.designation)
            world.kernel.at(world.now + (lasts or 1e9), lambda: these.discard(node.designation))
        else:
            raise ScriptError(f"{self.scenario.name}: nothing is called {name!r}")

    # --- what must be true --------------------------------------------------------------------------------------

    def _active(self) -> list[Node]:
        return [n for n in self.world.nodes.values() if n.answers_active()]

    def _expect(self, number: int, words: list[str], wanted: bool = True) -> None:
        clause: list[str] = []
        for word in [*words, ","]:
            if word != ",":
                clause.append(word)
                continue
            holds, found = self._holds(clause)
            if holds is not wanted:
                text = f"{'' if wanted else 'never '}{' '.join(clause)}"
                raise ScriptFailure(
                    self._report(f"line {number} at {self.world.now:.2f} s: expected {text}; found {found}")
                )
            clause = []

    def _holds(self, clause: list[str]) -> tuple[bool, str]:
        """(whether it holds, what was found)."""
        world = self.world
        match clause:
            case ["no", *rest]:
                holds, found = self._holds(rest)
                return not holds, found
            case [("active" | "owns") as what, who] | [who, ("active" | "owns" | "own") as what] if who in (
                "server1",
                "server2",
                "both",
                "nobody",
            ):
                nodes = self._active() if what == "active" else self.seen.owners()
                names = {str(n.designation) for n in nodes}
                found = "both" if len(names) == 2 else "".join(names) or "nobody"
                return found == who, f"{what} {found}"
            case ["role", who, role]:
                record = self._nodes(who)[0].redis.role or RoleRecord()
                return record is not None and record.role == role, f"{who} is {record and record.role}"
            case ["switches", count]:
                rows = [
                    r
                    for n in world.nodes.values()
                    for r in n.disk.switches.values()
                    if r["kind"] == "promote" and r["outcome"] == "done"
                ]
                return len(rows) == int(count), f"{len(rows)} switches: {', '.join(r['rule'] for r in rows)}"
            case ["rule", rule, *who]:
                acted = {(r, d) for r, d in self.seen.acted if r == rule and (not who or d == who[0])}
                return bool(acted), f"rules {sorted({r for r, _ in self.seen.acted})}"
            case ["says", who, text]:
                said = self.seen.last[Designation(who)].sentence
                return text in said, repr(said)
            case ["alarm", who, text]:
                found_alarms = [a for a, d in self.seen.alarms if d == who]
                return any(text in a for a in found_alarms), str(found_alarms)
            case ["log", who, text]:
                return any(text in line and who in line for line in world.story), "no such line"
            case ["given_up", who]:
                names = [str(d) for d, n in world.nodes.items() if _given_up(n)]
                found = "both" if len(names) == 2 else "".join(names) or "nobody"
                return found == who, f"given up by {found}"
            case ["orders", who, word, count]:
                lines = [line for line in world.story if who in line and word in line]
                return len(lines) == int(count), f"{len(lines)} lines with {word!r}"
            case ["paused", who]:
                names = [str(d) for d, n in world.nodes.items() if "pause" in n.disk.standing]
                found = "both" if len(names) == 2 else "".join(names) or "nobody"
                return found == who, f"paused {found}"
            case ["restarting", who]:
                names = [str(d) for d, n in world.nodes.items() if (said := n.state()) and said.restarting_s > 0]
                found = "both" if len(names) == 2 else "".join(names) or "nobody"
                return found == who, f"restarting {found}"
            case ["portal", who, ("up" | "down") as what]:
                states = ["up" if node.runs("portal") else "down" for node in self._nodes(who)]
                return all(state == what for state in states), f"portal {who} {', '.join(states)}"
            case ["hold", who]:
                return self._nodes(who)[0].disk.hold, "no hold"
            case ["open", who]:
                rows = [r for r in self._nodes(who)[0].disk.switches.values() if r["outcome"] is None]
                return bool(rows), f"{len(rows)} open switches"
            case ["clear", who]:
                record = self._nodes(who)[0].redis.role or RoleRecord()
                return record.clear and record.phase is Phase.READY, f"{record}"
            case ["shown", who]:
                document = self._nodes(who)[0].redis.documents.get("switch", {})
                return document.get("outcome") == "running", f"the page shows {document}"
        raise ScriptError(f"{self.scenario.name}: cannot check {' '.join(clause)!r}")

    def _report(self, text: str) -> str:
        return "\n".join([f"{self.scenario.name} (seed {self.seed}): {text}", *self.world.story[-60:]])


def _given_up(node: Node) -> bool:
    watch = node.redis.documents.get("watchdog", {}).get("watch", {})
    return any(trouble["given_up_s"] is not None for trouble in watch.values())


def _processes(text: str) -> tuple[str, ...]:
    names = PROCESSES if text == "all" else tuple(text.split("+"))
    if unknown := set(names) - set(PROCESSES):
        raise ScriptError(f"no process is called {', '.join(unknown)}; there are {', '.join(PROCESSES)}")
    return names


__all__ = ["S1", "S2", "Scenario", "ScriptError", "ScriptFailure", "load", "run"]
