"""In which order a real systemd stops the installed units. Their programs only note their end; test_stop has the real ones."""

from __future__ import annotations

import pathlib
import re
from typing import Iterator

import pytest

from ..docker.engine import wait_for
from ..services.real_systemd import RealSystemd, started
from .installed import install

LIMIT_S = 30.0
NOT_HERE = re.compile(
    r"^(User|Group|StateDirectory\w*|EnvironmentFile|Nice|OOM\w+|WatchdogSec|Wants=network).*\n", re.M
)


@pytest.fixture
def systemd(tmp_path: pathlib.Path) -> Iterator[RealSystemd]:
    made = started(tmp_path / "systemd")
    yield made
    made.end()


def noting(text: str, name: str, log: pathlib.Path) -> str:
    """The unit with a program that notes its end, a while after it was told to; the leave unit's command fails."""
    text = NOT_HERE.sub("", text).replace("Type=notify", "Type=simple")
    if "ExecStop=" in text:
        pause_s, code = (0.6, 1) if name == "leave" else (0.1, 0)
        command = f"ExecStop=/bin/sh -c 'sleep {pause_s}; echo {name} >>{log}; exit {code}'"
        return re.sub(r"^ExecStop=.*$", command, text, flags=re.M)
    program = (
        f'trap "sleep 0.2; echo {name} >>{log}; exit 0" TERM; echo ready {name} >>{log}; while :; do sleep 0.05; done'
    )
    return re.sub(r"^ExecStart=.*$", f"ExecStart=/bin/sh -c '{program}'", text, flags=re.M)


@pytest.mark.parametrize("target", ["ftplugin.target", "ftplugin@node.target"])
def test_leave_comes_first_and_release_after_all_programs_even_if_leave_fails(
    systemd: RealSystemd, tmp_path: pathlib.Path, target: str
) -> None:
    log = tmp_path / "log"
    for path in install(tmp_path / "dest").glob("ftplugin*.*"):
        if path.is_file():
            name = path.stem.removeprefix("ftplugin-").removesuffix("@")
            (systemd.units / path.name).write_text(noting(path.read_text(), name, log))
    systemd.tell("daemon-reload")
    systemd.tell("enable", "ftplugin.target", "ftplugin@node.target")
    systemd.tell("start", "ftplugin.target")
    programs = {"portal", "tick", "switch"}
    ready = {f"ready {name}" for name in programs | {"guard", "redis"}}
    wait_for("every program runs", lambda: log.exists() and ready <= set(log.read_text().splitlines()), LIMIT_S)
    log.write_text("")
    systemd.tell("stop", target)
    ended = log.read_text().split()
    rest = ["redis"] if target == "ftplugin.target" else []
    assert ended[0] == "leave" and set(ended[1:4]) == programs, ended
    assert ended[4:] == ["guard", "release", *rest], "and systemctl returns after the last of them"
    assert systemd.tell("show", "--property=ActiveState", "--value", "ftplugin-leave@node.service").strip() == "failed"
