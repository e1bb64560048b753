"""One ordered switch as this server knows it: its steps while it runs, and its end in plain words.

From the node's own Redis and database alone. An order for the other server runs there: what this server sees of it is the
word that it was taken, its own demotion, and who is active in the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..status import status_of
from ..status.plain import mapping, number, sequence, text

if TYPE_CHECKING:
    from ..extension import Portal


def N_(text: str) -> str:
    """``text`` itself: marked for extraction; the page translates it."""
    return text


ORDER = "order"  # the last order given at this server
TAKEN_S_MAX = 25.0  # an order that nobody took by then has expired
HANDED_S_MAX = 300.0
RUNNING, ENDED = ("waiting", "running", "starting", "handed over"), ("done", "failed", "refused", "lost", "unknown")
GAP_STEPS = (
    "fence",
    "wait",
    "fence again",
    "own",
    "role",
)  # from the other one's last word as active to the first one here
WAYS = {
    "last probe": N_("The other server answers: nothing was to be done."),
    "lock": N_("Another candidate is at it, or a voter does not answer. Look at both servers, then order it again."),
    "epoch": N_("Look at the disk and the database of this server."),
    "fence": N_(
        "Look at the other server: it may still own something. If it is dead, rule F1 takes over by itself; if that is "
        "held back, see the forced takeover."
    ),
    "wait": N_("Look at the other server first."),
    "fence again": N_("Switch the other server off, or stop its services; then order it again."),
    "own": N_(
        "A voter shows that the other server is alive, or does not answer. Look at the voters on the status page."
    ),
    "role": N_("A higher epoch was seen: somebody else switched. Look at the status page."),
    "service": N_("Look at that service and its log, mend it, then order it again."),
    "publish": N_("Look at the Redis of this server."),
}


def note_order(ft: Portal, order: Mapping[str, Any]) -> None:
    """Remember an order that was just given, for the page that follows it."""
    clock = ft.clock
    stamp = {"at_s": clock.now_s(), "boot_id": clock.boot_id, "at_wall_s": clock.wall_s()}
    ft.runtime.publish(ORDER, {**order, **stamp})


def story_of(ft: Portal, switch_id: str) -> dict[str, Any] | None:
    """{state, steps, …} of one switch, plain values; None when this server knows nothing of it."""
    documents = ft.runtime.fetch_many((ORDER, "switch", "manual"))
    order, manual = (mapping(documents[name]) for name in (ORDER, "manual"))
    order = order if order.get("switch_id") == switch_id else {}
    manual = manual if manual.get("switch_id") == switch_id else {}
    live = mapping(documents["switch"])
    own = live if live.get("switch_id") == switch_id else mapping(ft.journal.find(switch_id))
    if not (order or manual or own):
        return None
    status = status_of(ft)
    since_s = _age_s(ft, order)
    target = _target(own, order, status)
    starting = next((s for s in status["servers"] if s["designation"] == target and _is_starting(s)), None)
    state = _state(own, manual, order, status, since_s, starting)
    steps = own.get("steps")
    if not own and order and order.get("target") != status["designation"]:
        steps = _own_part(ft, live, order)
    failed = [s for s in sequence(steps) if mapping(s).get("outcome") == "failed"]
    failed_step = text(mapping(failed[-1]).get("step"), 80) if failed else ""
    return {
        "switch_id": switch_id,
        "state": state,
        "ended": state in ENDED,
        "rule": text(own.get("rule") or order.get("rule"), 20),
        "kind": text(own.get("kind"), 20),
        "target": target,
        "progress": starting["progress"] if starting else 0,
        "total": starting["total"] if starting else 0,
        "actor": text(own.get("actor") or order.get("actor"), 200),
        "reason": text(own.get("reason") or order.get("reason"), 500),
        "detail": text(own.get("detail") or manual.get("detail"), 1000),
        "step": text(own.get("step"), 80),
        **_timed(own, status),
        "failed_step": failed_step,
        "way_out": WAYS.get(failed_step.split(" ")[0] if failed_step.startswith("service") else failed_step, ""),
        "steps": [mapping(step) for step in sequence(steps)],
        "elsewhere": not own and bool(order) and order.get("target") != status["designation"],
        "at_wall_s": own.get("at_wall_s") or own.get("ended_wall_s") or order.get("at_wall_s"),
        "gap_s": _gap_s(own, order),
        "active": status["active"],
        "designation": status["designation"],
        "status": status,
    }


def _state(
    own: Mapping[str, Any],
    manual: Mapping[str, Any],
    order: Mapping[str, Any],
    status: Mapping[str, Any],
    since_s: float | None,
    starting: Mapping[str, Any] | None,
) -> str:
    if own:
        outcome = own.get("outcome")
        if outcome == "done":
            return "starting" if starting else "done"
        if outcome not in ("running", ""):
            return "failed"
        return "starting" if starting else "running"
    if manual.get("outcome") == "refused":
        return "refused"
    if manual.get("outcome") == "handed over":
        if status["active"] is not None and status["active"] == order.get("target"):
            return "starting" if starting else "done"
        return "handed over" if since_s is not None and since_s < HANDED_S_MAX else "unknown"
    return "waiting" if since_s is not None and since_s < TAKEN_S_MAX else "lost"


def _timed(own: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """{elapsed_s, expected_s, silent_s} of the step at which it is, {} when it is at none."""
    running = status["running_switch"]
    same = bool(own) and running.get("switch_id") == own.get("switch_id")
    return {key: running[key] for key in ("elapsed_s", "expected_s", "silent_s") if key in running} if same else {}


def _target(own: Mapping[str, Any], order: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """The server that is to become active; empty when that is not known."""
    here = str(status["designation"] or "") if own.get("kind") == "promote" else ""
    return text(order.get("target"), 20) or here


def _is_starting(server: Mapping[str, Any]) -> bool:
    """It has the role, and not every service of it is ready."""
    return server["word"] == "active" and server["starting"] is True


def _age_s(ft: Portal, order: Mapping[str, Any]) -> float | None:
    at_s = number(order.get("at_s")) if order.get("boot_id") == ft.clock.boot_id else None
    return None if at_s is None else ft.clock.now_s() - at_s


def _own_part(ft: Portal, live: Mapping[str, Any], order: Mapping[str, Any]) -> list[Any]:
    """The steps of this server's demotion for a switch that runs on the other one."""
    updated_s, ordered_s = number(live.get("updated_s")), number(order.get("at_s"))
    same_boot = live.get("boot_id") == order.get("boot_id") == ft.clock.boot_id
    if live.get("kind") != "demote" or not same_boot or updated_s is None or ordered_s is None:
        return []
    return sequence(live.get("steps")) if updated_s >= ordered_s else []


def _gap_s(own: Mapping[str, Any], order: Mapping[str, Any]) -> float | None:
    """At most so many seconds without an active server; None when nobody is known to have been active before."""
    if own.get("outcome") != "done" or not order.get("expected_active"):
        return None
    took = [mapping(step) for step in sequence(own.get("steps")) if mapping(step).get("step") in GAP_STEPS]
    return sum(number(step.get("duration_s")) or 0.0 for step in took) if took else None
