"""The history's figures of a real pair against what a balancer saw: a server killed as a whole, and a switchover."""

from __future__ import annotations

import datetime
import time
from typing import Any

from .harness import SLACK_S, Browser, Pair, eventually

SEEN_S = 0.7  # the watcher asks each monitor about every 0.1 s, with a limit of 0.3 s, on a machine that is shared


def newest(browser: Browser, kind: str, since_s: float) -> dict[str, Any]:
    """The incident of this kind that began after ``since_s`` seconds since 1970; {} while there is none."""
    answer = browser.get("/ft/admin/history.json")
    assert answer.status_code == 200, answer.text
    found = [i for i in answer.json()["incidents"] if i["kind"] == kind and started_s(i) >= since_s]
    return found[0] if found else {}


def started_s(incident: dict[str, Any]) -> float:
    for switch in incident["switches"]:
        if switch["kind"] == "promote":
            return datetime.datetime.fromisoformat(switch["started"]).timestamp()
    return 0.0


def seen_gap_s(pair: Pair, from_s: float) -> float:
    """Between the last answer ACTIVE of one server and the first of the next: the longest such time."""
    active_s = [s.answered_s for s in pair.watcher.since(from_s) if s.word == "ACTIVE"]
    return max(b - a for a, b in zip(active_s, active_s[1:]))


def check(measured: dict[str, Any], gap_s: float, wide_s: float) -> None:
    """The range holds what was seen, and is no wider than what cannot be known."""
    assert measured["seconds"] is not None, measured
    least_s, most_s = measured["seconds"] - measured["error_s"], measured["seconds"] + measured["error_s"]
    assert least_s - SEEN_S <= gap_s <= most_s + SEEN_S, (measured, gap_s)
    assert most_s <= gap_s + wide_s, f"not tight: {measured}, seen {gap_s:.2f} s"


def test_active_server_killed_the_time_with_none_active_is_true_and_tight_while_it_is_down_and_after(
    pair: Pair,
) -> None:
    pair.ticks_pass(8)  # what it wrote when it became active is well past
    killed_s, killed_wall_s = time.monotonic() - 1, time.time() - 1
    pair.stop_node(1)
    pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    gap_s, browser = seen_gap_s(pair, killed_s), pair.browser(2)
    blind_s = 2 * pair.settings().interval_s + SEEN_S  # since the last heartbeat, and its own time
    incident = eventually(lambda: newest(browser, "failover", killed_wall_s), 10, "the failover is listed")
    assert not incident["complete"], "server1 is down"
    check(incident["none_active"], gap_s, blind_s)
    pair.ticks_pass(8, 2)
    pair.start(1)
    pair.wait_healthy(2)

    def complete() -> dict[str, Any]:
        found = newest(browser, "failover", killed_wall_s)
        return found if found.get("complete") else {}

    incident = eventually(complete, 10, "server1's part is there again")
    check(incident["none_active"], gap_s, blind_s)


def test_switchover_the_time_with_none_active_is_what_a_balancer_saw(pair: Pair) -> None:
    begun_s, begun_wall_s = time.monotonic() - 1, time.time() - 1
    pair.order_switch(2)
    pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    gap_s, browser = seen_gap_s(pair, begun_s), pair.browser(2)
    last: dict[str, Any] = {}

    def measured() -> dict[str, Any]:
        """Begin and end of a role are written by a thread of their own, and the peer is asked within a limit."""
        last.update(newest(browser, "switchover", begun_wall_s))
        known = last.get("complete") and last["none_active"]["seconds"] is not None
        return last if known else {}

    incident = eventually(measured, 15, lambda: f"the switchover is listed with its figures: {last}")
    check(incident["none_active"], gap_s, SEEN_S)
