"""A forced takeover (M2) as page and command line ask for it: what stands in its way, what it passes, and the order."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.forced import passes
from ..core.settings import Settings
from ..core.timing import Timing
from ..said import Said
from ..status.plain import mapping, sequence, text

if TYPE_CHECKING:
    from ..extension import Portal


def force_problem(status: Mapping[str, Any]) -> str:
    """Why this server cannot be forced to take over now, "" when it can. The agent looks again when it has the order."""
    me = status["designation"]
    if status["problem"] or me is None:
        return Said("%(problem)s Nobody here could carry the order out.", problem=status["problem"])
    if status["active"] == me:
        return Said("%(server)s is active already.", server=me)
    if status["drain"]:
        return Said("%(server)s is drained: end its drain first.", server=me)
    if status["lan"] == "down":
        return Said(
            "%(server)s has lost its LAN: an active server without LAN gives up by itself (I1). Mend the LAN first.",
            server=me,
        )
    if silent_s := status["running_switch"].get("silent_s"):
        return Said(
            "A switch that runs on this server has shown no life for %(seconds)s s: does its switch worker run? "
            "'ft doctor' says it.",
            seconds=f"{silent_s:.0f}",
        )
    if status["running_switch"]:
        return Said("A switch is running on this server: wait until it has ended.")
    return ""


def held_back(status: Mapping[str, Any], view: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What holds this server's own rule back now: {veto, sentence, passed}; ``passed``: a forced takeover goes past it."""
    lan = mapping(mapping(view).get("lan"))
    found = [mapping(refusal) for refusal in sequence(mapping(status["decision"]).get("refused"))]
    return [
        {
            "veto": text(refusal.get("veto"), 40),
            "sentence": text(refusal.get("sentence"), 300),
            "passed": passes(str(refusal.get("veto")), lan),
        }
        for refusal in found
    ]


def longest_wait_s(settings: Settings) -> float:
    """Seconds that a server which confirms nothing is waited for at most, once it is silent (I-D)."""
    timing = Timing.of(settings)
    return timing.watch_s + timing.timeout_s


def new_force(ft: Portal, target: str, actor: str, reason: str, *, checked: bool) -> dict[str, Any]:
    """The order for this server's switch worker. ``checked``: "the other server is off or cut off, I have checked it"."""
    return {
        "kind": "force",
        "rule": "M2",
        "target": target,
        "actor": actor[:200],
        "reason": reason[:500],
        "switch_id": str(uuid.uuid4()),
        "checked": checked,
        "boot_id": ft.clock.boot_id,
        "ordered_s": ft.clock.now_s(),
    }
