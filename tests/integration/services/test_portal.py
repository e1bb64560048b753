"""The portal under a real supervisord: restarted on purpose and when it is dead, and its supervisor is not fought."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from ftplugin.clock import SystemClock
from ftplugin.config import ConfigError, NodeConfig
from ftplugin.core.terms import ServiceState as S
from workers.adapters.lan_probe import LanProbe
from workers.adapters.services import ServiceError, build_portal
from workers.portal_watch import PortalControl, PortalWatch

from ..adapters.conftest import free_port, settings_with, wait_until
from .conftest import alive
from .test_supervisord import Supervisord, program

PORTAL = """
import http.server, sys
class Live(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        return
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Live).serve_forever()
"""
GRACE_S = 12.0  # the portal restart time of these tests
KEY = "a key of this pair, long enough"


class Clock(SystemClock):
    """The node's clock, with the hours that a test skips."""

    ahead_s = 0.0
    skips = False  # a wait is over at once

    def now_s(self) -> float:
        return super().now_s() + self.ahead_s

    def sleep(self, seconds: float) -> None:
        if self.skips:
            self.ahead_s += seconds
        else:
            super().sleep(seconds)


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events: list[tuple[str, dict[str, Any]]] = []

    def report(self, source: str, text: str) -> None:
        self.lines.append(text)

    def event(self, name: str, **facts: Any) -> None:
        self.events.append((name, facts))

    def alarms(self) -> list[str]:
        return [facts["text"] for name, facts in self.events if name == "alarm"]


class Site:
    """A portal program of supervisord, the real LAN probe that asks it, control and watch."""

    def __init__(self, supervisord: Supervisord, port: int, name: str) -> None:
        self.supervisord, self.name, self.clock, self.log = supervisord, name, Clock(), Log()
        settings = settings_with(portal_restart_s=GRACE_S, lan_references=("127.0.0.1",))
        self.lan = LanProbe(
            settings=lambda: settings,
            own_address=lambda: "127.0.0.1",
            own_url=lambda: f"http://127.0.0.1:{port}",
            url_prefix="/ft",
            clock=self.clock,
        )
        self.table = {
            "kind": "supervisord",
            "program": name,
            "url": f"unix://{supervisord.folder}/s",
            "stop_limit_s": 3,
        }
        self.service: Any = build_portal(self.table)
        self.control = PortalControl(self.service, clock=self.clock, lan=self.lan)
        config = NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_WATCHDOG_RESTARTS_MAX": 2})
        feed = types.SimpleNamespace(current=lambda: (1, settings))
        ports: Any = types.SimpleNamespace(settings=feed, clock=self.clock, lan=self.lan, log=self.log)
        self.watch = PortalWatch(self.control, config=config, ports=ports)
        self.lan.start()

    def pid(self) -> int:
        return self.supervisord.pid(self.service)

    def answers(self) -> bool:
        seen_s = self.lan.portal_seen_s()
        return seen_s is not None and self.clock.now_s() - seen_s < 1.0

    def up(self) -> int:
        wait_until(self.answers, 30, "the portal answers /live")
        return self.pid()

    def down(self) -> None:
        """Until the watch counts it as silent."""
        wait_until(lambda: self.clock.now_s() - (self.lan.portal_seen_s() or 0) > 2.5, 30, "the portal is silent")

    def order(self, method: str) -> None:
        self.service._supervisor.call(method, self.name, limit_s=5.0)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Supervisord, dict[str, int]]]:
    folder = tmp_path_factory.mktemp("p")
    (folder / "portal.py").write_text(PORTAL)
    ports = {"portal": free_port(), "kept": free_port()}
    more = ""
    for name, port in ports.items():
        line = program(name, "", autostart="true").replace("/bin/sh -c ", f"{sys.executable} {folder}/portal.py {port}")
        more += line.replace("autorestart=false", "autorestart=true") if name == "kept" else line
    made = Supervisord(folder, more)
    yield made, ports
    made.end()


@pytest.fixture
def make(places: tuple[Supervisord, dict[str, int]]) -> Iterator[Any]:
    made: list[Site] = []

    def site(name: str = "portal") -> Site:
        made.append(Site(places[0], places[1][name], name))
        if made[-1].service.status().state is not S.ACTIVE:
            made[-1].order("startProcess")
        made[-1].up()
        return made[-1]

    yield site
    for one in made:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid() or 2**22, signal.SIGCONT)
        one.lan.stop()


def test_a_restart_makes_the_process_new_and_waits_until_it_answers(make: Any) -> None:
    site = make()
    before = site.up()
    found = site.control.restart(GRACE_S)
    assert found.problem == "" and 0 < found.duration_s < GRACE_S
    assert site.pid() != before and not alive(before)
    assert site.lan.portal_seen_s() >= site.control.begun_s


def test_a_frozen_portal_is_restarted_too(make: Any) -> None:
    site = make()
    before = site.up()
    os.kill(before, signal.SIGSTOP)
    assert site.control.restart(GRACE_S).problem == ""
    assert not alive(before) and site.pid() != before


def test_a_portal_that_does_not_answer_after_its_start_is_a_failure(make: Any) -> None:
    site = make()
    site.lan.stop()
    found = site.control.restart(1.0)
    assert "did not answer /live within 1 s" in found.problem and "active" in found.problem


def test_a_dead_portal_is_restarted_at_the_second_look(make: Any) -> None:
    site = make()
    before = site.up()
    site.watch.turn()
    os.kill(before, signal.SIGKILL)
    site.down()
    site.watch.turn()
    assert not alive(before) and site.log.lines == [], "its own supervisor may be about to start it"
    site.watch.turn()
    assert site.pid() not in (0, before)
    assert "restarting it (1 of 2)" in site.log.lines[0] and "it does not run" in site.log.lines[0]
    assert "it answers again" in site.log.lines[1]
    assert [facts["ok"] for name, facts in site.log.events if name == "portal_restart"] == [True]
    site.watch.turn()
    assert len(site.log.lines) == 2 and site.log.alarms() == []


def test_a_portal_whose_supervisor_restarts_it_is_left_to_it(make: Any) -> None:
    site = make("kept")
    before = site.up()
    os.kill(before, signal.SIGKILL)
    for _ in range(5):
        site.watch.turn()
    wait_until(lambda: site.pid() not in (0, before), 20, "supervisord has started it again")
    site.up()
    site.watch.turn()
    assert site.log.lines == []


def test_a_portal_that_runs_but_is_silent_gets_the_portal_restart_time(make: Any) -> None:
    site = make()
    before = site.up()
    os.kill(before, signal.SIGSTOP)
    site.down()
    for _ in range(4):
        site.watch.turn()
    assert alive(before) and site.log.lines == [], "it may be starting"
    site.clock.ahead_s += GRACE_S
    site.watch.turn()
    assert not alive(before) and "restarting it (1 of 2)" in site.log.lines[0]


def test_a_worker_that_starts_gives_the_portal_its_time_to_come_up(make: Any) -> None:
    site = make()
    site.lan.stop()
    new = Site(site.supervisord, 1, site.name)  # nobody answers there
    before = new.pid()
    for _ in range(3):
        new.watch.turn()
    new.clock.ahead_s += GRACE_S - 2
    new.watch.turn()
    assert new.log.lines == [] and new.pid() == before
    new.lan.stop()


def test_a_portal_that_does_not_come_back_is_given_up_and_tried_again_at_gaps(make: Any) -> None:
    site = make()
    site.lan.stop()  # as a portal that starts and never answers
    site.clock.skips = True
    site.clock.ahead_s += 100
    pids = []
    for _ in range(4):
        site.watch.turn()
        pids.append(site.pid())
        site.clock.ahead_s += 1
    text = "\n".join(site.log.lines)
    assert "restarting it (1 of 2)" in text and "restarting it (2 of 2)" in text and "given up" in text
    assert pids[0] != pids[1] and pids[1] == pids[2] == pids[3], "the next try comes after a gap"
    assert len([text for text in site.log.alarms() if "has failed" in text]) == 2
    assert any("given up" in text for text in site.log.alarms())
    site.clock.ahead_s += 60
    site.watch.turn()
    assert "once more (try 1)" in "\n".join(site.log.lines) and site.pid() != pids[3]


def test_a_portal_may_start_at_boot_but_its_children_must_end_with_it(make: Any, tmp_path: pathlib.Path) -> None:
    site = make()
    table = {"kind": "supervisord", "url": site.table["url"], "stop_limit_s": 3}
    assert build_portal(table | {"program": "boots"}) is not None
    for name, word in (("orphans", "killasgroup"), ("patient", "stopwaitsecs"), ("nobody", "has no 'nobody'")):
        with pytest.raises(ServiceError, match=word):
            build_portal(table | {"program": name})


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"kind": "http", "url": "http://127.0.0.1:1"}, "FT_PORTAL.kind: must be one of command, systemd, supervisord"),
        ({"unit": "portal.service"}, "FT_PORTAL.kind: must be one of"),
        ({"kind": "systemd", "unit": "portal"}, "FT_PORTAL.unit: must be a unit's name"),
        ({"kind": "command", "start": ["x"]}, "FT_PORTAL.stop: is missing"),
        ({"kind": "command", "name": "mine"}, "FT_PORTAL.name: is no key of a command portal"),
        ({"kind": "systemd", "unit": "a.service", "stop_limit_s": 0}, "FT_PORTAL.stop_limit_s: must be a number"),
    ],
)
def test_a_wrong_table_is_refused_with_the_key_named(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ServiceError, match=words):
        build_portal(table)


def test_no_table_watches_nothing_and_text_is_no_table() -> None:
    assert build_portal({}) is None
    assert NodeConfig.of({"FT_SECRET_KEYS": [KEY]}).portal == {}
    with pytest.raises(ConfigError, match="FT_PORTAL"):
        NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_PORTAL": "portal.service"})


def test_commands_restart_a_portal_that_stands_alone(tmp_path: pathlib.Path) -> None:
    """As start-stop-daemon does it: a daemon with a pid file."""
    port, pid_file = free_port(), tmp_path / "pid"
    (tmp_path / "portal.py").write_text(PORTAL)
    daemon = ["/sbin/start-stop-daemon", "--pidfile", str(pid_file)]
    service: Any = build_portal(
        {
            "kind": "command",
            "start": [*daemon, "--start", "--background", "--make-pidfile", "--exec", sys.executable, "--"]
            + [str(tmp_path / "portal.py"), str(port)],
            "stop": [*daemon, "--stop", "--oknodo", "--retry", "TERM/2/KILL/1"],
            "status": [*daemon, "--status"],
        }
    )
    clock = Clock()
    settings = settings_with()
    lan = LanProbe(
        settings=lambda: settings,
        own_address=lambda: "127.0.0.1",
        own_url=lambda: f"http://127.0.0.1:{port}",
        url_prefix="",
        clock=clock,
    )
    control = PortalControl(service, clock=clock, lan=lan)
    lan.start()
    try:
        pids = []
        for _ in range(2):
            assert control.restart(30.0).problem == ""
            pids.append(int(pid_file.read_text()))
        assert pids[0] != pids[1] and not alive(pids[0]) and alive(pids[1])
    finally:
        service.demote(99)
        lan.stop()
