"""Clocks of the two servers that are apart: silence up to 2 s, a warning up to 30 s, an alarm and an event beyond."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskCliRunner

from ftplugin.core.decision import decide
from ftplugin.core.terms import Role
from ftplugin.store.events import EventStore
from tests.core.ticks import S1, A, S, Ticks
from tests.parts import eventually
from workers.chronicle import Chronicle
from workers.node_log import NodeLog

from .conftest import Site
from .status_site import view_of

AHEAD, BEHIND = "ahead of this one", "behind this one"


@pytest.fixture
def configured(site: Site) -> Site:
    site.configure()
    return site


def heard(site: Site, skew_s: float) -> None:
    """The last heartbeat found the other server's clock so far ahead."""
    site.role(Role.STANDBY)
    site.agent()
    view_of(site)
    view = site.portal.runtime.fetch("view")
    assert view is not None
    site.portal.runtime.publish("view", view | {"peer": view["peer"] | {"skew_s": skew_s}})


def said(site: Site) -> tuple[str, str]:
    """(what stands on the status page about the clocks, with its class; the line of ``ft status``)."""
    page = site.client.get("/ft/admin/").get_data(as_text=True)
    _, found, after = page.partition('id="ft-clocks" class="')
    runner: FlaskCliRunner = site.app.test_cli_runner()
    lines = [line for line in runner.invoke(args=["ft", "status"]).output.splitlines() if "The clock of" in line]
    assert len(lines) <= 1
    return after.partition("</p>")[0] if found else "", lines[0] if lines else ""


@pytest.mark.parametrize("skew_s", [0.0, 1.9, -1.9, None, "soon", float("nan")])
def test_up_to_two_seconds_nothing_is_said(configured: Site, skew_s: Any) -> None:
    heard(configured, skew_s)
    assert said(configured) == ("", "")


@pytest.mark.parametrize(("skew_s", "words"), [(2.2, f"2 s {AHEAD}"), (-29.6, f"30 s {BEHIND}")])
def test_above_two_seconds_page_and_command_line_warn(configured: Site, skew_s: float, words: str) -> None:
    heard(configured, skew_s)
    page, line = said(configured)
    assert page.startswith("ft-note ft-warn") and words in page and "Alarm" not in page
    assert words in line and "ALARM" not in line


@pytest.mark.parametrize(("skew_s", "words"), [(31.0, f"31 s {AHEAD}"), (-3600.0, f"3600 s {BEHIND}")])
def test_above_thirty_seconds_page_and_command_line_alarm(configured: Site, skew_s: float, words: str) -> None:
    heard(configured, skew_s)
    page, line = said(configured)
    assert page.startswith("ft-note ft-bad") and "Alarm:" in page and words in page
    assert line.startswith("ALARM: ") and words in line


@pytest.fixture
def chronicle(configured: Site) -> Iterator[Chronicle]:
    """That of the agent on this node, with its real log and database."""
    portal = configured.portal
    log = NodeLog(portal.report, portal.runtime.count_refused, EventStore(portal.database, 30).record)
    yield Chronicle(SimpleNamespace(clock=portal.clock, log=log))  # type: ignore[arg-type]


def test_the_alarm_is_an_event_and_a_line_when_it_begins_and_when_it_is_over(
    configured: Site, chronicle: Chronicle
) -> None:
    ticks = Ticks(S1, S)
    kept: list[tuple[str, Any]] = []

    def tick(skew_s: float | None) -> None:
        ticks.now_s += 1.0
        probe = ticks.silent() if skew_s is None else replace(ticks.good(A), skew_s=skew_s)
        view = ticks.view(peer=probe)
        decision = decide(view, ticks.settings, ticks.memory, ticks.timing)
        if skew_s is not None:
            calm = decide(replace(view, peer=ticks.good(A)), ticks.settings, ticks.memory, ticks.timing)
            assert decision == calm, "no clock decides"
        chronicle.tick(view, decision)

    for skew_s in (0.5, 29.0, 31.0, 29.5, 30.5, None, 29.0, 3600.0, 27.0, 1.0, -31.0):
        tick(skew_s)
    store = EventStore(configured.portal.database, 30)

    def three() -> bool:
        found = store.between(0, time.time() + 9, ("clock_skew", "clock_skew_over"))
        kept[:] = [(row["name"], row["facts"]["ahead_s"]) for row in found]
        return len(kept) >= 3

    eventually(three, 20.0)
    assert kept == [("clock_skew", 31.0), ("clock_skew_over", 27.0), ("clock_skew", -31.0)]
    lines = [line for file in configured.portal.report.folder.iterdir() for line in file.read_text().splitlines()]
    assert sum("ALARM: the clock of server2 is 31 s" in line for line in lines) == 2
    assert sum("no alarm any more" in line for line in lines) == 1
