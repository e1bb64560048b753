"""What tests of faults ask again and again: that the other node takes over in time, or that nothing switches."""

from __future__ import annotations

from demo.oracle import read_history
from tests.integration.cluster.harness import SETTLE_S, SLACK_S, eventually

from .site import Site
from .timeline import ACTIVE

MACHINE_S = 2.0  # over a bound of the spec: the machine is shared, and the samples are 20 ms apart
CONTROL_S = 5.0  # from the end of one fault to the control, at most


def owned_s(site: Site, node: int, since_s: float) -> float | None:
    """When the node got the last of its ports at the call manager since then; None: it does not own all of them."""
    found = {i.port: i for i in read_history(site.history) if i.owner == f"server{node}" and i.to_s is None}
    if len(found) < site.cluster.config.cti_ports:
        return None
    return max(max(i.from_s for i in found.values()), since_s)


def takes_over(
    site: Site, node: int, at_s: float, *, agent_only: bool = False, more_s: float = 0.0, names: str = ""
) -> float:
    """The node becomes active, alone, with its service, within the bound of I-B from the fault on. When it said ACTIVE.

    :param at_s: when the fault was made. ``agent_only``: with the 2 T more of I-B.
    :param more_s: what a test adds to the bound, and says why.
    :param names: rule that must have done it.
    """
    bound_s = site.pair.failover_bound_s(agent_only=agent_only) + more_s + MACHINE_S
    site.pair.wait_active(node, bound_s + SLACK_S)  # so late only to tell a slow failover from none
    said_s, owned = site.timeline.first(node, ACTIVE, at_s), owned_s(site, node, at_s)
    assert said_s is not None and owned is not None, site.pair.story()
    took_s = max(said_s, owned) - at_s
    site.note(f"server{node} active after {said_s - at_s:.2f} s, its service after {owned - at_s:.2f} s")
    assert took_s <= bound_s, f"server{node} with its service after {took_s:.2f} s, bound {bound_s:.2f} s"
    assert site.timeline.words(node, at_s).count(ACTIVE) == 1, f"the role moved more than once: {moves(site, at_s)}"
    if names:
        rule = eventually(lambda: last_promotion(site, node).get("rule"), CONTROL_S, f"a promotion by {names}")
        assert rule == names, site.pair.story()
    return said_s


def last_promotion(site: Site, node: int) -> dict[str, object]:
    """The newest promotion in the node's journal, its steps too; empty when there is none."""
    return next((s for s in site.pair.journal(node) if s["kind"] == "promote"), {})


def control(site: Site, *, dead: int = 1) -> None:
    """The positive control of "nothing switches": the active node dies, and the other takes over in time."""
    site.note("CONTROL")
    takes_over(site, 3 - dead, site.kill_node(dead))


def nothing_switches(site: Site, since_s: float, epoch: int, *, active: int = 1, gap_s: float = 0.0) -> None:
    """Since then one node alone was active, under the same epoch. ``gap_s``: as long it may have said something else."""
    words = site.timeline.words(3 - active, since_s)
    assert ACTIVE not in words, f"server{3 - active} said {words}"
    assert site.pair.status(active)["epoch"] == epoch, f"the role was taken anew: {site.pair.story()}"
    gaps = site.timeline.none_active_s(since_s)
    assert gaps.longest_s <= max(gap_s, 0.1), f"server{active} was not active: {gaps}, {site.timeline.roles(since_s)}"


def watch(site: Site) -> None:
    """As long as a failover takes that is under way; what may not happen meanwhile is asserted after it."""
    site.pair.watch()


def moves(site: Site, since_s: float) -> list[str]:
    """Who said ACTIVE since then, in order, without repetitions."""
    found: list[str] = []
    for line in site.timeline.roles(since_s):
        server, _, word = line.partition(" ")
        if word == ACTIVE and found[-1:] != [server]:
            found.append(server)
    return found


def settles(site: Site, deadline_s: float = SETTLE_S) -> int:
    """The pair is healthy with one active node, whichever. Its number."""

    def healthy() -> int | None:
        return next((n for n in site.nodes if site.pair.active_on(n) and site.pair.healthy(n)), None)

    return eventually(
        healthy, deadline_s, lambda: f"{site.pair.problems(1)} {site.pair.problems(2)} {site.pair.story()}"
    )
