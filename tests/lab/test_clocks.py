"""Wall clocks that are stepped, and that are an hour apart: they decide nothing, and a skew is warned of (I-H)."""

from __future__ import annotations

import pytest

from tests.integration.cluster.harness import SLACK_S, Browser, eventually

from .checks import MACHINE_S, control, moves, nothing_switches, takes_over
from .site import Site
from .timeline import ACTIVE

HOUR_S, MINUTE_S = 3600.0, 60.0
WARNING = "The clock of the other server is {:.0f} s {} this one's"
VERIFY_S = 1.0  # to ask the peer, twice on a machine that is busy; the clock is seen at the next renewal
# a lease long enough for a second question, when a busy machine leaves the first one without an answer
pytestmark = pytest.mark.site(own_clocks=True, interval_s=1.0, timeout_s=1.0, threshold=4)


def wait_warned(site: Site, node: int, seconds: float) -> None:
    """The node's status says how far the other's clock is ahead; 0: it says nothing."""
    text = WARNING.format(abs(seconds), "ahead of" if seconds > 0 else "behind") if seconds else ""

    def said() -> bool:
        warning = site.pair.status(node)["clock_warning"]
        return text in warning if seconds else not warning

    eventually(said, SLACK_S, lambda: f"{text!r}, said {site.pair.status(node)['clock_warning']!r}")


@pytest.mark.parametrize("node", [1, 2])
def test_clock_steps_by_a_minute_and_an_hour_and_the_role_stays(site: Site, node: int) -> None:
    """The active node verifies its role before it says ACTIVE again: that takes until its next renewal (spec 3)."""
    epoch = site.pair.status(1)["epoch"]
    gap_s = site.pair.timing.renew_s + VERIFY_S if node == 1 else 0.0
    off_s = 0.0
    for step_s in (MINUTE_S, -MINUTE_S, HOUR_S, -HOUR_S):
        began_s = site.clock_step(node, step_s)
        off_s += step_s
        wait_warned(site, node, -off_s)
        wait_warned(site, 3 - node, off_s)
        eventually(lambda: site.pair.active_on(1), SLACK_S, site.pair.story)
        nothing_switches(site, began_s, epoch, gap_s=gap_s)
    if node == 1:
        assert "a clock of this server made a step; its role was verified and holds" in site.pair.report(1)
    control(site)


def test_an_hour_apart_everything_works_and_a_warning_says_so(site: Site) -> None:
    """The sender is an hour behind: there, whatever looks at a message's wall clock takes it for long expired."""
    site.clock_step(2, -HOUR_S)
    wait_warned(site, 1, -HOUR_S)
    wait_warned(site, 2, HOUR_S)
    assert WARNING.format(HOUR_S, "behind") in site.pair.ft(1, "status").stdout
    with site.on(2):
        page = Browser(f"http://{site.portal(2)}", site.cluster.secrets.password).get("/ft/admin/")
    assert WARNING.format(HOUR_S, "ahead of").replace("'", "&#39;") in page.text

    began_s = site.misbehave(1, "hanging", only="/node/")  # only the agent channel can tell server1 to stop
    eventually(lambda: site.pair.active_on(1), SLACK_S, site.pair.story)
    switched = site.pair.ft(2, "switch", "server2", "--expect", "server1", "--reason", "through the agent channel")
    assert switched.returncode == 0, switched
    site.pair.wait_active(2, site.pair.failover_bound_s() + MACHINE_S)
    assert "demote" in site.pair.report(1)
    site.behave(1)
    site.pair.wait_healthy_whatever_held(2)

    switched = site.pair.ft(1, "switch", "server1", "--expect", "server2", "--reason", "through the node API")
    assert switched.returncode == 0, switched
    site.pair.wait_active(1, site.pair.failover_bound_s() + MACHINE_S)
    site.pair.wait_healthy_whatever_held(1)
    site.pair.wait_live(site.pair.save(2, {"portal_restart_s": 1.5}))

    takes_over(site, 2, site.kill_node(1), names="F1")
    started_s = site.start_node(1)
    site.pair.wait_healthy(2)
    assert ACTIVE not in site.timeline.words(1, started_s)
    site.pair.ticks_pass(2)
    assert moves(site, began_s) == ["server1", "server2", "server1", "server2"]
