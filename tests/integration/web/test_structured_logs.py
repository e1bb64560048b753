"""FT_LOG_JSON: the lines of FT_REPORT again, as JSON or in systemd's journal, and never in the way of anything."""

from __future__ import annotations

import json
import os
import pathlib
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ftplugin.config import ConfigError, NodeConfig
from ftplugin.core.terms import Role
from ftplugin.report import Report, bound
from ftplugin.structured import sinks
from ftplugin.structured.lines import Mirror
from tests.sim import ports as sim_ports
from tests.parts import eventually
from tests.sim.run import Result, build, finish, settings_of

from .conftest import KEY, OWN, MakeSite

LIMIT_S = 60.0
FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")


def config_of(folder: pathlib.Path, **values: Any) -> NodeConfig:
    return NodeConfig.of({"FT_OWN_ADDRESS": OWN, "FT_SECRET_KEYS": [KEY], "FT_INSTANCE_DIR": str(folder), **values})


def report_to(folder: pathlib.Path, target: str, process: str = "tick", **values: Any) -> Report:
    return Report.of(config_of(folder, FT_LOG_JSON=target, **values), process)


def lines_of(path: pathlib.Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def day_file(folder: pathlib.Path) -> str:
    report = Report(folder)
    return "".join(report.read(name, 10_000_000) for name in reversed(report.days()))


def until(condition: Any, what: str) -> None:
    eventually(condition, LIMIT_S, what)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are looked for as soon as they are said: on a busy machine a thread may take longer than ASIDE_S."""
    monkeypatch.setattr(sinks, "ASIDE_S", LIMIT_S)


# --- the configuration


def test_unless_it_is_asked_for_there_is_none(tmp_path: pathlib.Path) -> None:
    report = report_to(tmp_path, "")
    report.line("agent", "a word")
    assert report.mirror is None and day_file(tmp_path).endswith(" agent : a word\n")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("journald", 'must be "-" for standard error, "journal", or an absolute path'),
        ("logs/ft.jsonl", "absolute path"),
        ("/tmp/", "is a folder"),
        ("/", "is a folder"),
        ("/var/log/ft\n.jsonl", "printable"),
        ("/" + "x" * 5000, "at most 4000"),
    ],
)
def test_a_wrong_target_is_refused_by_name(tmp_path: pathlib.Path, target: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        config_of(tmp_path, FT_LOG_JSON=target)
    assert str(refused.value).startswith("FT_LOG_JSON='")


def test_without_the_library_the_process_says_what_to_install(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ftplugin.structured.lines")
    monkeypatch.setitem(sys.modules, "structlog", None)
    with pytest.raises(ConfigError, match=r"FT_LOG_JSON='journal'.*ftplugin\[logs\]"):
        report_to(tmp_path, "journal")


# --- what a line holds


def test_a_line_holds_the_words_of_ft_report_and_what_is_known_around_them(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "ft.jsonl"
    report = report_to(tmp_path, str(target), FT_PREFIX="shop")
    report.about = lambda: {"server": "server1", "epoch": 4}
    with bound(lambda: {"rule": "F1", "switch_id": "s-1"}):
        with bound(lambda: {"epoch": 6, "took_s": 1.25, "cause": None}):
            report.line("agent", 'it said "no"\nétait là')
    report.line("agent", "later")
    first, second = lines_of(target)
    assert FORM.fullmatch(first.pop("time")) and first.pop("pid") == os.getpid()
    assert first == {
        "level": "info",
        "node": OWN,
        "server": "server1",
        "prefix": "shop",
        "process": "tick",
        "source": "agent",
        "event": 'it said "no" était là',
        "epoch": 6,
        "rule": "F1",
        "switch_id": "s-1",
        "took_s": 1.25,
    }
    assert second["epoch"] == 4 and "rule" not in second, "what was bound is over"
    assert [line.partition(" : ")[2] for line in day_file(tmp_path / "shop").splitlines()] == [
        first["event"],
        "later",
    ], "one source for both"


@pytest.mark.parametrize("text", ["x" * 9000, "é" * 1900 + "end", "\ud800 \x00 \u2028 " * 100, ""])
def test_every_line_is_one_line_of_json_that_a_pipe_takes_whole(tmp_path: pathlib.Path, text: str) -> None:
    target = tmp_path / "ft.jsonl"
    report = report_to(tmp_path, str(target))
    facts = {"long": "\n" * 9000, "odd": float("nan"), "object": {"a": [1]}, "yes": True}
    with bound(lambda: facts):
        report.line("agent", text)
    raw = target.read_bytes()
    assert raw.count(b"\n") == 1 and raw.endswith(b"\n") and len(raw) <= sinks.LINE_BYTES_MAX
    (line,) = lines_of(target)
    assert line["odd"] == "nan" and line["yes"] is True and line["source"] == "agent"


def test_a_whole_failover_can_be_followed_by_its_switch_id(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real agent of the simulator, with a real report: server 1 dies, server 2 takes over."""
    target = tmp_path / "ft.jsonl"
    report = report_to(tmp_path, str(target))

    class Log(sim_ports.SimLog):
        def report(self, source: str, text: str) -> None:
            with bound(lambda: {"server": self.node.designation}):
                report.line(source, text)
            super().report(source, text)

    monkeypatch.setattr(sim_ports, "SimLog", Log)
    world = build(settings_of(random.Random(1)), 1)
    for node in world.nodes.values():
        world.kernel.at(0.0, node.boot)
    dying = world.nodes[next(iter(world.nodes))]
    world.kernel.at(40.0, dying.crash)
    world.kernel.at(90.0, dying.boot)
    found = finish(world, 150.0, Result(1))
    assert not found.violation
    lines = [line for line in lines_of(target) if line["server"] != dying.designation]
    bad = [line for line in lines if line.get("bad_streak")]
    assert {1, 2, 3} <= {line["bad_streak"] for line in bad} and all(line["cause"] for line in bad)
    (primary,) = [line for line in lines if "SWITCH THIS SERVER TO PRIMARY" in line["event"]]
    (ended,) = [line for line in lines if line.get("outcome") == "done" and line.get("kind") == "promote"]
    assert primary["rule"] == ended["rule"] == "F1" and primary["epoch"] == ended["epoch"] > 0
    assert primary["switch_id"] == ended["switch_id"] and ended["took_s"] > 0
    decided = [line for line in lines if line["source"] == "agent" and "switch_id" not in line and "rule" in line]
    assert {"F1", "S0"} <= {line["rule"] for line in decided}


def test_the_portal_names_its_server_and_the_epoch_it_has_read(make_site: MakeSite, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "portal.jsonl"
    site = make_site(FT_LOG_JSON=str(target))
    site.configure()
    site.role(Role.ACTIVE, epoch=6)
    assert site.client.get("/ft/monitor?mod=FT").text == "ACTIVE"
    site.portal.refuse("unsigned", "a message without a name")
    line = lines_of(target)[-1]
    assert (line["process"], line["source"], line["server"], line["epoch"]) == ("portal", "portal", "server1", 6)
    assert line["event"] == "refused message (unsigned): a message without a name"
    text = target.read_text() + site.log()
    assert KEY not in text


# --- systemd's journal


@pytest.fixture
def journal(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket in the place of journald's."""
    path = str(tmp_path / "journal.sock")
    monkeypatch.setattr(sinks.JournalSink.__init__, "__defaults__", (path,))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(LIMIT_S)
        yield listener


def fields_of(datagram: bytes) -> dict[str, str]:
    """As journald takes a message apart."""
    found, rest = {}, datagram
    while rest:
        head, _, rest = rest.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[8 + length + 1 :]
        found[name.decode()] = value.decode()
    return found


def test_the_journal_gets_fields_to_search_by(tmp_path: pathlib.Path, journal: socket.socket) -> None:
    report = report_to(tmp_path, "journal", "switch")
    with bound(lambda: {"rule": "F1", "switch_id": "s-1", "epoch": 6, "detail": "two\nlines = 2"}):
        report.line("agent", "F1 promote done")
    fields = fields_of(journal.recv(65_536))
    assert FORM.fullmatch(fields.pop("FT_TIME"))
    assert fields == {
        "MESSAGE": "F1 promote done",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "ftplugin",
        "FT_NODE": OWN,
        "FT_PROCESS": "switch",
        "FT_SOURCE": "agent",
        "FT_EPOCH": "6",
        "FT_RULE": "F1",
        "FT_SWITCH_ID": "s-1",
        "FT_DETAIL": "two\nlines = 2",
    }


def test_a_journal_that_reads_nothing_costs_lines_and_no_time(tmp_path: pathlib.Path, journal: socket.socket) -> None:
    report = report_to(tmp_path, "journal")
    mirror = report.mirror
    assert isinstance(mirror, Mirror)
    while not mirror.left_out:  # until its queue is full
        report.line("agent", "word")
    began_s = time.thread_time()
    for _ in range(200):
        report.line("agent", "word")
    assert mirror.left_out == 201 and time.thread_time() - began_s < 5
    journal.recv(65_536)
    report.line("agent", "it reads again")
    last = fields_of(b"")
    journal.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            last = fields_of(journal.recv(65_536))
    assert (last["MESSAGE"], last["FT_LEFT_OUT"]) == ("it reads again", "201") and mirror.left_out == 0


def test_a_journal_that_is_not_there_is_said_once(
    tmp_path: pathlib.Path, journal: socket.socket, capfd: pytest.CaptureFixture[str]
) -> None:
    report = report_to(tmp_path, "journal")
    os.unlink(tmp_path / "journal.sock")
    for _ in range(3):
        report.line("agent", "word")
    assert capfd.readouterr().err.count("FT_LOG_JSON: a line was not taken") == 1
    assert day_file(tmp_path).count("agent : word") == 3, "FT_REPORT has each"


# --- a disk, a pipe


def test_a_full_disk_costs_lines_and_the_next_one_says_how_many(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "ft.jsonl"
    report = report_to(tmp_path, str(target))
    report.line("agent", "first")
    size, (soft, hard) = target.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))  # what a full disk does: a part, then nothing
    try:
        report.line("agent", "second")
        report.line("agent", "third")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    report.line("agent", "fourth")
    *_, torn, last = target.read_text().splitlines()
    assert torn.startswith('{"time"') and json.loads(last)["event"] == "fourth" and json.loads(last)["left_out"] == 2
    assert "FT_LOG_JSON: a line was not taken" in capfd.readouterr().err


def test_a_rotated_file_is_left_alone_by_itself(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "ft.jsonl"
    report = report_to(tmp_path, str(target))
    report.line("agent", "before")
    target.rename(tmp_path / "ft.jsonl.1")
    report.line("agent", "after")
    assert [line["event"] for line in lines_of(target)] == ["after"]


def test_a_named_pipe_that_nobody_reads_stops_nothing(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    report = report_to(tmp_path, str(tmp_path / "pipe"))
    report.line("agent", "word")
    assert isinstance(report.mirror, Mirror) and report.mirror.left_out == 1


WRITER = """
import sys
from ftplugin.config import NodeConfig
from ftplugin.report import Report
report = Report.of(NodeConfig.from_environment(unpaired=True), "tick")
for index in range(int(sys.argv[1])):
    report.line("agent", f"line {index} " + "x" * 1000)
print("all written")
"""


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_standard_error_that_nobody_reads_stops_nothing(tmp_path: pathlib.Path, kind: str) -> None:
    ours: Any
    theirs: Any
    if kind == "pipe":
        ours, theirs = (os.fdopen(end, mode, buffering=0) for end, mode in zip(os.pipe(), ("rb", "wb")))
    else:
        ours, theirs = socket.socketpair()
    environment = {**os.environ, "FT_LOG_JSON": "-", "FT_INSTANCE_DIR": str(tmp_path), "FT_CONFIG_FILE": ""}
    with ours, theirs:
        command = [sys.executable, "-c", WRITER, "600"]  # more than any of the two holds
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=theirs.fileno(), text=True, timeout=100
        )
        read = ours.read if kind == "pipe" else ours.recv
        first = json.loads(read(65_536).splitlines()[0])
    assert done.stdout == "all written\n" and first["event"].startswith("line 0 ")
    assert day_file(tmp_path).count(" agent : line ") == 600
