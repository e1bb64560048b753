"""H1: an active node that has given up a service hands the role over, once per fault, if the peer is able (spec 6).

How it travels. The active node only signs which services it has given up, with each heartbeat; it goes on trying. The
standby node decides, as it does for every promotion: it alone knows whether it is healthy, drained, paused or frozen, and
has not given up the same service. The switch is a switchover like any other: the peer's signed, confirmed demotion first.
So the active node stops only when somebody is about to start, and where the new one cannot, the old one is promoted
again (F1 with nobody active).

Once per fault. A fault lasts from "given up" to "well for a whole window" (``watchdog.py``). The node that has taken over
remembers the fault until the peer no longer lists it, and the peer's own list keeps it from taking the role back.
"""

from __future__ import annotations

from typing import Collection

from .hysteresis import Memory
from .settings import Settings
from .terms import Role, ServiceState
from .view import ClusterView

WORKS = (ServiceState.ACTIVE, ServiceState.STARTING)


def wrong_services(view: ClusterView) -> tuple[str, ...]:
    """Names of services that are dead, or were given up and still do not do what an active node wants of them."""
    found = []
    for service in view.services:
        lost = view.role is Role.ACTIVE and service.name in view.given_up and service.state not in WORKS
        if lost or service.state is ServiceState.DEAD:
            found.append(service.name)
    return tuple(found)


def to_offer(view: ClusterView) -> tuple[str, ...]:
    """What an active node signs as given up: not what does not answer, for what cannot be stopped cannot be handed over."""
    silent = {s.name for s in view.services if s.state is ServiceState.UNKNOWN}
    return tuple(name for name in view.given_up if view.role is not Role.ACTIVE or name not in silent)


def offered(view: ClusterView, memory: Memory) -> tuple[str, ...]:
    """The services for which this node may be asked to take over: their fault lasts, and the peer is not well. What else
    must be true are vetoes (``vetoes.py``), that this node has not given up the same one among them."""
    state = view.peer_state
    if state is None or not state.is_active or state.healthy or state.restarting_s > 0:
        return ()
    return tuple(name for name in state.given_up if name not in memory.taken)


def why_not_offered(view: ClusterView) -> str:
    """What H1 lacks when ``offered`` is empty."""
    state = view.peer_state
    if state is None:
        return "the other server is not heard"
    if not state.is_active:
        return "the other server is not active"
    if not state.given_up:
        return "the other server has given up no service"
    names = ", ".join(state.given_up)
    if state.healthy:
        return f"{names} was given up there, but is well now"
    if state.restarting_s > 0:
        return f"{names} was given up there, but the other server restarts now on purpose"
    return f"this server has already taken over once because of {names}"


def no_better(view: ClusterView, offers: Collection[str]) -> str:
    """Why a switch because of services would not help, "" when it would: this node must be able to run one of ``offers``, and
    must not have given up anything that works on the peer. So no two nodes can each be better than the other one, and a
    role that moved for this reason never moves back for it."""
    state = view.peer_state
    here, there = view.given_up, state.given_up if state is not None else ()
    if lost := [name for name in here if name not in there]:
        return f"{', '.join(lost)} was given up on this server"
    if here and not set(offers) - set(here):
        return f"{', '.join(here)} was given up on both servers"
    return ""


def both_miss(view: ClusterView) -> tuple[str, ...]:
    """Failed checks of what both nodes share: a third party is the cause, and a switch would not help."""
    state = view.peer_state
    return () if state is None else tuple(name for name in view.failed if name in state.failed)


def state_of_fault(view: ClusterView, settings: Settings) -> str:
    """ "cti was given up; next try in 40 s; the other server may take over". Only when something was given up."""
    wrong = [name for name in wrong_services(view) if name in view.given_up] or view.given_up
    parts = [f"{', '.join(wrong)} was given up after too many restarts"]
    if view.next_try_s is not None:
        parts.append(f"next try in {max(0.0, view.next_try_s - view.now_s):.0f} s")
    if view.role is Role.ACTIVE:
        parts.append(_chance(view, settings))
    return "; ".join(parts)


def _chance(view: ClusterView, settings: Settings) -> str:
    """Whether the peer may take over, as far as the active node knows; the peer itself decides."""
    state, names = view.peer_state, to_offer(view)
    if not names:
        return "it does not stop, so it cannot be handed over"
    if not settings.enabled:
        return "not handed over: Hot Standby mode is off"
    if state is None:
        return "not handed over: the other server is not heard"
    if set(names) <= set(state.given_up):
        return "not handed over: the other server has given it up too"
    if lost := [name for name in state.given_up if name not in view.given_up]:
        return f"not handed over: the other server has given up {', '.join(lost)}"
    if missed := both_miss(view):
        return f"not handed over: both servers miss {', '.join(missed)}"
    if not state.healthy or not state.eligible:
        return "not handed over: the other server is " + ("drained" if not state.eligible else "not healthy")
    return "the other server may take over, once for this fault; its page says if something holds it back"


def alarms_of(view: ClusterView) -> tuple[str, ...]:
    """What somebody must look at: services that were given up, and those that did not stop."""
    found = [f"{name} was given up after too many restarts: look at it" for name in view.given_up]
    if view.role is not Role.ACTIVE and not view.clear and not view.switching:
        me = view.designation
        found += [
            f"{said}; it should own nothing and did not stop: the other server starts nothing before it has stopped or "
            f"{me} is fenced. Stop it by hand, or switch {me} off"
            for said in view.stuck
        ]
    return tuple(found)
