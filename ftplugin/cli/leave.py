"""``ft leave``: hand the active role over before this server is stopped.

Exit codes: 0 this server is not active, or no longer; 1 it still is, the message says why; 2 and 3 as everywhere.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from .common import REFUSED, SOURCE, UNREACHABLE, actor_name, fail, json_option, node_of, say
from ..core.terms import Designation
from .switch import LOOK_S, portal_app

if TYPE_CHECKING:
    from ..extension import Portal

EXIT_LEAVE = "Exit codes: 0 this server is not active, or no longer; 1 it still is; 2 wrong configuration; 3 no Redis."
THEN = "its services stop with it, and the other server takes over when it can."
LEFT_ALONE = f"This server is stopped while it is active: {THEN}"


@click.command(epilog=EXIT_LEAVE)
@click.option("--reason", default="this server is stopped", show_default=True, help="Recorded on both servers.")
@click.option("--limit", "limit_s", type=click.FloatRange(1, 3600), default=120.0, show_default=True, help="Seconds.")
@json_option
@click.pass_context
def leave(context: click.Context, reason: str, limit_s: float, as_json: bool) -> None:
    """Switch over to the other server if this one is active, and wait until that is done. Else do nothing.

    For the moment before this server's programs are stopped, as the unit ft-leave@ does it. It is an ordinary switchover:
    refused by what refuses one, and failback is held afterwards until 'ft release-hold' or the next failover.
    """
    from ..prechecks import blocks, prechecks
    from ..status import new_order, status_of
    from ..switching.story import note_order

    node = node_of(context)
    found = status_of(node)
    if node.runtime.read_role() is None:
        fail(UNREACHABLE, f"{found['problem']} If this server is active, {THEN}")
    if not node.role.active():
        return say({"left": True, "switch_id": None}, as_json, ["This server is not active: nothing to hand over."])
    me = Designation(found["designation"])
    problem = blocks(prechecks(node, portal_app(context), found, me.other, str(me)))
    if problem:
        fail(REFUSED, f"Not handed over: {problem} {LEFT_ALONE}")
    order = new_order(me.other, str(me), actor_name(), reason)
    if refused := node.producer.switch(order):
        fail(UNREACHABLE, f"Not handed over: {refused} {LEFT_ALONE}")
    note_order(node, order)
    node.report.line(SOURCE, f"switchover to {me.other} asked by {order['actor']}, who stops this server: {reason}")
    done, why = _followed(node, order["switch_id"], limit_s)
    if done:
        return say({"left": True, "switch_id": order["switch_id"]}, as_json, [f"{me.other} is active now."])
    if node.role.active():
        fail(REFUSED, f"Not handed over: {why} {LEFT_ALONE}")
    if done is None:
        text = f"This server is not active any more, but {me.other} is not ready yet: {why}"
        return say({"left": True, "switch_id": order["switch_id"]}, as_json, [text])
    fail(REFUSED, f"This server is not active any more, but {me.other} did not take over: {why}")


def _followed(node: Portal, switch_id: str, limit_s: float) -> tuple[bool | None, str]:
    """(the other server is active, else why not), once the switch has ended; (None, …) after the limit."""
    from ..switching.story import story_of

    end_s = time.monotonic() + limit_s
    while True:
        story = story_of(node, switch_id)
        if story is not None and story["ended"]:
            return story["state"] == "done", f"{story['state']}: {story['detail']} {story['way_out']}".strip()
        if time.monotonic() >= end_s:
            return None, f"the switchover has not ended after {limit_s:g} s."
        time.sleep(LOOK_S)
