"""What is looked at before a switchover is confirmed: the product's own checks, and those that the portal adds.

    @ft.precheck("calls")
    def calls(target, status):              # None: fine; text: a warning; Blocked(text): nothing is ordered
        return f"{count} calls in progress" if count else None

These are for the administrator. The truth is ``order_problem`` at the moment of the order and the agent's own vetoes on the
server that takes over. A portal's check that raises, or takes longer than 2 s, is a warning and never blocks: the page is
needed most when something is broken.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flask import Flask

from .core.settings import Settings
from .core.start import with_starts
from .core.terms import Designation
from .core.timing import service_start_s
from .status import order_problem
from .status.plain import mapping
from .status.plain import text as plain

if TYPE_CHECKING:
    from .extension import Portal


def N_(text: str) -> str:
    """``text`` itself: marked for extraction; the page translates it."""
    return text


HOOK_LIMIT_S = 2.0
TEXT_CHARS_MAX = 300
logger = logging.getLogger(__name__)


class Blocked(str):
    """The answer of a portal's check that forbids the switchover; its text says why and what to do."""


Hook = Callable[[str, dict[str, Any]], Any]  # (target, status) -> None, text or Blocked


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    BLOCKS = "blocks"


@dataclass(frozen=True, kw_only=True, slots=True)
class PreCheck:
    """One line of the list. ``text`` and ``way_out`` are formats for ``facts``: the page translates them."""

    name: str
    level: Level
    text: str
    way_out: str = ""
    facts: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        return " ".join(filter(None, (self.text % self.facts, self.way_out % self.facts)))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "level": self.level, "text": self.sentence}


class Hooks:
    """The checks that a portal has added, by name. One that hangs is not started again before it has ended."""

    def __init__(self) -> None:
        self._hooks: dict[str, Hook] = {}
        self._hanging: dict[str, threading.Thread] = {}

    def add(self, name: str, hook: Hook) -> None:
        """Raises ValueError for a name that is empty or taken."""
        if not name or name in self._hooks:
            raise ValueError(f"precheck name {name!r} is empty or taken: each check needs a name of its own")
        self._hooks[name] = hook

    def run(self, app: Flask, target: Designation, status: dict[str, Any]) -> list[PreCheck]:
        """All of them side by side, for 2 s at most, each in an application context of ``app``."""
        answers: dict[str, PreCheck] = {}
        begun: dict[str, threading.Thread] = {}
        for name, hook in self._hooks.items():
            hanging = self._hanging.get(name)
            if hanging is not None and hanging.is_alive():
                answers[name] = _failed(name, "it still hangs since it was last asked")
                continue
            arguments = (app, name, hook, target, status, answers)
            begun[name] = threading.Thread(target=_ask, args=arguments, name=f"precheck-{name}", daemon=True)
            begun[name].start()
        end_s = time.monotonic() + HOOK_LIMIT_S
        for name, work in begun.items():
            work.join(max(0.0, end_s - time.monotonic()))
            if work.is_alive():
                self._hanging[name] = work
        return [answers.get(name) or _failed(name, f"no answer within {HOOK_LIMIT_S:g} s") for name in self._hooks]


def _ask(
    app: Flask, name: str, hook: Hook, target: Designation, status: dict[str, Any], answers: dict[str, PreCheck]
) -> None:
    try:
        with app.app_context():
            said = hook(str(target), status)
    except Exception as error:  # code of others: whatever it does, the page must come
        logger.exception("precheck %r failed", name)
        answers[name] = _failed(name, f"{type(error).__name__}: {error}"[:TEXT_CHARS_MAX])
        return
    if said is None or isinstance(said, str):
        level = Level.BLOCKS if isinstance(said, Blocked) else Level.WARNING if said else Level.OK
        answers[name] = PreCheck(
            name=name, level=level, text="%(said)s", facts={"said": str(said)[:TEXT_CHARS_MAX] if said else ""}
        )
    else:
        answers[name] = _failed(name, f"it returned {type(said).__name__}, not None, text or Blocked")


def _failed(name: str, why: str) -> PreCheck:
    text = N_("check '%(check)s' failed: %(why)s")
    return PreCheck(name=name, level=Level.WARNING, text=text, facts={"check": name, "why": why})


def prechecks(
    ft: Portal, app: Flask, status: dict[str, Any], target: Designation, expected: str | None
) -> list[PreCheck]:
    """Every line for a switchover to ``target``, those of the portal last. ``expected``: who was active as the user saw it."""
    documents = ft.runtime.fetch_many(("view", "agent"))
    settings = with_starts(ft.settings.cached()[1], ft.config.services)
    if status["problem"]:  # nothing is known now, so nothing may be called ok
        found = [_order(status, target, expected), *_holding(status), _duration(settings)]
    else:
        found = own_checks(status, target, expected, settings, documents["view"], documents["agent"])
    return found + ft.prechecks.run(app, target, status)


def blocks(found: list[PreCheck]) -> str:
    """Why nothing may be ordered, "" when it may."""
    return " ".join(check.sentence for check in found if check.level is Level.BLOCKS)


def own_checks(
    status: Mapping[str, Any],
    target: Designation,
    expected: str | None,
    settings: Settings,
    view: Mapping[str, Any] | None,
    agent: Mapping[str, Any] | None,
) -> list[PreCheck]:
    """The product's own lines, from the store alone: no network is asked. ``view``, ``agent``: as the last tick left them."""
    probe = mapping(mapping(view).get("peer"))
    state = mapping(probe.get("state"))
    card = next(server for server in status["servers"] if server["designation"] == target)
    other = next(server for server in status["servers"] if server["designation"] != target)
    return [
        _order(status, target, expected),
        _heard(
            card,
            mapping(agent) if card["here"] else state,
            "" if state else plain(probe.get("cause"), 60) or "never heard",
        ),
        _drained(card, status),
        _switching(card, other, status),
        _revision(card, other),
        _services(card),
        _lan(card),
        *_holding(status),
        _duration(settings),
    ]


def _line(name: str, level: Level, text: str, way_out: str = "", **facts: Any) -> PreCheck:
    return PreCheck(name=name, level=level, text=text, way_out=way_out, facts=facts)


def _order(status: Mapping[str, Any], target: Designation, expected: str | None) -> PreCheck:
    if problem := order_problem(status, target, expected):
        return _line("order", Level.BLOCKS, "%(problem)s", problem=problem)
    age_s = f"{status['age_s'] or 0.0:.1f}"
    if status["active"] is None:
        return _line(
            "order",
            Level.OK,
            N_("No active server is known; the agent of this server ticked %(age)s s ago."),
            age=age_s,
        )
    text = N_("%(active)s is active; the agent of this server ticked %(age)s s ago.")
    return _line("order", Level.OK, text, active=status["active"], age=age_s)


def _heard(card: Mapping[str, Any], said: Mapping[str, Any], unheard: str) -> PreCheck:
    """``said``: the target's own word. ``unheard``: why the other server's signed word is missing, "" when it is not."""
    label = card["label"]
    if card["word"] == "error":
        return _line(
            "heard",
            Level.BLOCKS,
            N_("%(label)s does not answer well: %(detail)s."),
            N_("Bring it back first."),
            label=label,
            detail=card["detail"] or "not known",
        )
    if said.get("healthy") is False:
        return _line(
            "heard",
            Level.BLOCKS,
            N_("%(label)s says that its own monitor is not OK."),
            N_("See on its status page which check fails."),
            label=label,
        )
    if unheard and card["here"]:
        return _line(
            "heard",
            Level.BLOCKS,
            N_("The other server cannot be asked to stop (%(why)s)."),
            N_(
                "A dead active server needs no switchover, rule F1 takes over. If that is held back, see the forced takeover."
            ),
            why=unheard,
        )
    return _line("heard", Level.OK, N_("%(label)s is heard and healthy."), label=label)


def _drained(card: Mapping[str, Any], status: Mapping[str, Any]) -> PreCheck:
    if (card["here"] and status["drain"]) or "drained" in card["detail"]:
        return _line(
            "drained",
            Level.BLOCKS,
            N_("%(label)s is drained."),
            N_("End its drain on its own page first."),
            label=card["label"],
        )
    return _line("drained", Level.OK, N_("%(label)s is not drained."), label=card["label"])


def _switching(card: Mapping[str, Any], other: Mapping[str, Any], status: Mapping[str, Any]) -> PreCheck:
    running = status["running_switch"] or card.get("switch") or other.get("switch")
    if running:
        text, silent_s = N_("A switch is running (%(rule)s, step %(step)s)."), running.get("silent_s")
        dead = N_(
            "It has shown no life for %(silent)s s: does the switch worker of this server run? 'ft doctor' says it."
        )
        return _line(
            "switch",
            Level.BLOCKS,
            text,
            dead if silent_s else N_("Wait until it has ended."),
            rule=running.get("rule", ""),
            step=running.get("step", ""),
            silent=f"{silent_s or 0.0:.0f}",
        )
    return _line("switch", Level.OK, N_("No switch is running."))


def _revision(card: Mapping[str, Any], other: Mapping[str, Any]) -> PreCheck:
    one, two = ((server.get("figures") or {}).get("revision") for server in (card, other))
    if one and two and one != two:
        text, way_out = (
            N_("The settings differ: revision %(one)s on %(label)s, %(two)s on the other."),
            N_("They are replicated within a few heartbeats; wait, or see why not on the settings page."),
        )
        return _line("settings", Level.WARNING, text, way_out, one=one, two=two, label=card["label"])
    return _line("settings", Level.OK, N_("No difference of the settings is known."))


def _services(card: Mapping[str, Any]) -> PreCheck:
    known = [] if card.get("old") else card.get("service_list") or []  # an old word says nothing of now
    dead = [service["name"] for service in known if service["state"] == "dead"]
    if dead:
        text, way_out = (
            N_("Dead on %(label)s: %(names)s."),
            N_("A service that does not start demotes that server again: mend it first."),
        )
        return _line("services", Level.WARNING, text, way_out, label=card["label"], names=", ".join(dead))
    if not known:
        return _line("services", Level.OK, N_("No service of %(label)s is known here as dead."), label=card["label"])
    return _line("services", Level.OK, N_("No service of %(label)s is dead."), label=card["label"])


def _lan(card: Mapping[str, Any]) -> PreCheck:
    lan, label = (card.get("figures") or {}).get("lan") or "", card["label"]
    if lan == "down":
        text, way_out = (
            N_("%(label)s has lost its LAN."),
            N_("An active server without LAN gives up by itself (I1): mend it first."),
        )
        return _line("lan", Level.WARNING, text, way_out, label=label)
    if lan == "unknown":
        text, way_out = N_("Whether the LAN of %(label)s is up is not known."), N_("Set LAN reference hosts.")
        return _line("lan", Level.WARNING, text, way_out, label=label)
    return _line("lan", Level.OK, N_("Nothing is known against the LAN of %(label)s."), label=label)


def _holding(status: Mapping[str, Any]) -> list[PreCheck]:
    found = []
    if pause := status["pause"]:
        text = N_("Paused by %(owner)s: %(reason)s.")
        found.append(
            _line(
                "pause",
                Level.WARNING,
                text,
                N_("A switchover by hand goes on all the same."),
                owner=pause["owner"],
                reason=pause["reason"],
            )
        )
    if status["frozen"]:
        text, way_out = N_("Automatic switches are frozen: there were too many."), N_(
            "Find out why before you add one."
        )
        found.append(_line("freeze", Level.WARNING, text, way_out))
    if not status["enabled"]:
        text, way_out = (
            N_("Hot Standby mode is off: afterwards nothing switches by itself."),
            N_("A switchover by hand goes on all the same."),
        )
        found.append(_line("mode", Level.WARNING, text, way_out))
    return found


def _duration(settings: Settings) -> PreCheck:
    most_s = settings.service_stop_s + service_start_s(settings)
    text = N_("Expected time without service: at most %(stop)s s to stop and %(start)s s to start, %(all)s s in all.")
    return _line(
        "time",
        Level.OK,
        text,
        stop=f"{settings.service_stop_s:g}",
        start=f"{service_start_s(settings):g}",
        all=f"{most_s:g}",
    )
